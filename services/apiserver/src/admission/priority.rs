//! A pod's priority follows from its priority class.

use model::{Object, Status};
use serde_json::Value;
use store::Op;

use super::{Operation, Request};

const GROUP: &str = "scheduling.k8s.io";

/// Classes that are there even before anybody made them, with their values.
pub const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

struct Priority {
    class: String,
    value: i64,
    preemption: String,
}

/// Gives a new pod the priority of its class; a change of a pod keeps it.
pub fn mutate(request: &Request<'_>, pod: &mut Object, _: &mut Vec<Op>) -> Result<(), Status> {
    if !request.is_about_whole("", "pods") {
        return Ok(());
    }
    match (request.operation, request.old) {
        (Operation::Create, _) => (),
        (Operation::Update, Some(old)) => {
            keep(pod, old);
            return Ok(());
        }
        _ => return Ok(()),
    }
    let priority = of(request, pod)?;
    match pod.at(&["spec", "priority"]).and_then(Value::as_i64) {
        Some(sent) if sent != priority.value => {
            let why = format!(
                "the integer value of priority ({sent}) must not be provided in pod spec; priority admission \
                 controller computed {} from the given PriorityClass name",
                priority.value
            );
            return Err(request.forbidden(pod, &why));
        }
        _ => pod.set(&["spec", "priority"], priority.value),
    }
    if !priority.class.is_empty() {
        pod.set(&["spec", "priorityClassName"], priority.class);
    }
    match pod.str_at(&["spec", "preemptionPolicy"]) {
        "" => pod.set(&["spec", "preemptionPolicy"], priority.preemption),
        same if same == priority.preemption => (),
        sent => {
            let why = format!(
                "the string value of PreemptionPolicy ({sent}) must not be provided in pod spec; priority admission \
                 controller computed {} from the given PriorityClass name",
                priority.preemption
            );
            return Err(request.forbidden(pod, &why));
        }
    }
    Ok(())
}

fn keep(pod: &mut Object, old: &Object) {
    for field in ["priority", "preemptionPolicy"] {
        let path = ["spec", field];
        if let (None, Some(value)) = (pod.at(&path), old.at(&path)) {
            pod.set(&path, value.clone());
        }
    }
}

fn of(request: &Request<'_>, pod: &Object) -> Result<Priority, Status> {
    let name = pod.str_at(&["spec", "priorityClassName"]);
    if name.is_empty() {
        let classes = request.view.list(GROUP, "priorityclasses");
        let default = classes.iter().filter(|class| class.get("globalDefault") == Some(&Value::Bool(true)));
        // Of several defaults the least counts, as upstream has it.
        return Ok(default.map(read).min_by_key(|one| one.value).unwrap_or_else(Priority::none));
    }
    if let Some(class) = request.view.get(GROUP, "priorityclasses", "", name) {
        return Ok(read(&class));
    }
    let system = SYSTEM_CLASSES.into_iter().find(|(class, _)| *class == name);
    system
        .map(|(class, value)| Priority { class: class.to_owned(), value, preemption: PREEMPT.to_owned() })
        .ok_or_else(|| request.forbidden(pod, &format!("no PriorityClass with name {name} was found")))
}

const PREEMPT: &str = "PreemptLowerPriority";

fn read(class: &Object) -> Priority {
    let preemption = match class.str_at(&["preemptionPolicy"]) {
        "" => PREEMPT,
        policy => policy,
    };
    Priority {
        class: class.name().to_owned(),
        value: class.get("value").and_then(Value::as_i64).unwrap_or(0),
        preemption: preemption.to_owned(),
    }
}

// === impl Priority ===

impl Priority {
    /// Of a pod in a cluster without a default class.
    fn none() -> Priority {
        Priority { class: String::new(), value: 0, preemption: PREEMPT.to_owned() }
    }
}
