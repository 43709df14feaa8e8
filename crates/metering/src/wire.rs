//! Numbers and texts as records of the log hold them: the format of postcard, written and read in place.
//!
//! A number is a varint of seven bits a byte, a signed one zigzag; a text is its length and its bytes; an option is 0, or 1
//! and the value. Nothing here takes memory of its own, because every event passes here more than once.

/// Why bytes are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

const ENDS: Malformed = Malformed("it ends too early");
const TOO_LARGE: Malformed = Malformed("a number is too large");
const NOT_UTF8: Malformed = Malformed("a text is not UTF-8");
const NO_FLAG: Malformed = Malformed("a flag is neither 0 nor 1");

pub(crate) fn put_number(value: u64, out: &mut Vec<u8>) {
    match value {
        // Lengths and counts, nearly all of them.
        0..0x80 => out.push(value as u8),
        _ => put_long_number(value, out),
    }
}

fn put_long_number(mut value: u64, out: &mut Vec<u8>) {
    let (mut bytes, mut last) = ([0; 10], 0);
    while 0x80 <= value {
        bytes[last] = value as u8 | 0x80;
        value >>= 7;
        last += 1;
    }
    bytes[last] = value as u8;
    out.extend_from_slice(&bytes[..=last]);
}

pub(crate) fn put_signed(value: i64, out: &mut Vec<u8>) {
    put_number(((value << 1) ^ (value >> 63)) as u64, out);
}

pub(crate) fn put_wide(value: i128, out: &mut Vec<u8>) {
    let mut value = ((value << 1) ^ (value >> 127)) as u128;
    loop {
        match u64::try_from(value) {
            Ok(rest) => return put_number(rest, out),
            Err(_) => out.push(value as u8 | 0x80),
        }
        value >>= 7;
    }
}

pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_option<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

/// A text that nobody has looked at yet. Most readers only compare it, or pass it by; who wants it as text checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawText<'a>(&'a [u8]);

impl<'a> RawText<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns its bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the text, checked to be one.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.0).map_err(|_| NOT_UTF8)
    }
}

/// What of some bytes is not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the bytes that are not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(ENDS)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(ENDS)?;
        self.rest = rest;
        Ok(*array)
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            // Lengths and counts, nearly all of them.
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let has_room = byte.leading_zeros() + u64::BITS >= shift + u8::BITS;
                return if has_room { Ok(value) } else { Err(TOO_LARGE) };
            }
        }
        Err(TOO_LARGE)
    }

    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn small(&mut self) -> Result<i32, Malformed> {
        i32::try_from(self.signed()?).map_err(|_| TOO_LARGE)
    }

    pub fn wide(&mut self) -> Result<i128, Malformed> {
        let mut value = 0_u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let has_room = byte.leading_zeros() + u128::BITS >= shift + u8::BITS;
                let signed = (value >> 1) as i128 ^ -((value & 1) as i128);
                return if has_room { Ok(signed) } else { Err(TOO_LARGE) };
            }
        }
        Err(TOO_LARGE)
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        self.raw_text()?.text()
    }

    pub fn raw_text(&mut self) -> Result<RawText<'a>, Malformed> {
        let bytes = usize::try_from(self.number()?).map_err(|_| TOO_LARGE)?;
        let (text, rest) = self.rest.split_at_checked(bytes).ok_or(ENDS)?;
        self.rest = rest;
        Ok(RawText(text))
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(NO_FLAG),
        }
    }

    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_postcard_writes_and_is_read_back(
            number in any::<u64>(),
            small in 0..300_u64,
            signed in any::<i64>(),
            wide in any::<i128>(),
            text in ".{0,200}",
            flag in any::<bool>(),
        ) {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            put_number(small, &mut bytes);
            put_signed(signed, &mut bytes);
            put_wide(wide, &mut bytes);
            put_text(&text, &mut bytes);
            put_option(flag.then_some(&*text), &mut bytes, put_text);
            let expected = (number, small, signed, wide, &*text, flag.then_some(&*text));
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&expected).unwrap());
            let mut reader = Reader::new(&bytes);
            let numbers = (reader.number().unwrap(), reader.number().unwrap(), reader.signed().unwrap(), reader.wide().unwrap());
            prop_assert_eq!(numbers, (number, small, signed, wide));
            prop_assert_eq!(reader.text().unwrap(), &*text);
            prop_assert_eq!(reader.option(Reader::text).unwrap(), flag.then_some(&*text));
            prop_assert!(reader.rest().is_empty());
        }

        /// Whatever the bytes are, both read the same number from them, or neither does.
        #[test]
        fn any_bytes_are_a_number_exactly_if_postcard_says_so(
            bytes in proptest::collection::vec(prop_oneof![0..=255_u8, Just(0xff_u8), Just(0x80_u8), 0..4_u8], 0..22),
        ) {
            let number = Reader::new(&bytes).number().ok();
            prop_assert_eq!(number, postcard::take_from_bytes::<u64>(&bytes).ok().map(|(number, _)| number));
            let wide = Reader::new(&bytes).wide().ok();
            prop_assert_eq!(wide, postcard::take_from_bytes::<i128>(&bytes).ok().map(|(wide, _)| wide));
            let text = Reader::new(&bytes).text().ok();
            prop_assert_eq!(text, postcard::take_from_bytes::<&str>(&bytes).ok().map(|(text, _)| text));
        }
    }
}
