//! PURE: pods of nodes that are gone. Nobody will ever report their end, so they are removed as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::command::{Resource, Write};
use client::Decision;
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::json;

use super::decide::{PODS_MAX, PodState};

/// A node that was deleted by mistake, or registers anew, finds its pods as they were if it is back by then.
const PATIENCE: Duration = Duration::from_secs(40);

/// What to do about the pods of a node that is gone since then.
pub fn decide(pods: &BTreeMap<Key, PodState>, gone_since: Timestamp, now: Timestamp) -> Decision {
    let waited = Duration::try_from(now.duration_since(gone_since)).unwrap_or(Duration::ZERO);
    if waited < PATIENCE {
        let again_after = Some(PATIENCE - waited);
        return Decision { again_after, reason: "a node that is gone may come back", ..Decision::default() };
    }
    let writes = pods.iter().take(PODS_MAX).map(|(key, pod)| remove(key, pod)).collect();
    let again_after = (pods.len() > PODS_MAX).then_some(Duration::ZERO);
    Decision { writes, again_after, reason: "pods go after their node", ..Decision::default() }
}

fn remove(key: &Key, pod: &PodState) -> Write {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid},
    });
    Write::Delete {
        resource: Resource::new("", "v1", "pods"),
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        options: options.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_go_after_their_node_once_it_is_sure_to_stay_away() {
        let pod =
            PodState { uid: "p".into(), tolerations: vec![], deleting: true, has_ended: false, ready: false };
        let pods = BTreeMap::from([(Key::object("", "pods", "default", "p"), pod)]);
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let early = decide(&pods, at(0), at(30));
        assert_eq!((early.writes.len(), early.again_after), (0, Some(Duration::from_secs(10))));
        let writes = decide(&pods, at(0), at(40)).writes;
        let [Write::Delete { name, options, .. }] = &writes[..] else { panic!("{writes:?}") };
        assert!(name == "p" && String::from_utf8_lossy(options).contains(r#""gracePeriodSeconds":0"#));
    }
}
