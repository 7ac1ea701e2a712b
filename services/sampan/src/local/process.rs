//! Processes that are known by a file with their id.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// The process named in `pid_file`, if it runs and its command line mentions `mark`.
///
/// Ids are used again, and a file may outlive its process: the mark tells ours from a stranger's.
pub fn running(pid_file: &Path, mark: &str) -> Option<i32> {
    let pid: i32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let zombie = status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
    // For a moment between being started and running, a process has no command line.
    let is_ours = command.is_empty() || String::from_utf8_lossy(&command).contains(mark);
    (!zombie && is_ours).then_some(pid)
}

/// Writes a process id to its file, at once: who reads it meanwhile must not find it empty.
pub fn record(pid_file: &Path, pid: u32) -> Result<()> {
    let new = pid_file.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, pid.to_string())
        .and_then(|()| fs::rename(&new, pid_file))
        .with_context(|| format!("cannot write {}", pid_file.display()))
}

/// Asks the process in `pid_file` to end, waits up to `patience`, then kills it. Nothing to do when it does not run.
pub async fn stop(pid_file: &Path, mark: &str, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    if let Some(pid) = running(pid_file, mark) {
        signal(pid, Signal::SIGTERM)?;
    }
    while let Some(pid) = running(pid_file, mark) {
        if Instant::now() > deadline + Duration::from_secs(5) {
            bail!("process {pid} does not end");
        }
        if Instant::now() > deadline {
            signal(pid, Signal::SIGKILL)?;
        }
        sleep(Duration::from_millis(20)).await;
    }
    match fs::remove_file(pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", pid_file.display()))
        }
        _ => Ok(()),
    }
}

/// Sends a signal; a process that ended in the meantime is no error.
pub fn signal(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot signal process {pid}")),
    }
}
