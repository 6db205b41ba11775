//! Where printers and their cameras may be: what [`crate::reach`] lets through, what `printers.allow_networks`
//! names, and loopback while this service itself listens nowhere else. Whoever may add a printer could otherwise
//! make it ask what only this machine can.
//!
//! [`check`] tells at once what would be refused; whoever connects looks again, at the addresses it goes to. A
//! name that cannot be looked up is no error here: it may be known tomorrow.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Url;

use super::printer::{FieldError, Settings};
use crate::config::model::{Camera, Printers};
use crate::config::{Config, Network};
use crate::reach::{Reach, ReachError, port};

/// For a name to be looked up while somebody waits.
const LOOKUP: Duration = Duration::from_secs(3);

/// What is let through in any case.
pub fn networks(config: &Config) -> Vec<Network> {
    let mut networks = config.printers.allow_networks.clone();
    if config.server.bind.is_loopback() {
        networks.extend(["127.0.0.0/8", "::1"].iter().filter_map(|network| network.parse::<Network>().ok()));
    }
    networks
}

/// The camera of a printer, kept to where it may be. An address that stands whole in the configuration was
/// given by whoever has the machine.
pub fn confine(camera: Camera, own_url: Option<&str>, config: &Config) -> Camera {
    let Printers { rtsp_url, .. } = &config.printers;
    let trusted = own_url.is_none() && rtsp_url.as_ref().is_some_and(|url| !url.contains("{host}"));
    Camera { confined: (!trusted).then(|| networks(config)), ..camera }
}

/// Whether a printer with these settings may be gone to.
///
/// # Errors
/// The fields that lead where none may.
pub async fn check(settings: &Settings, config: &Config) -> Result<(), Vec<FieldError>> {
    let reach = Reach::new(networks(config));
    let url = settings.rtsp_url.as_deref().and_then(|url| Url::parse(url).ok());
    let camera = url.as_ref().and_then(|url| Some((url.host_str()?, port(url))));
    let printer = (settings.host.as_str(), config.printers.mqtt_port);
    let mut errors = Vec::new();
    for (field, target) in [("host", Some(printer)), ("rtspUrl", camera)] {
        let Some((host, port)) = target else { continue };
        if let Ok(Err(error @ ReachError::Refused(..))) = timeout(LOOKUP, resolve(&reach, host, port)).await {
            errors.push(FieldError { field: field.into(), message: words(&error) });
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The addresses of a host that may be gone to.
///
/// # Errors
/// When there is none.
pub async fn resolve(reach: &Reach, host: &str, port: u16) -> Result<Vec<SocketAddr>, ReachError> {
    let host = host.trim_matches(['[', ']']);
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| ReachError::Lookup(host.to_owned(), error.to_string()))?;
    reach.those(host, found)
}

/// Why not, with the key that says otherwise.
pub fn words(error: &ReachError) -> String {
    match error {
        ReachError::Refused(ip, what) => {
            format!("{ip} is {what}; name it in printers.allow_networks if that is meant")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::config::model::Source;

    fn settings(host: &str, rtsp_url: Option<&str>) -> Settings {
        Settings {
            name: "Studio".into(),
            host: host.into(),
            serial: "00M1234ABC".into(),
            access_code: Some(Secret::new("12345678")),
            rtsp_url: rtsp_url.map(str::to_owned),
        }
    }

    fn config(bind: &str, allow: &[&str]) -> Config {
        let mut config = Config::default();
        config.server.bind = bind.parse().unwrap();
        config.printers.allow_networks = allow.iter().map(|network| network.parse().unwrap()).collect();
        config
    }

    async fn refused(settings: &Settings, config: &Config) -> Vec<String> {
        let errors = check(settings, config).await.err().unwrap_or_default();
        assert!(errors.iter().all(|error| error.message.contains("printers.allow_networks")), "{errors:?}");
        errors.into_iter().map(|error| error.field).collect()
    }

    #[tokio::test]
    async fn a_printer_is_on_the_network_and_not_what_only_this_machine_reaches() {
        let open = config("0.0.0.0", &[]);
        for (host, url, wrong) in [
            ("192.168.1.10", Some("rtsps://10.0.0.7:322/x"), &[][..]),
            ("fd00::7", Some("rtsp://[fd00::8]/x"), &[]),
            ("127.0.0.1", None, &["host"]),
            ("::1", None, &["host"]),
            ("localhost", None, &["host"]),
            ("169.254.169.254", None, &["host"]),
            ("fe80::1", None, &["host"]),
            ("192.168.1.10", Some("rtsp://127.0.0.1:8554/x"), &["rtspUrl"]),
            ("169.254.169.254", Some("rtsp://[::1]/x"), &["host", "rtspUrl"]),
            ("192.168.1.10", Some("rtsp://224.0.0.1/x"), &["rtspUrl"]),
        ] {
            assert_eq!(refused(&settings(host, url), &open).await, wrong, "{host} {url:?}");
        }
    }

    #[tokio::test]
    async fn loopback_is_for_a_service_on_loopback_or_where_it_is_allowed() {
        let here = settings("127.0.0.7", Some("rtsps://localhost/x"));
        let metadata = settings("169.254.169.254", None);
        assert!(refused(&here, &config("127.0.0.1", &[])).await.is_empty());
        assert!(refused(&here, &config("0.0.0.0", &["127.0.0.0/8", "::1"])).await.is_empty());
        assert_eq!(refused(&metadata, &config("127.0.0.1", &[])).await, ["host"]);
    }

    #[test]
    fn a_camera_is_kept_to_it_unless_the_configuration_names_its_address() {
        let confined = |own: Option<&str>, for_all: Option<&str>| {
            let mut config = config("0.0.0.0", &[]);
            config.printers.rtsp_url = for_all.map(str::to_owned);
            confine(Camera::new("1", Source::Test {}), own, &config).confined.is_some()
        };
        assert!(confined(None, None) && confined(None, Some("rtsps://{host}:322/x")));
        assert!(confined(Some("rtsp://a/x"), Some("rtsp://127.0.0.1:8554/x")));
        assert!(!confined(None, Some("rtsp://127.0.0.1:8554/x")));
    }
}
