//! Whose pod it is: replicas divide the pods among them, and whoever comes or goes moves only its own share.
//!
//! Each replica draws a number for each pod from both their names; the largest has it (rendezvous hashing). For a moment
//! two may know of different replicas. Then a pod is decided about twice, which the binder notices, or not until they
//! agree.

use std::collections::BTreeSet;

use model::Key;

/// The replicas among which pods are divided.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    me: u64,
    others: Vec<u64>,
}

// === impl Replicas ===

impl Replicas {
    /// This replica and all that live.
    pub fn new(me: &str, members: &BTreeSet<String>) -> Self {
        let others = members.iter().filter(|member| *member != me).map(|member| digest(member));
        Replicas { me: digest(me), others: others.collect() }
    }

    /// Whether the pod is ours.
    pub fn own(&self, pod: &Key) -> bool {
        let pod = digest(pod.as_str());
        let draw = |replica: &u64| (mixed(replica ^ pod), *replica);
        let ours = draw(&self.me);
        self.others.iter().all(|other| draw(other) < ours)
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.others.len() + 1
    }
}

/// FNV-1a: the same on every machine and in every version, as replicas must agree.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The end of SplitMix64: names that differ in a letter draw numbers that have nothing in common.
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(members: &[&str], pods: &[Key]) -> Vec<Vec<bool>> {
        let all: BTreeSet<String> = members.iter().map(|member| (*member).to_owned()).collect();
        members
            .iter()
            .map(|me| {
                let replicas = Replicas::new(me, &all);
                pods.iter().map(|pod| replicas.own(pod)).collect()
            })
            .collect()
    }

    fn pods() -> Vec<Key> {
        (0..4_000).map(|index| Key::object("", "pods", "default", &format!("web-{index}"))).collect()
    }

    #[test]
    fn each_pod_is_one_replicas_and_the_shares_are_alike() {
        let pods = pods();
        for members in [&["a"][..], &["host_1", "host_2"], &["host_1", "host_2", "host_3", "host_4"]] {
            let shares = shares(members, &pods);
            for pod in 0..pods.len() {
                assert_eq!(shares.iter().filter(|share| share[pod]).count(), 1);
            }
            let fair = pods.len() / members.len();
            for share in &shares {
                let count = share.iter().filter(|own| **own).count();
                assert!(count.abs_diff(fair) < fair / 8 + 1, "{count} of {fair}");
            }
        }
    }

    #[test]
    fn when_one_goes_only_its_pods_move() {
        let pods = pods();
        let (before, after) = (shares(&["a", "b", "c"], &pods), shares(&["a", "b"], &pods));
        for pod in 0..pods.len() {
            for replica in 0..2 {
                assert!(!before[replica][pod] || after[replica][pod]);
            }
        }
    }
}
