//! Which camera a printer has, or in words why none. Pure.
//!
//! Its address is, in this order: the one that is set of the printer (`rtspUrl`), the one that is set for all
//! (`printers.rtsp_url`), the one that the printer tells, the one that its model has. What a printer tells may
//! name another host: it is asked for where the printer itself is. A1 and P1 tell nothing and have a protocol
//! of their own; which one it is depends on the model, never on a port that happens to answer.

use std::net::Ipv6Addr;

use url::{Position, Url};

use super::models::{CameraProtocol, Model};
use super::printer::Printer;
use super::state::PrinterState;
use crate::config::model::{BambuJpeg, Camera, Idle, Rtsp, Source, TlsCheck};
use crate::config::{self, Secret};
use crate::tls::Fingerprint;

/// Every printer has this one user.
const USER: &str = "bblp";
const RTSPS_PORT: u16 = 322;
const PATH: &str = "/streaming/live/1";
/// How the id of a camera begins that cannot have its printer's.
const BESIDE: &str = "printer-";
/// What a printer tells instead of an address.
const OFF: &str = "disable";
/// Jitter buffer: printers are on the same network.
const LATENCY_MS: u32 = 100;

/// The id of a printer's camera: its own, as text, unless a camera of the configuration has that.
pub fn id(printer: i64, taken: impl Fn(&str) -> bool) -> String {
    let own = printer.to_string();
    id_beside(&own).filter(|_| taken(&own)).unwrap_or(own)
}

/// All ids that the printer's camera may have.
pub fn ids(printer: i64) -> [String; 2] {
    let own = printer.to_string();
    [format!("{BESIDE}{own}"), own]
}

/// What stands in for an id that is another camera's; `None` for one that stands in already.
pub fn id_beside(own: &str) -> Option<String> {
    (!own.starts_with(BESIDE)).then(|| format!("{BESIDE}{own}"))
}

/// The camera of `printer` under this id. `pin` is the certificate that the printer is known by.
///
/// # Errors
/// Why there is none, and what to do.
pub fn decide(
    id: String,
    printer: &Printer,
    state: &PrinterState,
    pin: Option<Fingerprint>,
    settings: &config::model::Printers,
) -> Result<Camera, String> {
    if printer.access_code.expose().is_empty() {
        return Err("its access code is not known; write it again".into());
    }
    let source = source(printer, state, pin, settings)?;
    let mut camera = Camera::new(id, source);
    camera.name = Some(printer.name.clone());
    // A printer gives its pictures to very few at a time.
    camera.idle = Idle::Close;
    Ok(camera)
}

fn source(
    printer: &Printer,
    state: &PrinterState,
    pin: Option<Fingerprint>,
    settings: &config::model::Printers,
) -> Result<Source, String> {
    let bracketed = bracketed(&printer.host);
    let for_all = settings.rtsp_url.as_ref().map(|url| url.replace("{host}", &bracketed));
    if let Some(set) = printer.rtsp_url.clone().or(for_all) {
        return rtsp(&set, printer, pin);
    }
    let model = match state.model {
        Model::Unknown => Model::from_serial(&printer.serial),
        known => known,
    };
    let own = || format!("rtsps://{bracketed}:{RTSPS_PORT}{PATH}");
    match (model.camera(), state.rtsp_url.as_deref().filter(|told| !told.is_empty())) {
        (Some(CameraProtocol::Jpeg6000), _) => Ok(Source::BambuJpeg(BambuJpeg {
            host: printer.host.clone(),
            port: settings.jpeg_port,
            access_code: Some(printer.access_code.clone()),
            access_code_file: None,
            fingerprint: Some(pin.ok_or_else(unmet)?),
        })),
        (_, Some(OFF)) => {
            Err("LAN Only Liveview is off; switch it on at the printer's screen: Settings → LAN \
                               Only → LAN Only Liveview"
                .into())
        }
        (_, Some(told)) => rtsp(&at(&bracketed, told).unwrap_or_else(own), printer, pin),
        (Some(CameraProtocol::Rtsps), None) => rtsp(&own(), printer, pin),
        (None, None) if state.last_update.is_none() => {
            Err("its model is not known before the printer is connected".into())
        }
        (None, None) => {
            Err("its model is not known here and it names no camera; write the camera's address as rtspUrl"
                .into())
        }
    }
}

/// The address that a printer tells, at the host where it really is. Encrypted, or none: it gets the code.
fn at(host: &str, told: &str) -> Option<String> {
    let url = Url::parse(told).ok().filter(|url| url.scheme() == "rtsps")?;
    let port = url.port().unwrap_or(RTSPS_PORT);
    Some(format!("rtsps://{host}:{port}{}", &url[Position::BeforePath..]))
}

/// Whoever is at the printer's address would get the access code, and nobody knows yet who that is.
fn unmet() -> String {
    "it comes when the printer is connected, and known by its certificate".into()
}

/// A camera at this address. The printer's code and certificate are for the printer itself, and the code is
/// given to that certificate alone: what is not encrypted or at another host is logged in to with what stands
/// in its address.
fn rtsp(address: &str, printer: &Printer, pin: Option<Fingerprint>) -> Result<Source, String> {
    let (url, inside) = config::take_credentials(address);
    let parsed = Url::parse(&url).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let own = host.eq_ignore_ascii_case(&bracketed(&printer.host));
    let encrypted = parsed.as_ref().is_some_and(|url| url.scheme() == "rtsps");
    let (username, password): (Option<String>, Option<Secret>) = match inside {
        Some(inside) => (Some(inside.username), inside.password),
        None if own && encrypted => {
            pin.ok_or_else(unmet)?;
            (Some(USER.into()), Some(printer.access_code.clone()))
        }
        None => (None, None),
    };
    let fingerprint = pin.filter(|_| own && encrypted);
    let tls = if fingerprint.is_some() { TlsCheck::Pin } else { TlsCheck::Any };
    Ok(Source::Rtsp(Rtsp { latency_ms: LATENCY_MS, tls, fingerprint, ..Rtsp::at(url, username, password) }))
}

/// A host as it stands in a URL.
fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn printer(serial: &str) -> Printer {
        Printer {
            id: 1,
            name: "Studio".into(),
            host: "192.0.2.7".into(),
            serial: serial.into(),
            access_code: Secret::new("12345678"),
            rtsp_url: None,
            pin: None,
        }
    }

    fn pin() -> Option<Fingerprint> {
        Some(Fingerprint::of(b"x"))
    }

    fn told(url: Option<&str>) -> PrinterState {
        PrinterState {
            rtsp_url: url.map(str::to_owned),
            last_update: Some(SystemTime::UNIX_EPOCH),
            ..PrinterState::default()
        }
    }

    fn of(printer: &Printer, state: &PrinterState) -> Result<Source, String> {
        let settings = config::model::Printers::default();
        decide("1".into(), printer, state, pin(), &settings).map(|camera| camera.source)
    }

    #[test]
    fn a_printers_rtsp_camera_is_where_the_printer_is_whatever_it_tells() {
        for (serial, says, expected) in [
            ("00M1234ABC", None, "rtsps://192.0.2.7:322/streaming/live/1"),
            (
                "00M1234ABC",
                Some("rtsps://10.0.0.9/streaming/live/1"),
                "rtsps://192.0.2.7:322/streaming/live/1",
            ),
            ("00M1234ABC", Some("rtsps://0.0.0.0:3322/live/2?x=1"), "rtsps://192.0.2.7:3322/live/2?x=1"),
            ("00M1234ABC", Some("rtsps://u:p@10.0.0.9:322/a"), "rtsps://192.0.2.7:322/a"),
            ("00M1234ABC", Some(""), "rtsps://192.0.2.7:322/streaming/live/1"),
            ("00M1234ABC", Some("http://x/"), "rtsps://192.0.2.7:322/streaming/live/1"),
            // It would get the code in plain text.
            ("22E1234ABC", Some("rtsp://10.0.0.9/a"), "rtsps://192.0.2.7:322/streaming/live/1"),
            // A model that nobody knows, by what it tells.
            ("ZZZ1234ABC", Some("rtsps://10.0.0.9:322/a"), "rtsps://192.0.2.7:322/a"),
        ] {
            let Source::Rtsp(rtsp) = of(&printer(serial), &told(says)).unwrap() else { panic!("{says:?}") };
            assert_eq!(rtsp.url, expected, "{serial} {says:?}");
            assert_eq!(rtsp.username.as_deref(), Some("bblp"));
            assert_eq!(rtsp.password, Some(Secret::new("12345678")));
        }
    }

    #[test]
    fn an_a1_or_p1_has_its_camera_on_port_6000_whatever_it_tells() {
        for serial in ["01P1234ABC", "01S1234ABC", "0391234ABC", "0301234ABC"] {
            for says in [None, Some("disable"), Some("rtsps://10.0.0.9/a")] {
                let Source::BambuJpeg(bambu) = of(&printer(serial), &told(says)).unwrap() else { panic!() };
                assert_eq!((bambu.host.as_str(), bambu.port), ("192.0.2.7", 6000));
                assert_eq!(bambu.access_code, Some(Secret::new("12345678")));
            }
        }
    }

    #[test]
    fn why_there_is_no_camera_is_said_with_what_to_do() {
        let locked = Printer { access_code: Secret::new(""), ..printer("00M1234ABC") };
        for (printer, state, words) in [
            (printer("0941234ABC"), told(Some("disable")), "LAN Only Liveview"),
            (printer("ZZZ1234ABC"), told(Some("disable")), "LAN Only Liveview"),
            (printer("ZZZ1234ABC"), PrinterState::default(), "before the printer is connected"),
            (printer("ZZZ1234ABC"), told(None), "rtspUrl"),
            (locked, told(None), "access code"),
        ] {
            let why = of(&printer, &state).unwrap_err();
            assert!(why.contains(words), "{words:?} in {why:?}");
        }
    }

    #[test]
    fn an_address_that_was_set_wins_the_printers_own_over_the_one_for_all() {
        let settings = config::model::Printers {
            rtsp_url: Some("rtsps://{host}:8322/all".into()),
            ..config::model::Printers::default()
        };
        let url = |printer: &Printer, state: &PrinterState| {
            let camera = decide("1".into(), printer, state, pin(), &settings).unwrap();
            let Source::Rtsp(rtsp) = camera.source else { panic!() };
            (rtsp.url, rtsp.username, rtsp.password.map(|password| password.expose().to_owned()))
        };
        let code = || Some("12345678".to_owned());
        let user = |name: &str| Some(name.to_owned());
        let mut own = printer("00M1234ABC");
        let off = told(Some("disable"));
        assert_eq!(url(&own, &off), ("rtsps://192.0.2.7:8322/all".into(), user("bblp"), code()));
        own.host = "fd00::20".into();
        assert_eq!(url(&own, &off).0, "rtsps://[fd00::20]:8322/all");
        own.rtsp_url = Some("rtsps://[fd00::20]/mine".into());
        assert_eq!(url(&own, &off), ("rtsps://[fd00::20]/mine".into(), user("bblp"), code()));
        // Another machine never gets the printer's code, nor does anybody in plain text.
        own.rtsp_url = Some("rtsp://[fd00::20]/mine".into());
        assert_eq!(url(&own, &off), ("rtsp://[fd00::20]/mine".into(), None, None));
        own.rtsp_url = Some("rtsp://cam.local/porch".into());
        assert_eq!(url(&own, &off), ("rtsp://cam.local/porch".into(), None, None));
        own.rtsp_url = Some("rtsp://u:p@cam.local/porch".into());
        assert_eq!(url(&own, &off), ("rtsp://cam.local/porch".into(), user("u"), user("p")));
    }

    #[test]
    fn the_printers_certificate_is_its_cameras_too_and_no_other_machines() {
        let pin = Some(Fingerprint::of(b"x"));
        let settings = config::model::Printers::default();
        let source =
            |printer: &Printer| decide("1".into(), printer, &told(None), pin, &settings).unwrap().source;
        let mut x1 = printer("00M1234ABC");
        let Source::Rtsp(rtsp) = source(&x1) else { panic!() };
        assert_eq!((rtsp.tls, rtsp.fingerprint), (TlsCheck::Pin, pin));
        let Source::BambuJpeg(bambu) = source(&printer("01P1234ABC")) else { panic!() };
        assert_eq!(bambu.fingerprint, pin);
        for elsewhere in ["rtsps://cam.local/x", "rtsp://192.0.2.7/x"] {
            x1.rtsp_url = Some(elsewhere.into());
            let Source::Rtsp(rtsp) = source(&x1) else { panic!() };
            assert_eq!((rtsp.tls, rtsp.fingerprint), (TlsCheck::Any, None), "{elsewhere}");
        }
    }

    #[test]
    fn nobody_gets_the_code_before_the_printers_certificate_is_known() {
        let settings = config::model::Printers::default();
        let unmet =
            |printer: &Printer| decide("1".into(), printer, &told(None), None, &settings).map(|it| it.source);
        for serial in ["00M1234ABC", "01P1234ABC"] {
            assert!(
                unmet(&printer(serial)).unwrap_err().contains("when the printer is connected"),
                "{serial}"
            );
        }
        let mut x1 = printer("00M1234ABC");
        x1.rtsp_url = Some("rtsps://192.0.2.7/x".into());
        assert!(unmet(&x1).is_err());
        for elsewhere in ["rtsps://cam.local/x", "rtsp://192.0.2.7/x"] {
            x1.rtsp_url = Some(elsewhere.into());
            let Source::Rtsp(rtsp) = unmet(&x1).unwrap() else { panic!() };
            assert_eq!((rtsp.username, rtsp.password), (None, None), "{elsewhere}");
        }
    }

    #[test]
    fn a_cameras_id_is_the_printers_unless_the_configuration_has_it() {
        assert_eq!(id(1, |_| false), "1");
        assert_eq!(id(1, |id| id == "1"), "printer-1");
        let settings = config::model::Printers::default();
        let camera = decide("1".into(), &printer("00M1234ABC"), &told(None), pin(), &settings).unwrap();
        assert_eq!((camera.id.as_str(), camera.display_name(), camera.idle), ("1", "Studio", Idle::Close));
    }
}
