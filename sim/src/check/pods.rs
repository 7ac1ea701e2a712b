//! No pod is bound twice, and no node is given more than it has.

use std::collections::BTreeMap;

use model::quantity::Quantity;
use serde_json::Value;

use super::view::{Step, View, has_ended, text, uid};

/// Where each pod was bound.
#[derive(Default)]
pub struct Pods {
    bound: BTreeMap<String, String>,
}

// === impl Pods ===

impl Pods {
    pub(super) fn step(&mut self, view: &View, step: &Step, broken: &mut Vec<String>) {
        if !step.is_of("core/pods") {
            return;
        }
        let Some(pod) = &step.after else { return };
        let node = text(pod, &["spec", "nodeName"]);
        match self.bound.get(uid(pod)) {
            None if node.is_empty() => {}
            None => {
                self.bound.insert(uid(pod).to_owned(), node.to_owned());
                overcommitted(view, node, broken);
            }
            Some(before) if before == node => {}
            Some(before) => {
                broken.push(format!("{} was bound to {before} and is now bound to {node:?}", step.key))
            }
        }
    }
}

fn overcommitted(view: &View, name: &str, broken: &mut Vec<String>) {
    let Some(node) =
        view.get(&format!("core/nodes//{name}")).or_else(|| view.get(&format!("core/nodes/{name}")))
    else {
        return;
    };
    let amount =
        |of: &Value| of.as_str().and_then(|text| text.parse::<Quantity>().ok()).map_or(0, |one| one.milli());
    let has = |what: &str| amount(&node["status"]["allocatable"][what]);
    let pods: Vec<&Value> = view
        .under("core/pods/")
        .map(|(_, pod)| pod)
        .filter(|pod| text(pod, &["spec", "nodeName"]) == name && !has_ended(pod))
        .collect();
    let cpu: i64 = pods
        .iter()
        .flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten())
        .map(|container| amount(&container["resources"]["requests"]["cpu"]))
        .sum();
    if cpu > has("cpu") {
        broken.push(format!("{name} has {} thousandths of a cpu, its pods were given {cpu}", has("cpu")));
    }
    if pods.len() as i64 * 1000 > has("pods") {
        broken.push(format!("{name} takes {} pods and has {}", has("pods") / 1000, pods.len()));
    }
}
