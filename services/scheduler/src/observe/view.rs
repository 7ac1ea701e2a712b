//! The cluster as it is, with what was decided but not yet seen.

use std::collections::{BTreeSet, HashMap};

use model::Key;

use super::shape::Shapes;
use super::{Node, NodeId, Nodes, ResourceNames, Shape};
use crate::observe::shape::Needs;

/// Nodes and the pods on them.
#[derive(Clone, Debug, Default)]
pub struct View {
    nodes: Nodes,
    placed: HashMap<Key, Placed>,
    shapes: Shapes,
    resources: ResourceNames,
    /// Nodes that may suit pods now that they did not suit before.
    better: BTreeSet<NodeId>,
    assumed: usize,
    /// Counts whatever may let a pod fit that did not.
    freed: u64,
}

/// A pod on a node.
#[derive(Clone, Debug)]
struct Placed {
    uid: String,
    node: NodeId,
    shape: Shape,
    /// Decided by us and not seen yet.
    assumed: bool,
}

// === impl View ===

impl View {
    /// The nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Names of resources.
    pub fn resources(&self) -> &ResourceNames {
        &self.resources
    }

    /// Names of resources, to number new ones.
    pub fn resources_mut(&mut self) -> &mut ResourceNames {
        &mut self.resources
    }

    /// Pods that have a node.
    pub fn pods(&self) -> usize {
        self.placed.len()
    }

    /// Pods that have a node which was not seen yet.
    pub fn assumed(&self) -> usize {
        self.assumed
    }

    /// The shape with these needs.
    pub fn intern(&mut self, needs: Needs) -> Shape {
        self.shapes.intern(needs)
    }

    /// Makes ready what decisions about a shape look up.
    pub fn prepare(&mut self, shape: &Shape) {
        if let Some(affinity) = shape.affinity.as_ref().filter(|affinity| affinity.pinned().is_none()) {
            self.nodes.prepare(affinity);
        }
    }

    /// Changes with whatever may let a pod fit that did not: what was refused at the same count is refused still.
    pub fn freed(&self) -> u64 {
        self.freed
    }

    /// The nodes that may suit pods now that they did not suit when this was last asked.
    pub fn take_better(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.better).into_iter().filter(|node| self.nodes.is_live(*node)).collect()
    }

    /// Leaves it to others to judge whether there is enough of these resources.
    pub fn leave_to_others<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let ids = names.map(|name| self.resources.id(name)).collect();
        self.nodes.leave_to_others(ids);
    }

    /// Takes in a node.
    pub fn put_node(&mut self, name: &str, node: Node) {
        let uncounted = self.nodes.uncounted(&node);
        let (id, improves) = self.nodes.put(name, node);
        if !uncounted.is_empty() {
            for placed in self.placed.values() {
                self.nodes.count_in(placed.node, &placed.shape, &uncounted);
            }
        }
        if improves {
            self.improve(id);
        }
    }

    /// Takes out a node.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
        // No pod suits a node that it did not suit before, but fewer refuse it, and that is told.
        self.freed += 1;
    }

    /// Takes in a pod that has a node; returns whether it is the one that was assumed.
    pub fn put_pod(&mut self, key: &Key, uid: &str, node: &str, shape: Shape) -> bool {
        if let Some(known) = self.placed.get_mut(key) {
            let same_place = known.uid == uid && &**self.nodes.name(known.node) == node;
            if same_place && known.shape == shape {
                self.assumed -= usize::from(known.assumed);
                return std::mem::take(&mut known.assumed);
            }
            self.remove_pod(key);
        }
        let id = self.nodes.place(node, &shape);
        self.placed.insert(key.clone(), Placed { uid: uid.to_owned(), node: id, shape, assumed: false });
        false
    }

    /// Counts a pod on the node that was chosen for it, until it is seen there.
    pub fn assume(&mut self, key: &Key, uid: &str, node: NodeId, shape: Shape) {
        self.remove_pod(key);
        let name = self.nodes.name(node).clone();
        let node = self.nodes.place(&name, &shape);
        self.assumed += 1;
        self.placed.insert(key.clone(), Placed { uid: uid.to_owned(), node, shape, assumed: true });
    }

    /// Takes off a pod that is gone, has ended or was assumed in vain; returns whether it had a node.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        self.assumed -= usize::from(placed.assumed);
        self.nodes.displace(placed.node, &placed.shape);
        if self.nodes.is_live(placed.node) {
            self.improve(placed.node);
        }
        true
    }

    /// The node that a pod was assumed on, if it still is.
    pub fn assumed_node(&self, key: &Key) -> Option<NodeId> {
        self.placed.get(key).filter(|placed| placed.assumed).map(|placed| placed.node)
    }

    /// Forgets everything but the names, so that numbers stay the same.
    pub fn clear(&mut self) {
        let resources = std::mem::take(&mut self.resources);
        *self = View {
            resources,
            shapes: std::mem::take(&mut self.shapes),
            freed: self.freed + 1,
            ..View::default()
        };
    }

    fn improve(&mut self, node: NodeId) {
        self.better.insert(node);
        self.freed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Amounts, HostPort, ResourceId};
    use proptest::prelude::*;

    fn node(cpu: i64) -> Node {
        Node { allocatable: Amounts { cpu, memory: 100, ..Amounts::default() }, pods: 10, ..Node::default() }
    }

    fn needs(cpu: i64) -> Needs {
        let port = HostPort { ip: "0.0.0.0".to_owned(), protocol: "TCP".to_owned(), port: cpu as i32 };
        Needs {
            requests: Amounts { cpu, ..Amounts::default() },
            likely_cpu: cpu,
            ports: vec![port],
            ..Needs::default()
        }
    }

    fn key(name: &str) -> Key {
        Key::object("", "pods", "default", name)
    }

    fn requested(view: &View, node: &str) -> (i64, i64) {
        let id = view.nodes().find(node).expect("the node is there");
        let of = |resource| view.nodes().resource(resource).expect("counted").requested[id.index()];
        (of(ResourceId::CPU), of(ResourceId::PODS))
    }

    #[test]
    fn an_assumed_pod_counts_once_when_it_is_seen() {
        let mut view = View::default();
        view.put_node("a", node(100));
        let shape = view.intern(needs(30));
        let a = view.nodes().find("a").expect("a node");
        view.assume(&key("p"), "u", a, shape.clone());
        assert_eq!((requested(&view, "a"), view.assumed()), ((30, 1), 1));
        assert!(view.put_pod(&key("p"), "u", "a", shape.clone()));
        assert!(!view.put_pod(&key("p"), "u", "a", shape));
        assert_eq!((requested(&view, "a"), view.assumed()), ((30, 1), 0));
        assert!(view.remove_pod(&key("p")));
        assert_eq!(requested(&view, "a"), (0, 0));
    }

    #[test]
    fn pods_of_a_node_that_is_not_seen_yet_count_when_it_comes() {
        let mut view = View::default();
        let shape = view.intern(needs(30));
        view.put_pod(&key("p"), "u", "late", shape);
        assert_eq!(view.nodes().count(), 0);
        view.put_node("late", node(100));
        assert_eq!(requested(&view, "late"), (30, 1));
    }

    #[test]
    fn a_resource_that_comes_late_counts_the_pods_that_are_there() {
        let mut view = View::default();
        let gpu = view.resources_mut().id("example.com/gpu");
        let mut wants = needs(1);
        wants.requests.others = vec![(gpu, 2)];
        let shape = view.intern(wants);
        view.put_node("a", node(100));
        view.put_pod(&key("p"), "u", "a", shape);
        assert!(view.nodes().resource(gpu).is_none());
        let mut with_gpu = node(100);
        with_gpu.allocatable.others = vec![(gpu, 8)];
        view.put_node("a", with_gpu);
        let a = view.nodes().find("a").expect("a node");
        assert_eq!(view.nodes().resource(gpu).map(|column| column.free(a)), Some(6));
    }

    #[test]
    fn rows_of_nodes_that_are_gone_are_used_again_once_their_pods_are() {
        let mut view = View::default();
        let shape = view.intern(needs(30));
        view.put_node("a", node(100));
        view.put_pod(&key("p"), "u", "a", shape);
        view.remove_node("a");
        view.put_node("b", node(100));
        assert_eq!(view.nodes().rows(), 2);
        view.remove_pod(&key("p"));
        view.put_node("c", node(100));
        assert_eq!((view.nodes().rows(), view.nodes().count()), (2, 2));
        assert_eq!(requested(&view, "c"), (0, 0));
    }

    #[test]
    fn only_what_may_let_a_pod_fit_makes_a_node_better() {
        let mut view = View::default();
        view.put_node("a", node(100));
        let a = view.nodes().find("a").expect("a node");
        assert_eq!(view.take_better(), [a]);
        view.put_node("a", node(100));
        view.put_node("a", node(50));
        let shape = view.intern(needs(30));
        view.put_pod(&key("p"), "u", "a", shape);
        assert_eq!(view.take_better(), []);
        view.remove_pod(&key("p"));
        assert_eq!(view.take_better(), [a]);
        view.put_node("a", node(60));
        assert_eq!(view.take_better(), [a]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Node(u8, i64),
        NoNode(u8),
        Pod(u8, u8, i64),
        Assume(u8, u8, i64),
        NoPod(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8, 1..200_i64).prop_map(|(name, cpu)| Step::Node(name, cpu)),
            (0..4_u8).prop_map(Step::NoNode),
            (0..6_u8, 0..4_u8, 1..9_i64).prop_map(|(pod, node, cpu)| Step::Pod(pod, node, cpu)),
            (0..6_u8, 0..4_u8, 1..9_i64).prop_map(|(pod, node, cpu)| Step::Assume(pod, node, cpu)),
            (0..6_u8).prop_map(Step::NoPod),
        ]
    }

    proptest! {
        /// The sums in the columns are those of the pods, whatever happened in whatever order.
        #[test]
        fn columns_are_the_sums_of_the_pods(steps in prop::collection::vec(step(), 0..60)) {
            let mut view = View::default();
            for step in steps {
                match step {
                    Step::Node(name, cpu) => view.put_node(&name.to_string(), node(cpu)),
                    Step::NoNode(name) => view.remove_node(&name.to_string()),
                    Step::Pod(pod, node, cpu) => {
                        let shape = view.intern(needs(cpu));
                        view.put_pod(&key(&pod.to_string()), "u", &node.to_string(), shape);
                    }
                    Step::Assume(pod, node, cpu) => {
                        if let Some(id) = view.nodes().find(&node.to_string()) {
                            let shape = view.intern(needs(cpu));
                            view.assume(&key(&pod.to_string()), "u", id, shape);
                        }
                    }
                    Step::NoPod(pod) => {
                        view.remove_pod(&key(&pod.to_string()));
                    }
                }
            }
            for id in (0..view.nodes.rows()).map(NodeId::new) {
                let pods: Vec<&Placed> = view.placed.values().filter(|placed| placed.node == id).collect();
                let cpu: i64 = pods.iter().map(|placed| placed.shape.requests.cpu).sum();
                let of = |resource| view.nodes.resource(resource).expect("counted").requested[id.index()];
                prop_assert_eq!((of(ResourceId::CPU), of(ResourceId::PODS)), (cpu, pods.len() as i64));
                prop_assert_eq!(view.nodes.likely_cpu()[id.index()], cpu);
                let mut ports: Vec<_> = pods.iter().flat_map(|placed| placed.shape.ports.clone()).collect();
                let mut counted = view.nodes.ports(id).to_vec();
                ports.sort();
                counted.sort();
                prop_assert_eq!(counted, ports);
            }
            prop_assert_eq!(view.assumed, view.placed.values().filter(|placed| placed.assumed).count());
        }
    }
}
