//! Every node, a column per property: what the inner loop of a decision reads lies side by side.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::shape::{HostPort, Needs};
use super::taint_sets::{TaintSet, TaintSets};
use super::{Bits, Node, NodeAffinity, ResourceId};

/// A node as the index of its row. Rows of nodes that are gone are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// What of a resource there is, and what of it is taken, by node. Empty for a resource that no node has.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// What pods may take.
    pub allocatable: Vec<i64>,
    /// What they have taken.
    pub requested: Vec<i64>,
}

/// The nodes.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    ids: HashMap<Arc<str>, NodeId>,
    names: Vec<Arc<str>>,
    /// Whether the row is a node's; others are of nodes that are gone, or not seen yet, but have pods.
    live: Vec<bool>,
    live_count: usize,
    rows: Vec<Node>,
    vacant: Vec<NodeId>,

    resources: Vec<Column>,
    likely_cpu: Vec<i64>,
    likely_memory: Vec<i64>,
    taint_sets: TaintSets,
    taints: Vec<u32>,
    unschedulable: Vec<bool>,
    unschedulable_count: usize,
    ports: Vec<Vec<HostPort>>,
    images: HashMap<String, Image>,
    matches: Matches,
    /// Resources that others judge.
    left_to_others: Vec<ResourceId>,
}

/// Where an image is.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// In bytes.
    pub size: i64,
    /// The nodes that have it.
    pub nodes: Bits,
    /// How many they are.
    pub count: usize,
}

/// What the affinities of recent pods say of each node, so that a selector is judged once and not once a pod.
#[derive(Clone, Debug, Default)]
struct Matches {
    of: HashMap<Arc<NodeAffinity>, Match>,
    clock: u64,
}

/// What an affinity says of each node.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Where the pod may run.
    pub admitted: Bits,
    /// How much it would like to, by node; empty when it wishes nothing.
    pub preference: Vec<i64>,
    used: u64,
}

/// Affinities that are remembered: more than a cluster's workloads use at a time, and at 100,000 nodes a few megabytes.
const MATCHES_MAX: usize = 256;

// === impl NodeId ===

impl NodeId {
    /// The node of that row.
    pub fn new(index: usize) -> Self {
        NodeId(index as u32)
    }

    /// Its row.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

// === impl Nodes: reading ===

impl Nodes {
    /// Rows, whether they are nodes or not.
    pub fn rows(&self) -> usize {
        self.live.len()
    }

    /// Nodes.
    pub fn count(&self) -> usize {
        self.live_count
    }

    /// Whether the row is a node's.
    #[inline]
    pub fn is_live(&self, node: NodeId) -> bool {
        self.live[node.index()]
    }

    /// The nodes in the order of their rows.
    pub fn live(&self) -> impl Iterator<Item = NodeId> {
        (0..self.rows()).map(NodeId::new).filter(|node| self.is_live(*node))
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.ids.get(name).copied().filter(|id| self.is_live(*id))
    }

    /// A node's name.
    pub fn name(&self, node: NodeId) -> &Arc<str> {
        &self.names[node.index()]
    }

    /// The columns of a resource; `None` when no node has any.
    pub fn resource(&self, id: ResourceId) -> Option<&Column> {
        self.resources.get(id.index()).filter(|column| !column.allocatable.is_empty())
    }

    /// Whether there being enough of a resource is for others to judge.
    pub fn is_left_to_others(&self, id: ResourceId) -> bool {
        self.left_to_others.contains(&id)
    }

    /// Leaves it to others to judge whether there is enough of these.
    pub fn leave_to_others(&mut self, resources: Vec<ResourceId>) {
        self.left_to_others = resources;
    }

    /// Cpu that pods on each node are taken to need.
    pub fn likely_cpu(&self) -> &[i64] {
        &self.likely_cpu
    }

    /// Memory that pods on each node are taken to need.
    pub fn likely_memory(&self) -> &[i64] {
        &self.likely_memory
    }

    /// Every set of taints that some node has.
    pub fn taint_sets(&self) -> &[TaintSet] {
        self.taint_sets.all()
    }

    /// The number of a node's set of taints.
    #[inline]
    pub fn taint_set(&self, node: NodeId) -> usize {
        self.taints[node.index()] as usize
    }

    /// Which nodes were cordoned off; `None` if none was.
    pub fn unschedulable(&self) -> Option<&[bool]> {
        (self.unschedulable_count > 0).then_some(&self.unschedulable[..])
    }

    /// The ports of a node that are taken.
    pub fn ports(&self, node: NodeId) -> &[HostPort] {
        &self.ports[node.index()]
    }

    /// Where an image is, if anywhere.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.get(name)
    }

    /// What an affinity says of each node, if [`Nodes::prepare`] was told of it.
    pub fn matches(&self, affinity: &Arc<NodeAffinity>) -> Option<&Match> {
        self.matches.of.get(affinity)
    }

    /// Whether an affinity admits a node, without preparation.
    pub fn admits(&self, affinity: &NodeAffinity, node: NodeId) -> bool {
        affinity.admits(self.name(node), &self.rows[node.index()].labels)
    }

    /// How much an affinity prefers a node, without preparation.
    pub fn preference(&self, affinity: &NodeAffinity, node: NodeId) -> i64 {
        affinity.preference(self.name(node), &self.rows[node.index()].labels)
    }
}

// === impl Nodes: writing ===

impl Nodes {
    /// Takes in a node; returns its row and whether it may suit pods now that it did not suit before.
    pub fn put(&mut self, name: &str, node: Node) -> (NodeId, bool) {
        let id = self.row_of(name);
        let index = id.index();
        let is_new = !self.live[index];
        if !is_new && self.rows[index] == node {
            return (id, false);
        }
        let previous = std::mem::replace(&mut self.rows[index], node);
        let improves = is_new || improves(&previous, &self.rows[index]);
        self.live[index] = true;
        self.live_count += usize::from(is_new);
        self.fill(id, &previous);
        (id, improves)
    }

    /// Takes out a node. Its row stays while it has pods.
    pub fn remove(&mut self, name: &str) {
        let Some(id) = self.find(name) else { return };
        let previous = std::mem::take(&mut self.rows[id.index()]);
        self.live[id.index()] = false;
        self.live_count -= 1;
        self.fill(id, &previous);
        self.vacate(id);
    }

    /// Takes in a pod on a node, which need not be there yet.
    pub fn place(&mut self, name: &str, needs: &Needs) -> NodeId {
        let id = self.row_of(name);
        self.take(id, needs, 1);
        self.ports[id.index()].extend(needs.ports.iter().cloned());
        id
    }

    /// Takes a pod off its node.
    pub fn displace(&mut self, id: NodeId, needs: &Needs) {
        self.take(id, needs, -1);
        let ports = &mut self.ports[id.index()];
        for port in &needs.ports {
            if let Some(at) = ports.iter().position(|one| one == port) {
                ports.swap_remove(at);
            }
        }
        self.vacate(id);
    }

    /// Resources of a node that no node had before: what pods take of them was not counted yet.
    pub fn uncounted(&self, node: &Node) -> Vec<ResourceId> {
        let counted = |id: ResourceId| self.resource(id).is_some();
        node.allocatable.iter().map(|(id, _)| id).filter(|id| id.index() > 3 && !counted(*id)).collect()
    }

    /// Counts what a pod on a node takes of these resources.
    pub fn count_in(&mut self, id: NodeId, needs: &Needs, resources: &[ResourceId]) {
        for (resource, amount) in needs.requests.iter().filter(|(resource, _)| resources.contains(resource)) {
            self.resources[resource.index()].requested[id.index()] += amount;
        }
    }

    /// Judges an affinity on every node, if that has not been done.
    pub fn prepare(&mut self, affinity: &Arc<NodeAffinity>) {
        self.matches.clock += 1;
        let clock = self.matches.clock;
        if let Some(known) = self.matches.of.get_mut(affinity) {
            known.used = clock;
            return;
        }
        if self.matches.of.len() >= MATCHES_MAX {
            self.matches.forget_half();
        }
        let mut judged = Match { used: clock, ..Match::default() };
        for node in (0..self.rows()).map(NodeId::new) {
            judged.judge(affinity, node, &self.names[node.index()], &self.rows[node.index()]);
        }
        self.matches.of.insert(affinity.clone(), judged);
    }

    fn row_of(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let shared: Arc<str> = name.into();
        let id = match self.vacant.pop() {
            Some(id) => {
                self.names[id.index()] = shared.clone();
                id
            }
            None => self.push(shared.clone()),
        };
        self.ids.insert(shared, id);
        id
    }

    fn push(&mut self, name: Arc<str>) -> NodeId {
        let id = NodeId::new(self.live.len());
        self.names.push(name);
        self.live.push(false);
        self.rows.push(Node::default());
        // The four resources that every node has are always counted.
        self.resources.resize_with(self.resources.len().max(4), Column::default);
        let rows = self.live.len();
        for (index, column) in self.resources.iter_mut().enumerate() {
            if index < 4 || !column.allocatable.is_empty() {
                column.resize(rows);
            }
        }
        self.likely_cpu.push(0);
        self.likely_memory.push(0);
        self.taints.push(self.taint_sets.enter(Vec::new()));
        self.unschedulable.push(false);
        self.ports.push(Vec::new());
        id
    }

    /// A row without a node and without pods can be another's.
    fn vacate(&mut self, id: NodeId) {
        let index = id.index();
        let pods = self.resources[ResourceId::PODS.index()].requested[index];
        if !self.live[index] && pods == 0 {
            self.ids.remove(&self.names[index]);
            self.vacant.push(id);
        }
    }

    /// Brings a row's columns in line with its node.
    fn fill(&mut self, id: NodeId, previous: &Node) {
        let index = id.index();
        let node = std::mem::take(&mut self.rows[index]);
        for (resource, _) in previous.allocatable.iter() {
            self.resources[resource.index()].allocatable[index] = 0;
        }
        for (resource, amount) in node.allocatable.iter() {
            self.open(resource).allocatable[index] = amount;
        }
        self.open(ResourceId::PODS).allocatable[index] = node.pods;
        if previous.taints != node.taints {
            self.taint_sets.leave(self.taints[index]);
            self.taints[index] = self.taint_sets.enter(node.taints.clone());
        }
        if self.unschedulable[index] != node.unschedulable {
            self.unschedulable[index] = node.unschedulable;
            self.unschedulable_count = self.unschedulable.iter().filter(|cordoned| **cordoned).count();
        }
        if previous.images != node.images {
            self.move_images(id, &previous.images, &node.images);
        }
        self.rows[index] = node;
        let (name, node) = (&self.names[index], &self.rows[index]);
        for (affinity, judged) in &mut self.matches.of {
            judged.judge(affinity, id, name, node);
        }
    }

    fn open(&mut self, resource: ResourceId) -> &mut Column {
        let rows = self.live.len();
        if resource.index() >= self.resources.len() {
            self.resources.resize_with(resource.index() + 1, Column::default);
        }
        let column = &mut self.resources[resource.index()];
        column.resize(rows);
        column
    }

    fn take(&mut self, id: NodeId, needs: &Needs, sign: i64) {
        let index = id.index();
        for (resource, amount) in needs.requests.iter().chain([(ResourceId::PODS, 1)]) {
            if let Some(column) = self.resources.get_mut(resource.index())
                && let Some(requested) = column.requested.get_mut(index)
            {
                *requested += sign * amount;
            }
        }
        self.likely_cpu[index] += sign * needs.likely_cpu;
        self.likely_memory[index] += sign * needs.likely_memory;
    }

    fn move_images(&mut self, id: NodeId, from: &BTreeMap<String, i64>, to: &BTreeMap<String, i64>) {
        for name in from.keys().filter(|name| !to.contains_key(*name)) {
            if let Some(image) = self.images.get_mut(name) {
                image.count -= usize::from(image.nodes.set(id, false));
                if image.count == 0 {
                    self.images.remove(name);
                }
            }
        }
        for (name, size) in to {
            if !self.images.contains_key(name) {
                self.images.insert(name.clone(), Image::default());
            }
            if let Some(image) = self.images.get_mut(name) {
                image.size = *size;
                image.count += usize::from(image.nodes.set(id, true));
            }
        }
    }
}

/// Whether a pod that did not suit the node before may suit it now.
fn improves(before: &Node, after: &Node) -> bool {
    let more = || {
        after.pods > before.pods
            || after.allocatable.iter().any(|(id, amount)| {
                before
                    .allocatable
                    .iter()
                    .find(|(known, _)| *known == id)
                    .is_none_or(|(_, known)| amount > known)
            })
    };
    before.labels != after.labels
        || before.taints != after.taints
        || before.unschedulable && !after.unschedulable
        || more()
}

// === impl Column ===

impl Column {
    fn resize(&mut self, rows: usize) {
        self.allocatable.resize(rows, 0);
        self.requested.resize(rows, 0);
    }

    /// What is left on a node; less than nothing when it was promised too much.
    #[inline]
    pub fn free(&self, node: NodeId) -> i64 {
        self.allocatable[node.index()] - self.requested[node.index()]
    }
}

// === impl Match ===

impl Match {
    fn judge(&mut self, affinity: &NodeAffinity, id: NodeId, name: &str, node: &Node) {
        self.admitted.set(id, affinity.admits(name, &node.labels));
        if !affinity.preferred.is_empty() {
            self.preference.resize(self.preference.len().max(id.index() + 1), 0);
            self.preference[id.index()] = affinity.preference(name, &node.labels);
        }
    }
}

// === impl Matches ===

impl Matches {
    fn forget_half(&mut self) {
        let mut used: Vec<u64> = self.of.values().map(|judged| judged.used).collect();
        used.sort_unstable();
        let median = used[used.len() / 2];
        self.of.retain(|_, judged| judged.used > median);
    }
}
