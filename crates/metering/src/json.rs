//! A strict JSON parser.
//!
//! Why not serde_json's own: it keeps the last of two equal keys, allows another depth than ours, and reads an object with
//! one particular private key as a number. Values borrow from the text, because most of what an event says is read once and
//! never kept; numbers keep their digits.

/// Where a string needs a closer look.
mod scan;
use scan::plain_bytes;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Deepest nesting of objects and lists; the event itself is level one.
pub const JSON_DEPTH_MAX: usize = 64;
/// Most members of the outermost object; they are compared with each other one by one.
pub const MEMBERS_MAX: usize = 256;
/// Members of an inner object that are compared with each other one by one; more are sorted first.
const MEMBERS_COMPARED_MAX: usize = 16;
/// Most values inside one object that is read by [`read_object`]: two bytes of text may be one, and each takes many
/// times that in memory.
pub const VALUES_MAX: usize = 65_536;

/// What is wrong with a JSON text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON.
    #[error("not valid JSON at byte {at}: {problem}")]
    Syntax {
        /// Offset in bytes.
        at: usize,
        /// What was expected.
        problem: &'static str,
    },
    /// Nested too deeply.
    #[error("nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// An object has the same key twice.
    #[error("the key {0:?} stands twice in one object")]
    DuplicateKey(String),
    /// A key contains a NUL character.
    #[error("a key contains a NUL character")]
    NulInName,
    /// The outermost object has too many members.
    #[error("more than {MEMBERS_MAX} attributes")]
    TooManyMembers,
    /// The object has too many values, those of inner objects and lists included.
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
}

/// A JSON value that borrows from its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(Cow<'a, str>),
    /// Text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Json<'a>>),
    /// An object; its keys are different and stand in the order of the text.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Returns the same value, borrowed.
    #[must_use]
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(Cow::Owned(number.to_string())),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(members) => {
                let member = |(key, value): (&'a String, &'a Value)| (Cow::Borrowed(key.as_str()), Self::of(value));
                Self::Object(members.iter().map(member).collect())
            }
        }
    }

    /// Returns the member of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns whether it is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the text of a string, number or boolean; `None` for anything else.
    #[must_use]
    pub fn scalar_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(digits) => Some(digits),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Returns the same, borrowed from the text that was read.
    #[must_use]
    pub fn scalar(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.clone()),
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Returns the value for JSONPath.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(digits) => Value::Number(digits.parse().expect("it was read as a number")),
            Self::Text(text) => Value::String(text.to_string()),
            Self::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => {
                let member = |(key, value): &(Cow<'a, str>, Self)| (key.to_string(), value.to_value());
                Value::Object(members.iter().map(member).collect::<Map<_, _>>())
            }
        }
    }
}

/// Hands over the members of the one object that the text is, in their order: key, value, and the value's exact text. Who
/// takes them gives back a key that came before; keys of objects within are told apart here.
///
/// # Errors
/// [`JsonError`]; anything but an object is a syntax error.
pub fn read_object<'a>(
    text: &'a str,
    mut take: impl FnMut(Cow<'a, str>, Json<'a>, &'a str) -> Result<(), Cow<'a, str>>,
) -> Result<(), JsonError> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, values_left: VALUES_MAX };
    parser.skip_space();
    let mut members = 0;
    parser.object(1, |key, value, text| {
        members += 1;
        if MEMBERS_MAX < members {
            return Err(JsonError::TooManyMembers);
        }
        take(key, value, text).map_err(|again| JsonError::DuplicateKey(shorten(&again)))
    })?;
    parser.end()
}

/// Returns the value that the text is.
///
/// # Errors
/// [`JsonError`].
pub fn parse_value(text: &str) -> Result<Json<'_>, JsonError> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, values_left: usize::MAX };
    parser.skip_space();
    let value = parser.value(1)?;
    parser.end()?;
    Ok(value)
}

/// Writes a value in the one form that equal values share: keys in byte order, no spaces.
pub fn write_canonical(value: &Json<'_>, out: &mut Vec<u8>) {
    match value {
        Json::Object(members) if members.is_sorted_by(|(left, _), (right, _)| left < right) => {
            write_list(b"{", members, out, write_member);
            out.push(b'}');
        }
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_bytes());
            write_list(b"{", sorted, out, write_member);
            out.push(b'}');
        }
        Json::List(items) => {
            write_list(b"[", items, out, write_canonical);
            out.push(b']');
        }
        Json::Text(text) => write_string(text, out),
        Json::Number(digits) => out.extend_from_slice(digits.as_bytes()),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Null => out.extend_from_slice(b"null"),
    }
}

fn write_member((key, value): &(Cow<'_, str>, Json<'_>), out: &mut Vec<u8>) {
    write_string(key, out);
    out.push(b':');
    write_canonical(value, out);
}

fn write_list<T>(open: &[u8], items: impl IntoIterator<Item = T>, out: &mut Vec<u8>, write: impl Fn(T, &mut Vec<u8>)) {
    out.extend_from_slice(open);
    for (at, item) in items.into_iter().enumerate() {
        if at != 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if plain_bytes(text.as_bytes()).is_none() {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("text is always JSON");
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Refuses two equal keys.
fn refuse_duplicates(members: &[(Cow<'_, str>, Json<'_>)]) -> Result<(), JsonError> {
    let duplicate = if members.len() <= MEMBERS_COMPARED_MAX {
        let is_again = |(at, (key, _)): &(usize, &(Cow<'_, str>, Json<'_>))| {
            members[..*at].iter().any(|(before, _)| before == key)
        };
        members.iter().enumerate().find(is_again).map(|(_, (key, _))| key)
    } else {
        let mut keys: Vec<_> = members.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    };
    duplicate.map_or(Ok(()), |key| Err(JsonError::DuplicateKey(shorten(key))))
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    values_left: usize,
}

impl<'a> Parser<'a> {
    fn syntax<T>(&self, problem: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at, problem })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return self.syntax(problem);
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at < self.bytes.len() { self.syntax("expected the end") } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.values_left = self.values_left.checked_sub(1).ok_or(JsonError::TooManyValues)?;
        match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.object(depth, |key, value, _| {
                    members.push((key, value));
                    Ok(())
                })?;
                refuse_duplicates(&members)?;
                Ok(Json::Object(members))
            }
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(|digits| Json::Number(Cow::Borrowed(digits))),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => self.syntax("expected a value"),
        }
    }

    fn word(&mut self, word: &'static str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.syntax("expected a value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(
        &mut self,
        depth: usize,
        mut add: impl FnMut(Cow<'a, str>, Json<'a>, &'a str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'{', "expected an object")?;
        if JSON_DEPTH_MAX < depth {
            return Err(JsonError::TooDeep);
        }
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            // Only an escape can make a control character, and what has none is borrowed.
            if matches!(&key, Cow::Owned(key) if key.contains('\0')) {
                return Err(JsonError::NulInName);
            }
            self.skip_space();
            self.expect(b':', "expected `:`")?;
            self.skip_space();
            let start = self.at;
            let value = self.value(depth + 1)?;
            add(key, value, &self.text[start..self.at])?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.syntax("expected `,` or `}`"),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        if JSON_DEPTH_MAX < depth {
            return Err(JsonError::TooDeep);
        }
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.syntax("expected `,` or `]`"),
            }
        }
        self.at += 1;
        Ok(Json::List(items))
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if start == self.at { self.syntax("expected a digit") } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.expect(b'"', "expected a string")?;
        let mut unescaped: Option<String> = None;
        loop {
            let start = self.at;
            let plain = plain_bytes(&self.bytes[start..]);
            let Some(plain) = plain else { return self.syntax("the string does not end") };
            self.at += plain;
            let piece = &self.text[start..self.at];
            match self.bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(piece),
                        Some(before) => Cow::Owned(before + piece),
                    });
                }
                b'\\' => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    let text = unescaped.get_or_insert_default();
                    text.push_str(piece);
                    text.push(escaped);
                }
                _ => return self.syntax("a control character must be escaped"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let escaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.syntax("unknown escape"),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex_unit()?;
        let code = match first {
            0xD800..0xDC00 => {
                if self.peek() != Some(b'\\') {
                    return self.syntax("half of a surrogate pair");
                }
                self.at += 1;
                if self.peek() != Some(b'u') {
                    return self.syntax("half of a surrogate pair");
                }
                match self.hex_unit()? {
                    second @ 0xDC00..0xE000 => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => return self.syntax("half of a surrogate pair"),
                }
            }
            other => other,
        };
        char::from_u32(code).map_or_else(|| self.syntax("half of a surrogate pair"), Ok)
    }

    /// Reads `uXXXX`.
    fn hex_unit(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
        if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.syntax("expected four hex digits");
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("checked to be a hex digit");
        self.at += 5;
        Ok(digits.iter().fold(0, |code, byte| code * 16 + digit(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys and texts of the members.
    fn parse_object(text: &str) -> Result<Vec<(Cow<'_, str>, &str)>, JsonError> {
        let mut members: Vec<(Cow<'_, str>, &str)> = Vec::new();
        read_object(text, |key, _, text| {
            if members.iter().any(|(before, _)| *before == key) {
                return Err(key);
            }
            members.push((key, text));
            Ok(())
        })?;
        Ok(members)
    }

    fn check(text: &str, expected: Option<&str>) {
        let canonical = parse_value(text).ok().map(|value| {
            let mut out = Vec::new();
            write_canonical(&value, &mut out);
            String::from_utf8(out).unwrap()
        });
        assert_eq!(canonical.as_deref(), expected, "{text}");
    }

    #[test]
    fn values_have_one_canonical_text_with_exact_numbers() {
        check(
            r#" { "b" : 1.10 , "a" : [ 1e-7 , 0E-6176 , true , null ] } "#,
            Some(r#"{"a":[1e-7,0E-6176,true,null],"b":1.10}"#),
        );
        check("123456789012345678901234567890.10", Some("123456789012345678901234567890.10"));
        check(r#""\u00e9\ud83d\ude00\/\n""#, Some("\"é😀/\\n\""));
        check(r#"{"$serde_json::private::Number":"x"}"#, Some(r#"{"$serde_json::private::Number":"x"}"#));
        check("[]", Some("[]"));
        check("{}", Some("{}"));
    }

    #[test]
    fn anything_that_is_not_json_is_refused() {
        let broken = [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            ".5",
            "+1",
            "1e",
            "NaN",
            "nul",
            "'a'",
            "\"\t\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u12\"",
            "\"",
            "{a:1}",
            "{\"a\" 1}",
            "[1 2]",
            "1 2",
            "{\"a\":}",
            "[",
            "]",
            "\u{feff}1",
        ];
        for text in broken {
            check(text, None);
        }
    }

    #[test]
    fn duplicate_keys_depth_and_nul_are_told_apart_from_syntax() {
        assert_eq!(parse_object(r#"{"a":1,"a":1}"#).err(), Some(JsonError::DuplicateKey("a".into())));
        assert_eq!(parse_object(r#"{"x":{"a":1,"\u0061":2}}"#).err(), Some(JsonError::DuplicateKey("a".into())));
        assert_eq!(parse_object(r#"{"a\u0000":1}"#).err(), Some(JsonError::NulInName));
        let many = |last: &str| {
            let members: Vec<String> = (0..40).map(|at| format!("\"k{at}\":1")).collect();
            format!("{{\"x\":{{{},\"{last}\":2}}}}", members.join(","))
        };
        assert!(parse_object(&many("other")).is_ok());
        assert_eq!(parse_object(&many("k7")).err(), Some(JsonError::DuplicateKey("k7".into())));
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(parse_object(&nested(JSON_DEPTH_MAX)).is_ok());
        assert_eq!(parse_object(&nested(JSON_DEPTH_MAX + 1)).err(), Some(JsonError::TooDeep));
        assert_eq!(parse_object(&"{\"a\":".repeat(100_000)).err(), Some(JsonError::TooDeep));
        assert!(matches!(parse_object("[1]"), Err(JsonError::Syntax { .. })));
    }

    #[test]
    fn an_object_has_so_many_values_at_most_wherever_they_stand() {
        // The list itself is one of them.
        let list = |values: usize| format!("{{\"a\":[1{}]}}", ",1".repeat(values - 2));
        assert!(parse_object(&list(VALUES_MAX)).is_ok());
        assert_eq!(parse_object(&list(VALUES_MAX + 1)).err(), Some(JsonError::TooManyValues));
        assert!(parse_value(&list(VALUES_MAX + 1)).is_ok());
    }

    #[test]
    fn members_know_the_text_they_were_written_as() {
        let members = parse_object(r#"{"data": {"b": 1.0,  "a":2} , "id":"x"}"#).unwrap();
        assert_eq!(members[0].1, r#"{"b": 1.0,  "a":2}"#);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_it_accepts_only_what_serde_json_accepts(text in "[\\[\\]{}\",:0-9eE.+\\-\\\\ua-f tn]{0,40}") {
            if parse_value(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
            }
        }
    }
}
