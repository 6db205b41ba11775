//! `fanlight livekit`: tokens by hand, ingresses, and a check of the server that is configured. Key and
//! secret are never printed; a stream key goes into a file that only its owner reads.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{self, Loaded, Warning};
use crate::livekit::check::{self, Finding, Level};
use crate::livekit::ingress::{Ingress, Ingresses, Kind};
use crate::livekit::{Key, token};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a token for a room: to watch, or with --publish to publish
    Token(TokenArgs),
    /// Make, list and delete ingresses: doors for RTMP and WHIP with a stream key
    Ingress {
        #[command(subcommand)]
        command: IngressCommand,
    },
    /// Look at the configured LiveKit server: reachable, clock, key, WHIP, ingress
    Check,
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    #[arg(long)]
    room: String,
    /// Who the token is for; a viewer's gets a random ending, so that no two are the same
    #[arg(long)]
    identity: Option<String>,
    /// For a publisher; it hears nobody. Without it: for a viewer, who publishes nothing
    #[arg(long, requires = "identity")]
    publish: bool,
    /// How long it is good for joining: 90s, 10m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    ttl: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum IngressCommand {
    /// Make one; its stream key goes to a file, and the configuration to paste is printed
    Create {
        #[arg(long)]
        room: String,
        /// Of the ingress and, for people, of who publishes by it
        #[arg(long)]
        name: String,
        /// Who publishes by it, in the room [default: the name]
        #[arg(long)]
        identity: Option<String>,
        #[arg(long = "type", value_enum, default_value = "rtmp")]
        kind: Kind,
        /// File for the stream key; it must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// List them, without their keys
    List {
        #[arg(long)]
        room: Option<String>,
    },
    /// Delete one, by its id or by room and name
    Delete {
        #[arg(required_unless_present = "name")]
        id: Option<String>,
        #[arg(long, requires = "name", conflicts_with = "id")]
        room: Option<String>,
        #[arg(long, requires = "room", conflicts_with = "id")]
        name: Option<String>,
    },
}

/// `90s`, `10m`, `1h`, `7d`, or plain seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => 1,
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds) if (1..=365 * 86400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err("a time such as 90s, 10m, 1h or 7d, up to 365d".into()),
    }
}

pub fn run(
    args: &Args,
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let loaded = config::load(file, environment)?;
    match &args.command {
        Command::Token(args) => {
            writeln!(out, "{}", make_token(args, &key(&loaded)?)?)?;
            Ok(0)
        }
        Command::Ingress { command } => ingress(command, &loaded, out),
        Command::Check => report(&check::check(&loaded.config), &loaded.warnings, out),
    }
}

fn key(loaded: &Loaded) -> anyhow::Result<Key> {
    Key::of(&loaded.config.livekit).context(
        "no key is configured; set livekit.api_key and livekit.api_secret_file (or LIVEKIT_API_KEY and \
         LIVEKIT_API_SECRET)",
    )
}

fn make_token(args: &TokenArgs, key: &Key) -> anyhow::Result<String> {
    if args.publish {
        let identity = args.identity.as_deref().unwrap_or_default();
        return Ok(token::publisher(key, &args.room, identity, identity, args.ttl)?);
    }
    let asked = token::Viewer { room: &args.room, identity: args.identity.as_deref(), ..Default::default() };
    Ok(token::viewer(key, &asked, args.ttl, &token::suffix())?.token)
}

fn ingress(command: &IngressCommand, loaded: &Loaded, out: &mut dyn Write) -> anyhow::Result<u8> {
    let key = key(loaded)?;
    let url = loaded.config.livekit.url.as_deref();
    let url = url.context("no LiveKit server is configured; set livekit.url (or LIVEKIT_HOST)")?;
    let server = Ingresses::of(url, &key);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        IngressCommand::Create { room, name, identity, kind, out: path } => {
            // The file comes first: a key that nobody keeps is lost, and the ingress with it.
            let mut file = make_file(path)?;
            let identity = identity.as_ref().unwrap_or(name);
            let made = match runtime.block_on(server.create(*kind, room, name, identity)) {
                Ok(made) => made,
                Err(error) => {
                    let _ = fs::remove_file(path);
                    return Err(error.into());
                }
            };
            if let Err(error) = write_key(&mut file, &made) {
                let _ = fs::remove_file(path);
                let undone = runtime.block_on(server.delete(&made.id));
                let left =
                    undone.err().map(|_| format!("; the ingress {} is left", made.id)).unwrap_or_default();
                return Err(error).context(format!("{} could not be written{left}", path.display()));
            }
            writeln!(out, "{}", paste(&made, path))?;
        }
        IngressCommand::List { room } => {
            let list = runtime.block_on(server.list(room.as_deref()))?;
            if list.is_empty() {
                writeln!(out, "no ingresses")?;
            }
            for ingress in list {
                let Ingress { id, name, room, kind, url, state, .. } = &ingress;
                writeln!(
                    out,
                    "{id}  {kind}  {}  in room {}  {url}  {}",
                    line(name),
                    line(room),
                    line(state)
                )?;
            }
        }
        IngressCommand::Delete { id, room, name } => {
            let id = match (id, name) {
                (Some(id), _) => id.clone(),
                (None, name) => {
                    let list = runtime.block_on(server.list(room.as_deref()))?;
                    the_one(list, name.as_deref().unwrap_or_default())?
                }
            };
            runtime.block_on(server.delete(&id))?;
            writeln!(out, "deleted {id}")?;
        }
    }
    Ok(0)
}

/// The only one of that name.
fn the_one(list: Vec<Ingress>, name: &str) -> anyhow::Result<String> {
    let mut ids: Vec<String> =
        list.into_iter().filter(|ingress| ingress.name == name).map(|ingress| ingress.id).collect();
    match (ids.pop(), ids.is_empty()) {
        (Some(id), true) => Ok(id),
        (None, _) => {
            bail!("there is no ingress {name:?} in that room; `fanlight livekit ingress list` shows all")
        }
        (Some(last), false) => {
            bail!("there are several of that name; delete one by its id: {}, {last}", ids.join(", "))
        }
    }
}

/// A file for the owner's eyes.
fn make_file(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "; it may hold the key of another ingress: choose another file"
            }
            _ => "",
        };
        anyhow::anyhow!("{} cannot be written: {error}{hint}", path.display())
    })
}

/// The first line is the key, as `stream_key_file` and `token_file` take it.
fn write_key(file: &mut File, ingress: &Ingress) -> anyhow::Result<()> {
    let Ingress { id, url, room, .. } = ingress;
    write!(file, "{}\n# url: {url}\n# ingress: {id}\n# room: {}\n", ingress.stream_key.expose(), line(room))?;
    file.sync_all()?;
    Ok(())
}

fn paste(ingress: &Ingress, path: &Path) -> String {
    let Ingress { id, name, room, identity, kind, url, .. } = ingress;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = toml::Value::from(path.display().to_string());
    let key = if *kind == "rtmp" { "stream_key_file" } else { "token_file" };
    let output: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(64).collect();
    let (room, identity) = (line(room), line(identity));
    format!(
        "# ingress {id}: publishes as {identity} into room {room}. Its stream key is in the file below.\n\
         # To let viewers in, list the room under livekit.rooms.\n\
         [[publish]]\nid = {}\ntype = \"{kind}\"\nurl = {}\n{key} = {path}",
        toml::Value::from(output),
        toml::Value::from(url.as_str()),
    )
}

/// Text of a server's on one line of ours.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One line for each finding, and below what is not good its mend; 1 when anything is bad.
fn report(findings: &[Finding], warnings: &[Warning], out: &mut dyn Write) -> anyhow::Result<u8> {
    let ours = |name: &str| {
        ["livekit", "publish", "LIVEKIT_", "TURN_"].iter().any(|beginning| name.starts_with(beginning))
    };
    for warning in warnings.iter().filter(|warning| ours(&warning.name)) {
        writeln!(out, "note    configuration: {}", line(&warning.to_string()))?;
    }
    for Finding { about, level, words, mend } in findings {
        let mark = match level {
            Level::Good => "ok  ",
            Level::Note => "note",
            Level::Bad => "FAIL",
        };
        writeln!(out, "{mark}    {about}: {}", line(words))?;
        if let Some(mend) = mend {
            writeln!(out, "        {}", line(mend))?;
        }
    }
    Ok(u8::from(findings.iter().any(|finding| finding.level == Level::Bad)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("90", 90), ("10m", 600), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "h", "0s", "-1h", "1.5h", "366d", "1w", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    fn made(kind: &'static str, name: &str) -> Ingress {
        Ingress {
            id: "IN_1".into(),
            name: name.into(),
            room: "garden".into(),
            identity: "porch".into(),
            kind,
            url: "rtmp://127.0.0.1:1935/x".into(),
            stream_key: Secret::new("hunter2"),
            state: "idle".into(),
        }
    }

    #[test]
    fn what_is_printed_to_paste_is_a_configuration_without_the_key() {
        let directory = tempfile::tempdir().unwrap();
        for (kind, name, url) in
            [("rtmp", "front \"porch\"", "rtmp://127.0.0.1:1935/x"), ("whip", "a", "http://h/w")]
        {
            let path = directory.path().join(format!("{kind}.key"));
            let ingress = Ingress { url: url.into(), ..made(kind, name) };
            write_key(&mut make_file(&path).unwrap(), &ingress).unwrap();
            let text = paste(&ingress, &path);
            assert!(!text.contains("hunter2"));
            let file = directory.path().join("f.toml");
            fs::write(&file, &text).unwrap();
            let loaded = config::load(Some(&file), |_| None).expect(&text);
            assert_eq!(loaded.config.publish[0].target.kind(), kind);
            assert_eq!(loaded.warnings, [], "the file has a first line and is for its owner only");
            assert_eq!(fs::read_to_string(&path).unwrap().lines().next(), Some("hunter2"));
            assert!(make_file(&path).unwrap_err().to_string().contains("choose another file"));
        }
    }

    #[test]
    fn an_ingress_is_deleted_by_name_only_when_one_has_it() {
        let list = || vec![made("rtmp", "a"), Ingress { id: "IN_2".into(), ..made("rtmp", "b") }];
        assert_eq!(the_one(list(), "b").unwrap(), "IN_2");
        assert!(the_one(list(), "c").unwrap_err().to_string().contains("no ingress"));
        let mut twice = list();
        twice.push(Ingress { id: "IN_3".into(), ..made("rtmp", "a") });
        assert!(the_one(twice, "a").unwrap_err().to_string().contains("IN_1, IN_3"));
    }

    #[test]
    fn one_bad_finding_is_exit_code_1_and_each_has_its_mend_below() {
        let finding = |level, mend: Option<&str>| Finding {
            about: "key".into(),
            level,
            words: "so\nso".into(),
            mend: mend.map(Into::into),
        };
        let mut out = Vec::new();
        assert_eq!(
            report(&[finding(Level::Good, None), finding(Level::Note, None)], &[], &mut out).unwrap(),
            0
        );
        assert_eq!(report(&[finding(Level::Bad, Some("mend it"))], &[], &mut out).unwrap(), 1);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("FAIL    key: so so\n        mend it\n"), "{text}");
    }
}
