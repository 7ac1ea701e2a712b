//! One line of a log file: `2026-01-02T03:04:05.6Z stdout F text`. No IO.

/// A line that is longer is no line: the runtime cuts at 16 KB unless it is told otherwise.
pub(super) const LINE_MAX: usize = 1024 * 1024;
/// Time, stream and tag are within so many bytes.
pub(super) const HEAD_MAX: usize = 128;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// When it was written, in RFC 3339.
    pub(super) time: &'a str,
    /// The line goes on in the next one.
    pub(super) partial: bool,
    /// What the container wrote, without the newline.
    pub(super) text: &'a [u8],
}

/// Reads a line without its newline; `None` when it is none.
pub(super) fn parse(raw: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = word(raw)?;
    let (stream, rest) = word(rest)?;
    if stream != b"stdout" && stream != b"stderr" {
        return None;
    }
    let (tags, text) = word(rest)?;
    // More tags may follow the first one, behind colons.
    let partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let time = std::str::from_utf8(time).ok().filter(|time| time.len() >= "2026-01-02T03:04:05Z".len())?;
    Some(Line { time, partial, text })
}

fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(HEAD_MAX).position(|byte| *byte == b' ')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The time with all nine digits of its fraction, as clients print it: the runtime cuts zeros off at the end.
pub(super) fn full_time(time: &str) -> String {
    const DIGITS: usize = 9;
    let seconds = "2026-01-02T03:04:05".len();
    let Some((before, after)) = time.split_at_checked(seconds) else { return time.to_owned() };
    let fraction: String =
        after.strip_prefix('.').unwrap_or("").chars().take_while(char::is_ascii_digit).take(DIGITS).collect();
    let zone = after.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    format!("{before}.{fraction:0<DIGITS$}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_stream_tag_and_text() {
        let line = parse(b"2026-01-02T03:04:05.6Z stdout F hello  world ").unwrap();
        assert_eq!(line, Line { time: "2026-01-02T03:04:05.6Z", partial: false, text: b"hello  world " });
        assert!(parse(b"2026-01-02T03:04:05.6+02:00 stderr P x").unwrap().partial);
        assert!(!parse(b"2026-01-02T03:04:05Z stderr F:more x").unwrap().partial);
        assert_eq!(parse(b"2026-01-02T03:04:05Z stdout F ").unwrap().text, b"");
    }

    #[test]
    fn what_is_no_line_is_not_taken_for_one() {
        for raw in
            ["", "text", "2026-01-02T03:04:05Z stdin F x", "2026-01-02T03:04:05Z stdout X x", "x stdout F y"]
        {
            assert_eq!(parse(raw.as_bytes()), None, "{raw}");
        }
    }

    #[test]
    fn times_are_printed_with_nine_digits() {
        assert_eq!(full_time("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000000000Z");
        assert_eq!(full_time("2026-01-02T03:04:05.12Z"), "2026-01-02T03:04:05.120000000Z");
        assert_eq!(full_time("2026-01-02T03:04:05.123456789+02:00"), "2026-01-02T03:04:05.123456789+02:00");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_line_or_not(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Some(line) = parse(&bytes) {
                full_time(line.time);
            }
        }
    }
}
