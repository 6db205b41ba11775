//! Camera addresses: what a URL must have, taking a user and password out of one, and writing one
//! without its secrets. Pure text work; the text of the operator is kept but for the credentials,
//! because cameras have paths that a normalising parser would spoil.

use url::{Host, Url};

/// The path in `sqlite:///data/a.db`, `sqlite://a.db` or `sqlite:a.db?mode=rwc`; other text as it is.
pub fn sqlite_path(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("sqlite:") else { return text };
    let path = rest.strip_prefix("//").unwrap_or(rest);
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// Names in a query or path whose value is a secret (some cameras have `user=admin_password=x` there).
const SECRET_NAMES: [&str; 9] =
    ["jwt", "password", "passwd", "pass", "pwd", "token", "secret", "key", "auth"];

/// A user and perhaps a password, taken out of a URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: Option<super::Secret>,
}

/// Says what is wrong with a URL; the message never shows a password in it.
pub fn check(text: &str, schemes: &[&str]) -> Result<(), String> {
    let allowed = || {
        let schemes: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://host/path")).collect();
        super::value::list(&schemes)
    };
    let shown = if schemes.contains(&"rtmp") {
        // A stream key stands in the path, and there is no telling where when the rest is wrong.
        "this".to_string()
    } else {
        super::value::shortened(&redact(text))
    };
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!("{shown} has a space or control character in it; write {}", allowed()));
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !scheme.as_deref().is_some_and(|scheme| schemes.contains(&scheme)) {
        return Err(format!("{shown} is not allowed; write {}", allowed()));
    }
    let (plain, _) = take_credentials(text);
    let url = Url::parse(&plain).map_err(|error| {
        let hint = if text.contains('@') {
            "; a password with / ? or # in it goes into the key password, or percent-encoded here \
             (%2F %3F %23)"
        } else {
            ""
        };
        format!("{shown} is not a URL ({error}){hint}")
    })?;
    match url.host() {
        None | Some(Host::Domain("")) => Err(format!("{shown} has no host; write {}", allowed())),
        Some(_) if url.port() == Some(0) => {
            Err(format!("{shown} has port 0; leave it out or write 1 to 65535"))
        }
        Some(_) => Ok(()),
    }
}

/// Like [`check`], and says no to a user and password in the URL.
pub fn check_plain(text: &str, schemes: &[&str]) -> Result<(), String> {
    check(text, schemes)?;
    if user_info(text).is_some() {
        return Err("a user and password in this url are not used; take them out".into());
    }
    Ok(())
}

/// Parts an RTMP address: `rtmp://host/app/KEY` is the server `rtmp://host/app` and the key `KEY`. With
/// one name or none after the host there is no key in it. A query belongs to the key.
pub fn take_stream_key(text: &str) -> (String, Option<super::Secret>) {
    let Some(start) = text.find("://").map(|at| at + 3) else { return (text.into(), None) };
    let end = text[start..].find(['?', '#']).map_or(text.len(), |end| start + end);
    let path = text[start..end].find('/').map(|slash| start + slash + 1);
    match path.and_then(|path| Some((path, path + text[path..end].rfind('/')?))) {
        Some((path, slash)) if slash > path && slash + 1 < end => {
            (text[..slash].into(), Some(super::Secret::new(&text[slash + 1..])))
        }
        _ => (text.into(), None),
    }
}

/// A `http(s)` URL with everything after the first name of its path as `***`: for addresses in which a
/// stream key may stand.
pub fn redact_path(text: &str) -> String {
    let text = redact(text);
    let Some(start) = text.find("://").map(|at| at + 3) else { return "***".into() };
    let mut slashes = text[start..].match_indices(['/', '?', '#']).map(|(at, _)| start + at);
    match (slashes.next(), slashes.next()) {
        (Some(_), Some(second)) if second + 1 < text.len() => format!("{}***", &text[..=second]),
        (Some(first), _) if text.as_bytes().get(first) != Some(&b'/') => format!("{}***", &text[..=first]),
        _ => text,
    }
}

/// The URL without its user and password, and those two, percent-decoded.
pub fn take_credentials(text: &str) -> (String, Option<Credentials>) {
    let Some((start, at)) = user_info(text) else { return (text.into(), None) };
    let plain = format!("{}{}", &text[..start], &text[at + 1..]);
    let info = &text[start..at];
    let (username, password) = match info.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (info, None),
    };
    let password = password.map(|password| super::Secret::new(percent_decoded(password)));
    (plain, Some(Credentials { username: percent_decoded(username), password }))
}

/// The URL with every secret in it as `***`, for logs, pages and messages. Takes any text.
pub fn redact(text: &str) -> String {
    let hidden = match user_info(text) {
        Some((start, at)) => format!("{}***{}", &text[..start], &text[at..]),
        // Not a URL, perhaps because a `/` stands in the password: hide up to the last `@`.
        None => match (text.find("://"), text.rfind('@')) {
            (Some(scheme), Some(at)) if scheme + 3 <= at && Url::parse(text).is_err() => {
                format!("{}***{}", &text[..scheme + 3], &text[at..])
            }
            (None, Some(at)) => format!("***{}", &text[at..]),
            _ => text.into(),
        },
    };
    let scheme = hidden.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let rtmp = matches!(scheme.as_deref(), Some("rtmp" | "rtmps"));
    match take_stream_key(&hidden) {
        (server, Some(_)) if rtmp => format!("{server}/***"),
        _ => hide_parameters(&hidden),
    }
}

/// `*`, or scheme, host and perhaps port: what a browser sends as `Origin`.
pub fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some((_, authority)) = text.split_once("://") else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    !authority.is_empty()
        && authority.chars().all(plain)
        && Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

/// Where user and password stand: after `://`, up to the last `@` of the authority.
fn user_info(text: &str) -> Option<(usize, usize)> {
    let start = text.find("://")? + 3;
    let end = text[start..].find(['/', '?', '#', '\\']).map_or(text.len(), |end| start + end);
    let at = start + text[start..end].rfind('@')?;
    Some((start, at))
}

/// Hides the values of parameters with a telling name: `?token=x`, `/user=a_password=b_channel=1`.
fn hide_parameters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (name, after) = rest.split_at(equals + 1);
        out.push_str(name);
        let name = name[..equals].to_ascii_lowercase();
        let end = after.find(['&', ';', '#', '/', '?']).unwrap_or(after.len());
        if SECRET_NAMES.iter().any(|secret| name.ends_with(secret)) {
            // A value may hold `_`; it ends before the next `_name=`, when there is one.
            let value = &after[..end];
            let end = match value.find('=').and_then(|next| value[..next].rfind('_')) {
                Some(next) => next,
                None => end,
            };
            out.push_str("***");
            rest = &after[end..];
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// `%41` becomes `A`; what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(index + 1), digit(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                index += 3;
            }
            _ => {
                out.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_user_and_password_are_taken_out_and_decoded() {
        let table = [
            ("rtsp://cam/live", "rtsp://cam/live", None),
            ("rtsp://admin@cam/live", "rtsp://cam/live", Some(("admin", None))),
            ("rtsp://a:b@cam:554/x?y=1", "rtsp://cam:554/x?y=1", Some(("a", Some("b")))),
            ("rtsp://a:p%40s%2Fs@cam/", "rtsp://cam/", Some(("a", Some("p@s/s")))),
            ("rtsp://a:p@ss:w@cam/", "rtsp://cam/", Some(("a", Some("p@ss:w")))),
            ("rtsp://a:50%@cam/", "rtsp://cam/", Some(("a", Some("50%")))),
            ("rtsp://cam/mail@home", "rtsp://cam/mail@home", None),
            ("http://u:@cam", "http://cam", Some(("u", Some("")))),
        ];
        for (text, plain, credentials) in table {
            let credentials = credentials.map(|(username, password)| Credentials {
                username: username.to_string(),
                password: password.map(Secret::new),
            });
            assert_eq!(take_credentials(text), (plain.to_string(), credentials), "{text}");
        }
    }

    #[test]
    fn a_url_needs_a_known_scheme_and_a_host() {
        let rtsp = ["rtsp", "rtsps"];
        for good in
            ["rtsp://cam", "RTSP://cam/", "rtsps://[fe80::1]:322/x", "rtsp://a:b@10.0.0.2:8554/h264?c=1"]
        {
            assert_eq!(check(good, &rtsp), Ok(()), "{good}");
        }
        for bad in [
            "",
            "cam",
            "http://cam/",
            "rtsp:/cam",
            "rtsp://",
            "rtsp:///live",
            "rtsp://a:b@/live",
            "rtsp://cam:99999/",
            "rtsp://cam:0/",
            "rtsp://ca m/",
            "rtsp://cam/\n",
        ] {
            assert!(check(bad, &rtsp).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_about_a_url_never_show_its_password() {
        for bad in [
            "rtsp://a:hunter2@/x",
            "rtsp://a:hun/hunter2@cam/x",
            "http://a:hunter2@cam",
            "a:hunter2@cam",
            "rtsp://a:hunter2 @cam",
            "rtsp://a:hunter2#@cam:99999",
        ] {
            let message = check(bad, &["rtsp"]).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn redaction_hides_every_known_place_of_a_secret() {
        let table = [
            ("rtsp://cam/live", "rtsp://cam/live"),
            ("rtsp://a:b@cam/live", "rtsp://***@cam/live"),
            ("http://cam/s?user=x&pwd=y&z=1", "http://cam/s?user=x&pwd=***&z=1"),
            ("http://cam/s?access_token=y#f", "http://cam/s?access_token=***#f"),
            (
                "rtsp://cam/user=admin_password=tlJ_wp_channel=1_stream=0.sdp",
                "rtsp://cam/user=admin_password=***_channel=1_stream=0.sdp",
            ),
            ("rtsp://cam/mail@home", "rtsp://cam/mail@home"),
            ("rtmp://sfu/app", "rtmp://sfu/app"),
            ("rtmp://sfu/app/KEY", "rtmp://sfu/app/***"),
            ("RTMPS://sfu:443/app/inst/KEY?a=b", "RTMPS://sfu:443/app/inst/***"),
            ("rtmp://sfu/app?token=KEY", "rtmp://sfu/app?token=***"),
        ];
        for (text, expected) in table {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn a_stream_key_is_taken_out_of_the_path() {
        let table = [
            ("rtmp://sfu/app/KEY", "rtmp://sfu/app", Some("KEY")),
            ("rtmp://sfu:1935/app/inst/KEY?user=x/y", "rtmp://sfu:1935/app/inst", Some("KEY?user=x/y")),
            ("rtmp://sfu/app", "rtmp://sfu/app", None),
            ("rtmp://sfu/app/", "rtmp://sfu/app/", None),
            ("rtmp://sfu/", "rtmp://sfu/", None),
            ("rtmp://sfu", "rtmp://sfu", None),
            ("rtmp://sfu//x", "rtmp://sfu//x", None),
        ];
        for (text, server, key) in table {
            assert_eq!(take_stream_key(text), (server.to_string(), key.map(Secret::new)), "{text}");
        }
    }

    #[test]
    fn a_path_that_may_hold_a_key_is_hidden() {
        let table = [
            ("http://sfu/w/KEY", "http://sfu/w/***"),
            ("http://sfu/w/a/KEY?x=y", "http://sfu/w/***"),
            ("http://sfu/whip", "http://sfu/whip"),
            ("http://sfu", "http://sfu"),
            ("http://sfu?KEY", "http://sfu?***"),
            ("http://sfu/whip?KEY", "http://sfu/whip?***"),
            ("no url", "***"),
        ];
        for (text, shown) in table {
            assert_eq!(redact_path(text), shown, "{text}");
        }
    }

    #[test]
    fn a_url_that_nobody_can_use_the_password_of_is_refused() {
        assert_eq!(check_plain("ws://sfu:7880", &["ws"]), Ok(()));
        let message = check_plain("ws://u:hunter2@sfu", &["ws"]).unwrap_err();
        assert!(message.contains("take them out") && !message.contains("hunter2"), "{message}");
        let message = check_plain("rtmp://sfu:99999/app/hunter2", &["rtmp", "rtmps"]).unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_only() {
        for good in
            ["*", "https://a.example", "http://localhost:3000", "http://[::1]:80", "capacitor://localhost"]
        {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "https://a/",
            "https://a/x",
            "https://u@a",
            "https://a b",
            "https://a\r\nX: y",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_url_functions(text in "(rtsp://)?[ -~é]{0,40}(@|:|=|%)?[ -~]{0,20}") {
            let _ = check(&text, &["rtsp"]);
            let _ = take_credentials(&text);
            let _ = redact(&text);
            let _ = redact_path(&text);
            let _ = take_stream_key(&text);
            let _ = is_origin(&text);
        }
    }
}
