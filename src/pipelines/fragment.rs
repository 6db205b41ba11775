//! One fragment: gst-launch syntax with typed `{parameters}`, and its filling in.
//!
//! A fragment's text comes from the program or from the operator's directory and is trusted like code.
//! Values come from users and are not: numbers and words are checked against their type, and text is
//! never put into the syntax at all but set on the element as a property after parsing. That is why a
//! `{x:text}` parameter stands alone, as `property={x:text}`, in an element that has a `name`.
//!
//! `{x:int?}` is optional: without a value its token goes, or only its field if the token is caps.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::config;

/// A parameter's value, of the type that its fragment asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    /// `[A-Za-z0-9_-]+`: the nick of an enum or flag.
    Word(String),
    /// Flags: words joined by `+`.
    Flags(String),
    /// An H.264 level such as `4.1`.
    Level(String),
    /// Anything. Never becomes syntax.
    Text(String),
    /// Text that must not be seen: shown as `***`.
    Secret(String),
}

impl Value {
    fn matches(&self, kind: &str) -> bool {
        let made_of = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        match self {
            Value::Int(_) => kind == "int",
            Value::Word(word) => kind == "word" && made_of(word, b"_-"),
            Value::Flags(flags) => kind == "flags" && made_of(flags, b"_-+"),
            Value::Level(level) => kind == "level" && made_of(level, b"."),
            Value::Text(_) | Value::Secret(_) => kind == "text",
        }
    }
}

/// Named values for one fragment.
pub type Parameters = BTreeMap<&'static str, Value>;

#[derive(Debug, Error, PartialEq)]
pub enum FragmentError {
    #[error("fragment {fragment}: {problem} in `{token}`")]
    Syntax { fragment: String, token: String, problem: &'static str },
    #[error("fragment {fragment}: it asks for {{{name}:{kind}}}, which this program does not give")]
    Missing { fragment: String, name: String, kind: String },
    #[error("fragment {fragment}: the value of {{{name}:{kind}}} is not of that type")]
    Type { fragment: String, name: String, kind: String },
}

/// A fragment as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// `sources/rtsp`.
    pub name: String,
    /// The comment at its head, for people.
    pub about: String,
    text: String,
}

/// A property that is set after parsing.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub element: String,
    pub property: String,
    pub value: String,
    pub secret: bool,
}

/// A fragment with its values: syntax that can be parsed, and settings to make afterwards.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Chain {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Syntax(String),
    Set(Setting),
}

impl Fragment {
    pub fn parse(name: &str, file: &str) -> Self {
        let (about, text): (Vec<&str>, Vec<&str>) =
            file.lines().partition(|line| line.trim_start().starts_with('#'));
        let about =
            about.iter().map(|line| line.trim_start_matches(['#', ' '])).collect::<Vec<_>>().join(" ");
        Self { name: name.to_owned(), about, text: text.join(" ") }
    }

    /// Puts values in.
    pub fn fill(&self, parameters: &Parameters) -> Result<Chain, FragmentError> {
        let tokens = split(&self.text);
        let mut chain = Chain::default();
        for element in tokens.split(|token| token == "!") {
            if !chain.tokens.is_empty() {
                chain.tokens.push(Token::Syntax("!".into()));
            }
            let named = element.iter().find_map(|token| token.strip_prefix("name="));
            for token in element {
                if let Some(token) = self.token(token, named, parameters)? {
                    chain.tokens.push(token);
                }
            }
        }
        Ok(chain)
    }

    fn token(
        &self,
        token: &str,
        element: Option<&str>,
        parameters: &Parameters,
    ) -> Result<Option<Token>, FragmentError> {
        if let Some((property, slot)) = token.split_once('=').and_then(|(p, v)| Some((p, Slot::whole(v)?)))
            && slot.kind == "text"
        {
            let element = element.ok_or_else(|| self.syntax(token, "text needs an element with a name="))?;
            return Ok(match self.value(&slot, parameters)? {
                Some(Value::Text(value)) => Some(Token::set(element, property, value, false)),
                Some(Value::Secret(value)) => Some(Token::set(element, property, value, true)),
                _ => None,
            });
        }
        let mut fields = Vec::new();
        for field in fields_of(token) {
            if let Some(filled) = self.field(field, parameters)? {
                fields.push(filled);
            }
        }
        Ok((!fields.is_empty()).then(|| Token::Syntax(fields.join(","))))
    }

    /// Fills the slots of one field; `None` when an optional one has no value.
    fn field(&self, field: &str, parameters: &Parameters) -> Result<Option<String>, FragmentError> {
        let mut filled = String::new();
        let mut rest = field;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| self.syntax(field, "a { without its }"))? + open;
            let slot = Slot::whole(&rest[open..=close])
                .ok_or_else(|| self.syntax(field, "not of the form {name:type}"))?;
            filled.push_str(&rest[..open]);
            match self.value(&slot, parameters)? {
                Some(Value::Int(number)) => filled.push_str(&number.to_string()),
                Some(Value::Word(text) | Value::Flags(text) | Value::Level(text)) => filled.push_str(text),
                Some(Value::Text(_) | Value::Secret(_)) => {
                    return Err(self.syntax(field, "text may only be a whole property"));
                }
                None => return Ok(None),
            }
            rest = &rest[close + 1..];
        }
        filled.push_str(rest);
        Ok(Some(filled))
    }

    fn value<'p>(
        &self,
        slot: &Slot<'_>,
        parameters: &'p Parameters,
    ) -> Result<Option<&'p Value>, FragmentError> {
        let (fragment, name, kind) = (self.name.clone(), slot.name.to_owned(), slot.kind.to_owned());
        match parameters.get(slot.name) {
            Some(value) if value.matches(slot.kind) => Ok(Some(value)),
            Some(_) => Err(FragmentError::Type { fragment, name, kind }),
            None if slot.optional => Ok(None),
            None => Err(FragmentError::Missing { fragment, name, kind }),
        }
    }

    fn syntax(&self, token: &str, problem: &'static str) -> FragmentError {
        FragmentError::Syntax { fragment: self.name.clone(), token: token.to_owned(), problem }
    }
}

/// `{name:type}` or `{name:type?}`.
struct Slot<'t> {
    name: &'t str,
    kind: &'t str,
    optional: bool,
}

impl<'t> Slot<'t> {
    /// The slot that is the whole of `text`.
    fn whole(text: &'t str) -> Option<Self> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        let (name, kind) = inner.split_once(':')?;
        let (kind, optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        (!inner.contains(['{', '}'])).then_some(Self { name, kind, optional })
    }
}

impl Token {
    fn set(element: &str, property: &str, value: &str, secret: bool) -> Self {
        Token::Set(Setting {
            element: element.to_owned(),
            property: property.to_owned(),
            value: value.to_owned(),
            secret,
        })
    }
}

impl Chain {
    /// This chain, then that one, linked.
    pub fn then(mut self, next: Chain) -> Chain {
        if !self.tokens.is_empty() && !next.tokens.is_empty() {
            self.tokens.push(Token::Syntax("!".into()));
        }
        self.tokens.extend(next.tokens);
        self
    }

    /// This chain with another name for the element named `from`, where chains come together in one
    /// pipeline. Names are tokens of their own.
    pub fn renamed(mut self, from: &str, to: &str) -> Chain {
        let name = format!("name={from}");
        for token in &mut self.tokens {
            match token {
                Token::Syntax(text) if *text == name => *text = format!("name={to}"),
                Token::Set(set) if set.element == from => set.element = to.to_owned(),
                _ => {}
            }
        }
        self
    }

    /// What GStreamer parses.
    pub fn syntax(&self) -> String {
        let tokens = self.tokens.iter().filter_map(|token| match token {
            Token::Syntax(text) => Some(text.as_str()),
            Token::Set(_) => None,
        });
        tokens.collect::<Vec<_>>().join(" ")
    }

    /// The same for a bin, which cannot end in bare caps: they become a capsfilter.
    pub fn bin_syntax(&self) -> String {
        let syntax = self.syntax();
        match syntax.rsplit_once(" ! ") {
            Some((before, last)) if last.contains('/') && !last.contains(' ') => {
                format!("{before} ! capsfilter caps=\"{last}\"")
            }
            _ => syntax,
        }
    }

    /// What is set on the elements afterwards.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Set(setting) => Some(setting),
            Token::Syntax(_) => None,
        })
    }

    /// Names of the element factories, in order: the first token of each link that is neither caps nor
    /// a reference to a pad.
    pub fn factories(&self) -> Vec<String> {
        let mut first = true;
        let mut names = Vec::new();
        for token in &self.tokens {
            let Token::Syntax(text) = token else { continue };
            if text == "!" {
                first = true;
            } else if std::mem::take(&mut first) && !text.contains(['/', '.', '=']) {
                names.push(text.clone());
            }
        }
        names
    }

    /// The chain as arguments for a shell: what `gst-launch-1.0` takes when pasted.
    pub fn shell(&self, reveal: bool) -> String {
        let tokens = self.tokens.iter().map(|token| match token {
            Token::Syntax(text) => shell_word(text),
            Token::Set(set) if set.secret && !reveal => shell_word(&format!("{}=***", set.property)),
            Token::Set(set) if set.value.contains("://") && !reveal => {
                let address = config::redact_url(&set.value);
                shell_word(&format!("{}={}", set.property, launch_string(&address)))
            }
            Token::Set(set) => shell_word(&format!("{}={}", set.property, launch_string(&set.value))),
        });
        tokens.collect::<Vec<_>>().join(" ")
    }
}

/// Words outside double quotes.
fn split(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let (mut token, mut quoted) = (String::new(), false);
    for c in text.chars() {
        quoted ^= c == '"';
        if c.is_whitespace() && !quoted {
            if !token.is_empty() {
                tokens.push(std::mem::take(&mut token));
            }
        } else {
            token.push(c);
        }
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// Caps are fields between commas; anything quoted is one field.
fn fields_of(token: &str) -> Vec<&str> {
    if token.contains('"') { vec![token] } else { token.split(',').collect() }
}

/// A string in gst-launch syntax.
fn launch_string(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One word of a POSIX shell, quoted only where it must be.
fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-+=:,./@%!".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, parameters: &[(&'static str, Value)]) -> Result<Chain, FragmentError> {
        Fragment::parse("test", text).fill(&parameters.iter().cloned().collect())
    }

    #[test]
    fn numbers_and_words_are_put_in_and_text_is_set_afterwards() {
        let chain = fill(
            "# about\nfilesrc name=source location={path:text}\n! video/x-raw,width={w:int} ! x m={m:word}",
            &[
                ("path", Value::Text("/a b".into())),
                ("w", Value::Int(640)),
                ("m", Value::Word("tcp-x".into())),
            ],
        )
        .unwrap();
        assert_eq!(chain.syntax(), "filesrc name=source ! video/x-raw,width=640 ! x m=tcp-x");
        let set: Vec<_> = chain.settings().map(|s| (&*s.element, &*s.property, &*s.value)).collect();
        assert_eq!(set, [("source", "location", "/a b")]);
        assert_eq!(chain.factories(), ["filesrc", "x"]);
    }

    #[test]
    fn an_optional_parameter_without_a_value_takes_its_field_along() {
        let chain = fill(
            "a name=a x={x:text?} ! video/x-raw,width={w:int},framerate={f:int?}/1",
            &[("w", Value::Int(8))],
        )
        .unwrap();
        assert_eq!(chain.syntax(), "a name=a ! video/x-raw,width=8");
    }

    #[test]
    fn a_word_with_syntax_in_it_is_refused() {
        for bad in ["tcp ! fakesink", "a\"b", "a\nb", "", "a=b", "ünicode"] {
            let filled = fill("x m={m:word}", &[("m", Value::Word(bad.into()))]);
            assert!(matches!(filled, Err(FragmentError::Type { .. })), "{bad:?} gave {filled:?}");
        }
    }

    #[test]
    fn text_never_becomes_syntax() {
        for bad in ["! fakesink", "\" ! fakesink \"", "a\n! fakesink", "'; rm -rf /; '", "\\\" ! fakesink"] {
            let chain = fill("x name=s p={t:text} ! y", &[("t", Value::Text(bad.into()))]).unwrap();
            assert_eq!(chain.syntax(), "x name=s ! y");
            assert_eq!(chain.settings().next().unwrap().value, bad);
        }
    }

    #[test]
    fn text_in_the_middle_of_a_token_is_refused() {
        let text = ("t", Value::Text("v".into()));
        assert!(fill("x name=s p=a{t:text}", std::slice::from_ref(&text)).is_err());
        assert!(fill("x p={t:text}", &[text]).is_err(), "an element without a name cannot take text");
    }

    #[test]
    fn a_missing_value_names_the_parameter() {
        let error = fill("x p={speed:int}", &[]).unwrap_err();
        assert!(error.to_string().contains("{speed:int}"), "{error}");
    }

    #[test]
    fn a_secret_is_shown_only_on_request() {
        let chain = fill("x name=s pw={p:text}", &[("p", Value::Secret("hunter 2".into()))]).unwrap();
        assert_eq!(chain.shell(false), "x name=s 'pw=***'");
        assert_eq!(chain.shell(true), "x name=s 'pw=\"hunter 2\"'");
        let address = [("u", Value::Text("http://cam/x?token=SESAME".into()))];
        let chain = fill("x name=s location={u:text}", &address).unwrap();
        assert!(!chain.shell(false).contains("SESAME"), "{}", chain.shell(false));
        assert!(chain.shell(true).contains("SESAME"));
    }
}
