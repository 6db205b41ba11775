//! Looks at the LiveKit server of a configuration as publishers and viewers will meet it, and says for
//! each thing that is wrong how to mend it. Asks (bounded in time, blocking) and judges (pure) apart.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::tls::{RootCerts, TlsConfig};

use super::{Key, http_url, ingress, token};
use crate::config::model::{Config, Target};
use crate::config::{redact_path, redact_url};

/// For each question.
const WITHIN: Duration = Duration::from_secs(5);
/// More than any answer that counts.
const LARGEST: u64 = 256 * 1024;
/// LiveKit takes tokens of clocks that differ by this much.
const LEEWAY: Duration = Duration::from_secs(60);
/// From here on it is worth a word.
const NOTICEABLE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Good,
    /// Worth knowing, and nothing that is configured needs it.
    Note,
    Bad,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `server`, `clock`, `key`, `WHIP`, `ingress`, or an output's id.
    pub about: String,
    pub level: Level,
    pub words: String,
    /// What to do about it.
    pub mend: Option<String>,
}

impl Finding {
    fn new(about: &str, level: Level, words: impl Into<String>, mend: Option<&str>) -> Self {
        Self { about: about.into(), level, words: words.into(), mend: mend.map(str::to_owned) }
    }

    fn good(about: &str, words: impl Into<String>) -> Self {
        Self::new(about, Level::Good, words, None)
    }

    fn bad(about: &str, words: impl Into<String>, mend: &str) -> Self {
        Self::new(about, Level::Bad, words, Some(mend))
    }
}

/// An answer, as far as it is judged.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    date: Option<SystemTime>,
    body: String,
    /// The middle between question and answer by this machine's clock.
    at: SystemTime,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Silence {
    NoHost,
    Refused,
    Timeout,
    Tls(String),
    Other(String),
}

/// Checks the server of `[livekit]` and the ways of the configured outputs. Blocks for some seconds.
pub fn check(config: &Config) -> Vec<Finding> {
    let livekit = &config.livekit;
    let Some(url) = &livekit.url else {
        let mend = "set livekit.url (or LIVEKIT_HOST), such as ws://127.0.0.1:7880";
        return vec![Finding::bad("server", "no address of a LiveKit server is configured", mend)];
    };
    let server = http_url(url);
    let asker = Asker::new();
    let hello = asker.ask("GET", &format!("{server}/"), None, "", "");
    let mut findings = vec![reachable(&redact_url(url), &hello)];
    findings.extend(unencrypted(livekit.public_url.as_deref().unwrap_or(url)));
    let Ok(hello) = hello else { return findings };
    if findings[0].level == Level::Bad {
        return findings;
    }
    let skew = skew(&hello);
    findings.push(clock(skew));
    match Key::of(livekit).map(|key| token::admin(&key)) {
        None => findings.push(Finding::bad(
            "key",
            "no key is configured",
            "set livekit.api_key and livekit.api_secret_file (or LIVEKIT_API_KEY and LIVEKIT_API_SECRET) to a \
             pair of the server's keys",
        )),
        Some(Err(error)) => findings.push(Finding::bad("key", error.to_string(), "write the key anew")),
        Some(Ok(token)) => {
            let twirp = |method: &str| {
                let url = format!("{server}/twirp/livekit.{method}");
                asker.ask("POST", &url, Some(&token), "application/json", "{}")
            };
            let accepted = key(&twirp("RoomService/ListRooms"), skew);
            let good = accepted.level == Level::Good;
            findings.push(accepted);
            if good {
                findings.push(ingresses(&twirp("Ingress/ListIngress"), needs_ingress(config)));
            }
        }
    }
    let whip = asker.ask("POST", &format!("{server}/whip/v1"), None, "application/sdp", "v=0");
    findings.push(whip_endpoint(&whip, needs_whip(config)));
    for output in &config.publish {
        if let Target::Rtmp(to) = &output.target {
            findings.push(rtmp(&output.id, &to.url));
        }
    }
    findings
}

fn needs_ingress(config: &Config) -> bool {
    config.publish.iter().any(|output| matches!(output.target, Target::Rtmp(_)))
}

fn needs_whip(config: &Config) -> bool {
    config.publish.iter().any(|output| matches!(&output.target, Target::Whip(to) if to.room.is_some()))
}

fn reachable(url: &str, answer: &Result<Answer, Silence>) -> Finding {
    let about = "server";
    match answer {
        Ok(Answer { status: 200, body, .. }) if body.trim() == "OK" => {
            Finding::good(about, format!("LiveKit answers at {url}"))
        }
        Ok(Answer { status: 406, .. }) => Finding::bad(
            about,
            format!("LiveKit at {url} says that it is not ready"),
            "look at LiveKit's log: its node is overloaded or has lost Redis",
        ),
        Ok(Answer { status, .. }) => Finding::bad(
            about,
            format!("something answers at {url} with {status}, and not as LiveKit does"),
            "check host and port of livekit.url; a proxy before LiveKit must pass / on as well",
        ),
        Err(Silence::NoHost) => Finding::bad(
            about,
            format!("the host of {url} has no address"),
            "check the name in livekit.url and this machine's DNS",
        ),
        Err(Silence::Refused) => Finding::bad(
            about,
            format!("nothing listens at {url}"),
            "start LiveKit, or check host and port of livekit.url; in a container 127.0.0.1 is the container",
        ),
        Err(Silence::Timeout) => Finding::bad(
            about,
            format!("no answer from {url} within {} s", WITHIN.as_secs()),
            "a firewall drops it, or LiveKit hangs: check port and firewall, then LiveKit's log",
        ),
        Err(Silence::Tls(error)) => Finding::bad(
            about,
            format!("no encrypted connection to {url}: {error}"),
            "check the certificate (name, validity, chain); write ws:// when LiveKit itself is asked without a proxy",
        ),
        Err(Silence::Other(error)) => {
            Finding::bad(about, format!("{url} cannot be asked: {error}"), "check livekit.url")
        }
    }
}

/// Pages over https may not open ws:// to other machines.
fn unencrypted(public: &str) -> Option<Finding> {
    let url = url::Url::parse(&http_url(public)).ok()?;
    let here = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "http" && !here).then(|| {
        Finding::new(
            "server",
            Level::Note,
            format!("{} is not encrypted: a page over https may not use it", redact_url(public)),
            Some("put a proxy with TLS before LiveKit and tell browsers its wss:// address in livekit.public_url"),
        )
    })
}

/// By how much this machine's clock is ahead of the server's; negative: behind.
fn skew(answer: &Answer) -> Option<i64> {
    let seconds = |time: SystemTime| jiff::Timestamp::try_from(time).ok().map(|time| time.as_second());
    Some(seconds(answer.at)? - seconds(answer.date?)?)
}

fn clock(skew: Option<i64>) -> Finding {
    const MEND: &str = "let both machines keep time by NTP (timedatectl set-ntp true)";
    let Some(skew) = skew else {
        return Finding::new("clock", Level::Note, "the server does not tell its time", None);
    };
    let by = Duration::from_secs(skew.unsigned_abs());
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let words = format!("this machine's clock is {} s {direction} the server's", by.as_secs());
    match by {
        by if by > LEEWAY => {
            Finding::bad("clock", format!("{words}: tokens made here are not valid there"), MEND)
        }
        by if by > NOTICEABLE => Finding::new("clock", Level::Note, words, Some(MEND)),
        _ => Finding::good("clock", "this machine's clock agrees with the server's"),
    }
}

fn key(answer: &Result<Answer, Silence>, skew: Option<i64>) -> Finding {
    match answer {
        Ok(Answer { status: 200, .. }) => Finding::good("key", "the server takes the key"),
        Ok(Answer { status: 401 | 403, .. })
            if skew.is_some_and(|skew| skew.unsigned_abs() > LEEWAY.as_secs()) =>
        {
            Finding::bad(
                "key",
                "the server does not take the token, as the clocks differ",
                "set the clock first",
            )
        }
        Ok(Answer { status: 401 | 403, body, .. }) => {
            let words = match said(body) {
                Some(said) => format!("the server does not take the key: {said}"),
                None => "the server does not take the key".into(),
            };
            Finding::bad(
                "key",
                words,
                "livekit.api_key and its secret must be a pair that stands under keys: in LiveKit's configuration",
            )
        }
        Ok(Answer { status, .. }) => Finding::bad(
            "key",
            format!("the server's interface answers {status}"),
            "a proxy before LiveKit must pass /twirp on as well",
        ),
        Err(silence) => Finding::bad(
            "key",
            format!("the server's interface does not answer: {}", words(silence)),
            "look at LiveKit's log",
        ),
    }
}

fn whip_endpoint(answer: &Result<Answer, Silence>, needed: bool) -> Finding {
    let level = if needed { Level::Bad } else { Level::Note };
    match answer {
        Ok(Answer { status: 404, .. }) => Finding::new(
            "WHIP",
            level,
            "the server has no /whip/v1",
            Some("take LiveKit 1.9.1 or newer (a proxy must pass /whip on), or publish natively"),
        ),
        Ok(_) => Finding::good("WHIP", "the server takes WHIP at /whip/v1"),
        Err(silence) => {
            let words = format!("/whip/v1 does not answer: {}", words(silence));
            Finding::new("WHIP", level, words, Some("look at LiveKit's log"))
        }
    }
}

fn ingresses(answer: &Result<Answer, Silence>, needed: bool) -> Finding {
    let level = if needed { Level::Bad } else { Level::Note };
    match answer {
        Ok(Answer { status: 200, body, .. }) => {
            let count = serde_json::from_str::<Value>(body).ok();
            let count = count.and_then(|list| list["items"].as_array().map(Vec::len)).unwrap_or(0);
            Finding::good("ingress", format!("the server knows ingresses, {count} so far"))
        }
        Ok(Answer { body, .. }) if ingress::not_connected(body) => Finding::new(
            "ingress",
            level,
            "ingress not connected: the server runs without Redis and knows no ingresses",
            Some(
                "for RTMP give LiveKit redis.address and ingress.rtmp_base_url, and run the ingress service; \
                 native and WHIP publishing need neither",
            ),
        ),
        Ok(Answer { status, body, .. }) => {
            let said = said(body).map(|said| format!(": {said}")).unwrap_or_default();
            let words = format!("the server's ingress interface answers {status}{said}");
            Finding::new("ingress", level, words, Some("look at LiveKit's log"))
        }
        Err(silence) => {
            let words = format!("the ingress interface does not answer: {}", words(silence));
            Finding::new("ingress", level, words, Some("look at LiveKit's log"))
        }
    }
}

/// Whether anything listens where an RTMP output goes: whether it is an ingress shows when it is used.
fn rtmp(id: &str, url: &str) -> Finding {
    let about = format!("output {id}");
    let shown = redact_path(url);
    let Some((host, port)) = url::Url::parse(url).ok().and_then(|url| {
        let port = url.port().unwrap_or(if url.scheme() == "rtmps" { 443 } else { 1935 });
        Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), port))
    }) else {
        return Finding::bad(&about, format!("{shown} is not an address"), "check its url");
    };
    let addresses = lookup(host, port);
    if addresses.is_empty() {
        return Finding::bad(
            &about,
            format!("the host of {shown} has no address"),
            "check the name in its url",
        );
    }
    let connected = addresses.iter().any(|address| TcpStream::connect_timeout(address, WITHIN).is_ok());
    if connected {
        Finding::good(&about, format!("something listens at {shown}"))
    } else {
        Finding::bad(
            &about,
            format!("nothing listens at {shown}"),
            "start the ingress service (or the RTMP server) there, or check host and port of its url",
        )
    }
}

/// The addresses of a host. The system's look-up has no limit of its own: one that hangs keeps its thread
/// until the process ends, which is soon.
fn lookup(host: String, port: u16) -> Vec<SocketAddr> {
    let (give, take) = mpsc::sync_channel(1);
    let look = move || {
        // Nobody waits any more when the limit has passed.
        let _ = give.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect));
    };
    if thread::Builder::new().spawn(look).is_err() {
        return Vec::new();
    }
    take.recv_timeout(WITHIN).ok().and_then(Result::ok).unwrap_or_default()
}

/// What an error of LiveKit's says, cut to a line.
fn said(body: &str) -> Option<String> {
    let json: Value = serde_json::from_str(body).ok()?;
    let words = json["msg"].as_str().or(json["error"].as_str())?;
    Some(words.chars().filter(|c| !c.is_control()).take(200).collect())
}

fn words(silence: &Silence) -> String {
    match silence {
        Silence::NoHost => "the host has no address".into(),
        Silence::Refused => "nothing listens".into(),
        Silence::Timeout => format!("nothing within {} s", WITHIN.as_secs()),
        Silence::Tls(error) | Silence::Other(error) => error.clone(),
    }
}

struct Asker(ureq::Agent);

impl Asker {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(WITHIN))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The machine's authorities, as publishers have them.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            // Publishers do not go through a proxy either.
            .proxy(None)
            .build();
        Self(ureq::Agent::new_with_config(config))
    }

    fn ask(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        kind: &str,
        body: &str,
    ) -> Result<Answer, Silence> {
        let asked = SystemTime::now();
        let answer = if method == "GET" {
            self.0.get(url).call()
        } else {
            let mut request = self.0.post(url).header("Content-Type", kind);
            if let Some(token) = token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            request.send(body)
        };
        let mut answer = answer.map_err(silence)?;
        let took = asked.elapsed().unwrap_or_default();
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        Ok(Answer {
            status: answer.status().as_u16(),
            date: date.map(SystemTime::from),
            body: answer.body_mut().with_config().limit(LARGEST).read_to_string().unwrap_or_default(),
            at: asked + took / 2,
        })
    }
}

fn silence(error: ureq::Error) -> Silence {
    match error {
        ureq::Error::HostNotFound => Silence::NoHost,
        ureq::Error::Timeout(_) => Silence::Timeout,
        ureq::Error::ConnectionFailed => Silence::Refused,
        ureq::Error::Tls(error) => Silence::Tls(error.into()),
        ureq::Error::Rustls(error) => Silence::Tls(error.to_string()),
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Silence::Refused,
            std::io::ErrorKind::TimedOut => Silence::Timeout,
            // A handshake that fails is an error of input or output, too.
            _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Silence::Tls(tls.to_string()),
                None => Silence::Other(error.to_string()),
            },
        },
        other => Silence::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, Silence> {
        Ok(Answer { status, date: None, body: body.into(), at: UNIX_EPOCH })
    }

    #[test]
    fn each_way_of_not_answering_has_its_words_and_its_mend() {
        let table = [
            (answer(200, "OK"), Level::Good, "LiveKit answers", ""),
            (answer(406, "Not Ready"), Level::Bad, "not ready", "overloaded"),
            (answer(200, "<html>"), Level::Bad, "not as LiveKit does", "proxy"),
            (answer(502, ""), Level::Bad, "with 502", "proxy"),
            (Err(Silence::NoHost), Level::Bad, "has no address", "DNS"),
            (Err(Silence::Refused), Level::Bad, "nothing listens", "start LiveKit"),
            (Err(Silence::Timeout), Level::Bad, "within 5 s", "firewall"),
            (Err(Silence::Tls("expired".into())), Level::Bad, "expired", "certificate"),
            (Err(Silence::Other("odd".into())), Level::Bad, "odd", "livekit.url"),
        ];
        for (answer, level, words, mend) in table {
            let found = reachable("ws://sfu", &answer);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.words.contains(words) && found.mend.unwrap_or_default().contains(mend), "{words}");
        }
    }

    #[test]
    fn clocks_that_differ_by_more_than_livekit_forgives_are_named_before_the_key() {
        for (skew, level, words) in [
            (Some(0), Level::Good, "agrees"),
            (Some(-9), Level::Good, "agrees"),
            (Some(30), Level::Note, "30 s ahead of"),
            (Some(-61), Level::Bad, "61 s behind"),
            (Some(i64::MIN), Level::Bad, "behind"),
            (None, Level::Note, "does not tell"),
        ] {
            let found = clock(skew);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.words.contains(words), "{found:?}");
        }
        let refused = answer(401, "{\"error\":\"invalid token\"}");
        assert!(key(&refused, Some(-3600)).mend.unwrap().contains("clock"));
        let wrong = key(&refused, Some(1));
        assert!(wrong.words.ends_with("does not take the key: invalid token"), "{wrong:?}");
        assert!(wrong.mend.unwrap().contains("keys:"));
        assert_eq!(key(&answer(200, "{}"), Some(-3600)).level, Level::Good);
        assert_eq!(key(&answer(404, ""), None).level, Level::Bad);
    }

    #[test]
    fn what_nothing_configured_needs_is_no_failure() {
        let absent = answer(404, "404 page not found");
        assert_eq!(
            (whip_endpoint(&absent, true).level, whip_endpoint(&absent, false).level),
            (Level::Bad, Level::Note)
        );
        assert_eq!(whip_endpoint(&answer(401, ""), true).level, Level::Good);
        let absent = answer(500, r#"{"code":"internal","msg":"ingress not connected (redis required)"}"#);
        let needed = ingresses(&absent, true);
        assert!(needed.level == Level::Bad && needed.mend.unwrap().contains("redis.address"));
        assert_eq!(ingresses(&absent, false).level, Level::Note);
        let two = ingresses(&answer(200, r#"{"items":[{},{}]}"#), true);
        assert!(two.level == Level::Good && two.words.contains("2 so far"), "{two:?}");
    }

    #[test]
    fn an_unencrypted_address_for_other_machines_is_worth_a_word() {
        for (url, noted) in [
            ("ws://127.0.0.1:7880", false),
            ("http://localhost:7880", false),
            ("ws://[::1]:7880", false),
            ("wss://sfu", false),
            ("ws://sfu", true),
            ("http://192.0.2.1:7880", true),
        ] {
            assert_eq!(unencrypted(url).is_some(), noted, "{url}");
        }
    }
}
