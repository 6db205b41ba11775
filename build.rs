//! Puts the built dashboard (`web/dist`) into the binary, each file with its gzip form.
//!
//! Writes `$OUT_DIR/dashboard.rs`: an expression of `&[Asset]`, sorted by path, that
//! `src/api/http/assets.rs` includes. Without `web/dist` the list is empty and the build goes on: the
//! service then shows its plain page. `make web` builds the dashboard.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::{Compression, GzBuilder};

const DIST: &str = "web/dist";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    // Compiled in by `sqlx::migrate!`, which cargo does not see.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed={DIST}");
    // Cargo takes a path that is not there for one that changed, and would compile the service anew at
    // every build. An empty, old directory keeps it quiet until there is a dashboard.
    if !Path::new(DIST).exists()
        && fs::create_dir_all(DIST).is_ok()
        && let Ok(made) = fs::File::open(DIST)
    {
        let _ = made.set_modified(SystemTime::UNIX_EPOCH);
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let copies = out.join("dashboard");
    if copies.exists() {
        fs::remove_dir_all(&copies)?;
    }
    fs::create_dir_all(&copies)?;

    let mut files = Vec::new();
    // A build that was cut short has files but no page.
    if Path::new(DIST).join("index.html").exists() {
        list(Path::new(DIST), "", &mut files)?;
    }
    files.sort();
    let mut code = fs::File::create(out.join("dashboard.rs"))?;
    writeln!(code, "&[")?;
    for (number, path) in files.iter().enumerate() {
        let body = fs::read(Path::new(DIST).join(path))?;
        // A copy: the dashboard may be built anew while this is compiled.
        let copy = copies.join(number.to_string());
        fs::write(&copy, &body)?;
        let packed = gzip(&body)?;
        let gzip = if packed.len() < body.len() {
            let copy = copies.join(format!("{number}.gz"));
            fs::write(&copy, &packed)?;
            format!("Some(include_bytes!({copy:?}))")
        } else {
            "None".to_owned()
        };
        let etag = tag(&body);
        writeln!(
            code,
            "    Asset {{ path: {path:?}, etag: {etag:?}, body: include_bytes!({copy:?}), gzip: {gzip} }},"
        )?;
    }
    writeln!(code, "]")
}

/// All files below, as paths relative to [`DIST`]. Vite's manifest (in a dot directory) and source maps
/// are for developers.
fn list(directory: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || name.ends_with(".map") {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The same bytes for the same file, at any time.
fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    writer.write_all(body)?;
    writer.finish()
}

fn tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
