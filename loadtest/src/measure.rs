//! Latencies, memory, disk, processor time.

use std::path::Path;
use std::time::Duration;

/// Latencies of one kind of operation.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency.as_micros().min(u32::MAX.into()) as u32);
    }

    /// Adds those of another task.
    pub fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency, in milliseconds, that this part of all (0 to 1) did not exceed.
    pub fn quantile(&mut self, part: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.sort_unstable();
        let index = ((self.0.len() - 1) as f64 * part).round() as usize;
        f64::from(self.0[index]) / 1000.0
    }
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Seconds of processor time that a process has used.
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the times are the 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|tick| tick.parse::<u64>().ok()).sum();
    // The kernel gives these times in hundredths, whatever its own clock is.
    ticks as f64 / 100.0
}

/// Bytes that the files under a folder take on the disk.
pub fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Part of the machine's processors that was busy since it was started.
pub struct Busy {
    total: u64,
    idle: u64,
}

impl Busy {
    /// Starts to look.
    pub fn start() -> Self {
        let (total, idle) = processors();
        Busy { total, idle }
    }

    /// The busy part so far, 0 to 1.
    pub fn part(&self) -> f64 {
        let (total, idle) = processors();
        let all = total.saturating_sub(self.total).max(1);
        1.0 - idle.saturating_sub(self.idle) as f64 / all as f64
    }
}

fn processors() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
    (ticks.iter().sum(), ticks.iter().skip(3).take(2).sum())
}
