//! Reads the files of a log one after the other, a bounded step at a time, and goes on to the next one when the log is
//! rotated.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::line::{LINE_MAX, parse};
use super::rendering::Rendering;
use super::tail;

/// What is read in a step.
const STEP: usize = 64 * 1024;

/// A log, from where it was asked for.
#[derive(Debug)]
pub(super) struct Reader {
    /// What the runtime writes.
    path: PathBuf,
    /// The oldest first; the last one is, or was, the one that the runtime writes.
    files: VecDeque<File>,
    /// Read, but not yet a whole line.
    unfinished: Vec<u8>,
    /// Within a line that is too long to be one.
    overlong: bool,
    rendering: Rendering,
}

/// What a step came to.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// This is to be shown; may be empty.
    Read(Vec<u8>),
    /// There is nothing more at the moment.
    CaughtUp,
    /// Nothing more will be shown.
    Limit,
}

// === impl Reader ===

impl Reader {
    /// The log at `path` with the older parts beside it; only its last `tail` lines if that is said.
    pub(super) fn open(path: PathBuf, tail: Option<u64>, rendering: Rendering) -> io::Result<Self> {
        let current = File::open(&path)?;
        let mut files = older(&path, identity(&current)?)?;
        files.push_back(current);
        if let Some(wanted) = tail {
            begin_at_tail(&mut files, wanted)?;
        }
        Ok(Reader { path, files, unfinished: Vec::new(), overlong: false, rendering })
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.rendering.is_over() {
            return Ok(Step::Limit);
        }
        let Some(file) = self.files.front_mut() else { return Ok(Step::CaughtUp) };
        let mut bytes = vec![0; STEP];
        let size = file.read(&mut bytes)?;
        if size > 0 {
            return Ok(Step::Read(self.show(&bytes[..size])));
        }
        if self.files.len() > 1 {
            self.files.pop_front();
            // A line never goes over into another file.
            self.unfinished.clear();
            return Ok(Step::Read(Vec::new()));
        }
        // A file that was moved away may have got its last lines after we read its end: it is read once more.
        if self.find_newer()? { Ok(Step::Read(Vec::new())) } else { Ok(Step::CaughtUp) }
    }

    fn show(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(bytes.len());
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(end_of_line) = part.strip_suffix(b"\n") else {
                self.keep(part);
                break;
            };
            let line = if self.unfinished.is_empty() {
                parse(end_of_line)
            } else {
                self.unfinished.extend_from_slice(end_of_line);
                parse(&self.unfinished)
            };
            // What is no line was not written by the runtime.
            if let Some(line) = line.filter(|_| !self.overlong) {
                self.rendering.show(line, &mut output);
            }
            self.unfinished.clear();
            self.overlong = false;
        }
        output
    }

    fn keep(&mut self, part: &[u8]) {
        self.unfinished.extend_from_slice(part);
        if self.unfinished.len() > LINE_MAX {
            self.unfinished.clear();
            self.overlong = true;
        }
    }

    /// Whether the log was rotated; then what came after our file is opened.
    fn find_newer(&mut self) -> io::Result<bool> {
        let Some(ours) = self.files.back().map(identity).transpose()? else { return Ok(false) };
        let current = match File::open(&self.path) {
            Ok(current) => current,
            // Moved away, and the runtime has not made the next one yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let newest = identity(&current)?;
        if newest == ours {
            return Ok(false);
        }
        let mut between = older(&self.path, newest)?;
        let mut at = None;
        for (index, file) in between.iter().enumerate() {
            if identity(file)? == ours {
                at = Some(index);
            }
        }
        // Ours may have been removed; then nobody knows what is missing.
        if let Some(at) = at {
            self.files.extend(between.drain(at + 1..));
        }
        self.files.push_back(current);
        Ok(true)
    }
}

/// Drops the files before the last `wanted` lines, and goes to where they begin.
fn begin_at_tail(files: &mut VecDeque<File>, wanted: u64) -> io::Result<()> {
    let mut missing = wanted;
    for index in (0..files.len()).rev() {
        let start = tail::start(&mut files[index], missing)?;
        files[index].seek(SeekFrom::Start(start.offset))?;
        missing = start.missing;
        if missing == 0 {
            files.drain(..index);
            break;
        }
    }
    Ok(())
}

/// The parts of the log that were rotated away, oldest first, without compressed ones and without `current`.
fn older(path: &Path, current: (u64, u64)) -> io::Result<VecDeque<File>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Ok(VecDeque::new());
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let suffix = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.'));
        // The suffix is a time, which begins with a digit; `.tmp` and `.gz` are the work of compression.
        if suffix
            .is_some_and(|suffix| suffix.starts_with(|c: char| c.is_ascii_digit()) && !suffix.contains('.'))
        {
            names.push(entry);
        }
    }
    names.sort();
    let mut files = VecDeque::new();
    for name in names {
        // Old parts are removed at any moment.
        let Ok(file) = File::open(folder.join(name)) else { continue };
        if identity(&file)? != current {
            files.push_back(file);
        }
    }
    Ok(files)
}

/// By which a file is known under any name.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::TempDir;

    use super::*;

    fn plain() -> Rendering {
        Rendering::new(None, false, None)
    }

    fn append(path: &Path, texts: &[&str]) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        for text in texts {
            writeln!(file, "2026-01-01T00:00:00Z stdout F {text}").unwrap();
        }
    }

    /// Everything there is at the moment.
    fn read(reader: &mut Reader) -> String {
        let mut all = Vec::new();
        while let Step::Read(bytes) = reader.step().unwrap() {
            all.extend(bytes);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn older_parts_come_first() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("0.log");
        append(&folder.path().join("0.log.20260101-000000"), &["a", "b"]);
        append(&folder.path().join("0.log.20260102-000000"), &["c"]);
        append(&folder.path().join("0.log.20250101-000000.gz"), &["compressed"]);
        append(&folder.path().join("1.log.20260101-000000"), &["of another instance"]);
        append(&path, &["d", "e"]);
        let open = |tail| Reader::open(path.clone(), tail, plain()).unwrap();
        assert_eq!(read(&mut open(None)), "a\nb\nc\nd\ne\n");
        assert_eq!(read(&mut open(Some(0))), "");
        assert_eq!(read(&mut open(Some(2))), "d\ne\n");
        assert_eq!(read(&mut open(Some(4))), "b\nc\nd\ne\n");
        assert_eq!(read(&mut open(Some(99))), "a\nb\nc\nd\ne\n");
    }

    #[test]
    fn a_follower_goes_on_in_the_next_file_and_misses_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("0.log");
        append(&path, &["a"]);
        let mut reader = Reader::open(path.clone(), Some(0), plain()).unwrap();
        assert_eq!(read(&mut reader), "");
        append(&path, &["b"]);
        assert_eq!(read(&mut reader), "b\n");
        let first = folder.path().join("0.log.20260101-000000");
        std::fs::rename(&path, &first).unwrap();
        assert_eq!(read(&mut reader), "", "the next file is not there yet");
        // The runtime writes to the file that it has open until it is told to open the log anew.
        append(&first, &["c"]);
        append(&path, &["d"]);
        assert_eq!(read(&mut reader), "c\nd\n");
        std::fs::rename(&path, folder.path().join("0.log.20260102-000000")).unwrap();
        append(&path, &["e"]);
        std::fs::rename(&path, folder.path().join("0.log.20260103-000000")).unwrap();
        append(&path, &["f"]);
        assert_eq!(read(&mut reader), "e\nf\n", "rotated twice since we looked");
    }

    #[test]
    fn a_line_that_is_still_being_written_is_shown_when_it_is_whole() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("0.log");
        std::fs::write(&path, "2026-01-01T00:00:00Z stdout F hel").unwrap();
        let mut reader = Reader::open(path.clone(), None, plain()).unwrap();
        assert_eq!(read(&mut reader), "");
        File::options().append(true).open(&path).unwrap().write_all(b"lo\n").unwrap();
        assert_eq!(read(&mut reader), "hello\n");
    }

    #[test]
    fn what_is_no_line_and_what_is_too_long_is_passed_over() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("0.log");
        let long = format!("2026-01-01T00:00:00Z stdout F {}\n", "x".repeat(2 * LINE_MAX));
        std::fs::write(&path, format!("garbage\n\n{long}\u{0}\n")).unwrap();
        append(&path, &["fine"]);
        assert_eq!(read(&mut Reader::open(path, None, plain()).unwrap()), "fine\n");
    }

    #[test]
    fn the_limit_ends_the_log() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("0.log");
        append(&path, &["hello", "world"]);
        let mut reader = Reader::open(path, None, Rendering::new(None, false, Some(8))).unwrap();
        assert_eq!(reader.step().unwrap(), Step::Read(b"hello\nwo".to_vec()));
        assert_eq!(reader.step().unwrap(), Step::Limit);
    }
}
