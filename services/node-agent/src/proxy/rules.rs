//! PURE: a Service with its endpoints as elements of the kernel's maps.
//!
//! ```text
//!  packet to a front ──> Dispatch(front) ── Spread: one of K ──> mark: which ──> Endpoint(front, mark) ── target
//!                             │                                   ^
//!                             └── with affinity: the client's ────┘ Stick, or a new one by Pick
//!  front without endpoints ─> Closed(front) ── refuse or drop
//! ```
//! The chains behind `Dispatch` depend on the number of endpoints alone, so a change of endpoints changes elements
//! and no chain.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use model::spelling::Fnv;

use super::view::{Port, Protocol, Service, Slice};

/// Where clients send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Front {
    /// One address, or every address of the node.
    pub address: Option<Ipv4Addr>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// The chain that chooses among the endpoints of a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spread {
    /// Whether fronts of the node share it, which are looked up without an address.
    pub of_node: bool,
    /// The number of endpoints.
    pub count: u32,
    /// Whether clients are seen with the node's address, so that answers come back through it.
    pub masquerades: bool,
    /// How long a client stays with its endpoint, in seconds.
    pub affinity: Option<u32>,
}

/// The key of an element, of one map each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A front that has endpoints.
    Dispatch(Front),
    /// One of the front's endpoints.
    Endpoint(Front, u32),
    /// Which endpoint a client without one gets: from a random number's mark to the endpoint's own.
    Pick(Front, u32),
    /// An endpoint that a client may stay with.
    Stick(Front, u32),
    /// A front that has none.
    Closed(Front),
    /// A pod of this node that may reach itself through a Service.
    Hairpin(Ipv4Addr),
}

/// What an element says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Go on in the chain.
    Spread(Spread),
    /// Send there.
    Target(SocketAddrV4),
    /// Take this mark.
    Mark(u32),
    /// Tell the client at once that nobody answers.
    Refuse,
    /// Say nothing: another node may answer.
    Drop,
    /// It is in the set.
    Present,
}

/// The upper byte of the marks of packets that are only sent on, and of those that are masqueraded as well.
pub const MARK: u32 = 0x5a00_0000;
/// See [`MARK`].
pub const MARK_MASQUERADE: u32 = 0x5b00_0000;
/// The part of a mark that tells those two.
pub const MARK_MASK: u32 = 0xff00_0000;
/// Set in the marks that belong to an endpoint for as long as it lives; without it a mark counts endpoints.
const LASTING: u32 = 0x0080_0000;

/// The elements that carry out a Service on this node.
pub fn elements(service: &Service, slices: &[&Slice]) -> Vec<(Element, Value)> {
    let mut elements = Vec::new();
    for port in &service.ports {
        let all = Targets::of(port, slices, false);
        let local = Targets::of(port, slices, true);
        // Only a pod of this node can meet itself here.
        elements.extend(local.0.iter().map(|target| (Element::Hairpin(*target.ip()), Value::Present)));
        let front = |address, number| Front { address, protocol: port.protocol, port: number };
        if let Some(address) = service.cluster_ip {
            let (targets, closed) = match service.internal_local {
                true => (&local, Value::Drop),
                false => (&all, Value::Refuse),
            };
            spread(&mut elements, front(Some(address), port.port), targets, false, service.affinity, closed);
        }
        let outside = service.external_ips.iter().map(|address| front(Some(*address), port.port));
        for front in outside.chain(port.node_port.map(|number| front(None, number))) {
            let (targets, closed) = match service.external_local {
                true if !all.0.is_empty() => (&local, Value::Drop),
                _ => (&all, Value::Refuse),
            };
            let masquerades = !service.external_local;
            spread(&mut elements, front, targets, masquerades, service.affinity, closed);
        }
    }
    elements.sort_by_key(|(element, _)| *element);
    elements.dedup_by_key(|(element, _)| *element);
    elements
}

/// Where connections to a port may go, each once.
struct Targets(BTreeSet<SocketAddrV4>);

// === impl Targets ===

impl Targets {
    /// Those that are ready; without any, those that are ending and still answer.
    fn of(port: &Port, slices: &[&Slice], only_local: bool) -> Targets {
        let (mut ready, mut last) = (BTreeSet::new(), BTreeSet::new());
        for slice in slices {
            let same = |(name, protocol, _): &&(String, Protocol, u16)| {
                *name == port.name && *protocol == port.protocol
            };
            let Some((_, _, number)) = slice.ports.iter().find(same) else { continue };
            for endpoint in slice.endpoints.iter().filter(|one| one.is_local || !only_local) {
                let target = SocketAddrV4::new(endpoint.address, *number);
                if endpoint.is_ready {
                    ready.insert(target);
                } else if endpoint.is_last_resort {
                    last.insert(target);
                }
            }
        }
        Targets(if ready.is_empty() { last } else { ready })
    }
}

fn spread(
    elements: &mut Vec<(Element, Value)>,
    front: Front,
    targets: &Targets,
    masquerades: bool,
    affinity: Option<u32>,
    closed: Value,
) {
    let count = u32::try_from(targets.0.len()).unwrap_or(u32::MAX).min(LASTING - 1);
    if count == 0 {
        elements.push((Element::Closed(front), closed));
        return;
    }
    let chain = Spread { of_node: front.address.is_none(), count, masquerades, affinity };
    elements.push((Element::Dispatch(front), Value::Spread(chain)));
    let base = if masquerades { MARK_MASQUERADE } else { MARK };
    let mut taken = BTreeSet::new();
    for (index, target) in (0..count).zip(&targets.0) {
        let counted = base | index;
        if affinity.is_none() {
            elements.push((Element::Endpoint(front, counted), Value::Target(*target)));
            continue;
        }
        let lasting = base | lasting_mark(*target, &mut taken);
        elements.push((Element::Endpoint(front, lasting), Value::Target(*target)));
        elements.push((Element::Pick(front, counted), Value::Mark(lasting)));
        elements.push((Element::Stick(front, lasting), Value::Spread(chain)));
    }
}

/// The same for a target whichever others there are, but for the rare two that would get the same.
fn lasting_mark(target: SocketAddrV4, taken: &mut BTreeSet<u32>) -> u32 {
    const BITS: u32 = LASTING - 1;
    let hash = Fnv::of(target.to_string());
    let mut mark = u32::try_from(hash & u64::from(BITS)).unwrap_or(0);
    while !taken.insert(mark) {
        mark = (mark + 1) & BITS;
    }
    LASTING | mark
}

#[cfg(test)]
mod tests {
    use super::super::view::Endpoint;
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);

    fn service() -> Service {
        let port =
            Port { name: "http".to_owned(), protocol: Protocol::Tcp, port: 80, node_port: Some(30_080) };
        Service { cluster_ip: Some(VIP), ports: vec![port], ..Service::default() }
    }

    fn endpoint(last: u8) -> Endpoint {
        Endpoint {
            address: Ipv4Addr::new(10, 244, 1, last),
            is_ready: true,
            is_last_resort: false,
            is_local: last == 1,
        }
    }

    fn slice(endpoints: Vec<Endpoint>) -> Slice {
        let ports = vec![("http".to_owned(), Protocol::Tcp, 8080), ("dns".to_owned(), Protocol::Udp, 53)];
        Slice { service: "d/web".to_owned(), ports, endpoints }
    }

    fn front(address: Option<Ipv4Addr>, port: u16) -> Front {
        Front { address, protocol: Protocol::Tcp, port }
    }

    fn target(last: u8) -> Value {
        Value::Target(SocketAddrV4::new(Ipv4Addr::new(10, 244, 1, last), 8080))
    }

    fn spread_of(elements: &[(Element, Value)], front: Front) -> Option<Spread> {
        elements.iter().find_map(|(element, value)| match (element, value) {
            (Element::Dispatch(one), Value::Spread(spread)) if *one == front => Some(*spread),
            _ => None,
        })
    }

    #[test]
    fn a_service_is_spread_over_its_ready_endpoints_at_its_address_and_at_the_nodes() {
        let mut down = endpoint(3);
        down.is_ready = false;
        let elements = elements(&service(), &[&slice(vec![endpoint(2), endpoint(1), down])]);
        let (inside, node) = (front(Some(VIP), 80), front(None, 30_080));
        let spread =
            |of_node, masquerades| Value::Spread(Spread { of_node, count: 2, masquerades, affinity: None });
        let expected = [
            (Element::Dispatch(node), spread(true, true)),
            (Element::Dispatch(inside), spread(false, false)),
            (Element::Endpoint(node, MARK_MASQUERADE), target(1)),
            (Element::Endpoint(node, MARK_MASQUERADE | 1), target(2)),
            (Element::Endpoint(inside, MARK), target(1)),
            (Element::Endpoint(inside, MARK | 1), target(2)),
            (Element::Hairpin(Ipv4Addr::new(10, 244, 1, 1)), Value::Present),
        ];
        assert_eq!(elements, expected);
    }

    #[test]
    fn a_service_without_endpoints_refuses() {
        let elements = elements(&service(), &[&slice(vec![])]);
        let expected = [
            (Element::Closed(front(None, 30_080)), Value::Refuse),
            (Element::Closed(front(Some(VIP), 80)), Value::Refuse),
        ];
        assert_eq!(elements, expected);
    }

    #[test]
    fn endpoints_that_end_are_used_when_no_other_is_there() {
        let mut ending = endpoint(2);
        (ending.is_ready, ending.is_last_resort) = (false, true);
        let both = elements(&service(), &[&slice(vec![ending.clone(), endpoint(3)])]);
        assert_eq!(spread_of(&both, front(Some(VIP), 80)).map(|one| one.count), Some(1));
        assert!(both.contains(&(Element::Endpoint(front(Some(VIP), 80), MARK), target(3))));
        let last = elements(&service(), &[&slice(vec![ending])]);
        assert!(last.contains(&(Element::Endpoint(front(Some(VIP), 80), MARK), target(2))));
    }

    #[test]
    fn with_a_local_policy_only_endpoints_of_the_node_count_and_clients_keep_their_addresses() {
        let local = Service { external_local: true, ..service() };
        let elements = |service: &Service, last| super::elements(service, &[&slice(vec![endpoint(last)])]);
        let here = spread_of(&elements(&local, 1), front(None, 30_080)).unwrap();
        assert!(!here.masquerades);
        let elsewhere = elements(&local, 2);
        assert!(elsewhere.contains(&(Element::Closed(front(None, 30_080)), Value::Drop)));
        assert!(spread_of(&elsewhere, front(Some(VIP), 80)).is_some(), "the inside is another matter");
        let inside = Service { internal_local: true, ..service() };
        assert!(elements(&inside, 2).contains(&(Element::Closed(front(Some(VIP), 80)), Value::Drop)));
    }

    #[test]
    fn affinity_gives_each_endpoint_a_mark_that_lasts() {
        let sticky = Service { affinity: Some(60), ..service() };
        let marks = |elements: &[(Element, Value)]| -> Vec<(u32, Value)> {
            let inside = front(Some(VIP), 80);
            let of = |(element, value): &(Element, Value)| match element {
                Element::Endpoint(front, mark) if *front == inside => Some((*mark, *value)),
                _ => None,
            };
            elements.iter().filter_map(of).collect()
        };
        let two = elements(&sticky, &[&slice(vec![endpoint(1), endpoint(2)])]);
        let one = elements(&sticky, &[&slice(vec![endpoint(2)])]);
        assert_eq!(marks(&two).len(), 2);
        assert!(marks(&two).contains(&marks(&one)[0]), "the mark of the one that stays");
        let mark = marks(&one)[0].0;
        assert!(one.contains(&(Element::Pick(front(Some(VIP), 80), MARK), Value::Mark(mark))));
        assert!(one.iter().any(|(element, _)| *element == Element::Stick(front(Some(VIP), 80), mark)));
    }

    #[test]
    fn a_port_leads_where_the_slice_says_for_its_name_and_protocol() {
        let mut service = service();
        service.ports[0].name = "dns".to_owned();
        let elements = elements(&service, &[&slice(vec![endpoint(1)])]);
        assert!(spread_of(&elements, front(Some(VIP), 80)).is_none(), "that port is another protocol's");
    }
}
