//! What streams need to know of a pod: its node, and which container is meant. No IO.

use std::collections::BTreeMap;

use model::Status;
use serde::Deserialize;

/// The container that is meant when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The few fields of a Pod that matter here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    name: String,
}

// === impl Pod ===

impl Pod {
    /// Reads a Pod.
    pub(super) fn parse(json: &[u8]) -> Result<Pod, Status> {
        serde_json::from_slice(json)
            .map_err(|error| Status::internal(format!("a stored pod is none: {error}")))
    }

    /// The node that it is bound to.
    pub(super) fn node(&self) -> Result<&str, Status> {
        match self.spec.node_name.as_str() {
            "" => {
                Err(Status::bad_request(format!("pod {} does not have a host assigned", self.metadata.name)))
            }
            node => Ok(node),
        }
    }

    /// The container that is meant by `asked`, which is empty when the client left it open.
    pub(super) fn container(&self, asked: &str) -> Result<String, Status> {
        let pod = &self.metadata.name;
        if !asked.is_empty() {
            return match self.has(asked) {
                true => Ok(asked.to_owned()),
                false => Err(Status::bad_request(format!("container {asked} is not valid for pod {pod}"))),
            };
        }
        let annotated = self.metadata.annotations.get(DEFAULT_CONTAINER).filter(|name| self.has(name));
        match (annotated, self.spec.containers.as_slice()) {
            (Some(name), _) => Ok(name.clone()),
            (None, [only]) => Ok(only.name.clone()),
            (None, []) => {
                Err(Status::bad_request(format!("a container name must be specified for pod {pod}")))
            }
            (None, several) => {
                let mut message = format!(
                    "a container name must be specified for pod {pod}, choose one of: [{}]",
                    names(several)
                );
                if !self.spec.init_containers.is_empty() {
                    let init = names(&self.spec.init_containers);
                    message.push_str(&format!(" or one of the init containers: [{init}]"));
                }
                Err(Status::bad_request(message))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        let spec = &self.spec;
        [&spec.containers, &spec.init_containers, &spec.ephemeral_containers]
            .into_iter()
            .flatten()
            .any(|container| container.name == name)
    }
}

fn names(containers: &[Container]) -> String {
    containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: Value, containers: &[&str], init: &[&str]) -> Pod {
        let list = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "annotations": annotations},
            "spec": {"containers": list(containers), "initContainers": list(init)},
        });
        Pod::parse(pod.to_string().as_bytes()).unwrap()
    }

    fn refusal(pod: &Pod, asked: &str) -> String {
        let status = pod.container(asked).unwrap_err();
        assert_eq!(status.code(), 400);
        status.message
    }

    #[test]
    fn the_only_container_need_not_be_named() {
        assert_eq!(pod(json!({}), &["a"], &["i"]).container("").unwrap(), "a");
    }

    #[test]
    fn of_several_containers_one_must_be_named() {
        let two = pod(json!({}), &["a", "b"], &[]);
        assert_eq!(refusal(&two, ""), "a container name must be specified for pod web, choose one of: [a b]");
        assert_eq!(
            refusal(&pod(json!({}), &["a", "b"], &["i"]), ""),
            "a container name must be specified for pod web, choose one of: [a b] \
             or one of the init containers: [i]"
        );
        assert_eq!(two.container("b").unwrap(), "b");
    }

    #[test]
    fn the_annotation_names_the_container_that_is_meant() {
        let annotated = |name: &str| pod(json!({DEFAULT_CONTAINER: name}), &["a", "b"], &[]);
        assert_eq!(annotated("b").container("").unwrap(), "b");
        assert_eq!(annotated("b").container("a").unwrap(), "a");
        assert!(refusal(&annotated("gone"), "").contains("choose one of: [a b]"));
    }

    #[test]
    fn a_container_that_there_is_not_is_refused() {
        assert_eq!(refusal(&pod(json!({}), &["a"], &[]), "x"), "container x is not valid for pod web");
        assert_eq!(pod(json!({}), &["a"], &["i"]).container("i").unwrap(), "i");
    }

    #[test]
    fn a_pod_without_a_node_has_no_streams() {
        let status = pod(json!({}), &["a"], &[]).node().unwrap_err();
        assert_eq!(status.message, "pod web does not have a host assigned");
        assert_eq!(status.code(), 400);
    }
}
