//! The addresses of each node's pods: a range of its own out of the cluster's, in `spec.podCIDR`, for ever.
//!
//! Nodes hear of each other's ranges and lay routes; a node's pods wait until it has one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::str::FromStr;

use bus::command::{PatchFormat, Resource, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Object;
use serde_json::json;

/// Bits of an address that tell a node's pods apart: 254 of them, more than a node takes.
const NODE_BITS: u32 = 8;

/// The range that nodes get theirs from, as `10.244.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterRange {
    address: Ipv4Addr,
    prefix: u32,
}

/// A text that is no such range.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no range of IPv4 addresses with room for nodes, as 10.244.0.0/16")]
pub struct NoRange(String);

/// The controller.
#[derive(Debug)]
pub struct PodRanges {
    range: ClusterRange,
    nodes: BTreeMap<String, Known>,
    /// What was given out and is not yet seen.
    given: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Known {
    range: String,
    resource_version: String,
}

// === impl ClusterRange ===

impl FromStr for ClusterRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let wrong = || NoRange(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let (address, prefix): (Ipv4Addr, u32) =
            address.parse().ok().zip(prefix.parse().ok()).ok_or_else(wrong)?;
        let is_whole =
            prefix <= 32 - NODE_BITS && address.to_bits() & u32::MAX.checked_shr(prefix).unwrap_or(0) == 0;
        is_whole.then_some(ClusterRange { address, prefix }).ok_or_else(wrong)
    }
}

impl ClusterRange {
    fn count(self) -> u32 {
        1 << (32 - NODE_BITS - self.prefix)
    }

    fn part(self, index: u32) -> String {
        let address = Ipv4Addr::from_bits(self.address.to_bits() + (index << NODE_BITS));
        format!("{address}/{}", 32 - NODE_BITS)
    }
}

// === impl PodRanges ===

impl PodRanges {
    /// Gives ranges out of this one.
    pub fn new(range: ClusterRange) -> Self {
        PodRanges { range, nodes: BTreeMap::new(), given: BTreeMap::new() }
    }

    /// The first that nobody has. What others have written into a node may be of any size, or of another range.
    fn choose(&self) -> Option<u32> {
        let taken: BTreeSet<&str> = self.nodes.values().map(|node| node.range.as_str()).collect();
        let given: BTreeSet<u32> = self.given.values().copied().collect();
        (0..self.range.count())
            .find(|index| !given.contains(index) && !taken.contains(self.range.part(*index).as_str()))
    }
}

impl Controller for PodRanges {
    type Key = String;
    const NAME: &'static str = "node-ipam-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[("", "nodes")];

    fn observe(&mut self, observed: &Observed) -> Vec<String> {
        match observed {
            Observed::Reset => self.nodes.clear(),
            Observed::Synced => {}
            Observed::Put(item) => {
                let Some(node) = client::typed::<Object>(&item.key, &item.value) else { return Vec::new() };
                let range = node.str_at(&["spec", "podCIDR"]).to_owned();
                let name = item.key.name().to_owned();
                let lacks = range.is_empty();
                if !lacks {
                    self.given.remove(&name);
                }
                let resource_version = node.resource_version().to_owned();
                self.nodes.insert(name.clone(), Known { range, resource_version });
                return if lacks { vec![name] } else { Vec::new() };
            }
            Observed::Delete { key, .. } => {
                self.nodes.remove(key.name());
                self.given.remove(key.name());
                // A range came free; somebody may wait for it.
                let lacking = self.nodes.iter().filter(|(_, node)| node.range.is_empty());
                return lacking.map(|(name, _)| name.clone()).collect();
            }
        }
        Vec::new()
    }

    fn decide(&mut self, name: &String, _now: Timestamp) -> Decision {
        let Some(node) = self.nodes.get(name) else {
            return Decision { reason: "the node is gone", ..Decision::default() };
        };
        if !node.range.is_empty() {
            return Decision { reason: "it has its range", ..Decision::default() };
        }
        let Some(index) = self.given.get(name).copied().or_else(|| self.choose()) else {
            return Decision { reason: "every range is taken", ..Decision::default() };
        };
        let range = self.range.part(index);
        let patch = json!({
            "metadata": {"resourceVersion": node.resource_version},
            "spec": {"podCIDR": range, "podCIDRs": [range]},
        });
        self.given.insert(name.clone(), index);
        let write = Write::Patch {
            resource: Resource::new("", "v1", "nodes"),
            namespace: String::new(),
            name: name.clone(),
            subresource: String::new(),
            format: PatchFormat::Merge,
            patch: patch.to_string().into(),
        };
        Decision { writes: vec![write], reason: "its pods need addresses", ..Decision::default() }
    }
}

#[cfg(test)]
mod tests {
    use model::{Key, Revision};
    use serde_json::Value;
    use store::Item;

    use super::*;

    fn ranges(range: &str) -> PodRanges {
        PodRanges::new(range.parse().unwrap())
    }

    fn item(name: &str, range: &str) -> Item {
        let node = json!({"metadata": {"name": name, "resourceVersion": "7"}, "spec": {"podCIDR": range}});
        let key = Key::object("", "nodes", "", name);
        Item { key, revision: Revision(7), created: Revision(1), value: node.to_string().into() }
    }

    fn put(ranges: &mut PodRanges, name: &str, range: &str) -> Vec<String> {
        ranges.observe(&Observed::Put(item(name, range)))
    }

    fn gone(name: &str) -> Observed {
        let previous = item(name, "");
        Observed::Delete { key: previous.key.clone(), previous }
    }

    fn given(ranges: &mut PodRanges, name: &str) -> Option<String> {
        let decision = ranges.decide(&name.to_owned(), Timestamp::UNIX_EPOCH);
        let Write::Patch { patch, .. } = decision.writes.first()? else { panic!("not a patch") };
        let patch: Value = serde_json::from_slice(patch).unwrap();
        assert_eq!(patch["spec"]["podCIDRs"][0], patch["spec"]["podCIDR"]);
        patch["spec"]["podCIDR"].as_str().map(str::to_owned)
    }

    #[test]
    fn every_node_gets_a_range_that_no_other_has() {
        let mut ranges = ranges("10.244.0.0/16");
        assert!(put(&mut ranges, "old", "10.244.1.0/24").is_empty());
        assert_eq!(put(&mut ranges, "a", ""), ["a"]);
        assert_eq!(put(&mut ranges, "b", ""), ["b"]);
        assert_eq!(given(&mut ranges, "a").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(given(&mut ranges, "b").as_deref(), Some("10.244.2.0/24"), "not what is under way to a");
        assert_eq!(given(&mut ranges, "a").as_deref(), Some("10.244.0.0/24"), "the same after a conflict");
        put(&mut ranges, "a", "10.244.0.0/24");
        assert_eq!(given(&mut ranges, "a"), None);
    }

    #[test]
    fn a_node_that_finds_none_gets_the_first_that_comes_free() {
        let mut ranges = ranges("10.0.0.0/24");
        put(&mut ranges, "a", "10.0.0.0/24");
        put(&mut ranges, "b", "");
        assert_eq!(given(&mut ranges, "b"), None);
        assert_eq!(ranges.observe(&gone("a")), ["b"]);
        assert_eq!(given(&mut ranges, "b").as_deref(), Some("10.0.0.0/24"));
    }

    #[test]
    fn a_range_without_room_for_a_node_is_refused() {
        for text in ["10.0.0.0/25", "10.0.0.1/16", "10.0.0.0", "fd00::/8"] {
            assert!(text.parse::<ClusterRange>().is_err(), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<ClusterRange>().unwrap().count(), 1 << 16);
    }
}
