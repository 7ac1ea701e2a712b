//! The conditions of a pod.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

use super::status::{exit_code, seconds};
use crate::spec::{init_containers, is_sidecar, of};

/// Whether a condition holds and why not.
struct Finding {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// Puts the agent's conditions into the status; those of others stay. `status.phase` is set already.
pub fn put(
    status: &mut PodStatus,
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    has_sandbox: bool,
    now: Timestamp,
) {
    let phase = status.phase.clone().unwrap_or_default();
    let containers = containers_ready(pod, init, main, &phase);
    let ready = ready(pod, status, &containers);
    let findings = [
        ("PodReadyToStartContainers", Finding::plain(has_sandbox)),
        ("Initialized", initialized(pod, init, main, &phase)),
        ("Ready", ready),
        ("ContainersReady", containers),
    ];
    let generation = pod.metadata.generation;
    let conditions = status.conditions.get_or_insert_default();
    for (type_, finding) in findings {
        set(conditions, type_, finding, generation, now);
    }
    if !conditions.iter().any(|condition| condition.type_ == "PodScheduled") {
        // The pod was given its node without a scheduler.
        set(conditions, "PodScheduled", Finding::plain(true), generation, now);
    }
}

/// What the agent has said of since when a condition is as it is stands, also while the API still shows what it said
/// before that: it would take the one up again, then the other, and report both in turn for ever.
pub fn keep_times(status: &mut PodStatus, said: &PodStatus) {
    const OURS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];
    let conditions = status.conditions.iter_mut().flatten();
    for condition in conditions.filter(|condition| OURS.contains(&condition.type_.as_str())) {
        let mut known = said.conditions.iter().flatten();
        let same = known.find(|known| known.type_ == condition.type_ && known.status == condition.status);
        if let Some(same) = same {
            condition.last_transition_time.clone_from(&same.last_transition_time);
        }
    }
}

fn set(
    conditions: &mut Vec<PodCondition>,
    type_: &str,
    finding: Finding,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = if finding.holds { "True" } else { "False" };
    let before = conditions.iter().find(|condition| condition.type_ == type_);
    let since = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time.clone());
    let condition = PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.map(str::to_owned),
        message: finding.message,
        last_transition_time: Some(since.unwrap_or_else(|| seconds(now))),
        last_probe_time: None,
        observed_generation: generation,
    };
    match conditions.iter_mut().find(|known| known.type_ == type_) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// Every init container has done its work, every sidecar has started.
fn initialized(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], phase: &str) -> Finding {
    if phase == "Succeeded" {
        return Finding { holds: true, reason: Some("PodCompleted"), message: None };
    }
    // Once the others run, the init containers are through, even if their records are gone.
    let begun = main.iter().any(|status| {
        status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    let done =
        |(container, status): &(&k8s_openapi::api::core::v1::Container, &ContainerStatus)| match is_sidecar(
            container,
        ) {
            true => status.started == Some(true),
            false => status.state.as_ref().and_then(exit_code) == Some(0),
        };
    let incomplete: Vec<&str> = init_containers(pod)
        .iter()
        .zip(init)
        .filter(|pair| !done(pair))
        .map(|(container, _)| container.name.as_str())
        .collect();
    match incomplete.is_empty() || begun {
        true => Finding::plain(true),
        false => Finding {
            holds: false,
            reason: Some("ContainersNotInitialized"),
            message: Some(format!("containers with incomplete status: [{}]", incomplete.join(" "))),
        },
    }
}

fn containers_ready(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], phase: &str) -> Finding {
    match phase {
        "Succeeded" => return Finding::not("PodCompleted", None),
        "Failed" => return Finding::not("PodFailed", None),
        _ => (),
    }
    let sidecars = init_containers(pod).iter().zip(init).filter(|(container, _)| is_sidecar(container));
    let all = sidecars.map(|(_, status)| status).chain(main);
    let unready: Vec<&str> = all.filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    match unready.is_empty() && !of(pod).containers.is_empty() {
        true => Finding::plain(true),
        false => Finding::not(
            "ContainersNotReady",
            Some(format!("containers with unready status: [{}]", unready.join(" "))),
        ),
    }
}

/// The containers are ready, and every condition that the pod names as a gate holds.
fn ready(pod: &Pod, status: &PodStatus, containers: &Finding) -> Finding {
    if !containers.holds {
        return Finding::not(containers.reason.unwrap_or_default(), containers.message.clone());
    }
    let conditions = || status.conditions.iter().flatten();
    let closed =
        of(pod).readiness_gates.iter().flatten().find(|gate| {
            !conditions().any(|known| known.type_ == gate.condition_type && known.status == "True")
        });
    match closed {
        None => Finding::plain(true),
        Some(gate) => {
            let name = &gate.condition_type;
            let exists = conditions().any(|known| known.type_ == *name);
            let what = if exists { "is not \"True\"" } else { "does not exist" };
            let message = match exists {
                true => format!("the status of pod readiness gate {name:?} {what}"),
                false => format!("corresponding condition of pod readiness gate {name:?} {what}"),
            };
            Finding::not("ReadinessGatesNotReady", Some(message))
        }
    }
}

// === impl Finding ===

impl Finding {
    fn plain(holds: bool) -> Self {
        Finding { holds, reason: None, message: None }
    }

    fn not(reason: &'static str, message: Option<String>) -> Self {
        Finding { holds: false, reason: Some(reason), message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_said_of_since_when_stands_while_the_api_shows_something_older() {
        let status = |ready: &str, since: &str| -> PodStatus {
            let condition =
                |type_: &str| json!({"type": type_, "status": ready, "lastTransitionTime": since});
            let conditions = [condition("Ready"), condition("example.com/gate")];
            serde_json::from_value(json!({"conditions": conditions})).expect("a status")
        };
        let times = |status: &PodStatus| -> Vec<String> {
            let conditions = status.conditions.iter().flatten();
            conditions.map(|one| one.last_transition_time.as_ref().expect("a time").0.to_string()).collect()
        };
        let (early, late) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
        let mut taken_up = status("True", early);
        keep_times(&mut taken_up, &status("True", late));
        assert_eq!(times(&taken_up), [late, early], "of what others say they say since when");
        let mut changed = status("False", early);
        keep_times(&mut changed, &status("True", late));
        assert_eq!(times(&changed), [early, early]);
    }
}
