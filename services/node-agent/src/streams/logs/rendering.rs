//! From lines of the file to what the user asked to see. No IO.

use jiff::Timestamp;

use super::line::{Line, full_time};

/// What is shown, and how much of it is still to come.
#[derive(Debug)]
pub(super) struct Rendering {
    since: Option<Timestamp>,
    timestamps: bool,
    /// Bytes that may still be shown.
    left: Option<u64>,
    /// The last part shown was partial: the next one goes on in its line.
    within_line: bool,
}

// === impl Rendering ===

impl Rendering {
    pub(super) fn new(since: Option<Timestamp>, timestamps: bool, limit: Option<u64>) -> Self {
        Rendering { since, timestamps, left: limit, within_line: false }
    }

    /// Nothing more will be shown.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Appends a line to what is shown.
    pub(super) fn show(&mut self, line: Line<'_>, output: &mut Vec<u8>) {
        if !self.within_line && self.is_too_old(line.time) {
            return;
        }
        let start = output.len();
        if self.timestamps && !self.within_line {
            output.extend_from_slice(full_time(line.time).as_bytes());
            output.push(b' ');
        }
        output.extend_from_slice(line.text);
        if !line.partial {
            output.push(b'\n');
        }
        self.within_line = line.partial;
        if let Some(left) = &mut self.left {
            let shown = usize::try_from(*left).unwrap_or(usize::MAX).min(output.len() - start);
            output.truncate(start + shown);
            *left -= shown as u64;
        }
    }

    fn is_too_old(&self, time: &str) -> bool {
        let Some(since) = self.since else { return false };
        time.parse::<Timestamp>().is_ok_and(|time| time < since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::logs::line::parse;

    const LOG: [&str; 5] = [
        "2026-01-01T00:00:01Z stdout F one",
        "2026-01-01T00:00:02Z stderr P two, ",
        "2026-01-01T00:00:02.5Z stderr P and ",
        "2026-01-01T00:00:03Z stderr F its end",
        "2026-01-01T00:00:04.25Z stdout F ",
    ];

    fn shown(mut rendering: Rendering) -> String {
        let mut output = Vec::new();
        for line in LOG {
            rendering.show(parse(line.as_bytes()).unwrap(), &mut output);
        }
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn partial_lines_are_joined() {
        assert_eq!(shown(Rendering::new(None, false, None)), "one\ntwo, and its end\n\n");
    }

    #[test]
    fn a_line_has_one_timestamp() {
        assert_eq!(
            shown(Rendering::new(None, true, None)),
            "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:02.000000000Z two, and its end\n\
             2026-01-01T00:00:04.250000000Z \n"
        );
    }

    #[test]
    fn lines_before_since_are_left_out_whole() {
        let since = |text: &str| shown(Rendering::new(Some(text.parse().unwrap()), false, None));
        assert_eq!(since("2026-01-01T00:00:02Z"), "two, and its end\n\n");
        assert_eq!(since("2026-01-01T00:00:04Z"), "\n");
        assert_eq!(since("2027-01-01T00:00:00Z"), "");
    }

    #[test]
    fn the_limit_counts_what_is_shown() {
        for limit in 0..25 {
            let whole = shown(Rendering::new(None, false, None));
            let cut = shown(Rendering::new(None, false, Some(limit)));
            assert_eq!(cut, whole[..whole.len().min(limit as usize)]);
        }
        assert_eq!(shown(Rendering::new(None, true, Some(10))), "2026-01-01");
    }
}
