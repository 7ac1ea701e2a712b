//! How long a failed pod is left where it is: a node that refuses its daemon is not to be asked without a pause.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use model::Key;

/// After the first failure on a node; doubled with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// A node that has failed for hours is tried four times an hour.
const LATEST: Duration = Duration::from_secs(15 * 60);
/// A node that was fine for this long starts anew.
const FORGOTTEN: Duration = Duration::from_secs(2 * 15 * 60);

/// The pauses of each set on each node. Pure: the caller says what time it is.
#[derive(Debug, Default)]
pub struct Backoffs {
    by_set: HashMap<Key, HashMap<String, Pause>>,
}

#[derive(Debug)]
struct Pause {
    since: Timestamp,
    length: Duration,
}

// === impl Backoffs ===

impl Backoffs {
    /// Until when a failed pod stays; `None` if it may go.
    pub fn until(&self, set: &Key, node: &str, now: Timestamp) -> Option<Timestamp> {
        let pause = self.by_set.get(set)?.get(node)?;
        Some(pause.end()).filter(|end| *end > now)
    }

    /// A failed pod goes now: the next one will stay for longer.
    pub fn begin(&mut self, set: &Key, node: &str, now: Timestamp) {
        let pauses = self.by_set.entry(set.clone()).or_default();
        pauses.retain(|_, pause| now.duration_since(pause.since) <= signed(FORGOTTEN));
        let length = pauses.get(node).map_or(FIRST, |pause| (pause.length * 2).min(LATEST));
        pauses.insert(node.to_owned(), Pause { since: now, length });
    }

    /// The set is gone.
    pub fn forget(&mut self, set: &Key) {
        self.by_set.remove(set);
    }
}

impl Pause {
    fn end(&self) -> Timestamp {
        self.since.saturating_add(signed(self.length)).unwrap_or(Timestamp::MAX)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).expect("pauses are minutes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_on_a_node_is_followed_by_a_longer_pause_until_all_is_forgotten() {
        let set = Key::object("apps", "daemonsets", "default", "agent");
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
        let mut backoffs = Backoffs::default();
        assert_eq!(backoffs.until(&set, "a", at(0)), None);
        backoffs.begin(&set, "a", at(0));
        assert_eq!(backoffs.until(&set, "a", at(0)), Some(at(1)));
        assert_eq!(backoffs.until(&set, "b", at(0)), None, "another node is another matter");
        backoffs.begin(&set, "a", at(1));
        assert_eq!(backoffs.until(&set, "a", at(1)), Some(at(3)));
        assert_eq!(backoffs.until(&set, "a", at(3)), None);
        backoffs.begin(&set, "a", at(10_000));
        assert_eq!(backoffs.until(&set, "a", at(10_000)), Some(at(10_001)), "hours later it starts anew");
    }
}
