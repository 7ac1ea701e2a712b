//! The same decisions taken slowly and obviously, and a property that holds the fast ones to them.
//!
//! The reference knows nodes and pods as plain values and looks at all of them each time; the fast path gets the same
//! cluster as JSON, through the parser and the columns.

use std::collections::BTreeMap;

use model::Key;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Cycle;
use super::framework::{Filters, Outcome};
use crate::observe::{Node, Pod, View};

#[derive(Clone, Debug)]
struct SlowNode {
    name: String,
    cordoned: bool,
    zone: Option<&'static str>,
    cores: i64,
    taint: Option<(&'static str, &'static str)>,
    soft_taints: usize,
    memory: i64,
    gpus: Option<i64>,
    places: i64,
    image: Option<i64>,
}

#[derive(Clone, Debug)]
struct SlowPod {
    cpu: Option<i64>,
    memory: Option<i64>,
    gpus: Option<i64>,
    port: Option<(&'static str, i32)>,
    tolerated: Vec<(&'static str, &'static str)>,
    zone: Option<&'static str>,
    zone_in: Option<Vec<&'static str>>,
    cores_above: Option<i64>,
    named: Option<usize>,
    wishes: Vec<(i64, &'static str)>,
    init_cpu: i64,
    node: usize,
}

const MIB: i64 = 1 << 20;

// === the reference ===

fn tolerates(pod: &SlowPod, key: &str, effect: &str) -> bool {
    pod.tolerated.iter().any(|(k, e)| (k.is_empty() || *k == key) && (e.is_empty() || *e == effect))
}

fn requests(pod: &SlowPod) -> (i64, i64, i64) {
    (pod.cpu.unwrap_or(0).max(pod.init_cpu), pod.memory.unwrap_or(0), pod.gpus.unwrap_or(0))
}

fn likely(pod: &SlowPod) -> (i64, i64) {
    let init_memory = if pod.init_cpu > 0 { 200 * MIB } else { 0 };
    (pod.cpu.unwrap_or(100).max(pod.init_cpu), pod.memory.unwrap_or(200 * MIB).max(init_memory))
}

/// The reasons of the first that refuses, and whether pods leaving could help.
fn refusal(
    nodes: &[SlowNode],
    pods: &[SlowPod],
    at: usize,
    pod: &SlowPod,
) -> Option<(Vec<&'static str>, bool)> {
    let node = &nodes[at];
    let there: Vec<&SlowPod> = pods.iter().filter(|one| one.node == at).collect();
    let has_name = |index: usize| index == at;
    if node.cordoned && !tolerates(pod, "node.kubernetes.io/unschedulable", "NoSchedule") {
        return Some((vec!["node(s) were unschedulable"], false));
    }
    if node.taint.is_some_and(|(key, effect)| !tolerates(pod, key, effect)) {
        return Some((vec!["node(s) had untolerated taint(s)"], false));
    }
    let zone_suits = pod.zone.is_none_or(|zone| node.zone == Some(zone))
        && pod.zone_in.as_ref().is_none_or(|zones| node.zone.is_some_and(|zone| zones.contains(&zone)))
        && pod.cores_above.is_none_or(|cores| node.cores > cores);
    if !zone_suits || pod.named.is_some_and(|index| !has_name(index)) {
        return Some((vec!["node(s) didn't match Pod's node affinity/selector"], false));
    }
    let collides = |other: &SlowPod| {
        let (Some((ip, port)), Some((other_ip, other_port))) = (pod.port, other.port) else { return false };
        port == other_port && (ip == other_ip || ip == "0.0.0.0" || other_ip == "0.0.0.0")
    };
    if there.iter().any(|other| collides(other)) {
        return Some((vec!["node(s) didn't have free ports for the requested pod ports"], true));
    }
    let (cpu, memory, gpus) = requests(pod);
    let taken =
        there.iter().map(|one| requests(one)).fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
    let all = (node.cores * 1000, node.memory, node.gpus.unwrap_or(0));
    let mut lacking = Vec::new();
    if there.len() as i64 + 1 > node.places {
        lacking.push("Too many pods");
    }
    for (name, wanted, taken, all) in [
        ("Insufficient cpu", cpu, taken.0, all.0),
        ("Insufficient memory", memory, taken.1, all.1),
        ("Insufficient example.com/gpu", gpus, taken.2, all.2),
    ] {
        if wanted > 0 && wanted > all - taken {
            lacking.push(name);
        }
    }
    let resolvable = cpu <= all.0 && memory <= all.1 && gpus <= all.2;
    (!lacking.is_empty()).then_some((lacking, resolvable))
}

fn scores(nodes: &[SlowNode], pods: &[SlowPod], feasible: &[usize], pod: &SlowPod) -> Vec<i64> {
    let soft = |at: usize| {
        let bears = pod
            .tolerated
            .iter()
            .any(|(key, effect)| key.is_empty() && (effect.is_empty() || *effect == "PreferNoSchedule"));
        if bears { 0 } else { nodes[at].soft_taints as i64 }
    };
    let wish = |at: usize| -> i64 {
        pod.wishes.iter().filter(|(_, zone)| nodes[at].zone == Some(zone)).map(|(weight, _)| weight).sum()
    };
    let most = |number: &dyn Fn(usize) -> i64| feasible.iter().map(|at| number(*at)).max().unwrap_or(0);
    let (most_soft, most_wish) = (most(&soft), most(&wish));
    let any_soft = nodes.iter().any(|node| node.soft_taints > 0) && (0..nodes.len()).any(|at| soft(at) > 0);
    let with_image = nodes.iter().filter(|node| node.image.is_some()).count();
    feasible
        .iter()
        .map(|at| {
            let node = &nodes[*at];
            let there: Vec<&SlowPod> = pods.iter().filter(|one| one.node == *at).collect();
            let mut score = 0;
            if any_soft {
                score += 3 * (100 - if most_soft == 0 { 0 } else { 100 * soft(*at) / most_soft });
            }
            score += 2 * if most_wish == 0 { 0 } else { 100 * wish(*at) / most_wish };
            let left = |all: i64, each: &dyn Fn(&SlowPod) -> i64| {
                let taken: i64 = there.iter().map(|one| each(one)).sum::<i64>() + each(pod);
                if taken > all { 0 } else { (all - taken) * 100 / all }
            };
            let cpu = left(node.cores * 1000, &|one| likely(one).0);
            let memory = left(node.memory, &|one| likely(one).1);
            score += (cpu + memory) / 2;
            let (own_cpu, own_memory, _) = requests(pod);
            if own_cpu > 0 || own_memory > 0 {
                let cpu: i64 = there.iter().map(|one| requests(one).0).sum::<i64>() + own_cpu;
                let memory: i64 = there.iter().map(|one| requests(one).1).sum::<i64>() + own_memory;
                let cpu = (cpu as f64 / (node.cores * 1000) as f64).min(1.0);
                let memory = (memory as f64 / node.memory as f64).min(1.0);
                score += ((1.0 - ((cpu - memory) / 2.0).abs()) * 100.0) as i64;
            }
            if let Some(size) = node.image {
                let bytes = (size as f64 * (with_image as f64 / nodes.len() as f64)) as i64;
                // All pods have two images, of which nodes have one; an init container is a third.
                let most = 1000 * MIB * if pod.init_cpu > 0 { 2 } else { 1 };
                score += 100 * (bytes.clamp(23 * MIB, most) - 23 * MIB) / (most - 23 * MIB);
            }
            score
        })
        .collect()
}

// === the same cluster as JSON ===

fn node_json(node: &SlowNode) -> Value {
    let mut labels = BTreeMap::from([("cores", node.cores.to_string())]);
    labels.extend(node.zone.map(|zone| ("zone", zone.to_owned())));
    let mut taints: Vec<Value> = (0..node.soft_taints)
        .map(|at| json!({"key": format!("soft-{at}"), "effect": "PreferNoSchedule"}))
        .collect();
    taints.extend(node.taint.map(|(key, effect)| json!({"key": key, "effect": effect})));
    let mut allocatable =
        json!({"cpu": node.cores, "memory": node.memory.to_string(), "pods": node.places.to_string()});
    if let Some(gpus) = node.gpus {
        allocatable["example.com/gpu"] = json!(gpus.to_string());
    }
    let images: Vec<Value> =
        node.image.iter().map(|size| json!({"names": ["web:latest"], "sizeBytes": size})).collect();
    json!({
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"unschedulable": node.cordoned, "taints": taints},
        "status": {"allocatable": allocatable, "images": images},
    })
}

fn pod_json(pod: &SlowPod, nodes: &[SlowNode]) -> Value {
    let mut requests = json!({});
    if let Some(cpu) = pod.cpu {
        requests["cpu"] = json!(format!("{cpu}m"));
    }
    if let Some(memory) = pod.memory {
        requests["memory"] = json!(memory.to_string());
    }
    if let Some(gpus) = pod.gpus {
        requests["example.com/gpu"] = json!(gpus);
    }
    let ports: Vec<Value> =
        pod.port.iter().map(|(ip, port)| json!({"hostIP": ip, "hostPort": port})).collect();
    let mut expressions = Vec::new();
    if let Some(zones) = &pod.zone_in {
        expressions.push(json!({"key": "zone", "operator": "In", "values": zones}));
    }
    if let Some(cores) = pod.cores_above {
        expressions.push(json!({"key": "cores", "operator": "Gt", "values": [cores.to_string()]}));
    }
    let mut term = json!({});
    if !expressions.is_empty() {
        term["matchExpressions"] = json!(expressions);
    }
    if let Some(index) = pod.named {
        let name = nodes.get(index).map_or("nobody", |node| &node.name);
        term["matchFields"] = json!([{"key": "metadata.name", "operator": "In", "values": [name]}]);
    }
    let mut affinity = json!({});
    if term != json!({}) {
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": [term]});
    }
    let wish = |(weight, zone): &(i64, &str)| {
        let zone = json!({"key": "zone", "operator": "In", "values": [zone]});
        json!({"weight": weight, "preference": {"matchExpressions": [zone]}})
    };
    affinity["preferredDuringSchedulingIgnoredDuringExecution"] = pod.wishes.iter().map(wish).collect();
    let tolerations: Vec<Value> = pod
        .tolerated
        .iter()
        .map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect}))
        .collect();
    let mut spec = json!({
        "containers": [{"name": "web", "image": "web", "resources": {"requests": requests}, "ports": ports}],
        "tolerations": tolerations,
        "affinity": {"nodeAffinity": affinity},
    });
    if let Some(zone) = pod.zone {
        spec["nodeSelector"] = json!({"zone": zone});
    }
    if pod.init_cpu > 0 {
        let requests = json!({"cpu": format!("{}m", pod.init_cpu)});
        spec["initContainers"] =
            json!([{"name": "init", "image": "init", "resources": {"requests": requests}}]);
    }
    json!({"metadata": {"uid": "u"}, "spec": spec})
}

fn view(nodes: &[SlowNode], pods: &[SlowPod]) -> View {
    let mut view = View::default();
    for node in nodes {
        let json = node_json(node).to_string();
        let parsed = Node::parse(json.as_bytes(), view.resources_mut()).expect("a node");
        view.put_node(&node.name, parsed);
    }
    for (index, pod) in pods.iter().enumerate() {
        let shape = shape(&mut view, pod, nodes);
        let key = Key::object("", "pods", "default", &index.to_string());
        view.put_pod(&key, "u", &nodes[pod.node].name, shape);
    }
    view
}

fn shape(view: &mut View, pod: &SlowPod, nodes: &[SlowNode]) -> crate::observe::Shape {
    let json = pod_json(pod, nodes).to_string();
    let parsed = Pod::parse(json.as_bytes(), view.resources_mut()).expect("a pod");
    view.intern(parsed.needs)
}

// === random clusters ===

fn slow_node() -> impl Strategy<Value = SlowNode> {
    let zone = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    let taint = prop::option::weighted(
        0.3,
        prop::sample::select(vec![("gpu", "NoSchedule"), ("old", "NoExecute"), ("spot", "NoSchedule")]),
    );
    let sizes = (1..5_i64, 1..5_i64, prop::option::of(0..3_i64), 1..6_i64, prop::option::of(1..2_000_i64));
    (prop::bool::weighted(0.1), zone, taint, 0..3_usize, sizes).prop_map(
        |(cordoned, zone, taint, soft_taints, (cores, memory, gpus, places, image))| SlowNode {
            name: String::new(),
            cordoned,
            zone,
            cores,
            taint,
            soft_taints,
            memory: memory * 1_000 * MIB,
            gpus,
            places,
            image: image.map(|size| size * MIB),
        },
    )
}

fn slow_pod() -> impl Strategy<Value = SlowPod> {
    let zones = || prop::sample::select(vec!["a", "b", "c"]);
    let tolerated = prop::collection::vec(
        (
            prop::sample::select(vec!["gpu", "old", ""]),
            prop::sample::select(vec!["NoSchedule", "NoExecute", "PreferNoSchedule", ""]),
        ),
        0..3,
    );
    let port = prop::option::weighted(
        0.3,
        (prop::sample::select(vec!["0.0.0.0", "10.0.0.1", "10.0.0.2"]), prop::sample::select(vec![80, 443])),
    );
    let amounts = (
        prop::option::of(0..2_500_i64),
        prop::option::of(0..2_000_i64),
        prop::option::weighted(0.2, 1..3_i64),
        prop_oneof![3 => Just(0_i64), 1 => 1..3_000_i64],
    );
    let places = (
        prop::option::weighted(0.2, zones()),
        prop::option::weighted(0.2, prop::collection::vec(zones(), 1..3)),
        prop::option::weighted(0.2, 0..4_i64),
        prop::option::weighted(0.1, 0..12_usize),
        prop::collection::vec((1..100_i64, zones()), 0..3),
    );
    (amounts, port, tolerated, places, any::<prop::sample::Index>()).prop_map(
        |(
            (cpu, memory, gpus, init_cpu),
            port,
            tolerated,
            (zone, zone_in, cores_above, named, wishes),
            node,
        )| SlowPod {
            cpu,
            memory: memory.map(|amount| amount * MIB),
            gpus,
            port,
            tolerated,
            zone,
            zone_in,
            cores_above,
            named,
            wishes,
            init_cpu,
            node: node.index(1 << 20),
        },
    )
}

fn cluster() -> impl Strategy<Value = (Vec<SlowNode>, Vec<SlowPod>, SlowPod)> {
    let nodes = prop::collection::vec(slow_node(), 1..12);
    (nodes, prop::collection::vec(slow_pod(), 0..25), slow_pod()).prop_map(|(mut nodes, mut pods, pod)| {
        for (index, node) in nodes.iter_mut().enumerate() {
            node.name = format!("node-{index}");
        }
        // An image has one size, wherever it is.
        let size = nodes.iter().find_map(|node| node.image);
        nodes.iter_mut().for_each(|node| node.image = node.image.and(size));
        for pod in &mut pods {
            pod.node %= nodes.len();
        }
        (nodes, pods, pod)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn fast_decisions_are_those_of_the_slow_reference((nodes, pods, pod) in cluster(), seed: u64, prepared: bool) {
        let mut view = view(&nodes, &pods);
        let shape = shape(&mut view, &pod, &nodes);
        if prepared {
            view.prepare(&shape);
        }
        let refusals: Vec<_> = (0..nodes.len()).map(|at| refusal(&nodes, &pods, at, &pod)).collect();

        // Filters, node by node, with the same first reason.
        let filters = Filters::prepare(view.nodes(), &shape);
        for (at, node) in nodes.iter().enumerate() {
            let id = view.nodes().find(&node.name).expect("the node is there");
            let fast = filters.check(id);
            prop_assert_eq!(fast.is_ok(), refusals[at].is_none(), "{:?} by {:?}, not {:?}", &node, &fast, &refusals[at]);
            if let (Err(fast), Some((_, resolvable))) = (fast, &refusals[at]) {
                prop_assert_eq!(fast.outcome == Outcome::Unschedulable, *resolvable, "{:?}", fast);
            }
        }

        // The choice: the best of all, or a count of reasons.
        let feasible: Vec<usize> = (0..nodes.len()).filter(|at| refusals[*at].is_none()).collect();
        let mut cycle = Cycle::new(seed, 100);
        match cycle.decide(view.nodes(), view.resources(), &shape) {
            Ok(choice) => {
                let slow = scores(&nodes, &pods, &feasible, &pod);
                if feasible.len() > 1 {
                    let mut fast: Vec<_> =
                        cycle.scored().map(|(id, score)| (view.nodes().name(id).to_string(), score)).collect();
                    let mut slow: Vec<_> =
                        feasible.iter().zip(&slow).map(|(at, score)| (nodes[*at].name.clone(), *score)).collect();
                    fast.sort();
                    slow.sort();
                    prop_assert_eq!(fast, slow);
                    prop_assert_eq!(choice.score, scores(&nodes, &pods, &feasible, &pod).into_iter().max().unwrap_or(0));
                }
                let chosen = view.nodes().name(choice.node).to_string();
                prop_assert!(feasible.iter().any(|at| nodes[*at].name == chosen));
            }
            Err(diagnosis) => {
                prop_assert!(feasible.is_empty());
                let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
                let named = pod.named.is_some();
                for (at, refusal) in refusals.iter().enumerate() {
                    let (texts, _) = refusal.as_ref().expect("nobody suits");
                    if named && pod.named != Some(at) {
                        *reasons.entry("node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned()).or_default() += 1;
                        continue;
                    }
                    texts.iter().for_each(|text| *reasons.entry((*text).to_owned()).or_default() += 1);
                }
                prop_assert_eq!(diagnosis.reasons, reasons);
            }
        }
    }

    /// Whatever the seed, a pod that fits somewhere gets a node, and never one that refuses it.
    #[test]
    fn scoring_a_part_of_the_nodes_finds_a_node_whenever_there_is_one((nodes, pods, pod) in cluster(), seed: u64) {
        let mut view = view(&nodes, &pods);
        let shape = shape(&mut view, &pod, &nodes);
        let possible = (0..nodes.len()).any(|at| refusal(&nodes, &pods, at, &pod).is_none());
        let mut cycle = Cycle::new(seed, 1);
        let choice = cycle.decide(view.nodes(), view.resources(), &shape);
        prop_assert_eq!(choice.is_ok(), possible);
        if let Ok(choice) = choice {
            prop_assert!(Filters::prepare(view.nodes(), &shape).check(choice.node).is_ok());
        }
    }
}
