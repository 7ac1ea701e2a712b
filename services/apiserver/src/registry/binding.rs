//! Giving a pod its node: once, and only to the pod that was meant.

use bytes::Bytes;
use model::{FieldError, Object, Revision, Status};
use serde_json::{Value, json};
use store::Item;

use super::metadata::time_text;
use super::{Outcome, Registry, Verdict, decode};
use crate::verbs::Context;

/// Which pod goes to which node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Binding {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid; empty for whichever pod has the name.
    pub uid: String,
    /// The node.
    pub node: String,
    /// Annotations that the pod gets with it.
    pub annotations: serde_json::Map<String, Value>,
}

// === impl Binding ===

impl Binding {
    /// Reads a `v1` Binding that was posted for a pod, or to the collection of bindings (`pod` empty).
    pub fn from_object(namespace: &str, pod: &str, object: &Object) -> Result<Binding, Status> {
        let name = object.name();
        if !pod.is_empty() && !name.is_empty() && name != pod {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        let pod = if pod.is_empty() { name } else { pod };
        let target = object.str_at(&["target", "kind"]);
        let node = object.str_at(&["target", "name"]);
        let mut errors = Vec::new();
        if !matches!(target, "" | "Node") {
            errors.push(FieldError::not_supported("target.kind", target, &["Node", "<empty>"]));
        }
        if node.is_empty() {
            errors.push(FieldError::required("target.name", ""));
        }
        if !errors.is_empty() {
            return Err(Status::invalid("", "Binding", pod, &errors));
        }
        let annotations = object.at(&["metadata", "annotations"]).and_then(Value::as_object);
        Ok(Binding {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            uid: object.uid().to_owned(),
            node: node.to_owned(),
            annotations: annotations.cloned().unwrap_or_default(),
        })
    }

    /// Assigns `pod` to the node, or says why not.
    fn assign(&self, pod: &mut Object, now: &str) -> Result<(), String> {
        if !self.uid.is_empty() && pod.uid() != self.uid {
            return Err(format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                self.uid,
                pod.uid()
            ));
        }
        let name = pod.name().to_owned();
        if pod.deletion_timestamp().is_some() {
            return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
        }
        match pod.str_at(&["spec", "nodeName"]) {
            "" => (),
            node => return Err(format!("pod {name} is already assigned to node {node:?}")),
        }
        let gates = pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array);
        if gates.is_some_and(|gates| !gates.is_empty()) {
            return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
        }
        pod.set(&["spec", "nodeName"], self.node.as_str());
        for (annotation, value) in &self.annotations {
            pod.set(&["metadata", "annotations", annotation], value.clone());
        }
        set_scheduled(pod, now);
        Ok(())
    }
}

/// Gives the pod its node; the pod as it is then, and the place of the write in the log.
pub async fn bind(
    registry: &Registry,
    context: &Context,
    binding: &Binding,
    dry_run: bool,
) -> Result<(Bytes, Revision), Status> {
    let key = model::Key::object("", "pods", &binding.namespace, &binding.pod);
    let now = time_text(context.now);
    let judge = |item: Option<&Item>| {
        let item = item.ok_or_else(|| Status::not_found("", "pods", &binding.pod))?;
        let mut pod = decode(item)?;
        binding
            .assign(&mut pod, &now)
            .map_err(|why| Status::conflict("", "pods/binding", &binding.pod, &why))?;
        Ok(Verdict::Put(pod.encode(), Vec::new()))
    };
    match registry.change(context, &key, dry_run, judge).await? {
        Outcome::Put(bytes, revision) => Ok((bytes, revision)),
        other => Err(Status::internal(format!("binding {key} ended as {other:?}"))),
    }
}

fn set_scheduled(pod: &mut Object, now: &str) {
    const CONDITION: &str = "PodScheduled";
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    let mut conditions = conditions.cloned().unwrap_or_default();
    conditions.retain(|one| one.get("type").and_then(Value::as_str) != Some(CONDITION));
    conditions.push(json!({
        "type": CONDITION, "status": "True", "lastProbeTime": null, "lastTransitionTime": now
    }));
    pod.set(&["status", "conditions"], conditions);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Object {
        Object::from_value(json!({"metadata": {"name": "a", "uid": "u"}, "spec": {}})).expect("an object")
    }

    fn to(node: &str) -> Binding {
        Binding { pod: "a".to_owned(), uid: "u".to_owned(), node: node.to_owned(), ..Binding::default() }
    }

    #[test]
    fn a_pod_gets_one_node() {
        let mut pod = pod();
        to("n").assign(&mut pod, "t").expect("a free pod");
        assert_eq!(pod.str_at(&["spec", "nodeName"]), "n");
        assert_eq!(pod.at(&["status", "conditions"]).and_then(|c| c[0].get("status")), Some(&json!("True")));
        assert_eq!(to("m").assign(&mut pod, "t"), Err("pod a is already assigned to node \"n\"".to_owned()));
    }

    #[test]
    fn another_pod_of_that_name_and_one_that_goes_are_left_alone() {
        let mut other = pod();
        other.set(&["metadata", "uid"], "v");
        assert!(to("n").assign(&mut other, "t").is_err());
        let mut going = pod();
        going.set(&["metadata", "deletionTimestamp"], "t");
        assert!(to("n").assign(&mut going, "t").is_err());
    }
}
