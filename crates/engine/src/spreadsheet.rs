//! Rows of text files that spreadsheets open (RFC 4180).

use std::borrow::Cow;

/// Returns the text of a cell that no spreadsheet takes for a formula: such a text gets a `'` before it, numbers stay
/// numbers.
#[must_use]
pub fn safe(text: &str) -> Cow<'_, str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1;
    if !is_number && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Appends a row of these cells, disarmed and quoted where it is needed, and ends the line.
pub fn push_row<T: AsRef<str>>(text: &mut String, cells: impl IntoIterator<Item = T>) {
    for (at, cell) in cells.into_iter().enumerate() {
        if 0 < at {
            text.push(',');
        }
        let cell = safe(cell.as_ref());
        if cell.contains(['"', ',', '\r', '\n']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_disarmed_and_numbers_are_not() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+x", "'+x"),
            ("-x", "'-x"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("-12.50", "-12.50"),
            ("-1-1", "'-1-1"),
            ("-", "'-"),
            ("acme", "acme"),
        ] {
            assert_eq!(safe(text), expected);
        }
    }

    #[test]
    fn cells_are_quoted_where_a_reader_needs_it() {
        let mut text = String::new();
        push_row(&mut text, ["a", "", "b,c", "say \"so\"", "=1,2", "two\nlines"]);
        assert_eq!(text, "a,,\"b,c\",\"say \"\"so\"\"\",\"'=1,2\",\"two\nlines\"\r\n");
    }
}
