//! A body of two bytes per message would ask for fifty times its size when it is decoded; so parts are counted first.

/// Parts allowed for each series allowed: attributes, values, samples, exemplars.
pub(super) const PARTS_PER_SERIES: usize = 64;
/// How deep messages may nest; the decoder refuses more.
const DEPTH_MAX: usize = 100;

/// Which fields of a message are parts, and what those hold.
pub(super) struct Shape(pub &'static [(u64, &'static Shape)]);

/// A part that holds no parts.
pub(super) static LEAF: Shape = Shape(&[]);

/// Returns whether the message has more parts than this. A broken message ends the count; its decoder says why.
pub(super) fn exceeds(message: &[u8], shape: &Shape, parts_max: usize) -> bool {
    let mut left = parts_max;
    count(message, shape, &mut left, DEPTH_MAX).is_err()
}

/// Takes the parts from what is left; fails when nothing is.
fn count(mut message: &[u8], shape: &Shape, left: &mut usize, depth: usize) -> Result<(), ()> {
    if depth == 0 {
        return Ok(());
    }
    while let Some((field, content)) = next_field(&mut message) {
        let Some((_, inner)) = shape.0.iter().find(|(part, _)| *part == field) else { continue };
        let Some(content) = content else { continue };
        *left = left.checked_sub(1).ok_or(())?;
        count(content, inner, left, depth - 1)?;
    }
    Ok(())
}

/// The next field's number and, if it has a length, its content.
fn next_field<'m>(message: &mut &'m [u8]) -> Option<(u64, Option<&'m [u8]>)> {
    let key = varint(message)?;
    let (bytes, has_content) = match key & 7 {
        0 => return varint(message).map(|_| (key >> 3, None)),
        1 => (8, false),
        2 => (usize::try_from(varint(message)?).ok()?, true),
        5 => (4, false),
        _ => return None,
    };
    let (content, rest) = message.split_at_checked(bytes)?;
    *message = rest;
    Some((key >> 3, has_content.then_some(content)))
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let end = message.iter().take(10).position(|byte| *byte < 0x80)?;
    let (digits, rest) = message.split_at(end + 1);
    *message = rest;
    Some(digits.iter().rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    static INNER: Shape = Shape(&[(3, &LEAF)]);
    static OUTER: Shape = Shape(&[(1, &INNER), (2, &LEAF)]);

    #[test]
    fn parts_are_counted_at_every_depth_and_nothing_else_is() {
        // Two inner ones with a leaf each, one leaf, one field that is no part, a number, a fixed64, a fixed32.
        let message = [
            0x0a, 2, 0x1a, 0, 0x0a, 2, 0x1a, 0, 0x12, 0, 0x22, 1, 7, 0x28, 0x96, 0x01, 0x31, 0, 0, 0, 0, 0, 0, 0, 0,
            0x3d, 0, 0, 0, 0,
        ];
        assert!(!exceeds(&message, &OUTER, 5));
        assert!(exceeds(&message, &OUTER, 4));
    }

    #[test]
    fn a_broken_message_ends_the_count() {
        for broken in [
            &[0x0a][..],
            &[0x0a, 5, 0],
            &[0xff; 20],
            &[0x0b],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert!(!exceeds(broken, &OUTER, 1), "{broken:?}");
        }
        assert!(exceeds(&[0x12, 0].repeat(1_000_000), &OUTER, 999_999));
    }
}
