//! From the first want to the last folder.

use jiff::SignedDuration;
use serde_json::json;

use super::stage::{Refuses, Stage, container};
use crate::decide::core::Input;
use crate::probes::plan::ProbeKind;

#[test]
fn a_pod_is_built_from_the_ground_up() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    assert_eq!(stage.taken(), ["volumes", "sandbox 0", "image main", "start main 0"]);
    assert_eq!((stage.phase(), stage.state("main").as_str()), ("Running", "running"));
    for type_ in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(stage.condition(type_).0, "True", "{type_}");
    }
    assert_eq!(stage.status.pod_ip.as_deref(), Some("10.1.0.2"));
    assert_eq!(stage.status.observed_generation, Some(1));
    assert_eq!(stage.told, ["Pulled", "Created", "Started"]);
}

#[test]
fn containers_start_in_the_specs_order_one_at_a_time() {
    let mut stage = Stage::new();
    stage.want(json!({"containers": [container("a"), container("b"), container("c")]}));
    let starts: Vec<String> = stage.taken().into_iter().filter(|done| done.starts_with("start")).collect();
    assert_eq!(starts, ["start a 0", "start b 0", "start c 0"]);
}

#[test]
fn what_did_not_change_is_not_reported_again() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    let before = stage.reports;
    stage.send();
    stage.look();
    stage.pass(3600);
    assert_eq!(stage.reports, before);
    assert!(stage.taken().len() == 4, "and nothing is done");
}

#[test]
fn init_containers_run_one_after_the_other() {
    let mut stage = Stage::new();
    stage.want(json!({"initContainers": [container("first"), container("second")]}));
    assert_eq!(stage.taken(), ["volumes", "sandbox 0", "image first", "start first 0"]);
    assert_eq!((stage.phase(), stage.state("main").as_str()), ("Pending", "waiting PodInitializing"));
    assert_eq!(stage.condition("Initialized"), ("False".to_owned(), "ContainersNotInitialized".to_owned()));
    stage.exit("first", 0);
    assert_eq!(stage.taken(), ["image second", "start second 0"]);
    stage.exit("second", 0);
    assert_eq!(stage.taken(), ["image main", "start main 0"]);
    assert_eq!(stage.condition("Initialized").0, "True");
    assert_eq!((stage.phase(), stage.state("first").as_str()), ("Running", "terminated 0 Completed"));
}

#[test]
fn sidecars_start_first_and_end_last() {
    let mut sidecar = container("beside");
    sidecar["restartPolicy"] = json!("Always");
    let mut second = container("also");
    second["restartPolicy"] = json!("Always");
    let mut stage = Stage::new();
    stage.want(json!({"initContainers": [sidecar, second], "restartPolicy": "Never"}));
    let starts: Vec<String> = stage.taken().into_iter().filter(|done| done.starts_with("start")).collect();
    assert_eq!(starts, ["start beside 0", "start also 0", "start main 0"]);
    stage.exit("beside", 1);
    assert_eq!(stage.taken(), ["image beside", "start beside 1"], "a sidecar is always started again");
    stage.exit("main", 0);
    assert_eq!(stage.taken(), ["kill also 30", "kill beside 30", "stop s1"]);
    assert_eq!(stage.phase(), "Succeeded");
}

#[test]
fn a_sidecar_holds_the_others_back_until_its_startup_probe_succeeds() {
    let mut sidecar = container("beside");
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"exec": {"command": ["true"]}});
    let mut stage = Stage::new();
    stage.want(json!({"initContainers": [sidecar]}));
    assert_eq!(stage.taken(), ["volumes", "sandbox 0", "image beside", "start beside 0"]);
    stage.probed("beside", ProbeKind::Startup, true);
    assert_eq!(stage.taken(), ["image main", "start main 0"]);
}

#[test]
fn a_deleted_pod_leaves_nothing() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.taken();
    stage.delete(7);
    assert_eq!(stage.taken(), ["kill main 7", "stop s1", "remove s1", "discard"]);
    assert!(stage.gone);
    assert_eq!((stage.phase(), stage.state("main").as_str()), ("Succeeded", "terminated 0 Completed"));
    assert!(stage.told.contains(&"Killing".to_owned()));
    stage.object("core/pods/default/web", None);
    assert!(stage.taken().is_empty());
}

#[test]
fn a_pod_that_is_deleted_before_it_began_is_gone_at_once() {
    let mut stage = Stage::detached();
    stage.core.handle(Input::Snapshot(Vec::new()), stage.now);
    stage.want(json!({}));
    stage.delete(30);
    assert!(stage.taken().is_empty(), "nothing is known of what runs");
    stage.look();
    assert_eq!(stage.taken(), ["discard"]);
    assert!(stage.gone);
    assert_eq!(stage.phase(), "Failed");
}

#[test]
fn a_shorter_grace_period_counts_at_once() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.taken();
    stage.slow_ends = true;
    stage.delete(300);
    assert_eq!(stage.taken(), ["kill main 300"]);
    stage.delete(300);
    assert!(stage.taken().is_empty(), "the same is asked once");
    stage.delete(1);
    assert_eq!(stage.taken(), ["kill main 1"]);
}

#[test]
fn a_pod_that_the_api_has_no_more_is_ended_by_its_own_grace_period() {
    let mut stage = Stage::new();
    stage.want(json!({"terminationGracePeriodSeconds": 3}));
    stage.taken();
    stage.object("core/pods/default/web", None);
    assert_eq!(stage.taken(), ["kill main 3", "stop s1", "remove s1", "discard"]);
    assert!(!stage.gone, "there is nobody to tell");
}

#[test]
fn what_ran_before_the_agent_is_adopted_and_orphans_end_once_the_api_was_heard() {
    let mut before = Stage::new();
    before.want(json!({}));
    let mut stage = Stage::detached();
    stage.listing = before.listing.clone();
    stage.now = before.now;
    stage.look();
    assert!(stage.taken().is_empty(), "without the API everything runs on");
    stage.status = before.status.clone();
    stage.core.handle(Input::Snapshot(vec![before.change()]), stage.now);
    stage.settle();
    assert_eq!(stage.taken(), ["volumes"]);
    assert_eq!(stage.reports, 0, "nothing has changed for the API");
    stage.core.handle(Input::Snapshot(Vec::new()), stage.now);
    stage.settle();
    assert_eq!(stage.taken(), ["kill main 30", "stop s1", "remove s1", "discard"]);
}

#[test]
fn a_probed_container_stays_ready_over_a_restart_of_the_agent() {
    let mut probed = container("main");
    probed["readinessProbe"] = json!({"exec": {"command": ["true"]}});
    let mut before = Stage::new();
    before.want(json!({"containers": [probed]}));
    assert_eq!(before.condition("Ready").0, "False");
    before.probed("main", ProbeKind::Readiness, true);
    assert_eq!(before.condition("Ready").0, "True");
    let mut stage = Stage::detached();
    stage.listing = before.listing.clone();
    stage.status = before.status.clone();
    stage.core.handle(Input::Snapshot(vec![before.change()]), stage.now);
    stage.look();
    assert_eq!(stage.reports, 0);
    assert_eq!(stage.condition("Ready").0, "True");
}

#[test]
fn a_new_image_restarts_the_container() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.taken();
    stage.edit(|spec| spec["containers"][0]["image"] = json!("app:2"));
    assert_eq!(stage.taken(), ["kill main 30", "image main", "start main 1"]);
    assert_eq!(stage.status.container_statuses.as_ref().unwrap()[0].image, "docker.io/library/app:2");
}

#[test]
fn volumes_follow_what_they_show() {
    let mut stage = Stage::new();
    let config = |value: &str| Some(json!({"metadata": {"name": "c"}, "data": {"a": value}}));
    stage.object("core/configmaps/default/c", config("1"));
    stage.want(json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}));
    stage.taken();
    stage.object("core/configmaps/default/other", config("1"));
    assert!(stage.taken().is_empty());
    stage.object("core/configmaps/default/c", config("2"));
    assert_eq!(stage.taken(), ["volumes"]);
}

#[test]
fn volumes_are_prepared_again_before_what_they_hold_is_over() {
    let mut stage = Stage::new();
    stage.renew = Some(SignedDuration::from_secs(60));
    stage.want(json!({}));
    stage.taken();
    stage.pass(59);
    assert!(stage.taken().is_empty());
    stage.refuses.insert(Refuses::Volumes);
    stage.pass(1);
    assert_eq!((stage.taken(), stage.phase()), (vec!["volumes".to_owned()], "Running"));
    stage.refuses.clear();
    stage.pass(1);
    assert_eq!(stage.taken(), ["volumes"], "and tried again soon");
    stage.pass(59);
    assert!(stage.taken().is_empty());
}

#[test]
fn only_a_pods_last_two_instances_are_kept() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    for _ in 0..3 {
        stage.pass(3600);
        stage.exit("main", 1);
    }
    let removed: Vec<String> = stage.taken().into_iter().filter(|done| done.starts_with("remove")).collect();
    assert_eq!(removed, ["remove c2", "remove c3"]);
    assert_eq!(stage.listing.containers.len(), 2);
}
