//! A pod stays for a while on a node that does not answer, so that a short silence moves nothing.

use model::{Object, Status};
use serde_json::{Value, json};
use store::Op;

use super::{Operation, Request};

/// How long, in seconds: upstream's default.
const SECONDS: u32 = 300;
/// The taints of such a node.
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Adds a toleration for each of the taints that the pod says nothing about.
pub fn mutate(request: &Request<'_>, pod: &mut Object, _: &mut Vec<Op>) -> Result<(), Status> {
    if request.operation == Operation::Delete || !request.is_about_whole("", "pods") {
        return Ok(());
    }
    let mut tolerations =
        pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let missing: Vec<&str> =
        TAINTS.into_iter().filter(|taint| !tolerations.iter().any(|one| tolerates(one, taint))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    tolerations.extend(missing.into_iter().map(|taint| {
        json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})
    }));
    pod.set(&["spec", "tolerations"], tolerations);
    Ok(())
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |field| toleration.get(field).and_then(Value::as_str).unwrap_or("");
    matches!(text("key"), "" | "*")
        && text("operator") == "Exists"
        && matches!(text("effect"), "" | "NoExecute")
        || text("key") == taint && matches!(text("effect"), "" | "NoExecute")
}
