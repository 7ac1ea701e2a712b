//! Keeping logs from filling the disk.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::Runtime;
use crate::pods::Pods;

/// A log that has grown to this is put aside.
const SIZE_MAX: u64 = 10 * 1024 * 1024;
/// Parts kept of a log, the one that is written included.
const PARTS_MAX: usize = 5;
/// A container that writes 100 MB/s exceeds the bound by a gigabyte until the next look; slower ones by little.
const PERIOD: Duration = Duration::from_secs(10);

/// Looks at every running container's log now and then, until `shutdown`.
pub async fn keep_small<R: Runtime>(runtime: R, pods: Pods, shutdown: runtime::Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = shutdown.cancelled() => return,
        }
        for (id, log) in pods.running_logs() {
            if fs::metadata(&log).is_ok_and(|metadata| metadata.len() >= SIZE_MAX)
                && let Err(error) = rotate(&runtime, &id, &log, Timestamp::now()).await
            {
                warn!(log = %log.display(), "cannot put the log aside: {error:#}");
            }
        }
    }
}

async fn rotate<R: Runtime>(runtime: &R, id: &str, log: &Path, now: Timestamp) -> anyhow::Result<()> {
    let aside = set_aside(log, now)?;
    if let Err(error) = runtime.reopen_log(id).await {
        // The runtime goes on writing into the file: under its own name, so that it is read.
        fs::rename(&aside, log)?;
        return Err(error.into());
    }
    Ok(remove_oldest(log)?)
}

fn set_aside(log: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = PathBuf::from(format!("{}.{}", log.display(), now.strftime("%Y%m%d-%H%M%S")));
    fs::rename(log, &aside)?;
    Ok(aside)
}

fn remove_oldest(log: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    // Their names sort by time.
    let mut parts = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            parts.insert(entry.path());
        }
    }
    let surplus = parts.len().saturating_sub(PARTS_MAX - 1);
    parts.iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_parts_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("0.log");
        for second in 0..8 {
            fs::write(&log, second.to_string()).unwrap();
            set_aside(&log, Timestamp::from_second(second).unwrap()).unwrap();
            remove_oldest(&log).unwrap();
        }
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["4", "5", "6", "7"]);
    }
}
