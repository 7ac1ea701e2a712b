//! How much is served at once. What is too much is refused at once, with when to come back, rather than queued.

use std::sync::Arc;

use model::{Reason, Status};
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics;

/// Requests that change something at once. A commit takes a few milliseconds, so this many are far more than the
/// log takes in; each may hold a body of 3 MiB, so more would be memory that is not there.
const MUTATING: usize = 512;
/// Requests that read at once; a list holds references to the state's bytes, so they are cheap.
const READING: usize = 1024;
/// Open connections: each holds some tens of KB, and a file descriptor of the usual 65,536.
pub const CONNECTIONS: usize = 20_000;
/// Upstream's hint to clients that were refused.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The bounds of one server.
#[derive(Debug)]
pub struct Limits {
    mutating: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// Leave to serve one request; counted while it lives.
#[derive(Debug)]
pub struct Leave {
    gauge: IntGauge,
    _permit: OwnedSemaphorePermit,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Limits::new(MUTATING, READING)
    }
}

impl Limits {
    /// So many requests of each sort.
    pub fn new(mutating: usize, reading: usize) -> Limits {
        Limits { mutating: Arc::new(Semaphore::new(mutating)), reading: Arc::new(Semaphore::new(reading)) }
    }

    /// Leave to serve a request; 429 when there are too many.
    pub fn enter(&self, mutates: bool) -> Result<Leave, Status> {
        let semaphore = if mutates { &self.mutating } else { &self.reading };
        let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() else {
            metrics::refused(mutates);
            let mut status =
                Status::new(Reason::TooManyRequests, "Too many requests, please try again later.");
            status.retry_after_seconds = RETRY_AFTER_SECONDS;
            return Err(status);
        };
        let gauge = metrics::in_flight(mutates);
        gauge.inc();
        Ok(Leave { gauge, _permit: permit })
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_told_when_to_come_back_and_writes_do_not_crowd_out_reads() {
        let limits = Limits::new(1, 1);
        let write = limits.enter(true).unwrap();
        let refused = limits.enter(true).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after_seconds), (429, 1));
        assert!(limits.enter(false).is_ok());
        drop(write);
        assert!(limits.enter(true).is_ok());
    }
}
