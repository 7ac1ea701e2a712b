//! How long to wait after failures.

use jiff::{SignedDuration, Timestamp};

/// The first wait, as users of Kubernetes know it.
pub const FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest.
pub const LONGEST: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long has recovered: its next end counts as the first.
pub const RECOVERED: SignedDuration = SignedDuration::from_secs(600);

/// Something that failed and will be tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// `ErrImagePull`, `CreateContainerConfigError`, …
    pub reason: &'static str,
    /// Why, in the words of who failed.
    pub message: String,
    /// When it failed.
    pub at: Timestamp,
    /// How long to wait since then.
    pub delay: SignedDuration,
    /// What the pod and its references were: when they change it is tried at once.
    pub version: u64,
}

/// The waits between the restarts of a container: none before the first, then doubling.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrashLoop {
    delay: Option<SignedDuration>,
    updated: Option<Timestamp>,
}

// === impl Failure ===

impl Failure {
    /// The next failure after `before`: the wait doubles.
    pub fn after(
        before: Option<&Failure>,
        reason: &'static str,
        message: String,
        at: Timestamp,
        version: u64,
    ) -> Self {
        let delay = before.map_or(FIRST, |before| (before.delay * 2).min(LONGEST));
        Failure { reason, message, at, delay, version }
    }

    /// When to try again.
    pub fn again(&self) -> Timestamp {
        self.at + self.delay
    }
}

// === impl CrashLoop ===

impl CrashLoop {
    /// When a container that ended at `finished` may be started again; `None` for at once.
    pub fn until(&self, finished: Timestamp) -> Option<Timestamp> {
        self.holds(finished).map(|delay| finished + delay)
    }

    /// The present wait of a container that ended at `finished`.
    pub fn holds(&self, finished: Timestamp) -> Option<SignedDuration> {
        let (delay, updated) = (self.delay?, self.updated?);
        (finished.duration_since(updated) <= RECOVERED).then_some(delay)
    }

    /// It is started again after it ended at `finished`.
    pub fn restarted(&mut self, finished: Timestamp, now: Timestamp) {
        self.delay = Some(self.holds(finished).map_or(FIRST, |delay| (delay * 2).min(LONGEST)));
        self.updated = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn restarts_wait_longer_each_time_until_the_container_recovers() {
        let mut crashes = CrashLoop::default();
        let mut now = 1000;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let until = crashes.until(second(now)).unwrap_or(second(now));
            waits.push(until.as_second() - now);
            crashes.restarted(second(now), until);
            // It ends a second after each start.
            now = until.as_second() + 1;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        let recovered = second(now + 601);
        assert_eq!(crashes.until(recovered), None);
        crashes.restarted(recovered, recovered);
        assert_eq!(crashes.holds(recovered), Some(FIRST));
    }

    #[test]
    fn failures_wait_twice_as_long_each_time() {
        let fail =
            |before: Option<&Failure>| Failure::after(before, "ErrImagePull", String::new(), second(0), 0);
        let first = fail(None);
        let second = fail(Some(&first));
        assert_eq!((first.delay, second.delay), (FIRST, FIRST * 2));
        let long = Failure { delay: LONGEST, ..second };
        assert_eq!(fail(Some(&long)).delay, LONGEST);
    }
}
