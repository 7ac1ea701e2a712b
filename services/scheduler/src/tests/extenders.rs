//! Pods whose nodes extenders have a say in.

use super::*;
use crate::configuration::Configuration;
use crate::extend::{BindOrder, Question, Said};

const GPU: &str = "example.com/gpu";

/// A cluster of three nodes, with one extender that is asked about pods that want a GPU.
fn cluster(extender: &str) -> Cluster {
    let text = format!(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nextenders:\n\
         - {{urlPrefix: 'bus://gpu', {extender}, managedResources: [{{name: {GPU}, ignoredByScheduler: true}}]}}\n"
    );
    let mut file = Configuration::parse(&text).expect("it is read");
    let options = Options {
        extenders: file.take_extenders(),
        left_to_extenders: file.left_to_extenders,
        ..Options::default()
    };
    Cluster::with_options(&[node("node-1", "2"), node("node-2", "2"), node("node-3", "2")], options)
}

fn filtering() -> Cluster {
    cluster("filterVerb: filter, prioritizeVerb: prioritize, weight: 1")
}

/// A pod that wants a GPU, which no node is known to have: that is for the extender to judge.
fn gpu_pod(name: &str) -> Value {
    let mut pod = pod(name, "1");
    pod["spec"]["containers"][0]["resources"]["requests"][GPU] = json!("1");
    pod
}

fn question(cluster: &mut Cluster) -> Question {
    cluster.settle();
    cluster.scheduler.take_question().expect("it asks")
}

fn left(nodes: &[(&str, i64)]) -> Said {
    let left = nodes.iter().map(|(name, score)| ((*name).into(), *score)).collect();
    Said::Nodes { left, refused: BTreeMap::new() }
}

impl Cluster {
    fn said(&mut self, question: &Question, said: Said) {
        self.scheduler.said(question, said, self.now, Timestamp::UNIX_EPOCH);
        self.settle();
    }

    fn order(&mut self) -> BindOrder {
        self.scheduler.take_order().expect("the extender is told to bind")
    }
}

#[test]
fn a_pod_waits_for_what_is_said_and_takes_the_best_node_while_others_go_their_way() {
    let mut cluster = filtering();
    cluster.put("pods", gpu_pod("asked"));
    cluster.put("pods", pod("other", "1"));
    let question = question(&mut cluster);
    assert_eq!((question.pod.name(), question.nodes.len()), ("asked", 3));
    assert_eq!(cluster.node_of("asked"), None);
    assert!(cluster.node_of("other").is_some());
    assert!(cluster.scheduler.take_question().is_none());

    cluster.said(&question, left(&[("node-2", 10), ("node-3", 40)]));
    assert_eq!(cluster.node_of("asked"), Some("node-3"));
}

#[test]
fn a_node_that_was_taken_meanwhile_is_passed_over() {
    let mut cluster = filtering();
    cluster.put("pods", gpu_pod("asked"));
    let question = question(&mut cluster);
    cluster.put(
        "pods",
        with(
            pod("bound", "2"),
            "/spec",
            json!({"nodeName": "node-3", "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "2"}}}]}),
        ),
    );
    cluster.settle();
    cluster.said(&question, left(&[("node-2", 10), ("node-3", 40)]));
    assert_eq!(cluster.node_of("asked"), Some("node-2"));
}

#[test]
fn what_is_said_of_a_pod_that_is_gone_or_was_asked_about_again_counts_for_nothing() {
    let mut cluster = filtering();
    cluster.put("pods", gpu_pod("asked"));
    let first = question(&mut cluster);
    cluster.delete("asked");
    cluster.settle();
    let mut again = gpu_pod("asked");
    again["metadata"]["uid"] = json!("another");
    cluster.put("pods", again);
    let second = question(&mut cluster);
    cluster.said(&first, left(&[("node-1", 1)]));
    assert_eq!(cluster.node_of("asked"), None);
    cluster.said(&second, left(&[("node-2", 1)]));
    assert_eq!(cluster.node_of("asked"), Some("node-2"));
}

#[test]
fn where_no_node_is_left_or_the_extender_fails_people_are_told_and_it_is_asked_again_after_a_pause() {
    let mut cluster = filtering();
    cluster.put("pods", gpu_pod("asked"));
    let first = question(&mut cluster);
    let refused = BTreeMap::from([("no GPU is free".to_owned(), 3)]);
    cluster.said(&first, Said::Nodes { left: Vec::new(), refused });
    let condition = cluster.condition("asked");
    assert!(condition.starts_with("0/3 nodes are available: 3 no GPU is free."), "{condition}");

    cluster.now += Duration::from_secs(20);
    let second = question(&mut cluster);
    cluster.said(&second, Said::Failed("extender bus://gpu: no answer in time".to_owned()));
    assert_eq!(cluster.condition("asked"), "extender bus://gpu: no answer in time");

    cluster.now += Duration::from_secs(20);
    let third = question(&mut cluster);
    cluster.said(&third, left(&[("node-1", 1)]));
    assert_eq!(cluster.node_of("asked"), Some("node-1"));
}

#[test]
fn an_extender_that_binds_is_told_the_node_and_the_pod_counts_there_until_it_is_seen_or_refused() {
    let mut cluster = cluster("bindVerb: bind");
    cluster.put("pods", gpu_pod("first"));
    cluster.settle();
    let order = cluster.order();
    assert!(cluster.scheduler.take_request().is_none(), "nobody else binds it");

    // Two more that fill the same node: the ordered one counts already.
    let node = order.node.to_string();
    let mut pinned = pod("pinned", "2");
    pinned["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    cluster.put("pods", pinned);
    cluster.settle();
    assert_eq!(cluster.node_of("pinned"), None);

    cluster.scheduler.ordered(
        &order,
        Some("extender bus://gpu: no".to_owned()),
        cluster.now,
        Timestamp::UNIX_EPOCH,
    );
    cluster.settle();
    assert_eq!(cluster.condition("first"), "extender bus://gpu: no");
    cluster.now += Duration::from_secs(20);
    cluster.settle();
    let order = cluster.order();
    let mut bound = gpu_pod("first");
    bound["spec"]["nodeName"] = json!(&*order.node);
    cluster.put("pods", bound);
    cluster.settle();
    cluster.scheduler.ordered(&order, None, cluster.now, Timestamp::UNIX_EPOCH);
    let told = format!("Scheduled: Successfully assigned default/first to {}", order.node);
    assert!(cluster.told.contains(&told), "{:?}", cluster.told);
}
