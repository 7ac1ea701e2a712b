//! Every change of some collections, in the order of the log.

use model::{Key, Revision, Trace};
use store::{Change, Item, Store, Watch, WatchEvent};
use tracing::info;

/// What a view has to take in.
#[derive(Clone, Debug)]
pub enum Observed {
    /// Forget everything: what follows is the whole state again.
    Reset,
    /// An object is there, new or changed.
    Put(Item),
    /// An object is gone; this is the last that was seen of it.
    Delete {
        /// Its key.
        key: Key,
        /// The last state.
        previous: Item,
    },
    /// All that was there at the start has been told.
    Synced,
}

/// Follows collections; starts again by itself when the store cuts it off.
pub struct Follower {
    store: Store,
    prefixes: Vec<String>,
    watch: Option<Watch>,
    passed: Revision,
    trace: Option<Trace>,
}

// === impl Follower ===

impl Follower {
    /// Follows the collections with these `(group, resource)` names; without any, everything that the store holds.
    pub fn new(store: Store, collections: &[(&str, &str)]) -> Self {
        let mut prefixes: Vec<String> =
            collections.iter().map(|(group, resource)| Key::prefix(group, resource, None)).collect();
        if prefixes.is_empty() {
            prefixes.push(String::new());
        }
        Follower { store, prefixes, watch: None, passed: Revision::ZERO, trace: None }
    }

    /// Everything up to here has been told.
    pub fn passed(&self) -> Revision {
        self.passed
    }

    /// The trace that the change told last belongs to, if its writer was traced.
    pub fn trace(&self) -> Option<Trace> {
        self.trace
    }

    /// Tells the whole state again.
    pub fn start_again(&mut self) {
        self.watch = None;
    }

    /// What happened next, or nothing when only [`Follower::passed`] has moved on; the first call tells the whole state.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Vec<Observed> {
        loop {
            let Some(watch) = &mut self.watch else { return self.start() };
            match watch.next().await {
                Some(WatchEvent::Change(change)) => {
                    self.passed = self.passed.max(revision(&change));
                    self.trace = watch.trace();
                    // Also what concerns nobody is told, as nothing: somebody may wait until the view has passed it.
                    let follows = self.follows(key(&change));
                    return if follows { vec![observed(change)] } else { Vec::new() };
                }
                Some(WatchEvent::Progress(revision)) => {
                    self.passed = self.passed.max(revision);
                    return Vec::new();
                }
                None => {
                    info!("fell behind the store, starting again");
                    self.watch = None;
                }
            }
        }
    }

    fn start(&mut self) -> Vec<Observed> {
        let mut told = vec![Observed::Reset];
        let mut from = self.store.revision();
        for prefix in &self.prefixes {
            let listing = self.store.list(prefix);
            // Changes between two lists are told again by the watch, which does no harm.
            from = from.min(listing.revision);
            let objects = listing.items.into_iter().filter(|item| !is_fence(&item.key));
            told.extend(objects.map(Observed::Put));
        }
        told.push(Observed::Synced);
        // A history shorter than this moment means a store that moves faster than we list: try again.
        self.watch = self.store.watch("", from).ok();
        self.passed = from;
        self.trace = None;
        told
    }

    fn follows(&self, key: &Key) -> bool {
        !is_fence(key) && self.prefixes.iter().any(|prefix| key.as_str().starts_with(prefix))
    }
}

/// Fences are no objects: they only say who leads.
fn is_fence(key: &Key) -> bool {
    key.group() == "fence"
}

fn key(change: &Change) -> &Key {
    match change {
        Change::Put { item, .. } => &item.key,
        Change::Delete { key, .. } => key,
    }
}

fn revision(change: &Change) -> Revision {
    match change {
        Change::Put { item, .. } => item.revision,
        Change::Delete { revision, .. } => *revision,
    }
}

fn observed(change: Change) -> Observed {
    match change {
        Change::Put { item, .. } => Observed::Put(item),
        Change::Delete { key, previous, .. } => Observed::Delete { key, previous },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::memory::{Faults, MemoryLog};
    use store::{Action, Expect, OpOutcome, Options, Txn};

    use super::*;

    async fn put(store: &Store, key: &Key) -> Revision {
        let value = bytes::Bytes::from_static(br#"{"metadata":{"name":"a"}}"#);
        let committed = store.commit(Txn::of(key.clone(), Expect::Any, Action::Put(value))).await;
        match committed.expect("an outcome").outcomes[0] {
            OpOutcome::Done(revision) => revision,
            ref refused => panic!("{refused:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_the_view_to_pass_a_fence_is_woken_by_the_fence_alone() {
        let log = MemoryLog::new(1, Faults::default());
        let store = Store::open(log, Options::default()).await.expect("a store");
        let pod = Key::object("", "pods", "default", "a");
        put(&store, &Key::fence("pods/before")).await;
        put(&store, &pod).await;
        let mut follower = Follower::new(store.clone(), &[]);
        let told = follower.next().await;
        assert!(
            matches!(&told[..], [Observed::Reset, Observed::Put(item), Observed::Synced] if item.key == pod)
        );

        let since = put(&store, &Key::fence("pods/binder")).await;
        let waiting = async {
            while follower.passed() < since {
                assert!(follower.next().await.is_empty(), "a fence is no object");
            }
        };
        tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("the view passes it");
    }
}
