//! PURE: what the kernel has, what it should have, and the smallest change from one to the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddrV4;

use super::rules::{Element, Front, Spread, Value};
use super::view::Protocol;

/// Every Service's elements, and what the kernel has of them.
///
/// Two Services may claim one element (an external address, a pod that may reach itself): it stays until both are
/// gone, and says what the first of them says.
#[derive(Debug, Default)]
pub struct Ledger {
    numbers: HashMap<String, u32>,
    next: u32,
    by_service: HashMap<u32, Vec<Element>>,
    claims: BTreeMap<(Element, u32), Value>,
    installed: BTreeMap<Element, Value>,
    chains: BTreeSet<Spread>,
    touched: BTreeSet<Element>,
}

/// What is to be done to the kernel's table, all of it at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Chains that are not there yet.
    pub chains: BTreeSet<Spread>,
    /// Elements that go, and those that are to say something else.
    pub removed: BTreeMap<Element, Value>,
    /// Elements that come.
    pub added: BTreeMap<Element, Value>,
}

/// Targets of a front over UDP that are gone. The kernel would send what it knows as a flow there for as long as the
/// client goes on, for nothing tells it that the flow is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// The front.
    pub front: Front,
    /// Its former targets.
    pub targets: BTreeSet<SocketAddrV4>,
    /// Before it had targets its packets went unchanged; those flows are stale as well.
    pub is_new: bool,
}

// === impl Ledger ===

impl Ledger {
    /// A Service claims these elements and no others.
    pub fn set(&mut self, service: &str, elements: Vec<(Element, Value)>) {
        let number = self.number(service);
        for element in self.by_service.remove(&number).into_iter().flatten() {
            self.claims.remove(&(element, number));
            self.touched.insert(element);
        }
        if elements.is_empty() {
            self.numbers.remove(service);
            return;
        }
        self.by_service.insert(number, elements.iter().map(|(element, _)| *element).collect());
        for (element, value) in elements {
            self.claims.insert((element, number), value);
            self.touched.insert(element);
        }
    }

    /// From what the kernel has to what it should have.
    pub fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for element in &self.touched {
            let (has, wants) = (self.installed.get(element), self.wanted(element));
            if has == wants {
                continue;
            }
            if let Some(value) = has {
                changes.removed.insert(*element, *value);
            }
            if let Some(value) = wants {
                changes.added.insert(*element, *value);
            }
        }
        let chains = changes.added.values().filter_map(Value::chain);
        changes.chains = chains.filter(|chain| !self.chains.contains(chain)).collect();
        changes
    }

    /// The kernel's table was made anew and is empty.
    pub fn start_over(&mut self) {
        self.installed.clear();
        self.chains.clear();
        self.touched = self.claims.keys().map(|(element, _)| *element).collect();
    }

    /// The changes were carried out.
    pub fn installed(&mut self, changes: &Changes) {
        for element in changes.removed.keys() {
            self.installed.remove(element);
        }
        self.installed.extend(&changes.added);
        self.chains.extend(&changes.chains);
        self.touched.clear();
    }

    /// Flows over UDP that lead to where nobody is any more, once the changes are carried out.
    pub fn stale(&self, changes: &Changes) -> Vec<Stale> {
        let mut gone: BTreeMap<Front, BTreeSet<SocketAddrV4>> = BTreeMap::new();
        for (element, value) in &changes.removed {
            if let (Element::Endpoint(front, _), Value::Target(target)) = (element, value) {
                gone.entry(*front).or_default().insert(*target);
            }
        }
        let is_dispatch = |front: &Front| Element::Dispatch(*front);
        let new = changes.added.keys().filter_map(|element| match element {
            Element::Dispatch(front) if !changes.removed.contains_key(&is_dispatch(front)) => Some(*front),
            _ => None,
        });
        let new: BTreeSet<Front> = new.collect();
        let fronts: BTreeSet<Front> = gone.keys().chain(&new).copied().collect();
        let udp = fronts.into_iter().filter(|front| front.protocol == Protocol::Udp);
        let stale = udp.map(|front| {
            let mut targets = gone.remove(&front).unwrap_or_default();
            for target in self.targets(front) {
                targets.remove(&target);
            }
            Stale { front, targets, is_new: new.contains(&front) }
        });
        stale.filter(|stale| stale.is_new || !stale.targets.is_empty()).collect()
    }

    /// The number of Services that claim something, and of elements in the kernel.
    pub fn sizes(&self) -> (usize, usize) {
        (self.by_service.len(), self.installed.len())
    }

    fn targets(&self, front: Front) -> impl Iterator<Item = SocketAddrV4> {
        let all = Element::Endpoint(front, 0)..=Element::Endpoint(front, u32::MAX);
        self.installed.range(all).filter_map(|(_, value)| match value {
            Value::Target(target) => Some(*target),
            _ => None,
        })
    }

    fn wanted(&self, element: &Element) -> Option<&Value> {
        self.claims.range((*element, 0)..=(*element, u32::MAX)).next().map(|(_, value)| value)
    }

    fn number(&mut self, service: &str) -> u32 {
        if let Some(number) = self.numbers.get(service) {
            return *number;
        }
        self.next = self.next.wrapping_add(1);
        self.numbers.insert(service.to_owned(), self.next);
        self.next
    }
}

// === impl Changes ===

impl Changes {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}

// === impl Value ===

impl Value {
    /// The chain that an element leads to.
    pub fn chain(&self) -> Option<Spread> {
        match self {
            Value::Spread(spread) => Some(*spread),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::rules::MARK;
    use super::*;

    fn front(port: u16) -> Front {
        Front { address: Some(Ipv4Addr::new(10, 96, 0, 7)), protocol: Protocol::Udp, port }
    }

    fn spread(count: u32) -> Value {
        Value::Spread(Spread { of_node: false, count, masquerades: false, affinity: None })
    }

    fn target(last: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 244, 1, last), 53)
    }

    /// A Service at this front with these targets.
    fn elements(port: u16, targets: &[u8]) -> Vec<(Element, Value)> {
        if targets.is_empty() {
            return vec![(Element::Closed(front(port)), Value::Refuse)];
        }
        let mut elements = vec![(Element::Dispatch(front(port)), spread(targets.len() as u32))];
        elements.extend(targets.iter().enumerate().map(|(index, last)| {
            (Element::Endpoint(front(port), MARK | index as u32), Value::Target(target(*last)))
        }));
        elements
    }

    fn install(ledger: &mut Ledger) -> Changes {
        let changes = ledger.changes();
        ledger.installed(&changes);
        changes
    }

    #[test]
    fn only_what_is_another_changes() {
        let mut ledger = Ledger::default();
        ledger.set("d/a", elements(1, &[1, 2]));
        ledger.set("d/b", elements(2, &[9]));
        assert_eq!(install(&mut ledger).added.len(), 5);

        ledger.set("d/a", elements(1, &[1, 3]));
        let changes = install(&mut ledger);
        let second = Element::Endpoint(front(1), MARK | 1);
        assert_eq!(changes.removed, BTreeMap::from([(second, Value::Target(target(2)))]));
        assert_eq!(changes.added, BTreeMap::from([(second, Value::Target(target(3)))]));
        assert!(changes.chains.is_empty(), "as many endpoints, the same chain");

        ledger.set("d/a", elements(1, &[1, 3]));
        assert!(ledger.changes().is_empty());
        ledger.set("d/b", Vec::new());
        assert_eq!(install(&mut ledger).removed.len(), 2);
        assert_eq!(ledger.sizes(), (1, 3));
    }

    #[test]
    fn what_two_services_claim_stays_until_both_are_gone() {
        let mut ledger = Ledger::default();
        let pod = Element::Hairpin(Ipv4Addr::LOCALHOST);
        ledger.set("d/a", vec![(pod, Value::Present)]);
        ledger.set("d/b", vec![(pod, Value::Present)]);
        install(&mut ledger);
        ledger.set("d/a", Vec::new());
        assert!(ledger.changes().is_empty());
        ledger.set("d/b", Vec::new());
        assert_eq!(ledger.changes().removed.len(), 1);
    }

    #[test]
    fn a_table_made_anew_gets_everything() {
        let mut ledger = Ledger::default();
        ledger.set("d/a", elements(1, &[1, 2]));
        let first = install(&mut ledger);
        ledger.start_over();
        assert_eq!(ledger.changes(), first);
    }

    #[test]
    fn flows_to_targets_that_are_gone_are_stale() {
        let mut ledger = Ledger::default();
        let stale = |ledger: &mut Ledger, targets: &[u8]| {
            ledger.set("d/a", elements(1, targets));
            let changes = ledger.changes();
            ledger.installed(&changes);
            let stale = ledger.stale(&changes);
            stale.into_iter().map(|one| (one.targets.into_iter().collect(), one.is_new)).collect::<Vec<_>>()
        };
        let nothing: Vec<(Vec<SocketAddrV4>, bool)> = Vec::new();
        assert_eq!(stale(&mut ledger, &[1, 2]), [(vec![], true)]);
        // The second becomes the first: it is not gone.
        assert_eq!(stale(&mut ledger, &[2]), [(vec![target(1)], false)]);
        assert_eq!(stale(&mut ledger, &[2, 3]), nothing);
        assert_eq!(stale(&mut ledger, &[]), [(vec![target(2), target(3)], false)]);
    }

    proptest! {
        /// Whatever happens, the kernel ends up with what the Services claim.
        #[test]
        fn changes_lead_from_any_state_to_the_wanted_one(
            steps in prop::collection::vec((0_u16..4, prop::collection::vec(1_u8..6, 0..4), any::<bool>()), 1..40)
        ) {
            let mut ledger = Ledger::default();
            let mut kernel: BTreeMap<Element, Value> = BTreeMap::new();
            let mut wanted: BTreeMap<u16, BTreeMap<Element, Value>> = BTreeMap::new();
            for (service, targets, carried_out) in steps {
                let all = elements(service, &targets);
                ledger.set(&service.to_string(), all.clone());
                wanted.insert(service, all.into_iter().collect());
                if !carried_out {
                    continue;
                }
                let changes = ledger.changes();
                for (element, value) in &changes.removed {
                    prop_assert_eq!(kernel.remove(element), Some(*value), "only what is there can be removed");
                }
                for (element, value) in &changes.added {
                    prop_assert!(kernel.insert(*element, *value).is_none(), "only what is not there can be added");
                }
                ledger.installed(&changes);
                let expected: BTreeMap<Element, Value> = wanted.values().flatten().map(|(e, v)| (*e, *v)).collect();
                prop_assert_eq!(&kernel, &expected);
            }
        }
    }
}
