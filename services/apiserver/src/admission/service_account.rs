//! Every pod runs as a service account, and has its token where clients look for it.
//!
//! ```text
//!  /var/run/secrets/kubernetes.io/serviceaccount   in each container, from one projected volume:
//!     token      of the account, bound to the pod, renewed by the node's agent
//!     ca.crt     by which the API server is known
//!     namespace  of the pod
//! ```

use model::{Object, Status, spelling};
use serde_json::{Value, json};
use store::Op;

use super::{Operation, Request};

/// The account of pods that do not say which; the namespace gets it on its own.
const DEFAULT: &str = "default";
/// Marks a pod that only shows what a node runs on its own account.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Where clients look.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The volume's name begins so.
const VOLUME: &str = "kube-api-access-";
/// Letters after that.
const SUFFIX: usize = 5;
/// The token's life in seconds: an hour, and a few seconds by which others tell that nobody asked for it.
const TOKEN_SECONDS: u32 = 3_607;

/// Gives a new pod its account, the account's token, and the account's pull secrets if it has none of its own.
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
    let account = request.view.get("", "serviceaccounts", namespace, &name).ok_or_else(|| {
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        request.forbidden(pod, &why)
    })?;
    if wants_token(pod, &account) {
        mount_token(pod, request.seed);
    }
    let is_empty = |value: Option<&Value>| value.and_then(Value::as_array).is_none_or(Vec::is_empty);
    let secrets = account.get("imagePullSecrets").filter(|secrets| !is_empty(Some(secrets)));
    if let Some(secrets) = secrets.filter(|_| is_empty(pod.at(&["spec", "imagePullSecrets"]))) {
        pod.set(&["spec", "imagePullSecrets"], secrets.clone());
    }
    Ok(())
}

/// The pod has the first word, then the account.
fn wants_token(pod: &Object, account: &Object) -> bool {
    let said = |value: Option<&Value>| value.and_then(Value::as_bool);
    let of_pod = said(pod.at(&["spec", "automountServiceAccountToken"]));
    of_pod.or_else(|| said(account.get("automountServiceAccountToken"))).unwrap_or(true)
}

/// Mounts the token into each container that has nothing in its place.
fn mount_token(pod: &mut Object, seed: u64) {
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten();
    let present = volumes.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with(VOLUME));
    let present = present.map(str::to_owned);
    let name = present.clone().unwrap_or_else(|| format!("{VOLUME}{}", spelling::letters(seed, SUFFIX)));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in list_at(pod, list).into_iter().flatten() {
            mounted |= mount(container, &name);
        }
    }
    if !mounted || present.is_some() {
        return;
    }
    let volume = volume(&name);
    match list_at(pod, "volumes") {
        Some(volumes) => volumes.push(volume),
        None => pod.set(&["spec", "volumes"], json!([volume])),
    }
}

fn list_at<'a>(pod: &'a mut Object, list: &str) -> Option<&'a mut Vec<Value>> {
    pod.get_mut("spec")?.get_mut(list)?.as_array_mut()
}

/// Whether the container has it from us now.
fn mount(container: &mut Value, volume: &str) -> bool {
    let Some(container) = container.as_object_mut() else { return false };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    let Some(mounts) = mounts.as_array_mut() else { return false };
    if mounts.iter().any(|mount| mount["mountPath"] == FOLDER) {
        return false;
    }
    mounts.push(json!({"name": volume, "mountPath": FOLDER, "readOnly": true}));
    true
}

fn volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(spec: Value) -> Object {
        let mut pod = Object::from_value(json!({ "spec": spec })).unwrap();
        mount_token(&mut pod, 7);
        pod
    }

    #[test]
    fn each_container_has_the_token_where_clients_look_for_it() {
        let pod = mounted(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}));
        let name = pod.at(&["spec", "volumes"]).unwrap()[0]["name"].as_str().unwrap();
        assert!(name.starts_with(VOLUME) && name.len() == VOLUME.len() + SUFFIX, "{name}");
        for list in ["initContainers", "containers"] {
            let mounts = &pod.at(&["spec", list]).unwrap()[0]["volumeMounts"];
            assert_eq!(*mounts, json!([{"name": name, "mountPath": FOLDER, "readOnly": true}]));
        }
        let sources = pod.at(&["spec", "volumes"]).unwrap()[0]["projected"]["sources"].as_array().unwrap();
        assert_eq!(sources.len(), 3);
    }

    #[test]
    fn what_is_mounted_there_stays() {
        let own = json!([{"name": "own", "mountPath": FOLDER}]);
        let pod = mounted(json!({"containers": [{"name": "c", "volumeMounts": own}]}));
        assert_eq!(pod.at(&["spec", "containers"]).unwrap()[0]["volumeMounts"], own);
        assert_eq!(pod.at(&["spec", "volumes"]), None, "nobody needs the volume");
        let copied =
            mounted(json!({"containers": [{"name": "c"}], "volumes": [{"name": "kube-api-access-x"}]}));
        assert_eq!(copied.at(&["spec", "volumes"]).unwrap().as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_pod_has_the_first_word_and_then_the_account() {
        let object = |value: Value| Object::from_value(value).unwrap();
        let pod = |said: Value| object(json!({"spec": {"automountServiceAccountToken": said}}));
        let account = |said: Value| object(json!({"automountServiceAccountToken": said}));
        let cases = [
            (Value::Null, Value::Null, true),
            (Value::Null, json!(false), false),
            (json!(true), json!(false), true),
            (json!(false), json!(true), false),
        ];
        for (of_pod, of_account, expected) in cases {
            assert_eq!(wants_token(&pod(of_pod.clone()), &account(of_account.clone())), expected);
        }
    }
}
