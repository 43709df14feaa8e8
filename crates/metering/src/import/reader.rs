//! Splits an event file into the texts of its events, without keeping more than one of them.

use crate::error::MeteringError;
use crate::event::EVENT_BYTES_MAX;
use crate::json;
use std::io::{BufRead, BufReader, Cursor, Read};
use storage::limited::{DecodedTooLarge, Limited};

/// Bytes of one file after decompression, unless configured otherwise (`limits.decoded_file`).
pub const DECODED_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Largest window of a zstd frame: 2²⁷ bytes, the most that `zstd` makes unless asked for more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// One item of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Its text.
    Text(&'a str),
    /// It is longer than an event may be.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
}

/// How a file holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One object per line.
    Lines,
    /// One JSON list.
    List,
    /// One object over several lines.
    Single,
    /// Nothing is left.
    Done,
}

/// Reads the events of a file one after the other, whatever its compression and layout.
pub struct EventReader {
    input: Box<dyn BufRead>,
    layout: Layout,
    item: Vec<u8>,
    index: u64,
}

impl EventReader {
    /// Recognises compression (gzip, zstd, none) and layout (lines, one JSON list, one object) by content.
    ///
    /// # Errors
    /// If the input cannot be read, or holds more than [`DECODED_BYTES_MAX`].
    pub fn open(input: impl Read + 'static) -> Result<Self, MeteringError> {
        Self::open_limited(input, DECODED_BYTES_MAX)
    }

    /// The same with another limit of the bytes after decompression.
    ///
    /// # Errors
    /// If the input cannot be read, or holds more than that.
    pub fn open_limited(input: impl Read + 'static, decoded_bytes_max: u64) -> Result<Self, MeteringError> {
        Self::recognise(input, decoded_bytes_max).map_err(MeteringError::Unreadable)
    }

    /// The same for bytes that are in memory already: plain ones are read where they are.
    ///
    /// # Errors
    /// As [`EventReader::open_limited`].
    pub fn of_bytes(bytes: impl AsRef<[u8]> + 'static, decoded_bytes_max: u64) -> Result<Self, MeteringError> {
        let text = bytes.as_ref();
        if is_compressed(text) {
            return Self::open_limited(Cursor::new(bytes), decoded_bytes_max);
        }
        if decoded_bytes_max < text.len() as u64 {
            return Err(MeteringError::Unreadable(DecodedTooLarge { bytes_max: decoded_bytes_max }.into()));
        }
        let first = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let head = &text[first..text.len().min(first + EVENT_BYTES_MAX + 1)];
        let (layout, start) = layout_of(head);
        let mut input = Cursor::new(bytes);
        input.set_position((first + start) as u64);
        Ok(Self { input: Box::new(input), layout, item: Vec::new(), index: 0 })
    }

    fn recognise(input: impl Read + 'static, decoded_bytes_max: u64) -> std::io::Result<Self> {
        let mut input = BufReader::with_capacity(CHUNK_BYTES, decompressed(input, decoded_bytes_max)?);
        let mut head = read_head(&mut input, EVENT_BYTES_MAX + 1)?;
        if head.starts_with(BYTE_ORDER_MARK) {
            head.drain(..BYTE_ORDER_MARK.len());
        }
        let (layout, start) = layout_of(&head);
        head.drain(..start);
        Ok(Self { input: Box::new(Cursor::new(head).chain(input)), layout, item: Vec::new(), index: 0 })
    }

    /// Returns whether the file is one JSON document, so that a broken item breaks all of it.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.layout == Layout::List
    }

    /// Returns the next item with its number from 0; `None` at the end.
    ///
    /// # Errors
    /// If the input cannot be read, or a JSON list is broken.
    pub fn next_item(&mut self) -> Result<Option<(u64, Item<'_>)>, MeteringError> {
        self.item.clear();
        let index = self.index;
        let found = match self.layout {
            Layout::Lines => self.next_line().map_err(MeteringError::Unreadable)?,
            Layout::List => self.next_of_list()?,
            Layout::Single => {
                self.layout = Layout::Done;
                self.input.read_to_end(&mut self.item).map_err(MeteringError::Unreadable)?;
                true
            }
            Layout::Done => false,
        };
        if !found {
            return Ok(None);
        }
        self.index += 1;
        if EVENT_BYTES_MAX < self.item.len() {
            return Ok(Some((index, Item::TooLong)));
        }
        Ok(Some((index, std::str::from_utf8(&self.item).map_or(Item::NotUtf8, Item::Text))))
    }

    /// Reads the next line that is not blank.
    fn next_line(&mut self) -> std::io::Result<bool> {
        loop {
            self.item.clear();
            let mut is_end = true;
            loop {
                let chunk = self.input.fill_buf()?;
                if chunk.is_empty() {
                    break;
                }
                is_end = false;
                let newline = memchr::memchr(b'\n', chunk);
                let used = newline.map_or(chunk.len(), |at| at + 1);
                keep(&mut self.item, &chunk[..newline.unwrap_or(used)]);
                self.input.consume(used);
                if newline.is_some() {
                    break;
                }
            }
            if is_end {
                return Ok(false);
            }
            if !self.item.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    /// Reads up to the comma or bracket after the next item of the list.
    fn next_of_list(&mut self) -> Result<bool, MeteringError> {
        let end = self.scan_item()?;
        let is_blank = self.item.iter().all(u8::is_ascii_whitespace);
        match end {
            Some(b']') => {
                self.layout = Layout::Done;
                self.expect_end()?;
                if is_blank && self.index == 0 {
                    return Ok(false);
                }
            }
            Some(_) => {}
            None => return Err(self.broken("the file ends inside the list")),
        }
        if is_blank { Err(self.broken("an item is missing")) } else { Ok(true) }
    }

    /// Reads one item of a list and returns the byte that ended it; `None` at the end of the file.
    fn scan_item(&mut self) -> Result<Option<u8>, MeteringError> {
        let (mut depth, mut in_text, mut is_escaped) = (0_u64, false, false);
        loop {
            let chunk = self.input.fill_buf().map_err(MeteringError::Unreadable)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| {
                match (*byte, in_text) {
                    (_, true) if is_escaped => is_escaped = false,
                    (b'\\', true) => is_escaped = true,
                    (b'"', _) => in_text = !in_text,
                    (b',' | b']', false) if depth == 0 => return true,
                    (b'{' | b'[', false) => depth += 1,
                    (b'}' | b']', false) => depth = depth.saturating_sub(1),
                    _ => {}
                }
                false
            });
            keep(&mut self.item, &chunk[..end.unwrap_or(chunk.len())]);
            let ended_by = end.map(|at| chunk[at]);
            let used = end.map_or(chunk.len(), |at| at + 1);
            self.input.consume(used);
            if ended_by.is_some() {
                return Ok(ended_by);
            }
        }
    }

    fn expect_end(&mut self) -> Result<(), MeteringError> {
        loop {
            let chunk = self.input.fill_buf().map_err(MeteringError::Unreadable)?;
            if chunk.is_empty() {
                return Ok(());
            }
            if !chunk.iter().all(u8::is_ascii_whitespace) {
                return Err(self.broken("something follows the list"));
            }
            let used = chunk.len();
            self.input.consume(used);
        }
    }

    fn broken(&self, detail: &str) -> MeteringError {
        MeteringError::BrokenList { index: self.index, detail: detail.to_owned() }
    }
}

fn decompressed(input: impl Read + 'static, decoded_bytes_max: u64) -> std::io::Result<Limited> {
    let mut input = BufReader::with_capacity(CHUNK_BYTES, input);
    let (magic, input) = read_head(&mut input, 4).map(|head| (head.clone(), Cursor::new(head).chain(input)))?;
    let inner: Box<dyn Read> = if magic.starts_with(GZIP_MAGIC) {
        Box::new(flate2::bufread::MultiGzDecoder::new(input))
    } else if magic == ZSTD_MAGIC {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(decoder)
    } else {
        Box::new(input)
    };
    Ok(Limited::new(inner, decoded_bytes_max))
}

/// Returns whether bytes are compressed in a way that [`EventReader`] reads.
#[must_use]
pub fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP_MAGIC) || bytes.starts_with(ZSTD_MAGIC)
}

/// Returns all bytes of a body, decompressed if it is compressed; `room` is asked before each piece of it is kept.
///
/// # Errors
/// If it cannot be decompressed, or holds more than the limit; and what `room` says, after which nothing more is read.
pub fn read_whole<E: From<MeteringError>>(
    bytes: impl AsRef<[u8]> + 'static,
    decoded_bytes_max: u64,
    mut room: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut input = decompressed(Cursor::new(bytes), decoded_bytes_max).map_err(MeteringError::Unreadable)?;
    let (mut whole, mut buffer) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        let read = input.read(&mut buffer).map_err(MeteringError::Unreadable)?;
        if read == 0 {
            return Ok(whole);
        }
        let piece = &buffer[..read];
        room(piece)?;
        whole.extend_from_slice(piece);
    }
}

/// Returns how many bytes of memory an [`EventReader`] takes for a body at most, what it decompresses included: the first
/// bytes, by which its layout is recognised, and the event that it reads, twice while it is copied to a larger place.
///
/// # Source
/// RFC 8878, section 3.1.1.1: the window that a zstd frame asks for.
#[must_use]
pub fn reading_bytes_max(bytes: &[u8], decoded_bytes_max: u64) -> u64 {
    if !is_compressed(bytes) {
        return 2 * bytes.len().min(EVENT_BYTES_MAX) as u64;
    }
    let buffers = (3 * EVENT_BYTES_MAX + 2 * CHUNK_BYTES) as u64;
    let window = if bytes.starts_with(ZSTD_MAGIC) { largest_window(bytes, decoded_bytes_max) } else { 0 };
    buffers + window.min(decoded_bytes_max)
}

/// Returns the largest window of zstd frames, which may stand one behind the other: each asks for its own.
fn largest_window(mut frames: &[u8], unknown: u64) -> u64 {
    let mut largest = 0;
    while !frames.is_empty() {
        largest = largest.max(window_of(frames, unknown));
        // What is broken here is not read beyond here either.
        let Ok(length) = zstd::zstd_safe::find_frame_compressed_size(frames) else { break };
        frames = frames.get(length.max(1)..).unwrap_or_default();
    }
    largest
}

/// Returns the window of the first of these frames.
fn window_of(frame: &[u8], unknown: u64) -> u64 {
    match (frame.starts_with(ZSTD_MAGIC), frame.get(4), frame.get(5)) {
        (true, Some(descriptor), Some(window)) if descriptor & 0x20 == 0 => {
            let base = 1_u64 << (10 + (window >> 3)).min(40);
            base + base / 8 * u64::from(window & 7)
        }
        // Of a single segment the window is the content, of which the header tells the size.
        (true, ..) => zstd::zstd_safe::get_frame_content_size(frame).ok().flatten().unwrap_or(unknown),
        (false, ..) => unknown,
    }
}

/// Appends bytes, but never more than one beyond the longest event: enough to see that it is too long.
fn keep(item: &mut Vec<u8>, bytes: &[u8]) {
    let room = (EVENT_BYTES_MAX + 1).saturating_sub(item.len());
    let kept = &bytes[..bytes.len().min(room)];
    let wanted = item.len() + kept.len();
    if item.capacity() < wanted {
        // Doubled, as lists are, but never to twice the longest event.
        let capacity = (2 * item.capacity()).min(EVENT_BYTES_MAX + 1).max(wanted);
        item.reserve_exact(capacity - item.len());
    }
    item.extend_from_slice(kept);
}

/// Reads the first bytes, fewer only if there are no more.
fn read_head(input: &mut impl Read, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    // Whole from the start: what is not written to takes no memory.
    let mut head = Vec::with_capacity(bytes_max);
    input.by_ref().take(bytes_max as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The layout, and where the first item may begin: behind the bracket that opens a list.
fn layout_of(head: &[u8]) -> (Layout, usize) {
    let start = head.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(head.len());
    match head.get(start) {
        Some(b'[') => (Layout::List, start + 1),
        Some(b'{') if is_one_object(&head[start..]) => (Layout::Single, start),
        _ => (Layout::Lines, 0),
    }
}

/// Whether a short file is one object whose first line alone is not.
fn is_one_object(head: &[u8]) -> bool {
    let first_line = memchr::memchr(b'\n', head).map_or(head, |end| &head[..end]);
    let parses =
        |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(|text| json::read_object(text, |_, _, _| Ok(())).is_ok());
    head.len() <= EVENT_BYTES_MAX && first_line.len() < head.len() && !parses(first_line) && parses(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: Vec<u8>) -> Result<Vec<String>, String> {
        let here = EventReader::of_bytes(bytes.clone(), DECODED_BYTES_MAX).map_err(|error| error.to_string());
        let here = here.and_then(items);
        let streamed = EventReader::open(Cursor::new(bytes)).map_err(|error| error.to_string()).and_then(items);
        assert_eq!(here, streamed);
        here
    }

    fn items(mut reader: EventReader) -> Result<Vec<String>, String> {
        let mut items = Vec::new();
        while let Some((index, item)) = reader.next_item().map_err(|error| error.to_string())? {
            assert_eq!(index, items.len() as u64);
            items.push(match item {
                Item::Text(text) => text.trim().to_owned(),
                other => format!("{other:?}"),
            });
        }
        Ok(items)
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(read(text.into()), Ok(expected.iter().map(|item| (*item).to_owned()).collect()), "{text:?}");
    }

    #[test]
    fn lines_lists_and_single_objects_are_recognised() {
        check("", &[]);
        check("\n\n", &[]);
        check("{\"a\":1}\r\n\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]);
        check("{\"a\":1}\n{broken\n{\"b\":2}", &["{\"a\":1}", "{broken", "{\"b\":2}"]);
        check("{broken\n{\"b\":2}", &["{broken", "{\"b\":2}"]);
        check("\u{feff}{\"a\":1}", &["{\"a\":1}"]);
        check("{\n \"a\": 1\n}\n", &["{\n \"a\": 1\n}"]);
        check(" [ {\"a\":[1,2]} , {\"b\":\"],\\\"{\"} ] \n", &["{\"a\":[1,2]}", "{\"b\":\"],\\\"{\"}"]);
        check("[]", &[]);
        check("[ ]", &[]);
        check("[1]", &["1"]);
    }

    #[test]
    fn a_broken_list_is_refused_whole() {
        for text in ["[", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[1]]", "[1] x", "[\"a]", "[{]"] {
            assert!(read(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn compression_is_recognised_by_content() {
        let text = "{\"a\":1}\n{\"b\":2}\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let expected = Ok(vec!["{\"a\":1}".to_owned(), "{\"b\":2}".to_owned()]);
        assert_eq!(read(gzip.clone()), expected);
        assert_eq!(read(zstd::encode_all(text.as_bytes(), 1).unwrap()), expected);
        let twice = read([gzip.clone(), gzip.clone()].concat()).unwrap();
        assert_eq!(twice.len(), 4, "a gzip file may have several members");
        assert!(read(gzip[..gzip.len() - 4].to_vec()).is_err(), "a cut file is not half a file");
    }

    #[test]
    fn a_file_that_grows_beyond_its_limit_is_refused_by_name() {
        let text = "{}\n".repeat(1_000_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(text.as_bytes()).unwrap();
        for bomb in [gzip.finish().unwrap(), zstd::encode_all(text.as_bytes(), 1).unwrap(), text.clone().into_bytes()] {
            let count = |bytes_max: u64| {
                let mut reader = EventReader::open_limited(Cursor::new(bomb.clone()), bytes_max)?;
                let mut items = 0;
                while reader.next_item()?.is_some() {
                    items += 1;
                }
                Ok::<_, MeteringError>(items)
            };
            assert_eq!(count(3_000_000).unwrap(), 1_000_000);
            let error = count(2_999_999).unwrap_err();
            assert!(error.is_too_large());
            let error = error.to_string();
            assert!(error.contains("more than 2999999 bytes") && error.contains("limits.decoded_file"), "{error}");
        }
    }

    #[test]
    fn items_that_are_too_long_or_not_text_do_not_stop_the_file() {
        let long = "x".repeat(3 * EVENT_BYTES_MAX);
        check(&format!("{long}\n{{}}\n"), &["TooLong", "{}"]);
        check(&format!("[\"{long}\",{{}}]"), &["TooLong", "{}"]);
        assert_eq!(read(b"\xff\n{}\n".to_vec()), Ok(vec!["NotUtf8".to_owned(), "{}".to_owned()]));
    }

    #[test]
    fn a_whole_body_is_read_within_its_limit() {
        let text = vec![b'x'; 300_000];
        let packed = zstd::encode_all(&text[..], 1).expect("zstd");
        for body in [&text, &packed] {
            let read = |bytes_max: u64| read_whole(body.clone(), bytes_max, |_| Ok::<(), MeteringError>(()));
            assert_eq!(read(300_000).map_err(|error| error.to_string()), Ok(text.clone()));
            assert!(read(299_999).is_err_and(|error| error.is_too_large()));
        }
    }

    #[test]
    fn a_body_is_read_no_further_than_there_is_room() {
        let packed = zstd::encode_all(&vec![b'x'; 8 * CHUNK_BYTES][..], 1).expect("zstd");
        let mut asked = 0;
        let room = |piece: &[u8]| {
            asked += piece.len();
            if asked <= CHUNK_BYTES { Ok(()) } else { Err(MeteringError::MetersChanged) }
        };
        assert!(matches!(read_whole(packed, u64::MAX, room), Err(MeteringError::MetersChanged)));
        assert!(asked <= 2 * CHUNK_BYTES, "{asked}");
    }

    #[test]
    fn what_reading_takes_follows_from_the_first_bytes() {
        let buffers = (3 * EVENT_BYTES_MAX + 2 * CHUNK_BYTES) as u64;
        let frame = |descriptor: u8, window: u8| [ZSTD_MAGIC, &[descriptor, window]].concat();
        assert_eq!(reading_bytes_max(b"{}", 1 << 30), 4);
        assert_eq!(reading_bytes_max(&[GZIP_MAGIC, b"..."].concat(), 1 << 30), buffers);
        assert_eq!(reading_bytes_max(&frame(0, 17 << 3), 1 << 30), buffers + (128 << 20));
        assert_eq!(reading_bytes_max(&frame(0, (9 << 3) + 4), 1 << 30), buffers + (512 << 10) + (256 << 10));
        assert_eq!(reading_bytes_max(&frame(0, 255), 1 << 20), buffers + (1 << 20), "never more than there may be");
        assert_eq!(reading_bytes_max(&frame(0x20, 200), 1 << 20), buffers + 200, "a single segment is its content");
        assert_eq!(reading_bytes_max(&[ZSTD_MAGIC, &[0x20]].concat(), 1 << 20), buffers + (1 << 20), "cut off");
    }

    #[test]
    fn every_frame_of_a_body_is_looked_at() {
        let buffers = (3 * EVENT_BYTES_MAX + 2 * CHUNK_BYTES) as u64;
        let small = zstd::bulk::compress(b"{}", 1).expect("zstd");
        assert!(reading_bytes_max(&small, 1 << 30) < buffers + (1 << 20));
        let large = [ZSTD_MAGIC, &[0, 17 << 3]].concat();
        let both = [small.clone(), small, large].concat();
        assert_eq!(reading_bytes_max(&both, 1 << 30), buffers + (128 << 20));
    }
}
