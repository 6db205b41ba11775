//! What the machine says about itself: who we are, which device nodes we may open, which directories we
//! may write, what time it is. Thin readers; [`super::checks`] judges.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

/// The effective user.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct User {
    pub uid: u32,
    /// Empty when `/etc/passwd` does not know it.
    pub name: String,
    /// Groups of this process.
    pub groups: Vec<String>,
    /// Groups that `/etc/group` gives the user; the process gets them at the next login.
    pub listed: Vec<String>,
}

/// A device node of a camera's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub path: PathBuf,
    /// Name of its group, or its number where it has none.
    pub group: String,
    pub open: bool,
}

/// A directory that the service uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The key that names it.
    pub key: &'static str,
    pub path: PathBuf,
    pub state: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As it should be, with so many bytes free.
    Good {
        free: Option<u64>,
    },
    /// Not there, and can be made.
    Creatable,
    /// Not there, and cannot be made.
    Missing,
    NotADirectory,
    /// In words.
    Denied(String),
}

/// What a directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
}

/// The system clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970; 0 for a time before.
    pub now: u64,
    /// Whether it is synchronised, where `timedatectl` tells.
    pub synchronised: Option<bool>,
}

/// Who runs this.
pub fn user() -> User {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let name = user_name(&passwd, uid).unwrap_or_default();
    let mut gids: Vec<u32> =
        rustix::process::getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect();
    gids.push(rustix::process::getegid().as_raw());
    gids.sort_unstable();
    gids.dedup();
    let groups = gids.into_iter().map(|gid| group_name(&group, gid)).collect();
    let listed = groups_of(&group, &name);
    User { uid, name, groups, listed }
}

/// The nodes that cameras have: V4L2, media controllers, and the heaps that libcamera takes memory from.
pub fn nodes() -> Vec<Node> {
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let named = |directory: &str, prefix: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let ours = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
        };
        paths.filter(ours).collect()
    };
    let mut paths = named("/dev", "video");
    paths.extend(named("/dev", "media"));
    paths.extend(named("/dev/dma_heap", ""));
    paths.sort();
    let node = |path: PathBuf| {
        let gid = fs::metadata(&path).ok()?.gid();
        let open = access(&path, Access::READ_OK | Access::WRITE_OK).is_ok();
        Some(Node { group: group_name(&group, gid), path, open })
    };
    paths.into_iter().filter_map(node).collect()
}

/// Whether `path` can be used as a directory. Makes nothing.
pub fn directory(key: &'static str, path: &Path, purpose: Use) -> Directory {
    let mode = match purpose {
        Use::Read => Access::READ_OK | Access::EXEC_OK,
        Use::Write => Access::WRITE_OK | Access::EXEC_OK,
    };
    let state = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Place::NotADirectory,
        Ok(_) => match access(path, mode) {
            Ok(()) => {
                let free = rustix::fs::statvfs(path).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
                Place::Good { free }
            }
            Err(error) => Place::Denied(error.to_string()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|path| path.is_dir());
            let makes = |path: &Path| access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
            if above.is_some_and(makes) { Place::Creatable } else { Place::Missing }
        }
        Err(error) => Place::Denied(error.to_string()),
    };
    Directory { key, path: path.to_owned(), state }
}

/// The board's model, where the firmware tells: `Raspberry Pi 4 Model B Rev 1.4`.
pub fn board() -> Option<String> {
    let model = fs::read_to_string("/proc/device-tree/model").ok()?;
    let model = model.trim_matches(['\0', ' ', '\n']);
    (!model.is_empty()).then(|| model.to_owned())
}

/// Asks `timedatectl` whether the clock follows a time server.
pub fn synchronised() -> Option<bool> {
    let said = said("timedatectl", &["show", "-p", "NTPSynchronized", "--value"], Duration::from_secs(2))?;
    match said.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// What a short command prints; `None` when it fails or takes longer. A command that is given up is
/// killed.
fn said(command: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    let deadline = Instant::now() + limit;
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // The answer is a word: it fits into the pipe, so the command never waits for its reader.
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The directory that GStreamer writes graphs to, if the environment names one.
pub fn graphs(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    environment("GST_DEBUG_DUMP_DOT_DIR").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// passwd(5): name:password:uid:…
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// group(5): name:password:gid:members
fn group_name(group: &str, gid: u32) -> String {
    let name = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| gid.to_string())
}

fn groups_of(group: &str, user: &str) -> Vec<String> {
    let member = |line: &&str| {
        let members = line.split(':').nth(3).unwrap_or_default();
        !user.is_empty() && members.split(',').any(|member| member == user)
    };
    let lines = group.lines().filter(member);
    lines.filter_map(|line| Some(line.split(':').next()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "root:x:0:\nvideo:x:44:pi,ada\nrender:x:105:ada\n";

    #[test]
    fn users_and_groups_are_read_from_their_files() {
        let passwd = "root:x:0:0::/root:/bin/sh\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("pi"));
        assert_eq!(user_name(passwd, 7), None);
        assert_eq!(group_name(GROUP, 44), "video");
        assert_eq!(group_name(GROUP, 4711), "4711");
        assert_eq!(groups_of(GROUP, "ada"), ["video", "render"]);
        assert_eq!(groups_of(GROUP, ""), [] as [&str; 0]);
    }

    #[test]
    fn a_directory_is_looked_at_without_being_made() {
        let here = tempfile::tempdir().unwrap();
        let state = |path: &Path| directory("k", path, Use::Write).state;
        assert!(matches!(state(here.path()), Place::Good { free: Some(_) }));
        let deep = here.path().join("a/b");
        assert_eq!(state(&deep), Place::Creatable);
        assert!(!here.path().join("a").exists());
        let file = here.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(state(&file), Place::NotADirectory);
        // Nobody but root may make anything in here.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(here.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let root = user().uid == 0;
        assert_eq!(state(&deep), if root { Place::Creatable } else { Place::Missing });
    }

    #[test]
    fn a_command_that_does_not_end_is_killed() {
        let began = Instant::now();
        assert_eq!(said("sleep", &["30"], Duration::from_millis(50)), None);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(said("echo", &["yes"], Duration::from_secs(5)).as_deref(), Some("yes\n"));
        assert_eq!(said("no-such-command-here", &[], Duration::from_secs(1)), None);
    }
}
