//! The one JSON form that is hashed: flat objects of control records and statements.
//!
//! UTF-8, no spaces, keys in the order that the format gives, escaping only `"`, `\` and U+0000–001F (as
//! `\u00xx`, lower-case hex). Written and read by position, so that one value has exactly one text: what
//! [`JsonReader`] accepts, [`JsonWriter`] would write again byte for byte.

use std::fmt::Write as _;

use crate::bytes::DecodeError;

/// Writes one object.
#[derive(Debug, Clone)]
pub struct JsonWriter {
    out: String,
}

impl JsonWriter {
    /// Begins the object.
    pub fn new() -> Self {
        Self { out: String::from("{") }
    }

    fn key(&mut self, key: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    /// A string.
    #[must_use]
    pub fn string(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.out.push('"');
        for c in value.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\0'..='\u{1f}' => {
                    write!(self.out, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
        self
    }

    /// A whole number.
    #[must_use]
    pub fn number(mut self, key: &str, value: impl Into<i128>) -> Self {
        self.key(key);
        write!(self.out, "{}", value.into()).expect("writing to a String cannot fail");
        self
    }

    /// A whole number, or null.
    #[must_use]
    pub fn optional(mut self, key: &str, value: Option<impl Into<i128>>) -> Self {
        if let Some(value) = value {
            return self.number(key, value);
        }
        self.key(key);
        self.out.push_str("null");
        self
    }

    /// A truth value.
    #[must_use]
    pub fn boolean(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    /// Ends the object.
    pub fn end(mut self) -> String {
        self.out.push('}');
        self.out
    }
}

impl Default for JsonWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads one object, field by field in the order of the format.
#[derive(Debug, Clone)]
pub struct JsonReader<'a> {
    what: &'static str,
    rest: &'a str,
    first: bool,
}

impl<'a> JsonReader<'a> {
    /// Begins to read `text`; `what` names it in errors.
    pub fn new(what: &'static str, text: &'a str) -> Result<Self, DecodeError> {
        let rest = text.strip_prefix('{').ok_or(DecodeError::invalid(what, "not a JSON object"))?;
        Ok(Self { what, rest, first: true })
    }

    fn error(&self, why: &'static str) -> DecodeError {
        DecodeError::Invalid { what: self.what, why }
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    fn key(&mut self, key: &str) -> Result<(), DecodeError> {
        let comma = if self.first { Some(()) } else { self.literal(",") };
        self.first = false;
        comma
            .and_then(|()| self.literal("\""))
            .and_then(|()| self.literal(key))
            .and_then(|()| self.literal("\":"))
            .ok_or_else(|| self.error("its keys are not those of its kind, in their order"))
    }

    /// A string.
    pub fn string(&mut self, key: &str) -> Result<String, DecodeError> {
        self.key(key)?;
        self.literal("\"").ok_or_else(|| self.error("a string was expected"))?;
        let mut value = String::new();
        loop {
            let stop = self
                .rest
                .find(|c: char| c == '"' || c == '\\' || c < '\u{20}')
                .ok_or_else(|| self.error("a string does not end"))?;
            let (plain, rest) = self.rest.split_at(stop);
            value.push_str(plain);
            self.rest = rest;
            if self.literal("\"").is_some() {
                return Ok(value);
            }
            value.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, DecodeError> {
        if self.literal("\\\"").is_some() {
            return Ok('"');
        }
        if self.literal("\\\\").is_some() {
            return Ok('\\');
        }
        let bad = self.error("only \", \\ and U+0000 to 001F are escaped, the last as \\u00xx");
        self.literal("\\u00").ok_or_else(|| bad.clone())?;
        let (hex, rest) = self.rest.split_at_checked(2).ok_or_else(|| bad.clone())?;
        let canonical = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let code = u8::from_str_radix(hex, 16).ok().filter(|code| canonical && *code < 0x20).ok_or(bad)?;
        self.rest = rest;
        Ok(code.into())
    }

    fn digits(&mut self) -> Result<i128, DecodeError> {
        let end = self.rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        let value: i128 = text.parse().map_err(|_| self.error("a whole number was expected"))?;
        if value.to_string() != text {
            return Err(self.error("a number is not in its shortest form"));
        }
        self.rest = rest;
        Ok(value)
    }

    /// A whole number that fits `T`.
    pub fn number<T: TryFrom<i128>>(&mut self, key: &str) -> Result<T, DecodeError> {
        self.key(key)?;
        let value = self.digits()?;
        T::try_from(value).map_err(|_| self.error("a number is out of range"))
    }

    /// A whole number that fits `T`, or null.
    pub fn optional<T: TryFrom<i128>>(&mut self, key: &str) -> Result<Option<T>, DecodeError> {
        self.key(key)?;
        if self.literal("null").is_some() {
            return Ok(None);
        }
        let value = self.digits()?;
        T::try_from(value).map(Some).map_err(|_| self.error("a number is out of range"))
    }

    /// A truth value.
    pub fn boolean(&mut self, key: &str) -> Result<bool, DecodeError> {
        self.key(key)?;
        if self.literal("true").is_some() {
            Ok(true)
        } else if self.literal("false").is_some() {
            Ok(false)
        } else {
            Err(self.error("true or false was expected"))
        }
    }

    /// Ends the reading.
    pub fn end(mut self) -> Result<(), DecodeError> {
        self.literal("}").filter(|()| self.rest.is_empty()).ok_or_else(|| self.error("bytes follow its last key"))
    }
}
