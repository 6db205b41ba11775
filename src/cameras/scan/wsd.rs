//! WS-Discovery 1.0 as ONVIF cameras speak it (ONVIF Core, chapter 7): the question, and what is believed of an
//! answer. Pure. Whoever is in the network may answer anything: sizes are bounded, entities are not expanded,
//! and an address counts only when it is the one that the answer came from.

use std::net::IpAddr;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use url::Url;

/// Larger answers are cut, and then no XML.
pub const LARGEST: usize = 16 * 1024;
/// Parts of an answer that are looked at.
const PARTS: usize = 2000;
/// Characters of a name.
const LONGEST_NAME: usize = 100;

/// A device that says that it gives video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: Option<String>,
    pub hardware: Option<String>,
    /// Where its ONVIF service is.
    pub service: Option<String>,
}

/// Asks every ONVIF device that gives video. `id` is a UUID that the answers repeat.
pub fn probe(id: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
         xmlns:dn=\"http://www.onvif.org/ver10/network/wsdl\">\
         <s:Header><a:Action s:mustUnderstand=\"1\">\
         http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>\
         <a:MessageID>urn:uuid:{id}</a:MessageID>\
         <a:To s:mustUnderstand=\"1\">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>\
         <s:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"
    )
}

/// What an answer says of the device that it came from; `None` when it is none to the question `id`.
pub fn answer(bytes: &[u8], id: &str, from: IpAddr) -> Option<Device> {
    let answer = read(std::str::from_utf8(bytes).ok()?)?;
    let words = |text: &str, word: &str| text.split_ascii_whitespace().any(|each| each == word);
    let video = |types: &str| {
        types.split_ascii_whitespace().any(|each| each.rsplit(':').next() == Some("NetworkVideoTransmitter"))
    };
    if !words(&answer.relates_to, &format!("urn:uuid:{id}")) || !video(&answer.types) {
        return None;
    }
    let service = answer.addresses.split_ascii_whitespace().take(8).find_map(|text| own_service(text, from));
    Some(Device { name: scope(&answer.scopes, "name"), hardware: scope(&answer.scopes, "hardware"), service })
}

/// The text of the elements that count, of the first device in it.
#[derive(Debug, Default)]
struct Answer {
    relates_to: String,
    types: String,
    scopes: String,
    addresses: String,
}

fn read(text: &str) -> Option<Answer> {
    let mut reader = Reader::from_str(text);
    let (mut answer, mut inside, mut devices) = (Answer::default(), Vec::<String>::new(), 0);
    for _ in 0..PARTS {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let name = start.local_name();
                let name = name.as_ref();
                devices += u32::from(inside.last().is_some_and(|outer| outer == "ProbeMatches"));
                inside.push(name.to_owned());
            }
            Event::End(_) => drop(inside.pop()),
            Event::Text(text) => put(&mut answer, &inside, devices, &text),
            Event::CData(text) => put(&mut answer, &inside, devices, &text),
            Event::GeneralRef(reference) => {
                // What a document declares itself is not expanded: it could grow without end.
                let text = match reference.resolve_char_ref().ok()? {
                    Some(c) => c.to_string(),
                    None => resolve_predefined_entity(&reference)?.to_owned(),
                };
                put(&mut answer, &inside, devices, &text);
            }
            Event::DocType(_) => return None,
            Event::Eof => return Some(answer),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    None
}

fn put(answer: &mut Answer, inside: &[String], devices: u32, text: &str) {
    let place = match inside {
        [.., header, name] if header == "Header" && name == "RelatesTo" => &mut answer.relates_to,
        [.., outer, name] if outer == "ProbeMatch" && devices == 1 => match name.as_str() {
            "Types" => &mut answer.types,
            "Scopes" => &mut answer.scopes,
            "XAddrs" => &mut answer.addresses,
            _ => return,
        },
        _ => return,
    };
    place.push_str(text);
}

/// An address of a service, if it is at the device that says so.
fn own_service(text: &str, from: IpAddr) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host: IpAddr = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.as_str().len() <= 256;
    (plain && host.to_canonical() == from.to_canonical()).then(|| url.into())
}

/// What a scope `onvif://www.onvif.org/name/The%20gate` says.
fn scope(scopes: &str, kind: &str) -> Option<String> {
    let value = scopes.split_ascii_whitespace().find_map(|scope| {
        let (scheme, rest) = scope.split_once("://")?;
        let rest = rest.split_once('/').filter(|_| scheme.eq_ignore_ascii_case("onvif"))?.1;
        let (name, value) = rest.split_once('/')?;
        name.eq_ignore_ascii_case(kind).then_some(value)
    })?;
    // As a form has it, but for these two signs.
    let pairs = format!("v={}", value.replace('+', "%2B").replace('&', "%26"));
    let (_, decoded) = url::form_urlencoded::parse(pairs.as_bytes()).next()?;
    let clean: String = decoded.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0a6dc791-2be6-4991-9af1-454778a1917a";
    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 7));

    fn letter(id: &str, types: &str, scopes: &str, addresses: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- a camera -->\n\
             <SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://www.w3.org/2003/05/soap-envelope\">\
             <SOAP-ENV:Header><wsa:MessageID>uuid:1</wsa:MessageID><wsa:RelatesTo>urn:uuid:{id}</wsa:RelatesTo>\
             </SOAP-ENV:Header><SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch>\
             <wsa:EndpointReference><wsa:Address>urn:uuid:2</wsa:Address></wsa:EndpointReference>\
             <d:Types>{types}</d:Types><d:Scopes>{scopes}</d:Scopes><d:XAddrs>{addresses}</d:XAddrs>\
             <d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body>\
             </SOAP-ENV:Envelope>"
        )
    }

    const VIDEO: &str = "dn:NetworkVideoTransmitter tds:Device";
    const SCOPES: &str = "onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/The%20gate+1 \
                          onvif://www.onvif.org/hardware/ACME-1&amp;2";
    const SERVICE: &str = "http://192.168.1.7/onvif/device_service";

    #[test]
    fn a_camera_is_known_by_what_it_says_of_itself() {
        let device = answer(letter(ID, VIDEO, SCOPES, SERVICE).as_bytes(), ID, FROM).unwrap();
        assert_eq!(device.name.as_deref(), Some("The gate+1"));
        assert_eq!(device.hardware.as_deref(), Some("ACME-1&2"));
        assert_eq!(device.service.as_deref(), Some(SERVICE));
        let nameless = answer(letter(ID, "NetworkVideoTransmitter", "", "").as_bytes(), ID, FROM).unwrap();
        assert_eq!(nameless, Device { name: None, hardware: None, service: None });
    }

    #[test]
    fn an_address_that_is_not_the_senders_is_not_taken() {
        for (addresses, expected) in [
            ("http://10.0.0.1/x http://192.168.1.7:8080/x", Some("http://192.168.1.7:8080/x")),
            ("http://[::ffff:192.168.1.7]/x", Some("http://[::ffff:c0a8:107]/x")),
            ("http://camera.local/x", None),
            ("http://192.168.1.7@evil.example/x", None),
            ("http://u:p@192.168.1.7/x", None),
            ("file:///etc/passwd ftp://192.168.1.7/ gopher", None),
        ] {
            let device = answer(letter(ID, VIDEO, SCOPES, addresses).as_bytes(), ID, FROM).unwrap();
            assert_eq!(device.service.as_deref(), expected, "{addresses}");
        }
    }

    #[test]
    fn what_answers_another_question_or_is_no_camera_or_no_xml_is_left_out() {
        let good = letter(ID, VIDEO, SCOPES, SERVICE);
        let bomb = good.replacen("<!-- a camera -->", "<!DOCTYPE x [<!ENTITY a \"aaaa\">]>", 1);
        for text in [
            letter("another", VIDEO, SCOPES, SERVICE),
            letter(ID, "wsdp:Device wprt:PrintDeviceType", SCOPES, SERVICE),
            good.replacen("ProbeMatch>", "Other>", 2),
            letter(ID, VIDEO, "&unknown;", SERVICE),
            bomb,
            good[..good.len() / 2].to_owned(),
            good.replacen("</SOAP-ENV:Header>", "</SOAP-ENV:Other>", 1),
            "<a>".repeat(5000),
            String::new(),
        ] {
            assert_eq!(answer(text.as_bytes(), ID, FROM), None, "{}", &text[..text.len().min(200)]);
        }
        assert_eq!(answer(b"\xff\xfe<", ID, FROM), None);
    }

    #[test]
    fn the_question_is_xml_with_its_id() {
        let mut reader = Reader::from_str("");
        assert_eq!(reader.read_event().unwrap(), Event::Eof);
        let question = probe(ID);
        let mut reader = Reader::from_str(&question);
        while reader.read_event().unwrap() != Event::Eof {}
        assert!(question.contains(&format!("<a:MessageID>urn:uuid:{ID}</a:MessageID>")));
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reading_and_no_foreign_address_comes_of_it(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            cut in 0..1200usize,
            scopes in "\\PC{0,300}",
        ) {
            answer(&bytes, ID, FROM);
            let mut text = letter(ID, VIDEO, &scopes, "http://10.9.9.9/x").into_bytes();
            text.truncate(cut.max(1));
            text.extend(&bytes);
            answer(&text, ID, FROM);
            if let Some(device) = answer(letter(ID, VIDEO, &scopes, "http://10.9.9.9/x").as_bytes(), ID, FROM) {
                prop_assert_eq!(device.service, None);
                prop_assert!(device.name.is_none_or(|name| name.chars().count() <= LONGEST_NAME));
            }
        }
    }
}
