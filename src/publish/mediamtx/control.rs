//! The control API of MediaMTX (`/v3`): a few questions and orders, each bounded in time and size. Blocking.
//!
//! An order is answered before it has been carried out, so whoever gave one looks until it was. Paths that
//! were made here are gone when the server starts anew or reads its file again.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::super::plan::Mediamtx;
use crate::config::{self, Secret};

/// A server that has not answered by then does not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// An order has been carried out by then.
const DONE_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// No answer to what is asked here is longer.
const LONGEST: u64 = 256 * 1024;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Trouble {
    #[error("the control API does not answer: {0}")]
    Silent(String),
    #[error("the control API refuses this user and password (MediaMTX: authInternalUsers, action api)")]
    Refused,
    #[error("the control API answers {0}: {1}")]
    Status(u16, String),
    #[error("what the control API answers is not what MediaMTX answers")]
    Strange,
    #[error("path {0:?} is configured there with another source than publishers: take another path")]
    Taken(String),
    #[error("path {0:?} is not as it was ordered after {seconds} s", seconds = DONE_WITHIN.as_secs())]
    Undone(String),
}

/// How a path was found or made.
#[derive(Debug)]
pub struct Settled {
    pub started: String,
    pub recording: bool,
    /// Its global configuration, if it tells.
    global: Value,
}

impl Settled {
    /// Where the server gives the stream.
    pub fn urls(&self, plan: &Mediamtx) -> BTreeMap<String, String> {
        urls(&self.global, plan)
    }
}

fn urls(global: &Value, plan: &Mediamtx) -> BTreeMap<String, String> {
    let host = plan.url.host_str().unwrap_or_default();
    let path = &plan.path;
    let port = |name: &str| {
        let address = global.get(name)?.as_str()?;
        address.rsplit(':').next()?.parse::<u16>().ok()
    };
    let on = |name: &str| global.get(name).and_then(Value::as_bool).unwrap_or(false);
    let scheme = |name: &str, plain: &str| {
        let tls = match global.get(name) {
            Some(Value::Bool(tls)) => *tls,
            Some(Value::String(tls)) => tls == "strict",
            _ => false,
        };
        if tls { format!("{plain}s") } else { plain.to_owned() }
    };
    let mut urls = BTreeMap::new();
    let mut add = |name: &str, url: Option<String>| {
        if let Some(url) = url {
            urls.insert(name.to_owned(), url);
        }
    };
    // Else its own address is known.
    if on("rtsp") && plan.by_srt() {
        add("rtsp", port("rtspAddress").map(|port| format!("rtsp://{host}:{port}/{path}")));
    }
    if on("hls") {
        let http = scheme("hlsEncryption", "http");
        add("hls", port("hlsAddress").map(|port| format!("{http}://{host}:{port}/{path}/index.m3u8")));
    }
    if on("webrtc") {
        let http = scheme("webrtcEncryption", "http");
        let page = port("webrtcAddress").map(|port| format!("{http}://{host}:{port}/{path}"));
        add("whep", page.as_ref().map(|page| format!("{page}/whep")));
        add("webrtc", page);
    }
    if on("rtmp") {
        let rtmp = scheme("rtmpEncryption", "rtmp");
        add("rtmp", port("rtmpAddress").map(|port| format!("{rtmp}://{host}:{port}/{path}")));
    }
    if on("srt") {
        add("srt", port("srtAddress").map(|port| format!("srt://{host}:{port}?streamid=read:{path}")));
    }
    urls
}

/// How to ask.
#[derive(Debug)]
pub struct Api {
    agent: ureq::Agent,
    /// Without a slash at its end.
    base: String,
    login: Option<(String, Secret)>,
}

impl Api {
    pub fn new(base: &Url, login: Option<(String, Secret)>) -> Self {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .timeout_global(Some(ANSWERS_WITHIN))
                .http_status_as_error(false)
                .max_redirects(0)
                .build(),
        );
        Self { agent, base: base.as_str().trim_end_matches('/').to_owned(), login }
    }

    /// Its address for people.
    pub fn shown(&self) -> String {
        config::redact_url(&self.base)
    }

    /// When the server started.
    ///
    /// # Errors
    /// It does not say.
    pub fn started(&self) -> Result<String, Trouble> {
        let info = self.ask("GET", "/v3/info", None)?.ok_or(Trouble::Strange)?;
        Ok(info.get("started").and_then(Value::as_str).ok_or(Trouble::Strange)?.to_owned())
    }

    /// Whether the path is configured, and recorded as it should be. An unknown answer is a no.
    pub fn is_settled(&self, path: &str, record: Option<bool>) -> bool {
        matches!(self.configured(path), Ok(Some(found)) if fits(&found, record))
    }

    /// Whether the stream is there, and the bytes that came.
    ///
    /// # Errors
    /// The server does not say.
    pub fn arrived(&self, path: &str) -> Result<(bool, u64), Trouble> {
        let Some(found) = self.ask("GET", &format!("/v3/paths/get/{path}"), None)? else {
            return Ok((false, 0));
        };
        // Servers before 1.15 have other names for both.
        let flag = |names: [&str; 2]| names.into_iter().find_map(|name| found.get(name)?.as_bool());
        let count = |names: [&str; 2]| names.into_iter().find_map(|name| found.get(name)?.as_u64());
        let online = flag(["online", "ready"]).ok_or(Trouble::Strange)?;
        Ok((online, count(["inboundBytes", "bytesReceived"]).unwrap_or(0)))
    }

    /// Makes the path if it is not there, and has it recorded or not if that is asked for.
    ///
    /// # Errors
    /// The server does not answer or does not do it.
    pub fn reconcile(&self, path: &str, record: Option<bool>) -> Result<Settled, Trouble> {
        let started = self.started()?;
        match self.configured(path)? {
            Some(found) => {
                if found.get("source").and_then(Value::as_str).is_some_and(|source| source != "publisher") {
                    return Err(Trouble::Taken(path.to_owned()));
                }
                if !fits(&found, record) {
                    self.ask(
                        "PATCH",
                        &format!("/v3/config/paths/patch/{path}"),
                        Some(&json!({ "record": record })),
                    )?;
                }
            }
            None => {
                let mut body = json!({ "source": "publisher" });
                if let Some(record) = record {
                    body["record"] = record.into();
                }
                match self.ask("POST", &format!("/v3/config/paths/add/{path}"), Some(&body)) {
                    // Somebody else was quicker.
                    Err(Trouble::Status(400, said)) if said.contains("already exists") => {}
                    Err(trouble) => return Err(trouble),
                    Ok(_) => {}
                }
            }
        }
        let began = Instant::now();
        let recording = loop {
            match self.configured(path)? {
                Some(found) if fits(&found, record) => break is_recorded(&found),
                _ if began.elapsed() >= DONE_WITHIN => return Err(Trouble::Undone(path.to_owned())),
                _ => std::thread::sleep(LOOK_EVERY),
            }
        };
        let global = self.ask("GET", "/v3/config/global/get", None).ok().flatten().unwrap_or_default();
        Ok(Settled { started, recording, global })
    }

    fn configured(&self, path: &str) -> Result<Option<Value>, Trouble> {
        self.ask("GET", &format!("/v3/config/paths/get/{path}"), None)
    }

    /// `None`: there is no such thing.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Option<Value>, Trouble> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some((user, password)) = &self.login {
            let both = format!("{user}:{}", password.expose());
            let header = format!("Basic {}", gstreamer::glib::base64_encode(both.as_bytes()));
            request = request.header("Authorization", header);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header("Content-Type", "application/json").body(body);
        let request = request.map_err(|error| Trouble::Silent(error.to_string()))?;
        let answer = self.agent.run(request).map_err(|error| Trouble::Silent(error.to_string()))?;
        let status = answer.status().as_u16();
        let mut text = Vec::new();
        let mut reader = answer.into_body().into_reader().take(LONGEST);
        reader.read_to_end(&mut text).map_err(|error| Trouble::Silent(error.to_string()))?;
        let value: Option<Value> = serde_json::from_slice(&text).ok();
        match status {
            200 => value.map(Some).ok_or(Trouble::Strange),
            401 | 403 => Err(Trouble::Refused),
            // A server that is not MediaMTX has no such path either.
            404 if value.is_some() => Ok(None),
            404 => Err(Trouble::Strange),
            _ => {
                let said = value.as_ref().and_then(|value| value.get("error")?.as_str()).unwrap_or_default();
                Err(Trouble::Status(status, said.chars().take(200).collect()))
            }
        }
    }
}

fn is_recorded(path: &Value) -> bool {
    path.get("record").and_then(Value::as_bool).unwrap_or(false)
}

fn fits(path: &Value, record: Option<bool>) -> bool {
    record.is_none_or(|record| is_recorded(path) == record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_what_the_server_has_switched_on() {
        let plan = Mediamtx {
            url: Url::parse("rtsp://hub.local:8554/yard/porch").unwrap(),
            query: None,
            path: "yard/porch".into(),
            username: None,
            pass: super::super::super::plan::Pass::None,
            any_certificate: false,
            api: None,
            record: None,
        };
        let global = json!({
            "hls": true, "hlsAddress": ":8888", "hlsEncryption": false,
            "webrtc": true, "webrtcAddress": "0.0.0.0:8889", "webrtcEncryption": true,
            "rtmp": false, "rtmpAddress": ":1935", "srt": true, "srtAddress": ":8890",
        });
        let urls = urls(&global, &plan);
        let list: Vec<_> = urls.iter().map(|(name, url)| (name.as_str(), url.as_str())).collect();
        assert_eq!(
            list,
            [
                ("hls", "http://hub.local:8888/yard/porch/index.m3u8"),
                ("srt", "srt://hub.local:8890?streamid=read:yard/porch"),
                ("webrtc", "https://hub.local:8889/yard/porch"),
                ("whep", "https://hub.local:8889/yard/porch/whep"),
            ]
        );
    }
}
