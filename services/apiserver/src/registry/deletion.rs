//! What a delete comes to: at once, or a mark on the object and the wait for those who must let go of it first.
//!
//! ```text
//!                    ┌─ grace period left (pods) ──> marked, the node's agent ends it and removes it
//!  present ─ delete ─┼─ finalizers left ──────────> marked, removed with the last finalizer (on update)
//!                    └─ nothing left ─────────────> removed
//! ```

use jiff::{SignedDuration, Timestamp};
use kinds::{Kind, definition};
use model::{FieldError, Object, Status};
use serde_json::{Value, json};

use super::metadata::time_text;
use crate::verbs::{DeleteOptions, Propagation, Target};

/// The finalizer of an object whose dependents are to lose their owner first.
pub const ORPHAN: &str = "orphan";
/// The finalizer of an object whose dependents are to go first.
pub const FOREGROUND: &str = "foregroundDeletion";

/// What a delete comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal {
    /// Nothing holds the object: it goes.
    Now,
    /// The object stays, with this mark on it.
    Marked(Object),
    /// It was marked before, and nothing changes.
    Pending,
}

/// How an object of a kind ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// At once, but for finalizers.
    Plain,
    /// After a grace period in which its node stops it.
    Pod,
    /// After its content is gone: it has finalizers of its own in `spec`.
    Namespace,
    /// After the objects of the kind that it defines are gone.
    Definition,
}

/// Whether the object `present` is the one that the options mean.
pub fn check_preconditions(target: &Target, present: &Object, options: &DeleteOptions) -> Result<(), Status> {
    let checks = [
        ("UID", &options.uid, present.uid()),
        ("ResourceVersion", &options.resource_version, present.resource_version()),
    ];
    for (what, wanted, found) in checks {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let why = format!("{what} in precondition: {wanted}, {what} in object meta: {found}");
            return Err(target.conflict(&format!("Precondition failed: {why}")));
        }
    }
    Ok(())
}

/// Judges options that no object can satisfy.
pub fn check_options(options: &DeleteOptions) -> Result<(), Status> {
    match options.grace_period_seconds {
        // A negative period means the shortest for pods and has no meaning else.
        Some(period) if period < -1 => {
            let wrong =
                FieldError::invalid("gracePeriodSeconds", period, "must be greater than or equal to 0");
            Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &[wrong]))
        }
        _ => Ok(()),
    }
}

/// What deleting `present` comes to.
pub fn decide(kind: &Kind, present: &Object, options: &DeleteOptions, now: Timestamp) -> Removal {
    let ending = Ending::of(kind);
    if ending == Ending::Namespace && present.deletion_timestamp().is_none() {
        return mark_namespace(present, options, now);
    }
    if ending == Ending::Pod {
        return end_pod(present, options, now);
    }
    let mut marked = present.clone();
    let mut finalizers = finalizers_for(present, options);
    if ending == Ending::Definition && present.deletion_timestamp().is_none() {
        finalizers.retain(|one| one != definition::CLEANUP);
        finalizers.push(definition::CLEANUP.to_owned());
        definition::mark_terminating(&mut marked, &time_text(now));
    }
    set_finalizers(&mut marked, &finalizers);
    if finalizers.is_empty() && !has_own_finalizers(kind, present) {
        return Removal::Now;
    }
    mark(&mut marked, now);
    if marked == *present { Removal::Pending } else { Removal::Marked(marked) }
}

/// Whether an update that results in `object` lets it go: it is being deleted and nothing holds it any longer.
pub fn completes(kind: &Kind, object: &Object) -> bool {
    object.deletion_timestamp().is_some()
        && object.finalizers().next().is_none()
        && grace_left(object).unwrap_or(0) == 0
        && !has_own_finalizers(kind, object)
}

/// Kinds whose delete answers with the object that is gone; the others answer with a Status.
pub fn answers_with_object(kind: &Kind) -> bool {
    const KINDS: [&str; 7] = [
        "pods",
        "services",
        "serviceaccounts",
        "podtemplates",
        "persistentvolumes",
        "persistentvolumeclaims",
        "resourcequotas",
    ];
    kind.group.is_empty() && KINDS.contains(&kind.plural.as_ref())
}

// === impl Ending ===

impl Ending {
    fn of(kind: &Kind) -> Ending {
        match (kind.group.as_ref(), kind.plural.as_ref()) {
            ("", "pods") => Ending::Pod,
            ("", "namespaces") => Ending::Namespace,
            (definition::GROUP, definition::PLURAL) => Ending::Definition,
            _ => Ending::Plain,
        }
    }
}

/// A pod ends on its node, in its own time; one that is not running anywhere has nothing to wait for.
fn end_pod(pod: &Object, options: &DeleteOptions, now: Timestamp) -> Removal {
    let mut marked = pod.clone();
    match (pod.deletion_timestamp(), grace_left(pod)) {
        (Some(_), None) => (),
        (Some(end), Some(left)) => match options.grace_period_seconds {
            // A grace period can be shortened, not prolonged, and it still began when it began.
            Some(wanted) if wanted.max(0) < left => {
                let end: Timestamp = end.parse().unwrap_or(now);
                set_grace(&mut marked, end - SignedDuration::from_secs(left), wanted.max(0));
            }
            _ => return Removal::Pending,
        },
        (None, _) => {
            set_grace(&mut marked, now, grace_of(pod, options));
            if marked.generation() > 0 {
                marked.set(&["metadata", "generation"], pod.generation() + 1);
            }
        }
    }
    let finalizers = finalizers_for(pod, options);
    set_finalizers(&mut marked, &finalizers);
    if finalizers.is_empty() && grace_left(&marked).unwrap_or(0) == 0 {
        return Removal::Now;
    }
    Removal::Marked(marked)
}

fn grace_of(pod: &Object, options: &DeleteOptions) -> i64 {
    let unscheduled = pod.str_at(&["spec", "nodeName"]).is_empty();
    let terminal = matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed");
    if unscheduled || terminal {
        return 0;
    }
    let own = || pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    match options.grace_period_seconds.or_else(own).unwrap_or(0) {
        // The shortest period in which a node still stops the pod itself.
        ..0 => 1,
        period => period,
    }
}

fn grace_left(object: &Object) -> Option<i64> {
    object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64)
}

fn set_grace(object: &mut Object, start: Timestamp, seconds: i64) {
    let end = start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(start);
    object.set(&["metadata", "deletionTimestamp"], time_text(end));
    object.set(&["metadata", "deletionGracePeriodSeconds"], seconds);
}

fn mark_namespace(namespace: &Object, options: &DeleteOptions, now: Timestamp) -> Removal {
    let mut marked = namespace.clone();
    let finalizers = finalizers_for(namespace, options);
    set_finalizers(&mut marked, &finalizers);
    marked.set(&["metadata", "deletionTimestamp"], time_text(now));
    marked.set(&["status", "phase"], "Terminating");
    if finalizers.is_empty() && spec_finalizers(namespace) == 0 {
        Removal::Now
    } else {
        Removal::Marked(marked)
    }
}

fn mark(object: &mut Object, now: Timestamp) {
    if object.deletion_timestamp().is_some() {
        return;
    }
    object.set(&["metadata", "deletionTimestamp"], time_text(now));
    object.set(&["metadata", "deletionGracePeriodSeconds"], 0);
    if object.generation() > 0 {
        object.set(&["metadata", "generation"], object.generation() + 1);
    }
}

fn has_own_finalizers(kind: &Kind, object: &Object) -> bool {
    Ending::of(kind) == Ending::Namespace && spec_finalizers(object) > 0
}

fn spec_finalizers(namespace: &Object) -> usize {
    namespace.at(&["spec", "finalizers"]).and_then(Value::as_array).map_or(0, Vec::len)
}

/// The finalizers that are left to wait for, with the one that the propagation policy asks for.
fn finalizers_for(object: &Object, options: &DeleteOptions) -> Vec<String> {
    let others = object.finalizers().filter(|one| *one != ORPHAN && *one != FOREGROUND);
    let policy = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None => object.finalizers().find(|one| *one == ORPHAN || *one == FOREGROUND),
    };
    others.chain(policy).map(str::to_owned).collect()
}

fn set_finalizers(object: &mut Object, finalizers: &[String]) {
    match finalizers {
        [] => drop(object.take(&["metadata", "finalizers"])),
        some => object.set(&["metadata", "finalizers"], json!(some)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    fn pods() -> Kind {
        Kind::namespaced("", "v1", "Pod", "pods")
    }

    fn delete(kind: &Kind, present: &Object, options: &DeleteOptions) -> Removal {
        decide(kind, present, options, NOW.parse().expect("a time"))
    }

    fn running() -> Object {
        object(json!({
            "metadata": {"name": "a", "uid": "u", "generation": 1},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30},
            "status": {"phase": "Running"}
        }))
    }

    fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
    }

    fn marked(removal: Removal) -> Object {
        match removal {
            Removal::Marked(object) => object,
            other => panic!("not marked: {other:?}"),
        }
    }

    #[test]
    fn a_running_pod_gets_its_grace_period() {
        let pod = marked(delete(&pods(), &running(), &DeleteOptions::default()));
        assert_eq!(pod.deletion_timestamp(), Some("2026-01-01T00:01:30Z"));
        assert_eq!(grace_left(&pod), Some(30));
        assert_eq!(pod.generation(), 2);
    }

    #[test]
    fn a_grace_period_is_shortened_and_never_prolonged() {
        let pod = marked(delete(&pods(), &running(), &DeleteOptions::default()));
        assert_eq!(delete(&pods(), &pod, &DeleteOptions::default()), Removal::Pending);
        assert_eq!(delete(&pods(), &pod, &grace(60)), Removal::Pending);
        let sooner = marked(delete(&pods(), &pod, &grace(5)));
        assert_eq!(sooner.deletion_timestamp(), Some("2026-01-01T00:01:05Z"));
        assert_eq!(delete(&pods(), &pod, &grace(0)), Removal::Now);
    }

    #[test]
    fn a_pod_that_runs_nowhere_goes_at_once() {
        let mut unscheduled = running();
        unscheduled.take(&["spec", "nodeName"]);
        assert_eq!(delete(&pods(), &unscheduled, &DeleteOptions::default()), Removal::Now);
        let mut done = running();
        done.set(&["status", "phase"], "Succeeded");
        assert_eq!(delete(&pods(), &done, &DeleteOptions::default()), Removal::Now);
        assert_eq!(delete(&pods(), &running(), &grace(0)), Removal::Now);
    }

    #[test]
    fn a_finalizer_holds_an_object_and_its_removal_lets_it_go() {
        let kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
        let held = object(json!({"metadata": {"name": "a", "finalizers": ["x.io/y"]}}));
        let mut held = marked(delete(&kind, &held, &DeleteOptions::default()));
        assert_eq!(held.deletion_timestamp(), Some(NOW));
        assert!(!completes(&kind, &held));
        assert_eq!(delete(&kind, &held, &DeleteOptions::default()), Removal::Pending);
        held.take(&["metadata", "finalizers"]);
        assert!(completes(&kind, &held));
    }

    #[test]
    fn a_finalized_pod_outlives_its_grace_period() {
        let mut pod = running();
        pod.set(&["metadata", "finalizers"], json!(["x.io/y"]));
        let pod = marked(delete(&pods(), &pod, &DeleteOptions::default()));
        let mut ended = marked(delete(&pods(), &pod, &grace(0)));
        assert!(!completes(&pods(), &ended));
        ended.take(&["metadata", "finalizers"]);
        assert!(completes(&pods(), &ended));
    }

    #[test]
    fn the_propagation_policy_is_a_finalizer() {
        let kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
        let present = object(json!({"metadata": {"name": "a", "generation": 1}}));
        let with = |propagation| DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let orphan = marked(delete(&kind, &present, &with(Propagation::Orphan)));
        assert_eq!(Vec::from_iter(orphan.finalizers()), ["orphan"]);
        let foreground = marked(delete(&kind, &present, &with(Propagation::Foreground)));
        assert_eq!(Vec::from_iter(foreground.finalizers()), ["foregroundDeletion"]);
        assert_eq!(foreground.generation(), 2);
        assert_eq!(delete(&kind, &present, &with(Propagation::Background)), Removal::Now);
    }

    #[test]
    fn a_namespace_terminates_until_its_own_finalizers_are_gone() {
        let kind = Kind::cluster("", "v1", "Namespace", "namespaces");
        let present = object(json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}));
        let mut present = marked(delete(&kind, &present, &DeleteOptions::default()));
        assert_eq!(present.str_at(&["status", "phase"]), "Terminating");
        assert!(!completes(&kind, &present));
        present.set(&["spec", "finalizers"], json!([]));
        assert!(completes(&kind, &present));
        assert_eq!(delete(&kind, &present, &DeleteOptions::default()), Removal::Now);
    }
}
