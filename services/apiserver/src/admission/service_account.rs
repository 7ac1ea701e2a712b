//! Every pod runs as a service account.

use model::{Object, Status};
use serde_json::Value;
use store::Op;

use super::{Operation, Request};

/// The account of pods that do not say which; the namespace gets it on its own.
const DEFAULT: &str = "default";
/// Marks a pod that only shows what a node runs on its own account.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Gives a new pod its account, and the account's pull secrets if it has none of its own.
pub fn mutate(request: &Request<'_>, pod: &mut Object, _: &mut Vec<Op>) -> Result<(), Status> {
    let creates = request.operation == Operation::Create && request.is_about_whole("", "pods");
    if !creates || pod.at(&["metadata", "annotations", MIRROR]).is_some() {
        return Ok(());
    }
    if pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        pod.set(&["spec", "serviceAccountName"], DEFAULT);
    }
    let name = pod.str_at(&["spec", "serviceAccountName"]).to_owned();
    // The deprecated twin that older clients read.
    pod.set(&["spec", "serviceAccount"], name.as_str());
    let namespace = &request.target.namespace;
    let Some(account) = request.view.get("", "serviceaccounts", namespace, &name) else {
        // A namespace that was made a moment ago has its default account in the next one.
        return match name.as_str() {
            DEFAULT => Ok(()),
            _ => Err(request.forbidden(
                pod,
                &format!(
                    "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
                ),
            )),
        };
    };
    let is_empty = |value: Option<&Value>| value.and_then(Value::as_array).is_none_or(Vec::is_empty);
    let secrets = account.get("imagePullSecrets").filter(|secrets| !is_empty(Some(secrets)));
    if let Some(secrets) = secrets.filter(|_| is_empty(pod.at(&["spec", "imagePullSecrets"]))) {
        pod.set(&["spec", "imagePullSecrets"], secrets.clone());
    }
    Ok(())
}
