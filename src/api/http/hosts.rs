//! By which names this service is asked. A page of the internet can have its own name lead to this machine for
//! a moment (DNS rebinding): its browser then takes the service for that page's own server. While nobody has to
//! log in, who asks for more than a look must use a name that is this machine's.

use serde_json::json;
use warp::http::{HeaderMap, StatusCode, header};

use super::answer::Fault;

/// Whether the `Host` of a request is one that no page of the internet has: an address, localhost, the machine's
/// own name, or one of `hosts`. Programs that send none are no browsers.
///
/// # Errors
/// 421, with what to do.
pub fn known(request: &HeaderMap, machine: &str, hosts: &[String]) -> Result<(), Fault> {
    let Some(host) = request.get(header::HOST) else { return Ok(()) };
    let asked = host.to_str().unwrap_or_default();
    if is_known(name(asked), machine, hosts) {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(host.as_bytes()).chars().take(100).collect();
    let message = format!(
        "this machine is not known as {shown:?}; if that is its name, add it to server.hosts, or configure [access]"
    );
    let details = json!({ "host": shown });
    Err(Fault::new(StatusCode::MISDIRECTED_REQUEST, "HOST_NOT_ALLOWED", message, details))
}

/// The name without its port.
fn name(host: &str) -> &str {
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, rest)) if port(rest) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

fn is_known(name: &str, machine: &str, hosts: &[String]) -> bool {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if address.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is = |other: &str| !other.is_empty() && other.trim_end_matches('.').eq_ignore_ascii_case(&name);
    let short = machine.split('.').next().unwrap_or_default();
    name == "localhost"
        || name.ends_with(".localhost")
        || is(machine)
        || is(short)
        // As it is found in its own network: nobody else can have such a name.
        || ["local", "lan", "home.arpa"].iter().any(|zone| is(&format!("{short}.{zone}")) && !short.is_empty())
        || hosts.iter().any(|host| is(host))
}

/// What the machine is called.
pub fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_page_of_the_internet_may_have_is_not_known() {
        let hosts = ["cam.example.org".to_owned()];
        for (host, good) in [
            ("127.0.0.1:8080", true),
            ("192.168.1.7", true),
            ("[::1]:8080", true),
            ("[fd00::7]", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("app.localhost", true),
            ("porch", true),
            ("Porch.local:8080", true),
            ("porch.lan", true),
            ("porch.home.arpa.", true),
            ("cam.example.org", true),
            ("CAM.example.org:443", true),
            ("evil.example", false),
            ("porch.evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("notlocalhost", false),
            ("x.cam.example.org", false),
            ("local", false),
            (".local", false),
            ("", false),
        ] {
            let headers: HeaderMap = [(header::HOST, host.parse().unwrap())].into_iter().collect();
            assert_eq!(known(&headers, "porch", &hosts).is_ok(), good, "{host:?}");
        }
        assert!(known(&HeaderMap::new(), "porch", &[]).is_ok());
        let headers: HeaderMap = [(header::HOST, ".local".parse().unwrap())].into_iter().collect();
        assert!(known(&headers, "", &[]).is_err(), "a machine without a name has none");
        let full: HeaderMap = [(header::HOST, "porch.example.net".parse().unwrap())].into_iter().collect();
        assert!(known(&full, "porch.example.net", &[]).is_ok());
    }
}
