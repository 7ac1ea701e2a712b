//! What of a pod decides where it can go. Pods of one owner have the same shape and share it.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use placement::Toleration;

use super::volumes::VolumeNeeds;
use super::{Amounts, NodeAffinity};

/// Everything that filters and scores look at.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// What is set aside for it.
    pub requests: Amounts,
    /// Cpu in thousandths, as scores count it: a container that asks for nothing is taken to need a little.
    pub likely_cpu: i64,
    /// Memory in bytes, as scores count it.
    pub likely_memory: i64,
    /// Which nodes it must or would rather run on.
    pub affinity: Option<Arc<NodeAffinity>>,
    /// Which taints it bears.
    pub tolerations: Vec<Toleration>,
    /// Ports of the node that it takes.
    pub ports: Vec<HostPort>,
    /// Its images with their tags, one a container.
    pub images: Vec<String>,
    /// What its claims say, if it has any.
    pub volumes: Option<Arc<VolumeNeeds>>,
}

/// A port of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The address, `0.0.0.0` for all of them.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Its number.
    pub port: i32,
}

/// Interned [`Needs`]: equal ones are the same, so comparing and hashing cost nothing.
#[derive(Clone, Debug)]
pub struct Shape(Arc<Needs>);

/// Every shape that some pod has.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    known: HashSet<Arc<Needs>>,
    /// Beyond this many, those that nobody has any more are looked for.
    sweep_at: usize,
}

/// Before the first sweep; it grows with what is really in use.
const SWEEP_FIRST: usize = 1_024;

// === impl Shape ===

impl Shape {
    /// A number that no other living shape has.
    fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl Deref for Shape {
    type Target = Needs;

    fn deref(&self) -> &Needs {
        &self.0
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shape {}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

// === impl Shapes ===

impl Shapes {
    /// The shape with these needs.
    pub fn intern(&mut self, needs: Needs) -> Shape {
        if let Some(known) = self.known.get(&needs) {
            return Shape(known.clone());
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|needs| Arc::strong_count(needs) > 1);
            self.sweep_at = (self.known.len() * 2).max(SWEEP_FIRST);
        }
        let needs = Arc::new(needs);
        self.known.insert(needs.clone());
        Shape(needs)
    }
}

// === impl HostPort ===

impl HostPort {
    /// Whether both cannot be had on one node.
    pub fn collides(&self, other: &HostPort) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ALL || other.ip == ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_needs_are_one_shape_and_unused_ones_are_swept() {
        let mut shapes = Shapes::default();
        let needs = |cpu| Needs { likely_cpu: cpu, ..Needs::default() };
        let kept = shapes.intern(needs(0));
        assert_eq!(kept, shapes.intern(needs(0)));
        assert_ne!(kept, shapes.intern(needs(1)));
        for cpu in 0..10 * SWEEP_FIRST as i64 {
            shapes.intern(needs(cpu));
        }
        assert!(shapes.known.len() <= SWEEP_FIRST + 1, "{}", shapes.known.len());
        assert_eq!(kept, shapes.intern(needs(0)));
    }

    #[test]
    fn a_port_collides_on_the_same_address_and_on_all_of_them() {
        let port = |ip: &str, protocol: &str, port| HostPort {
            ip: ip.to_owned(),
            protocol: protocol.to_owned(),
            port,
        };
        let mine = port("10.0.0.1", "TCP", 80);
        assert!(mine.collides(&port("0.0.0.0", "TCP", 80)) && mine.collides(&mine.clone()));
        for other in [port("10.0.0.2", "TCP", 80), port("0.0.0.0", "UDP", 80), port("10.0.0.1", "TCP", 81)] {
            assert!(!mine.collides(&other), "{other:?}");
        }
    }
}
