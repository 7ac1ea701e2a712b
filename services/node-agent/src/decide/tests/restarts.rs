//! What follows when containers end.

use serde_json::json;

use super::stage::{Stage, container};
use crate::probes::plan::ProbeKind;

#[test]
fn the_restart_policy_decides() {
    let cases = [
        ("Always", 0, true, "Running"),
        ("Always", 1, true, "Running"),
        ("OnFailure", 0, false, "Succeeded"),
        ("OnFailure", 1, true, "Running"),
        ("Never", 0, false, "Succeeded"),
        ("Never", 1, false, "Failed"),
    ];
    for (policy, code, again, phase) in cases {
        let mut stage = Stage::new();
        stage.want(json!({"restartPolicy": policy}));
        stage.taken();
        stage.exit("main", code);
        let done = stage.taken();
        assert_eq!(done.contains(&"start main 1".to_owned()), again, "{policy} {code}: {done:?}");
        assert_eq!(done.contains(&"stop s1".to_owned()), !again, "{policy} {code}: {done:?}");
        assert_eq!(stage.phase(), phase, "{policy} {code}");
    }
}

#[test]
fn a_finished_pod_says_so_and_keeps_its_dead_containers() {
    let mut stage = Stage::new();
    stage.want(json!({"restartPolicy": "Never"}));
    stage.exit("main", 0);
    assert_eq!(stage.condition("Ready"), ("False".to_owned(), "PodCompleted".to_owned()));
    assert_eq!(stage.condition("Initialized"), ("True".to_owned(), "PodCompleted".to_owned()));
    stage.send();
    stage.pass(3600);
    assert_eq!(stage.listing.containers.len(), 1, "its log can still be read");
    assert_eq!(stage.phase(), "Succeeded");
    stage.taken();
    stage.delete(0);
    assert_eq!(stage.taken(), ["remove s1", "discard"]);
    assert_eq!(stage.phase(), "Succeeded", "what was final stays so");
}

#[test]
fn a_pod_goes_on_while_one_of_its_containers_does() {
    let mut stage = Stage::new();
    stage.want(json!({"restartPolicy": "Never", "containers": [container("a"), container("b")]}));
    stage.exit("a", 1);
    assert_eq!((stage.phase(), stage.state("a").as_str()), ("Running", "terminated 1 Error"));
    assert_eq!(stage.condition("Ready"), ("False".to_owned(), "ContainersNotReady".to_owned()));
    stage.exit("b", 0);
    assert_eq!(stage.phase(), "Failed");
}

#[test]
fn a_crash_loop_waits_longer_each_time_and_says_so() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.exit("main", 1);
    assert_eq!(stage.state("main"), "running", "the first restart is at once");
    let mut waits = Vec::new();
    for _ in 0..6 {
        stage.exit("main", 1);
        assert_eq!((stage.state("main").as_str(), stage.phase()), ("waiting CrashLoopBackOff", "Running"));
        assert_eq!(stage.last_state("main"), "terminated 1 Error");
        let since = stage.now;
        stage.pass(stage.wake.unwrap().duration_since(since).as_secs());
        assert_eq!(stage.state("main"), "running");
        waits.push(stage.now.duration_since(since).as_secs());
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300]);
    assert_eq!(stage.told.iter().filter(|reason| *reason == "BackOff").count(), 6, "once each time");
    let status = &stage.status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(status.restart_count, 7);
    stage.pass(601);
    stage.exit("main", 1);
    assert_eq!(stage.state("main"), "running", "it had recovered");
}

#[test]
fn a_restart_at_once_is_not_told_as_a_wait() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.seen.clear();
    stage.exit("main", 1);
    stage.seen.dedup();
    assert_eq!(stage.seen, ["terminated 1 Error", "running"]);
}

#[test]
fn the_wait_is_worded_as_users_know_it() {
    let mut stage = Stage::new();
    stage.want(json!({}));
    stage.exit("main", 1);
    stage.exit("main", 1);
    let status = stage.status.container_statuses.as_ref().unwrap()[0].clone();
    let message = status.state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "back-off 10s restarting failed container=main pod=web_default(u1)");
}

#[test]
fn an_init_container_that_fails_ends_a_pod_that_never_restarts() {
    let mut stage = Stage::new();
    stage.want(json!({"restartPolicy": "Never", "initContainers": [container("first")]}));
    stage.taken();
    stage.exit("first", 1);
    assert_eq!(stage.taken(), ["stop s1"]);
    assert_eq!((stage.phase(), stage.state("main").as_str()), ("Failed", "waiting PodInitializing"));
}

#[test]
fn an_init_container_that_fails_is_tried_again_otherwise() {
    let mut stage = Stage::new();
    stage.want(json!({"initContainers": [container("first")]}));
    stage.taken();
    stage.exit("first", 1);
    assert_eq!(stage.taken(), ["image first", "start first 1"]);
    stage.exit("first", 1);
    assert_eq!((stage.phase(), stage.state("first").as_str()), ("Pending", "waiting CrashLoopBackOff"));
    stage.pass(10);
    stage.exit("first", 0);
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn a_lost_sandbox_is_made_again_with_everything_in_it() {
    let mut stage = Stage::new();
    stage.want(json!({"initContainers": [container("first")]}));
    stage.exit("first", 0);
    stage.taken();
    stage.lose_sandbox();
    assert_eq!(
        stage.taken(),
        ["stop s1", "image first", "sandbox 1", "start first 1"],
        "init containers do their work again"
    );
    assert!(stage.told.contains(&"SandboxChanged".to_owned()));
    stage.exit("first", 0);
    assert_eq!(stage.taken(), ["image main", "start main 1"]);
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn a_lost_sandbox_ends_a_pod_that_never_restarts() {
    let mut stage = Stage::new();
    stage.want(json!({"restartPolicy": "Never"}));
    stage.taken();
    stage.lose_sandbox();
    assert_eq!((stage.taken(), stage.phase()), (vec!["stop s1".to_owned()], "Failed"));
}

#[test]
fn what_succeeded_is_not_done_again_in_a_new_sandbox() {
    let mut stage = Stage::new();
    stage.want(json!({"restartPolicy": "OnFailure", "containers": [container("a"), container("b")]}));
    stage.exit("a", 0);
    stage.taken();
    stage.lose_sandbox();
    assert_eq!(stage.taken(), ["stop s1", "image b", "sandbox 1", "start b 1"]);
}

#[test]
fn a_failed_liveness_probe_restarts_the_container() {
    let mut stage = Stage::new();
    let mut probed = container("main");
    probed["livenessProbe"] = json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 2});
    stage.want(json!({"containers": [probed]}));
    stage.taken();
    stage.probed("main", ProbeKind::Liveness, true);
    assert!(stage.taken().is_empty());
    stage.probed("main", ProbeKind::Liveness, false);
    assert_eq!(stage.taken(), ["kill main 2", "image main", "start main 1"]);
}

#[test]
fn readiness_follows_its_probe_once_the_container_has_started() {
    let mut stage = Stage::new();
    let mut probed = container("main");
    probed["startupProbe"] = json!({"exec": {"command": ["true"]}});
    probed["readinessProbe"] = json!({"exec": {"command": ["true"]}});
    stage.want(json!({"containers": [probed]}));
    let ready = |stage: &Stage| stage.condition("Ready").0;
    assert_eq!(ready(&stage), "False");
    stage.probed("main", ProbeKind::Startup, true);
    assert_eq!(ready(&stage), "False");
    stage.probed("main", ProbeKind::Readiness, true);
    assert_eq!(ready(&stage), "True");
    stage.probed("main", ProbeKind::Readiness, false);
    assert_eq!(ready(&stage), "False");
    stage.probed("main", ProbeKind::Readiness, true);
    stage.exit("main", 1);
    assert_eq!(ready(&stage), "False", "a new instance has yet to show it");
}

#[test]
fn a_gate_that_somebody_else_opens_holds_readiness_back() {
    let mut stage = Stage::new();
    stage.want(json!({"readinessGates": [{"conditionType": "example.com/open"}]}));
    assert_eq!(stage.condition("Ready"), ("False".to_owned(), "ReadinessGatesNotReady".to_owned()));
    assert_eq!(stage.condition("ContainersReady").0, "True");
    let open = serde_json::from_value(json!({"type": "example.com/open", "status": "True"})).unwrap();
    stage.status.conditions.as_mut().unwrap().push(open);
    stage.send();
    assert_eq!(stage.condition("Ready").0, "True");
    assert_eq!(stage.condition("example.com/open").0, "True", "what others wrote stays");
}

#[test]
fn a_pod_ends_at_its_deadline() {
    let mut stage = Stage::new();
    stage.want(json!({"activeDeadlineSeconds": 60}));
    stage.taken();
    stage.pass(59);
    assert_eq!(stage.phase(), "Running");
    stage.pass(1);
    assert_eq!(stage.taken(), ["kill main 30", "stop s1"]);
    assert_eq!((stage.phase(), stage.status.reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
}
