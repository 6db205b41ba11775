//! `fanlight healthcheck`: asks a running service for `/health` or `/ready`, for Docker and scripts.
//!
//! One line and the exit code: 0 for an answer of 200, 1 for everything else, within the time given.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use url::Url;

use crate::config;

/// More than any answer of ours; of somebody else's page the beginning is enough.
const LARGEST: u64 = 64 * 1024;

/// `fanlight healthcheck`.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// Ask whether pictures flow (/ready), not only whether the service runs (/health).
    #[arg(long)]
    pub ready: bool,
    /// Where the service listens. Default: as configured (FANLIGHT_BIND, FANLIGHT_PORT).
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// How long it may take in all.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub timeout: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=300.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 0.1 to 300".into()),
    }
}

/// Asks and prints one line. `file` and `environment` tell where the service listens; they are not read
/// when `--url` is given. Blocks for the timeout at most.
pub fn run(
    args: &HealthcheckArgs,
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let base = match &args.url {
        Some(url) => url.clone(),
        None => {
            let server = config::load(file, environment)
                .context("--url would name the service directly")?
                .config
                .server;
            anyhow::ensure!(
                server.port != 0,
                "server.port is 0, so only the service knows where it listens: name it with --url"
            );
            format!("http://{}", reachable(server.bind, server.port))
        }
    };
    let url = target(&base, if args.ready { "/ready" } else { "/health" })?;
    let (good, words) = match ask(&url, Duration::from_secs_f64(args.timeout)) {
        Ok((status, body)) => (status == 200, format!("{status}{}", essence(&body))),
        Err(error) => (false, error.to_string()),
    };
    writeln!(out, "{}: {url} {words}", if good { "ok" } else { "failed" })?;
    Ok(u8::from(!good))
}

/// An address that reaches a service that listens on `bind`: loopback where it listens on all.
fn reachable(bind: IpAddr, port: u16) -> SocketAddr {
    let address = match bind {
        IpAddr::V4(bind) if bind.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(bind) if bind.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        bind => bind,
    };
    SocketAddr::new(address, port)
}

/// The whole URL: `path` under `base`, or `base` as it is when it has a path of its own.
fn target(base: &str, path: &str) -> anyhow::Result<Url> {
    let bad = || format!("{:?} is not a URL such as http://127.0.0.1:8080", config::redact_url(base));
    let mut url = Url::parse(base).with_context(bad)?;
    anyhow::ensure!(matches!(url.scheme(), "http" | "https") && url.has_host(), bad());
    if url.path() == "/" {
        url.set_path(path);
    }
    Ok(url)
}

fn ask(url: &Url, limit: Duration) -> Result<(u16, String), ureq::Error> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy of the environment's is for the world, not for this machine's own service.
        .proxy(None)
        .build();
    let mut answer = ureq::Agent::new_with_config(config).get(url.as_str()).call()?;
    let status = answer.status().as_u16();
    // The status is the answer; a body that is odd or too long only says nothing more.
    let body = answer.body_mut().with_config().limit(LARGEST).read_to_string().unwrap_or_default();
    Ok((status, body))
}

/// What a JSON answer says in words: its status and its reason.
fn essence(body: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return String::new() };
    let said = [&body["status"], &body["reason"], &body["error"]["message"]];
    let said = said.iter().filter_map(|value| value.as_str());
    let said: Vec<String> = said.map(|words| words.replace(char::is_control, " ")).collect();
    if said.is_empty() { String::new() } else { format!(", {}", said.join(": ")) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};
    use std::time::Instant;

    use super::*;

    /// A service that answers one request so, and gives the path that was asked for.
    fn service(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let path = request(&stream);
            stream.write_all(answer.as_bytes()).unwrap();
            path
        });
        (url, serving)
    }

    fn request(stream: &TcpStream) -> String {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let first = lines.next().unwrap();
        lines.find(String::is_empty).unwrap();
        first.split(' ').nth(1).unwrap().to_owned()
    }

    fn check(url: &str, ready: bool, timeout: f64) -> (u8, String) {
        let args = HealthcheckArgs { ready, url: Some(url.into()), timeout };
        let mut out = Vec::new();
        let code = run(&args, None, |_| None, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_healthy_service_is_0_and_one_that_is_not_ready_is_1_with_its_reason() {
        let (url, serving) = service("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"status\":\"healthy\"}");
        assert_eq!(check(&url, false, 5.0), (0, format!("ok: {url}/health 200, healthy\n")));
        assert_eq!(serving.join().unwrap(), "/health");

        let body = "{\"status\":\"not_ready\",\"reason\":\"no_frames\"}";
        let answer = format!("HTTP/1.1 503 No\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let (url, serving) = service(answer.leak());
        assert_eq!(check(&url, true, 5.0), (1, format!("failed: {url}/ready 503, not_ready: no_frames\n")));
        assert_eq!(serving.join().unwrap(), "/ready");
    }

    #[test]
    fn nobody_there_and_nobody_answering_fail_within_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let began = Instant::now();
        let (code, line) = check(&url, false, 0.2);
        assert_eq!((code, line.starts_with("failed: ")), (1, true), "{line}");
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(listener);
        let (code, line) = check(&url, false, 5.0);
        assert_eq!((code, line.starts_with("failed: ")), (1, true), "{line}");
    }

    #[test]
    fn a_page_of_somebody_elses_is_not_a_healthy_service() {
        let (url, serving) = service("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(check(&url, false, 5.0), (1, format!("failed: {url}/health 302\n")));
        serving.join().unwrap();
    }

    #[test]
    fn the_address_is_the_configured_one_and_all_addresses_mean_loopback() {
        for (bind, expected) in [
            ("127.0.0.1", "127.0.0.1:8080"),
            ("0.0.0.0", "127.0.0.1:8080"),
            ("::", "[::1]:8080"),
            ("192.168.1.5", "192.168.1.5:8080"),
        ] {
            assert_eq!(reachable(bind.parse().unwrap(), 8080).to_string(), expected);
        }
        let (url, serving) = service("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        let port = url.rsplit(':').next().unwrap().to_owned();
        let environment = |name: &str| match name {
            "FANLIGHT_BIND" => Some("0.0.0.0".into()),
            "FANLIGHT_PORT" => Some(port.clone()),
            _ => None,
        };
        let args = HealthcheckArgs { ready: false, url: None, timeout: 5.0 };
        let mut out = Vec::new();
        assert_eq!(run(&args, None, environment, &mut out).unwrap(), 0);
        serving.join().unwrap();
    }

    #[test]
    fn a_url_may_have_a_path_and_must_be_one() {
        let target = |base: &str| target(base, "/ready").map(String::from).map_err(|error| error.to_string());
        assert_eq!(target("http://a:1"), Ok("http://a:1/ready".into()));
        assert_eq!(target("http://a:1/cam/health"), Ok("http://a:1/cam/health".into()));
        for bad in ["a:1", "ftp://a", "", "/health"] {
            assert!(target(bad).unwrap_err().contains("is not a URL"), "{bad}");
        }
    }
}
