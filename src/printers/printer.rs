//! A printer as it is added: what is known of it before anybody has asked it. Pure.
//!
//! [`Settings::read`] reads what page and API send and names every field that is wrong, each with what to
//! write instead; nothing is taken of a body in which one is. The registry keeps what comes out.

use std::net::{IpAddr, Ipv6Addr};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::{Secret, check_url, nearest, take_credentials};
use crate::tls::Fingerprint;

/// As many bytes as the camera protocol of the A1 and P1 has for it.
const LONGEST_CODE: usize = 32;
const LONGEST_NAME: usize = 64;
const LONGEST_URL: usize = 1024;
/// What API answers hold beside the settings: a body that is such an answer with a change is fine.
const ANSWERED: &[&str] = &["id", "hasAccessCode", "status", "certificate", "camera"];

/// A printer of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printer {
    /// Given once; also the id of its camera, as text.
    pub id: i64,
    pub name: String,
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    pub serial: String,
    /// Empty when it is sealed and cannot be opened: nobody connects then.
    pub access_code: Secret,
    /// Where its camera is, when that is not what the printer says.
    pub rtsp_url: Option<String>,
    /// SHA-256 of its certificate, learnt at the first connection.
    pub pin: Option<Fingerprint>,
}

/// What is set of a printer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub name: String,
    pub host: String,
    pub serial: String,
    /// `None` keeps the one that there is.
    pub access_code: Option<Secret>,
    pub rtsp_url: Option<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// As in the body: `serial`.
    pub field: String,
    /// What is wrong and what to write.
    pub message: String,
}

impl FieldError {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Settings {
    /// Reads a body. `others` are the printers that there are beside this one.
    ///
    /// # Errors
    /// All that is wrong, a field at a time.
    pub fn read<'p>(
        body: &Map<String, Value>,
        others: impl Iterator<Item = &'p Printer> + Clone,
        needs_code: bool,
    ) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields { body, errors: Vec::new() };
        fields.unknown();
        let name = fields.required("name", "a name for people", name);
        let host = fields.required("host", "the printer's address on the network", host);
        let serial = fields.required("serial", "the serial number that the printer shows", serial);
        let access_code = match needs_code {
            true => fields.required("accessCode", "the access code that the printer shows", code),
            false => fields.optional("accessCode", code),
        };
        let rtsp_url = fields.optional("rtspUrl", rtsp_url);
        let taken = |field: &str, same: &dyn Fn(&Printer) -> bool| {
            let other = others.clone().find(|printer| same(printer))?;
            let message = format!("printer {} ({}) has this {field} already", other.id, other.name);
            Some(FieldError::new(field, message))
        };
        let clashes = [
            host.as_ref().and_then(|host| taken("host", &|other| other.host == *host)),
            serial.as_ref().and_then(|serial| taken("serial", &|other| other.serial == *serial)),
        ];
        fields.errors.extend(clashes.into_iter().flatten());
        match (name, host, serial) {
            (Some(name), Some(host), Some(serial)) if fields.errors.is_empty() => {
                Ok(Self { name, host, serial, access_code: access_code.map(Secret::new), rtsp_url })
            }
            _ => Err(fields.errors),
        }
    }
}

impl Settings {
    /// Whether the printer is set like this.
    pub fn is_of(&self, printer: &Printer) -> bool {
        let Printer { id: _, name, host, serial, access_code, rtsp_url, pin: _ } = printer;
        self.name == *name
            && self.host == *host
            && self.serial == *serial
            && self.rtsp_url == *rtsp_url
            && self.access_code.as_ref().is_none_or(|code| code == access_code)
    }

    /// Whether the access code that is kept of `old` may be used with these settings, where they bring none.
    /// It is told to nobody, and nobody may have it sent elsewhere: a certificate that is shown at another address
    /// could be accepted next.
    ///
    /// # Errors
    /// The field that is missing then.
    pub fn may_keep_code(&self, old: &Printer) -> Result<(), Vec<FieldError>> {
        let other = match () {
            () if self.access_code.is_some() => return Ok(()),
            () if self.serial != old.serial => "another serial number is another printer",
            () if self.host != old.host => "another address may be another machine",
            () => return Ok(()),
        };
        Err(vec![FieldError::new("accessCode", format!("{other}: write its access code as well"))])
    }
}

/// The body as it is read, and what was found wrong.
struct Fields<'b> {
    body: &'b Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields<'_> {
    fn unknown(&mut self) {
        const KNOWN: [&str; 5] = ["name", "host", "serial", "accessCode", "rtspUrl"];
        for key in self.body.keys() {
            if !KNOWN.contains(&key.as_str()) && !ANSWERED.contains(&key.as_str()) {
                let near = nearest(key, KNOWN.into_iter());
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                let shown: String = key.chars().take(LONGEST_NAME).collect();
                self.errors.push(FieldError::new(&shown, format!("there is no such field{hint}")));
            }
        }
    }

    fn required(&mut self, field: &str, what: &str, check: Check) -> Option<String> {
        let before = self.errors.len();
        let value = self.optional(field, check);
        if value.is_none() && self.errors.len() == before {
            self.errors.push(FieldError::new(field, format!("it is missing: {what}")));
        }
        value
    }

    /// Null and blank text are none.
    fn optional(&mut self, field: &str, check: Check) -> Option<String> {
        let checked = match self.body.get(field)? {
            Value::Null => return None,
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => check(text.trim()),
            _ => Err("it is no text: write it in quotes".into()),
        };
        checked.map_err(|message| self.errors.push(FieldError::new(field, message))).ok()
    }
}

/// The value as it is kept, or what is wrong with it.
type Check = fn(&str) -> Result<String, String>;

fn name(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it has a control character in it".into());
    }
    if text.chars().count() > LONGEST_NAME {
        return Err(format!("it is longer than {LONGEST_NAME} characters"));
    }
    Ok(text.into())
}

/// Topics are made of it, so nothing but letters and digits.
fn serial(text: &str) -> Result<String, String> {
    let fits = (6..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !fits {
        let message = "write the serial number as the printer shows it: 6 to 32 letters and digits, such as \
                       00M09A123456789";
        return Err(message.into());
    }
    Ok(text.to_ascii_uppercase())
}

fn code(text: &str) -> Result<String, String> {
    // The value is never shown, not even when it is wrong.
    if text.len() > LONGEST_CODE || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "write the access code as the printer shows it: 8 letters and digits, never more than {LONGEST_CODE}"
        ));
    }
    Ok(text.into())
}

fn host(text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains(['/', '@', '?', '#', ' ']) {
        return Err("write the address alone, without scheme, user, path or space: 192.168.1.10".into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let address = address.to_canonical();
        if address.is_unspecified() || address.is_multicast() || address == IpAddr::from([255; 4]) {
            return Err(format!("no printer can be reached at {address}"));
        }
        return Ok(address.to_string());
    }
    if bare != text || text.split('%').next().is_some_and(|rest| rest.parse::<Ipv6Addr>().is_ok()) {
        return Err("this is no IPv6 address that can be used; write one such as 2001:db8::7, without a \
                    zone"
            .into());
    }
    if text.contains(':') {
        return Err("write the address alone, without a port: 192.168.1.10".into());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    // What looks like an address and is none must not be looked up as a name.
    let number = lower.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if number || lower.len() > 253 || !lower.split('.').all(label) {
        return Err("write an IP address such as 192.168.1.10, or a host name such as printer.lan".into());
    }
    Ok(lower)
}

fn rtsp_url(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_URL {
        return Err(format!("it is longer than {LONGEST_URL} characters"));
    }
    check_url(text, &["rtsps", "rtsp"])?;
    if take_credentials(text).1.is_some() {
        return Err("leave user and password out: the access code is used".into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn printer(id: i64, host: &str, serial: &str) -> Printer {
        Printer {
            id,
            name: format!("printer {id}"),
            host: host.into(),
            serial: serial.into(),
            access_code: Secret::new("12345678"),
            rtsp_url: None,
            pin: None,
        }
    }

    fn read(body: Value, others: &[Printer], needs_code: bool) -> Result<Settings, Vec<FieldError>> {
        let Value::Object(body) = body else { panic!("an object") };
        Settings::read(&body, others.iter(), needs_code)
    }

    fn body(field: &str, value: impl Into<Value>) -> Value {
        let mut body = json!({
            "name": "Studio X1", "host": "192.168.1.10", "serial": "00M1234ABC", "accessCode": "12345678",
        });
        body[field] = value.into();
        body
    }

    /// The fields that are wrong.
    fn wrong(result: Result<Settings, Vec<FieldError>>) -> Vec<String> {
        result.err().unwrap_or_default().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_printer_is_read_as_pages_and_the_api_send_it() {
        let settings = read(body("rtspUrl", Value::Null), &[], true).unwrap();
        let expected = Settings {
            name: "Studio X1".into(),
            host: "192.168.1.10".into(),
            serial: "00M1234ABC".into(),
            access_code: Some(Secret::new("12345678")),
            rtsp_url: None,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn an_answer_of_the_api_with_a_change_is_taken_and_keeps_the_code() {
        let answer = json!({
            "id": 1, "name": "Studio", "host": "printer.lan", "serial": "00M1234ABC", "accessCode": null,
            "hasAccessCode": true, "rtspUrl": null,
        });
        let settings = read(answer, &[], false).unwrap();
        assert_eq!((settings.name.as_str(), settings.access_code), ("Studio", None));
    }

    #[test]
    fn an_address_is_a_name_or_an_ip_address_and_no_part_of_a_url() {
        let good = [
            ("192.168.1.10", "192.168.1.10"),
            (" Printer.LAN ", "printer.lan"),
            ("bambu-x1.local.", "bambu-x1.local"),
            ("2001:DB8::0:7", "2001:db8::7"),
            ("[fe80::1]", "fe80::1"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
        ];
        for (text, kept) in good {
            assert_eq!(read(body("host", text), &[], true).map(|it| it.host), Ok(kept.into()), "{text}");
        }
        let bad = [
            "http://192.168.1.10",
            "192.168.1.10:8883",
            "[2001:db8::7]:8883",
            "user@printer",
            "printer/path",
            "printer?x",
            "printer lan",
            "192.168.1",
            "192.168.1.256",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1%eth0",
            "[printer]",
            "-printer",
            "pri..nter",
            "dr\u{fc}cker",
        ];
        for text in bad {
            assert_eq!(wrong(read(body("host", text), &[], true)), ["host"], "{text}");
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_named_with_the_mend() {
        let table: &[(&str, Value)] = &[
            ("name", json!("a\nb")),
            ("name", json!("x".repeat(65))),
            ("name", json!("  ")),
            ("name", json!(7)),
            ("serial", json!("00M/+#")),
            ("serial", json!("00M")),
            ("serial", Value::Null),
            ("accessCode", json!("1234 678")),
            ("accessCode", json!("x".repeat(33))),
            ("accessCode", Value::Null),
            ("rtspUrl", json!("http://192.168.1.10/x")),
            ("rtspUrl", json!("rtsps://bblp:hunter2@192.168.1.10/x")),
            ("rtspUrl", json!("rtsps://")),
            ("acessCode", json!("12345678")),
        ];
        for (field, value) in table {
            let errors = read(body(field, value.clone()), &[], true).unwrap_err();
            assert_eq!(errors[0].field, *field, "{value}");
            assert!(!errors[0].message.is_empty() && !errors[0].message.contains("hunter2"));
        }
        let all = wrong(read(json!({}), &[], true));
        assert_eq!(all, ["name", "host", "serial", "accessCode"]);
        assert_eq!(wrong(read(json!({}), &[], false)), ["name", "host", "serial"]);
    }

    #[test]
    fn the_code_that_is_kept_goes_to_no_other_machine() {
        let unknown = printer(1, "192.168.1.10", "00M1234ABC");
        let known = Printer { pin: Some(Fingerprint::of(b"x")), ..unknown.clone() };
        let may = |field: &str, value: &str, code: bool, old: &Printer| {
            let mut body = body(field, value);
            if !code {
                body["accessCode"] = Value::Null;
            }
            let settings = read(body, &[], false).unwrap();
            settings.may_keep_code(old).map_err(|errors| errors[0].field.clone())
        };
        let missing = || Err("accessCode".to_owned());
        for old in [&unknown, &known] {
            assert_eq!(may("name", "Other", false, old), Ok(()));
            assert_eq!(may("serial", "00M9999999", false, old), missing());
            assert_eq!(may("serial", "00M9999999", true, old), Ok(()));
            assert_eq!(may("host", "192.168.1.66", true, old), Ok(()));
            assert_eq!(may("host", "192.168.1.66", false, old), missing());
        }
    }

    #[test]
    fn two_printers_have_neither_the_same_serial_nor_the_same_address() {
        let others = [printer(1, "192.168.1.10", "AAAAAA"), printer(2, "other.lan", "00M1234ABC")];
        let errors = read(body("serial", "00m1234abc"), &others, true).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["host", "serial"]);
        assert!(errors[1].message.contains("printer 2"), "{}", errors[1].message);
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_taken_again_as_it_is_kept(
            name in "\\PC{0,20}", host in "[ -~]{0,20}|[0-9.]{4,12}|[a-f0-9:]{2,12}", serial in "[ -~]{0,20}",
            code in "[ -~]{0,20}", url in "(rtsps?://)?[ -~]{0,20}",
        ) {
            let body = json!({
                "name": name, "host": host, "serial": serial, "accessCode": code, "rtspUrl": url,
            });
            if let Ok(settings) = read(body, &[], true) {
                let again = json!({
                    "name": settings.name, "host": settings.host, "serial": settings.serial,
                    "accessCode": settings.access_code.as_ref().map(Secret::expose),
                    "rtspUrl": settings.rtsp_url,
                });
                prop_assert_eq!(read(again, &[], true), Ok(settings));
            }
        }
    }
}
