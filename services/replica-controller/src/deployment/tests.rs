//! Decisions about Deployments, read as rules.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DeploymentStatus;

use super::decide::{Observation, Plan, decide};
use super::draft::{REVISION, REVISION_HISTORY};
use super::fixture::{deployment, deployment_of, now, plan, set, sizes};
use crate::observe::{Deployment, Set, Strategy};

fn expect(deployment: &Deployment, sets: &[Set], expected: &[(&str, i32)]) {
    let plan = plan(deployment, sets);
    let expected: Vec<_> = expected.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    assert_eq!(sizes(&plan), expected, "{}", plan.reason);
}

fn condition(status: &DeploymentStatus, kind: &str) -> (String, String) {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition.type_ == kind).expect("the condition is there");
    (found.status.clone(), found.reason.clone().unwrap_or_default())
}

fn status<'a>(plan: &'a Plan<'_>) -> &'a DeploymentStatus {
    plan.status.as_ref().expect("the status changes")
}

#[test]
fn the_first_set_has_the_full_size_and_the_first_revision() {
    let web = deployment();
    let plan = plan(&web, &[]);
    assert_eq!(sizes(&plan), [("new".to_owned(), 10)]);
    let new = plan.create.as_ref().expect("a set");
    assert_eq!(new.draft.name, format!("web-{}", new.hash));
    assert_eq!((new.draft.annotations[REVISION].as_str(), plan.revision.as_deref()), ("1", Some("1")));
    assert_eq!(
        condition(status(&plan), "Progressing"),
        ("True".to_owned(), "NewReplicaSetCreated".to_owned())
    );
    assert_eq!(condition(status(&plan), "Available").0, "False");
}

#[test]
fn a_rolling_update_keeps_its_bounds_at_each_step() {
    let web = deployment_of(10, 2);
    // The new set may have 3 pods beyond 10; 2 old ones may go at once.
    expect(&web, &[set(1, 10, 10)], &[("new", 3), ("set-1", 8)]);
    // Room for 2 more came from the old set.
    expect(&web, &[set(1, 8, 8), set(2, 3, 0)], &[("set-2", 5)]);
    // No room, and nobody to spare.
    expect(&web, &[set(1, 8, 8), set(2, 5, 0)], &[]);
    // Three serve: three old ones may go.
    expect(&web, &[set(1, 8, 8), set(2, 5, 3)], &[("set-1", 5)]);
    // Old pods that do not serve go first and do not count as loss.
    expect(&web, &[set(1, 8, 6), set(2, 5, 0)], &[]);
    expect(&web, &[set(1, 8, 6), set(2, 5, 2)], &[("set-1", 6)]);
    // Nearly there.
    expect(&web, &[set(1, 1, 1), set(2, 10, 9)], &[("set-1", 0)]);
    expect(&web, &[set(1, 0, 0), set(2, 10, 10)], &[]);
}

#[test]
fn pods_above_a_sets_new_size_are_not_counted_on() {
    let web = deployment_of(10, 2);
    let mut old = set(1, 8, 8);
    old.status.available_replicas = Some(10);
    expect(&web, &[old, set(2, 5, 0)], &[]);
}

#[test]
fn a_recreation_waits_for_the_last_old_pod() {
    let web = Deployment { strategy: Strategy::Recreate, ..deployment_of(10, 2) };
    expect(&web, &[set(1, 10, 10)], &[("set-1", 0)]);
    let with = |change: fn(&mut Set)| {
        let mut old = set(1, 0, 0);
        change(&mut old);
        [old]
    };
    expect(&web, &with(|old| old.status.replicas = 1), &[]);
    expect(&web, &with(|old| old.status.terminating_replicas = Some(1)), &[]);
    expect(&web, &with(|old| old.generation = 2), &[]);
    expect(&web, &with(|_| ()), &[("new", 10)]);
}

#[test]
fn a_paused_deployment_is_scaled_but_not_rolled() {
    let web = Deployment { paused: true, ..deployment_of(10, 2) };
    let sets = [set(1, 10, 10)];
    let plan = plan(&web, &sets);
    assert_eq!(sizes(&plan), []);
    assert_eq!(
        condition(status(&plan), "Progressing"),
        ("Unknown".to_owned(), "DeploymentPaused".to_owned())
    );
    expect(&Deployment { paused: true, ..deployment_of(4, 2) }, &[set(1, 10, 10)], &[("set-1", 4)]);
}

#[test]
fn a_change_of_size_in_the_middle_of_a_rollout_is_shared_in_proportion() {
    // 13 of 10 become 26 of 20: each set doubles.
    expect(&deployment_of(20, 2), &[set(1, 8, 8), set(2, 5, 0)], &[("set-2", 10), ("set-1", 15)]);
    expect(&deployment_of(5, 2), &[set(1, 8, 8), set(2, 5, 5)], &[("set-2", 3), ("set-1", 4)]);
    expect(&deployment_of(0, 2), &[set(1, 8, 8), set(2, 5, 0)], &[("set-2", 0), ("set-1", 0)]);
    // A single set takes all of it.
    expect(&deployment_of(20, 2), &[set(1, 0, 0), set(2, 10, 10)], &[("set-2", 20)]);
}

#[test]
fn an_undone_rollout_gives_the_old_set_the_newest_revision_and_remembers_its_former_one() {
    let web = deployment_of(10, 1);
    let sets = [set(1, 0, 0), set(2, 10, 10)];
    let plan = plan(&web, &sets);
    let back = plan.change.iter().find(|draft| draft.name == sets[0].name()).expect("the first set changes");
    assert_eq!((back.replicas, back.annotations[REVISION].as_str()), (3, "3"));
    assert_eq!((back.annotations[REVISION_HISTORY].as_str(), plan.revision.as_deref()), ("1", Some("3")));
    assert!(plan.create.is_none(), "the set is found by its template");
}

#[test]
fn a_set_inherits_the_annotations_that_are_for_people() {
    let mut web = deployment();
    web.annotations = BTreeMap::from([
        ("kubernetes.io/change-cause".to_owned(), "because".to_owned()),
        ("kubectl.kubernetes.io/last-applied-configuration".to_owned(), "{}".to_owned()),
    ]);
    let new = plan(&web, &[]).create.expect("a set");
    assert_eq!(new.draft.annotations["kubernetes.io/change-cause"], "because");
    assert!(!new.draft.annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
}

#[test]
fn a_name_that_another_set_has_taken_is_passed_over() {
    let web = deployment();
    let name = plan(&web, &[]).create.expect("a set").draft.name;
    let mut stranger = set(1, 1, 1);
    stranger.manager = Some("somebody".to_owned());
    assert_eq!(stranger.name(), name);
    let named = Box::new(|name: &str| (stranger.name() == name).then_some(&stranger));
    let observation =
        Observation { deployment: &web, owned: vec![], orphans: vec![], named, create_error: None };
    let plan = decide(&observation, now());
    assert_ne!(plan.create.as_ref().expect("a set").draft.name, name);
    assert_eq!(status(&plan).collision_count, Some(1));
}

#[test]
fn sets_are_adopted_and_let_go_by_their_labels() {
    let web = deployment();
    let mut orphan = set(1, 10, 10);
    orphan.manager = None;
    let mut stray = set(2, 3, 3);
    stray.labels.clear();
    let sets = [orphan, stray];
    let plan = plan(&web, &sets);
    let names = |sets: &[&Set]| sets.iter().map(|set| set.uid.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&plan.adopt), names(&plan.release)),
        (vec!["set-1".to_owned()], vec!["set-2".to_owned()])
    );
    assert!(plan.create.is_none() && sizes(&plan).is_empty(), "the adopted set is the one of the template");
}

#[test]
fn history_is_kept_up_to_its_limit_and_never_a_set_with_pods() {
    let web = Deployment { history_limit: Some(1), ..deployment_of(10, 4) };
    let complete = |old: [Set; 3]| old.into_iter().chain([set(4, 10, 10)]).collect::<Vec<_>>();
    let deleted =
        |sets: &[Set]| plan(&web, sets).delete.iter().map(|set| set.uid.clone()).collect::<Vec<_>>();
    assert_eq!(deleted(&complete([set(1, 0, 0), set(2, 0, 0), set(3, 0, 0)])), ["set-1", "set-2"]);
    let mut dying = set(1, 0, 0);
    dying.status.replicas = 1;
    let sets = complete([dying, set(2, 0, 0), set(3, 0, 0)]);
    assert_eq!(deleted(&sets), Vec::<String>::new(), "the rollout is not over while an old pod is there");
    let all = Deployment { history_limit: None, ..web.clone() };
    assert!(plan(&all, &complete([set(1, 0, 0), set(2, 0, 0), set(3, 0, 0)])).delete.is_empty());
}

#[test]
fn progress_is_told_and_its_absence_fails_the_rollout_after_the_deadline() {
    let web = deployment();
    let rolled = |web: &Deployment, sets: &[Set]| status(&plan(web, sets)).clone();
    let first = rolled(&web, &[]);
    let web = Deployment { status: first, ..web };
    let some = rolled(&web, &[set(1, 10, 4)]);
    assert_eq!(condition(&some, "Progressing"), ("True".to_owned(), "ReplicaSetUpdated".to_owned()));

    let sets = [set(1, 10, 4)];
    let stuck = Deployment { status: some.clone(), ..web.clone() };
    let waiting = plan(&stuck, &sets);
    assert_eq!(waiting.again_after.map(|after| after.as_secs()), Some(601));
    let observation = Observation {
        deployment: &stuck,
        owned: sets.iter().collect(),
        orphans: vec![],
        named: Box::new(|_| None),
        create_error: None,
    };
    let late = decide(&observation, "2024-01-01T12:10:01Z".parse().expect("a time"));
    let failed = status(&late);
    assert_eq!(condition(failed, "Progressing"), ("False".to_owned(), "ProgressDeadlineExceeded".to_owned()));
    assert_eq!(late.again_after, None);

    let recovered = rolled(&Deployment { status: failed.clone(), ..web.clone() }, &[set(1, 10, 10)]);
    assert_eq!(
        condition(&recovered, "Progressing"),
        ("True".to_owned(), "NewReplicaSetAvailable".to_owned())
    );
    assert_eq!(
        condition(&recovered, "Available"),
        ("True".to_owned(), "MinimumReplicasAvailable".to_owned())
    );
    let over = Deployment { status: recovered, ..web };
    let sets = [set(1, 10, 10)];
    let idle = plan(&over, &sets);
    assert_eq!((idle.status, idle.again_after), (None, None));
}

#[test]
fn a_set_that_cannot_be_made_is_told_of_and_nothing_else_moves() {
    let web = deployment_of(10, 2);
    let sets = [set(1, 10, 10)];
    let observation = Observation {
        deployment: &web,
        owned: sets.iter().collect(),
        orphans: vec![],
        named: Box::new(|_| None),
        create_error: Some("no"),
    };
    let plan = decide(&observation, now());
    assert!(plan.create.is_some(), "it is tried again");
    assert!(plan.change.is_empty());
    assert_eq!(
        condition(status(&plan), "Progressing"),
        ("False".to_owned(), "ReplicaSetCreateError".to_owned())
    );
}
