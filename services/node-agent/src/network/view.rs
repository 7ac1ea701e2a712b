//! PURE: which nodes there are, and what follows for the routes of one of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bus::node::Wanted;
use k8s_openapi::api::core::v1::Node;
use model::Key;

use crate::proxy::cidr::Cidr;

/// The nodes that have a range of addresses for their pods.
#[derive(Debug)]
pub struct View {
    own: String,
    nodes: BTreeMap<String, Place>,
}

/// Where a node's pods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    address: Ipv4Addr,
    range: Cidr,
}

// === impl View ===

impl View {
    /// As the node of this name sees it, knowing no node yet.
    pub fn new(own: &str) -> View {
        View { own: own.to_owned(), nodes: BTreeMap::new() }
    }

    /// Takes in a change; whether it was one to a node's place.
    pub fn apply(&mut self, change: &Wanted) -> bool {
        let key = Key::from_raw(&change.key);
        if (key.group(), key.resource()) != ("", "nodes") {
            return false;
        }
        let name = key.name().to_owned();
        let place = change.object.as_ref().and_then(|json| Place::read(json));
        let before = match place {
            Some(place) => self.nodes.insert(name, place),
            None => self.nodes.remove(&name),
        };
        before != place
    }

    /// The range of this node's own pods, once it has one.
    pub fn own_range(&self) -> Option<Cidr> {
        self.nodes.get(&self.own).map(|place| place.range)
    }

    /// By which address the pods of the other nodes are reached.
    pub fn routes(&self) -> BTreeMap<Cidr, Ipv4Addr> {
        let own = self.nodes.get(&self.own).map(|place| place.address);
        // Two agents on one machine reach each other's pods as it is.
        let others =
            self.nodes.iter().filter(|(name, place)| **name != self.own && Some(place.address) != own);
        others.map(|(_, place)| (place.range, place.address)).collect()
    }
}

// === impl Place ===

impl Place {
    fn read(json: &[u8]) -> Option<Place> {
        let node: Node = serde_json::from_slice(json).ok()?;
        let range = node.spec?.pod_cidr?.parse().ok()?;
        let addresses = node.status?.addresses.unwrap_or_default();
        let mut internal = addresses.iter().filter(|address| address.type_ == "InternalIP");
        Some(Place { range, address: internal.find_map(|address| address.address.parse().ok())? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(name: &str, place: Option<(&str, &str)>) -> Wanted {
        let object = place.map(|(address, range)| {
            let addresses =
                json!([{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]);
            json!({"spec": {"podCIDR": range}, "status": {"addresses": addresses}}).to_string().into()
        });
        Wanted { key: format!("core/nodes//{name}"), object }
    }

    #[test]
    fn the_pods_of_every_other_node_are_reached_by_its_address() {
        let mut view = View::new("a");
        assert!(view.apply(&change("a", Some(("192.0.2.1", "10.244.0.0/24")))));
        assert!(view.apply(&change("b", Some(("192.0.2.2", "10.244.1.0/24")))));
        assert!(view.apply(&change("a2", Some(("192.0.2.1", "10.244.2.0/24")))), "on the same machine as a");
        let routes: Vec<String> =
            view.routes().into_iter().map(|(range, address)| format!("{range} {address}")).collect();
        assert_eq!(routes, ["10.244.1.0/24 192.0.2.2"]);
        assert_eq!(view.own_range().map(|range| range.to_string()).as_deref(), Some("10.244.0.0/24"));
        assert!(!view.apply(&change("b", Some(("192.0.2.2", "10.244.1.0/24")))), "nothing new");
        assert!(view.apply(&change("b", None)));
        assert!(view.routes().is_empty());
    }

    #[test]
    fn what_is_no_node_with_a_range_is_passed_over() {
        let mut view = View::new("a");
        assert!(!view.apply(&Wanted { key: "core/services/d/web".to_owned(), object: Some("{}".into()) }));
        assert!(!view.apply(&Wanted { key: "core/nodes//b".to_owned(), object: Some("{}".into()) }));
        assert!(view.routes().is_empty() && view.own_range().is_none());
    }
}
