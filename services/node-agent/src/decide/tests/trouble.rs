//! What follows when the machine, the registry or the API does not do what it should.

use bus::node::Wanted;
use serde_json::json;

use super::stage::{Refuses, Stage, container, unknown};
use crate::decide::action::Slot;
use crate::decide::core::Input;
use crate::observe::listing::Listing;

#[test]
fn a_pull_that_fails_shows_its_error_then_waits_then_tries_again() {
    let mut stage = Stage::new();
    stage.refuses.insert(Refuses::Pulls);
    stage.want(json!({}));
    assert_eq!((stage.phase(), stage.state("main").as_str()), ("Pending", "waiting ErrImagePull"));
    stage.pass(2);
    assert_eq!(stage.state("main"), "waiting ImagePullBackOff");
    stage.taken();
    stage.pass(7);
    assert!(stage.taken().is_empty());
    stage.pass(1);
    assert_eq!(stage.taken(), ["image main"]);
    stage.refuses.clear();
    stage.pass(19);
    assert!(stage.taken().is_empty(), "the second wait is twice as long");
    stage.pass(1);
    assert_eq!(stage.taken(), ["image main", "start main 0"]);
    assert_eq!(stage.state("main"), "running");
    assert_eq!(stage.told.iter().filter(|reason| *reason == "BackOff").count(), 2);
}

#[test]
fn an_image_that_may_not_be_pulled_or_is_none_is_named_as_such() {
    let mut stage = Stage::new();
    stage.refuses.insert(Refuses::NeverPulls);
    stage.want(json!({}));
    assert_eq!(stage.state("main"), "waiting ErrImageNeverPull");
    stage.edit(|spec| spec["containers"][0]["image"] = json!("NO NAME"));
    assert_eq!(stage.state("main"), "waiting InvalidImageName");
    stage.refuses.clear();
    stage.edit(|spec| spec["containers"][0]["image"] = json!("app:1"));
    assert_eq!(stage.state("main"), "running", "a change is tried at once");
}

#[test]
fn one_containers_trouble_does_not_hold_back_another() {
    let mut stage = Stage::new();
    let mut broken = container("broken");
    broken["env"] = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "a"}}}]);
    stage.want(json!({"containers": [broken, container("fine")]}));
    assert_eq!(stage.state("broken"), "waiting CreateContainerConfigError");
    assert_eq!((stage.phase(), stage.state("fine").as_str()), ("Pending", "running"));
}

#[test]
fn what_was_missing_is_noticed_at_once() {
    let mut stage = Stage::new();
    let mut container = container("main");
    container["envFrom"] = json!([{"configMapRef": {"name": "c"}}]);
    stage.want(json!({"containers": [container]}));
    assert_eq!(stage.state("main"), "waiting CreateContainerConfigError");
    stage.object("core/configmaps/default/c", Some(json!({"metadata": {"name": "c"}})));
    assert_eq!(stage.state("main"), "running");
}

#[test]
fn a_volume_that_cannot_be_made_holds_the_pod_back() {
    let mut stage = Stage::new();
    stage.want(json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}));
    assert!(stage.taken().is_empty());
    assert_eq!((stage.phase(), stage.state("main").as_str()), ("Pending", "waiting ContainerCreating"));
    assert!(stage.told.contains(&"FailedMount".to_owned()));
    stage.refuses.insert(Refuses::Volumes);
    stage.object("core/secrets/default/s", Some(json!({"metadata": {"name": "s"}})));
    assert_eq!(stage.taken(), ["volumes"]);
    stage.refuses.clear();
    stage.pass(2);
    assert_eq!(stage.state("main"), "running");
}

#[test]
fn a_sandbox_that_cannot_be_made_is_tried_again_soon() {
    let mut stage = Stage::new();
    stage.refuses.insert(Refuses::Sandboxes);
    stage.want(json!({}));
    stage.pass(10);
    let tries = stage.taken().iter().filter(|done| done.starts_with("sandbox")).count();
    assert_eq!(tries, 4, "after 1, 2 and 4 seconds");
    stage.refuses.clear();
    stage.pass(5);
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn a_pod_that_asks_for_what_the_node_lacks_does_not_run_without_it() {
    let mut stage = Stage::new();
    stage.want(json!({"runtimeClassName": "gvisor"}));
    stage.pass(5);
    assert!(stage.taken().is_empty());
    assert_eq!(
        (stage.phase(), stage.told.as_slice()),
        ("Pending", &["FailedCreatePodSandBox".to_owned()][..])
    );
}

#[test]
fn a_program_that_cannot_be_started_is_a_crash() {
    let mut stage = Stage::new();
    stage.refuses.insert(Refuses::Starts);
    stage.want(json!({}));
    assert_eq!(stage.state("main"), "waiting RunContainerError");
    stage.pass(2);
    assert_eq!(stage.state("main"), "waiting RunContainerError", "the first restart is at once");
    stage.pass(2);
    assert_eq!(stage.state("main"), "waiting CrashLoopBackOff");
    assert_eq!(stage.last_state("main"), "terminated 128 Error");
    stage.refuses.clear();
    stage.pass(10);
    assert_eq!(stage.state("main"), "running");
}

#[test]
fn a_container_that_cannot_be_made_or_whose_hook_fails_says_why() {
    for (refuses, reason) in
        [(Refuses::Creates, "waiting CreateContainerError"), (Refuses::Hooks, "waiting PostStartHookError")]
    {
        let mut stage = Stage::new();
        stage.refuses.insert(refuses);
        stage.want(json!({}));
        assert_eq!(stage.state("main"), reason);
        stage.refuses.clear();
        stage.pass(30);
        assert_eq!(stage.state("main"), "running", "{reason}");
    }
}

#[test]
fn an_end_that_fails_is_tried_again() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.refuses.insert(Refuses::Kills);
    stage.delete(1);
    assert!(!stage.gone);
    stage.refuses.clear();
    stage.pass(5);
    assert!(stage.gone);
}

#[test]
fn nothing_is_done_while_the_runtime_is_away() {
    let mut stage = Stage::new();
    stage.core.handle(Input::RuntimeDown, stage.now);
    stage.want(json!({}));
    stage.pass(60);
    assert!(stage.taken().is_empty());
    assert_eq!(stage.phase(), "Pending", "but the pod is known");
    stage.look();
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn an_action_that_the_runtime_never_answered_is_not_held_against_the_pod() {
    let mut stage = Stage::new();
    stage.core.handle(Input::Changes(vec![pod()]), stage.now);
    let effects = stage.core.settle(stage.now);
    assert_eq!(stage.take(effects).len(), 1);
    stage.end("u1", unknown(Slot::Volumes));
    let effects = stage.core.settle(stage.now);
    assert!(stage.take(effects).is_empty(), "the runtime is away");
    stage.look();
    assert_eq!(stage.taken()[0], "volumes");
}

#[test]
fn an_old_list_is_not_believed() {
    let mut stage = Stage::new();
    let old = stage.core.epoch();
    stage.want(json!({}));
    stage.taken();
    // A list that was begun before the container was started arrives after it.
    stage.core.handle(Input::Listing(Listing::default(), old), stage.now);
    stage.settle();
    assert!(stage.taken().is_empty());
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn a_snapshot_takes_the_place_of_what_was_wanted() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.taken();
    let change = stage.change();
    stage.core.handle(Input::Snapshot(vec![change]), stage.now);
    stage.settle();
    assert!(stage.taken().is_empty(), "the same pod runs on");
}

#[test]
fn an_unreadable_pod_leaves_the_others_alone() {
    let mut stage = Stage::new();
    let bad = Wanted { key: "core/pods/default/bad".to_owned(), object: Some("{\"spec\":5}".into()) };
    stage.core.handle(Input::Changes(vec![bad]), stage.now);
    stage.want(json!({}));
    assert_eq!(stage.phase(), "Running");
}

fn pod() -> Wanted {
    let pod = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"containers": [container("main")]},
    });
    Wanted { key: "core/pods/default/web".to_owned(), object: Some(pod.to_string().into()) }
}
