//! The last step of loading, the only one that looks around on the disk: paths of the file become
//! absolute to it, users, passwords and stream keys move out of URLs, files with secrets are read.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::{Problem, Warning};
use super::ha1::Ha1;
use super::model::{Access, Camera, Config, LiveKit, Publish, Source, Target};
use super::origins::{Origin, Origins};
use super::secret::Secret;
use super::urls;

/// More than any password; a larger file is a mistake.
const PASSWORD_FILE_LIMIT: u64 = 4096;
/// As many bytes as the printers' camera protocol has room for.
const LONGEST_CODE: usize = 32;
/// As long as the hash of HS256 (RFC 7518, 3.2).
const SHORTEST_JWT_SECRET: usize = 32;

pub(super) fn settle(
    config: &mut Config,
    origins: &mut Origins,
    file: Option<&Path>,
) -> (Vec<Problem>, Vec<Warning>) {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let absolute = |path: &mut PathBuf, key: &str, origins: &Origins| {
        if matches!(origins.of(key), Origin::File { .. }) {
            *path = base.join(&*path);
        }
    };
    absolute(&mut config.pipelines.directory, "pipelines.directory", origins);
    for (path, key) in [
        (&mut config.health.file, "health.file"),
        (&mut config.health.publisher_file, "health.publisher_file"),
        (&mut config.hls.output_dir, "hls.output_dir"),
        (&mut config.storage.directory, "storage.directory"),
        (&mut config.storage.database, "storage.database"),
        (&mut config.printers.key_file, "printers.key_file"),
        (&mut config.rtsp.certificate, "rtsp.certificate"),
        (&mut config.rtsp.key, "rtsp.key"),
    ] {
        if let Some(path) = path {
            absolute(path, key, origins);
        }
    }
    if let Some(key) = &config.rtsp.key
        && readable_by_others(key)
    {
        warnings.push(readable_by_all("rtsp.key", key));
    }
    let mut holds_password = false;
    for (index, camera) in config.cameras.iter_mut().enumerate() {
        let key = |name: &str| format!("camera.{index}.source.{name}");
        let Camera { id, source, .. } = camera;
        let (url, username, password, password_file) = match source {
            Source::Rtsp(rtsp) => {
                if let Some(path) = &mut rtsp.tls_ca_file {
                    absolute(path, &key("tls_ca_file"), origins);
                    if let Err(error) = open_regular(path) {
                        let message =
                            format!("the certificate file {} of camera {id:?} {error}", path.display());
                        problems.push(problem(origins, key("tls_ca_file"), message));
                    }
                }
                (&mut rtsp.url, &mut rtsp.username, &mut rtsp.password, &mut rtsp.password_file)
            }
            Source::Http(http) => {
                (&mut http.url, &mut http.username, &mut http.password, &mut http.password_file)
            }
            Source::File(file) => {
                absolute(&mut file.path, &key("path"), origins);
                continue;
            }
            Source::BambuJpeg(bambu) => {
                holds_password |= bambu.access_code.is_some();
                continue;
            }
            Source::Auto {} | Source::Test {} | Source::Libcamera(_) | Source::V4l2(_) => continue,
        };
        if let (plain, Some(inside)) = urls::take_credentials(url) {
            *url = plain;
            if !inside.username.is_empty() {
                *username = Some(inside.username);
                origins.copy(&key("url"), &key("username"));
            }
            if inside.password.is_some() {
                *password = inside.password;
                origins.copy(&key("url"), &key("password"));
            }
        }
        holds_password |= password.is_some();
        if let Some(path) = password_file {
            absolute(path, &key("password_file"), origins);
            match read_password(path) {
                Ok((secret, readable)) => {
                    *password = Some(secret);
                    origins.copy(&key("password_file"), &key("password"));
                    if readable {
                        warnings.push(readable_by_all(&key("password_file"), path));
                    }
                }
                Err(error) => {
                    let message = format!("the password file {} of camera {id:?} {error}", path.display());
                    problems.push(problem(origins, key("password_file"), message));
                }
            }
        }
    }
    let mut secrets = Secrets { base, origins, problems, warnings, in_file: false };
    for (index, camera) in config.cameras.iter_mut().enumerate() {
        secrets.camera(camera, &format!("camera.{index}.source"));
    }
    secrets.livekit(&mut config.livekit);
    secrets.access(&mut config.access);
    for (index, output) in config.publish.iter_mut().enumerate() {
        secrets.output(output, &format!("publish.{index}"));
    }
    let Secrets { problems, mut warnings, in_file, .. } = secrets;
    if let Some(file) = file
        && in_file
        && !holds_password
        && readable_by_others(file)
    {
        warnings.push(readable_by_all("livekit", file));
    }
    if let Some(file) = file
        && holds_password
        && readable_by_others(file)
    {
        warnings.push(readable_by_all("camera", file));
    }
    (problems, warnings)
}

/// The files and URLs with secrets of LiveKit and of the published outputs.
struct Secrets<'a> {
    base: &'a Path,
    origins: &'a mut Origins,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    /// Whether the configuration file itself holds a secret.
    in_file: bool,
}

impl Secrets<'_> {
    fn camera(&mut self, camera: &mut Camera, place: &str) {
        let Source::BambuJpeg(bambu) = &mut camera.source else { return };
        let what = format!("the access code of camera {:?}", camera.id);
        self.read(&mut bambu.access_code, &mut bambu.access_code_file, place, "access_code", &what);
        if bambu.access_code.as_ref().is_some_and(|code| code.expose().len() > LONGEST_CODE) {
            let message =
                format!("{what} is longer than {LONGEST_CODE} bytes; printers have one of 8 digits");
            self.problems.push(problem(self.origins, format!("{place}.access_code"), message));
        }
    }

    fn livekit(&mut self, livekit: &mut LiveKit) {
        let LiveKit { api_secret, api_secret_file, turn_static_secret, turn_static_secret_file, .. } =
            livekit;
        self.read(api_secret, api_secret_file, "livekit", "api_secret", "LiveKit's secret");
        let what = "the TURN server's secret";
        self.read(turn_static_secret, turn_static_secret_file, "livekit", "turn_static_secret", what);
    }

    fn access(&mut self, access: &mut Access) {
        let Access { required, jwt_secret, jwt_secret_file, users, .. } = access;
        self.read(jwt_secret, jwt_secret_file, "access", "jwt_secret", "the JWT secret");
        let origin = self.origins.of("access.jwt_secret").clone();
        if let Some(secret) = jwt_secret
            && secret.expose().len() < SHORTEST_JWT_SECRET
        {
            let message = format!(
                "access.jwt_secret: it is shorter than {SHORTEST_JWT_SECRET} bytes, which can be guessed from one \
                 token; use the output of: openssl rand -hex 32"
            );
            if let Origin::Environment(name) = origin {
                // Not taken, and nothing opens because of it.
                let message = format!("{message}; without it, logins are by API key and user");
                self.warnings.push(Warning::new(name, message));
                (*jwt_secret, *required) = (None, true);
            } else {
                self.problems.push(problem(self.origins, "access.jwt_secret".into(), message));
            }
        }
        for (index, user) in users.iter_mut().enumerate() {
            let place = format!("access.user.{index}");
            self.written(&user.ha1_md5, &place, "ha1_md5");
            self.written(&user.ha1_sha256, &place, "ha1_sha256");
            let mut password = None;
            let what = format!("the password of user {:?}", user.name);
            self.read(&mut password, &mut user.password_file, &place, "password", &what);
            user.ha1 = match password {
                Some(password) => Ha1::of(&user.name, password.expose()),
                None => Ha1::written(user.ha1_md5.clone(), user.ha1_sha256.clone()),
            };
        }
    }

    fn output(&mut self, output: &mut Publish, place: &str) {
        let id = &output.id;
        match &mut output.target {
            Target::Livekit(to) => {
                let what = format!("the secret of output {id:?}");
                self.read(&mut to.api_secret, &mut to.api_secret_file, place, "api_secret", &what);
                self.look_at(&mut to.token_file, place, "token_file", id);
            }
            Target::Whip(to) => {
                self.written(&to.token, place, "token");
                self.look_at(&mut to.token_file, place, "token_file", id);
            }
            Target::Mediamtx(to) => {
                self.written(&to.password, place, "password");
                self.look_at(&mut to.password_file, place, "password_file", id);
            }
            Target::Rtmp(to) => {
                self.written(&to.stream_key, place, "stream_key");
                self.look_at(&mut to.stream_key_file, place, "stream_key_file", id);
                if to.stream_key.is_none()
                    && to.stream_key_file.is_none()
                    && let (server, Some(key)) = urls::take_stream_key(&to.url)
                {
                    to.url = server;
                    to.stream_key = Some(key);
                    self.in_file = true;
                    self.origins.copy(&format!("{place}.url"), &format!("{place}.stream_key"));
                }
            }
        }
    }

    /// A secret that is read now.
    fn read(
        &mut self,
        secret: &mut Option<Secret>,
        file: &mut Option<PathBuf>,
        place: &str,
        name: &str,
        what: &str,
    ) {
        self.written(secret, place, name);
        let key = format!("{place}.{name}_file");
        let Some(path) = self.absolute(file, &key) else { return };
        match read_password(&path) {
            Ok((first_line, readable)) => {
                *secret = Some(first_line);
                self.origins.copy(&key, &format!("{place}.{name}"));
                if readable {
                    self.warnings.push(readable_by_all(&key, &path));
                }
            }
            Err(error) => {
                let message = format!("the file {} with {what} {error}", path.display());
                self.problems.push(problem(self.origins, key, message));
            }
        }
    }

    /// A file that each attempt reads anew: it may be written later, so what is wrong now is a warning.
    fn look_at(&mut self, file: &mut Option<PathBuf>, place: &str, name: &str, id: &str) {
        let key = format!("{place}.{name}");
        let Some(path) = self.absolute(file, &key) else { return };
        match read_password(&path) {
            Ok((_, true)) => self.warnings.push(readable_by_all(&key, &path)),
            Ok((_, false)) => {}
            Err(error) => {
                let message =
                    format!("the file {} of output {id:?} {error}; until then it is refused", path.display());
                self.warnings.push(Warning::new(key, message));
            }
        }
    }

    fn written(&mut self, secret: &Option<Secret>, place: &str, name: &str) {
        let origin = self.origins.of(&format!("{place}.{name}"));
        self.in_file |= secret.is_some() && matches!(origin, Origin::File { .. });
    }

    fn absolute(&self, path: &mut Option<PathBuf>, key: &str) -> Option<PathBuf> {
        let path = path.as_mut()?;
        if matches!(self.origins.of(key), Origin::File { .. }) {
            *path = self.base.join(&*path);
        }
        Some(path.clone())
    }
}

fn readable_by_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o004 != 0)
}

fn problem(origins: &Origins, key: String, message: String) -> Problem {
    Problem { position: origins.position(&key), key, message }
}

fn readable_by_all(key: &str, path: &Path) -> Warning {
    let path = path.display();
    Warning::new(
        key,
        format!("{path} holds a secret and every user of this machine may read it; run chmod o-rwx {path}"),
    )
}

/// The first line, and whether others may read the file.
fn read_password(path: &Path) -> Result<(Secret, bool), String> {
    let (file, metadata) = open_regular(path)?;
    let mut text = String::new();
    file.take(PASSWORD_FILE_LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > PASSWORD_FILE_LIMIT {
        return Err(format!("is larger than {PASSWORD_FILE_LIMIT} bytes; its first line is the secret"));
    }
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok((Secret::new(line), metadata.permissions().mode() & 0o004 != 0)),
        _ => Err("has an empty first line; write the secret there".into()),
    }
}

fn open_regular(path: &Path) -> Result<(File, Metadata), String> {
    let wrong = |error| format!("cannot be read: {error}");
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(wrong)?;
    if !metadata.is_file() {
        return Err("is not a regular file".into());
    }
    Ok((File::open(path).map_err(wrong)?, metadata))
}
