//! Where the last lines of a file begin, found from its end.

use std::io::{self, Read, Seek, SeekFrom};

use super::line::{HEAD_MAX, parse};

/// What is read at a time, going backwards.
const BLOCK: u64 = 64 * 1024;

/// Where to begin in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The first byte of the first line.
    pub(super) offset: u64,
    /// Lines that are still missing; they are in older files.
    pub(super) missing: u64,
}

/// Goes over the lines of a file from the last to the first. Parts of a line count once, with the part that ends it.
struct Count {
    wanted: u64,
    found: u64,
    /// Some line was seen.
    begun: bool,
    /// Where the lines found so far begin.
    start: u64,
}

/// Where the last `wanted` lines of `file` begin.
pub(super) fn start<F: Read + Seek>(file: &mut F, wanted: u64) -> io::Result<Start> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut count = Count { wanted, found: 0, begun: false, start: end };
    // The line at the left edge of what was read: its first bytes so far, by which it is known.
    let mut head: Vec<u8> = Vec::new();
    let mut position = if wanted == 0 { 0 } else { end };
    while position > 0 {
        let size = position.min(BLOCK);
        position -= size;
        let mut block = vec![0; size as usize];
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(&mut block)?;
        let mut rest = block.as_slice();
        while let Some(newline) = rest.iter().rposition(|byte| *byte == b'\n') {
            prepend(&mut head, &rest[newline + 1..]);
            if !count.takes(&head, position + newline as u64 + 1) {
                return Ok(count.result());
            }
            head.clear();
            rest = &rest[..newline];
        }
        prepend(&mut head, rest);
    }
    if wanted > 0 {
        count.takes(&head, 0);
    }
    Ok(count.result())
}

fn prepend(head: &mut Vec<u8>, before: &[u8]) {
    let mut longer = before[..before.len().min(HEAD_MAX)].to_vec();
    longer.extend_from_slice(&head[..head.len().min(HEAD_MAX - longer.len())]);
    *head = longer;
}

// === impl Count ===

impl Count {
    /// Whether the line that begins at `offset` is one of the last; if so it is taken.
    fn takes(&mut self, head: &[u8], offset: u64) -> bool {
        if let Some(line) = parse(head) {
            // A part at the end of the file is a line that is still being written.
            if !line.partial || !self.begun {
                if self.found == self.wanted {
                    return false;
                }
                self.found += 1;
            }
            self.begun = true;
        }
        self.start = offset;
        true
    }

    fn result(&self) -> Start {
        Start { offset: self.start, missing: self.wanted - self.found }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn line(tag: &str, text: &str) -> String {
        format!("2026-01-01T00:00:00.123Z stdout {tag} {text}\n")
    }

    /// The slow, obvious way.
    fn expected(lines: &[String], wanted: usize) -> Start {
        let mut groups: Vec<usize> = Vec::new();
        let (mut offset, mut group) = (0, None);
        for line in lines {
            let begin = *group.get_or_insert(offset);
            offset += line.len();
            if line.contains(" F ") {
                groups.push(begin);
                group = None;
            }
        }
        groups.extend(group);
        let missing = wanted.saturating_sub(groups.len());
        let offset = match (wanted, groups.len()) {
            (0, _) => offset,
            (_, 0) => 0,
            (wanted, found) if wanted >= found => 0,
            (wanted, found) => groups[found - wanted],
        };
        Start { offset: offset as u64, missing: missing as u64 }
    }

    fn check(lines: &[String], wanted: usize) {
        let text = lines.concat();
        let found = start(&mut Cursor::new(text.as_bytes()), wanted as u64).unwrap();
        assert_eq!(found, expected(lines, wanted), "{wanted} of {} lines", lines.len());
    }

    #[test]
    fn the_last_lines_are_found() {
        let lines: Vec<String> = ["one", "", "three", "four"].map(|text| line("F", text)).to_vec();
        for wanted in 0..6 {
            check(&lines, wanted);
        }
    }

    #[test]
    fn a_line_in_parts_is_one_line() {
        let lines = [
            line("F", "a"),
            line("P", "b"),
            line("P", "c"),
            line("F", "d"),
            line("F", "e"),
            line("P", "open"),
        ];
        for wanted in 0..6 {
            check(&lines, wanted);
        }
    }

    #[test]
    fn nothing_has_no_lines() {
        check(&[], 0);
        check(&[], 3);
    }

    proptest::proptest! {
        #[test]
        fn every_file_gives_what_the_obvious_way_gives(
            texts in proptest::collection::vec((proptest::bool::ANY, 0usize..30_000), 0..40),
            wanted in 0usize..45,
        ) {
            let lines: Vec<String> = texts
                .into_iter()
                .map(|(partial, length)| line(if partial { "P" } else { "F" }, &"x".repeat(length)))
                .collect();
            check(&lines, wanted);
        }

        #[test]
        fn any_bytes_have_a_beginning(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..500), wanted in 0u64..9) {
            let length = bytes.len() as u64;
            let found = start(&mut Cursor::new(bytes), wanted).unwrap();
            assert!(found.offset <= length && found.missing <= wanted);
        }
    }
}
