//! Volumes whose data is to be removed from this node. Pure.
//!
//! ```text
//!  wanted: leaving ──no pod here uses it──> removed ──> reported ──> the object goes, and is wanted no more
//!                                              └ failed: again after a while
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bus::node::{LOCAL_PATH, VOLUME_NODE, VolumeReport};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolume;

/// On a volume that a claim still has, or may have.
const PROTECTION: &str = "kubernetes.io/pv-protection";
/// Most often somebody still has a file open on a mount in it.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// How far the removals are, by the volumes' uids.
#[derive(Debug, Default)]
pub struct Removals {
    under_way: BTreeSet<String>,
    failed: BTreeMap<String, Timestamp>,
    done: BTreeSet<String>,
}

// === impl Removals ===

impl Removals {
    /// What is to be removed now of the volumes that the node knows; those in `used` wait. Also when to ask again.
    pub fn due<'a>(
        &mut self,
        volumes: impl Iterator<Item = &'a PersistentVolume>,
        used: &BTreeSet<&str>,
        node: &str,
        now: Timestamp,
    ) -> (Vec<VolumeReport>, Option<Timestamp>) {
        let leaving: Vec<VolumeReport> =
            volumes.filter(|volume| is_leaving(volume, node)).map(report).collect();
        let is_wanted = |uid: &String| leaving.iter().any(|one| one.uid == *uid);
        self.done.retain(is_wanted);
        self.failed.retain(|uid, _| is_wanted(uid));
        let waits = |one: &VolumeReport| {
            self.under_way.contains(&one.uid)
                || self.done.contains(&one.uid)
                || used.contains(one.name.as_str())
                || self.failed.get(&one.uid).is_some_and(|until| *until > now)
        };
        let due: Vec<VolumeReport> = leaving.iter().filter(|one| !waits(one)).cloned().collect();
        self.under_way.extend(due.iter().map(|one| one.uid.clone()));
        let again = self.failed.values().filter(|until| **until > now).min().copied();
        (due, again)
    }

    /// A removal came to its end.
    pub fn ended(&mut self, uid: &str, is_done: bool, now: Timestamp) {
        self.under_way.remove(uid);
        self.failed.remove(uid);
        match is_done {
            true => drop(self.done.insert(uid.to_owned())),
            false => drop(self.failed.insert(uid.to_owned(), now + RETRY)),
        }
    }

    /// Whether the API heard of what is done is not known: it is done and told again.
    pub fn forget_told(&mut self) {
        self.done.clear();
    }
}

/// Whether a volume's data on this node is to go: nobody holds it, and nobody wants it kept.
fn is_leaving(volume: &PersistentVolume, node: &str) -> bool {
    let metadata = &volume.metadata;
    let has = |finalizer: &str| metadata.finalizers.iter().flatten().any(|one| one == finalizer);
    let at = metadata.annotations.as_ref().and_then(|annotations| annotations.get(VOLUME_NODE));
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    metadata.deletion_timestamp.is_some()
        && has(LOCAL_PATH)
        && !has(PROTECTION)
        && at.map(String::as_str) == Some(node)
        && policy == Some("Delete")
}

fn report(volume: &PersistentVolume) -> VolumeReport {
    VolumeReport {
        name: volume.metadata.name.clone().unwrap_or_default(),
        uid: volume.metadata.uid.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(name: &str, node: &str, leaving: bool) -> PersistentVolume {
        let time = leaving.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "finalizers": [LOCAL_PATH], "deletionTimestamp": time,
                "annotations": {VOLUME_NODE: node}},
            "spec": {"persistentVolumeReclaimPolicy": "Delete"}
        }))
        .expect("a volume")
    }

    #[test]
    fn a_volume_is_removed_once_when_no_pod_uses_it() {
        let mut removals = Removals::default();
        let volumes = [volume("a", "n", true), volume("b", "n", false), volume("c", "other", true)];
        let now = Timestamp::UNIX_EPOCH;
        let mut due = |used: &[&str], now: Timestamp| {
            let (due, again) = removals.due(volumes.iter(), &used.iter().copied().collect(), "n", now);
            (due.into_iter().map(|one| one.name).collect::<Vec<_>>(), again)
        };
        assert_eq!(due(&["a"], now), (vec![], None));
        assert_eq!(due(&[], now), (vec!["a".to_owned()], None));
        assert_eq!(due(&[], now), (vec![], None), "it is under way");
        removals.ended("a", false, now);
        let mut due = |now: Timestamp| removals.due(volumes.iter(), &BTreeSet::new(), "n", now);
        assert_eq!(due(now), (vec![], Some(now + RETRY)));
        assert_eq!(due(now + RETRY).0.len(), 1, "again");
        removals.ended("a", true, now);
        let mut due = || removals.due(volumes.iter(), &BTreeSet::new(), "n", now).0.len();
        assert_eq!(due(), 0);
        removals.forget_told();
        assert_eq!(removals.due(volumes.iter(), &BTreeSet::new(), "n", now).0.len(), 1, "told again");
    }
}
