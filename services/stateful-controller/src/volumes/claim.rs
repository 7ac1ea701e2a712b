//! What to do about a claim.

use bus::node::LOCAL_PATH;
use client::{Decision, NoteKind};
use model::{Key, Object};
use placement::volume::{BIND_COMPLETED, SELECTED_NODE};
use serde_json::{Value, json};

use super::{BOUND_BY_CONTROLLER, Claim, PROVISIONER, Volume, Volumes, local_path, write};

/// Of a class whose volumes are made by people.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What is done, or said.
enum Step {
    /// These, each of them conditional.
    Write(Vec<bus::command::Write>, &'static str),
    /// Nothing, for a reason that people are told.
    Tell(NoteKind, &'static str, String),
    /// Nothing.
    Rest(&'static str),
}

/// Decides.
pub fn decide(view: &mut Volumes, key: &Key) -> Decision {
    let Some(claim) = view.claims.get(key) else {
        return Decision { reason: "the claim is gone", ..Decision::default() };
    };
    let step = match (claim.wish.deleting, claim.wish.bound) {
        (true, _) => release(view, key, claim),
        (false, true) => keep(view, claim),
        (false, false) if claim.wish.volume.is_empty() => find(view, key, claim),
        (false, false) => take_named(view, key, claim),
    };
    let object = claim.object.clone();
    let step = match step {
        Found::Step(step) => step,
        Found::Volume(name) => {
            view.promised.insert(name.clone(), key.clone());
            bind(&view.claims[key], &view.volumes[&name])
        }
        Found::Make(volume) => {
            let name = local_path::name(&view.claims[key]);
            let message = format!("Successfully provisioned volume {name}");
            let note = client::Note::about(&object, NoteKind::Normal, "ProvisioningSucceeded", message);
            view.made.insert(key.clone(), note);
            Step::Write(vec![write::create("persistentvolumes", "", &volume)], "its volume is to be made")
        }
    };
    match step {
        Step::Write(writes, reason) => Decision { writes, reason, ..Decision::default() },
        Step::Rest(reason) => Decision { reason, ..Decision::default() },
        Step::Tell(severity, what, message) => {
            let notes = view.tell(key, &object, severity, what, message).into_iter().collect();
            Decision { notes, reason: "the claim cannot have a volume yet", ..Decision::default() }
        }
    }
}

/// What was found for a claim.
enum Found {
    /// A volume that is there.
    Volume(String),
    /// A volume that is to be made.
    Make(Value),
    /// Something else is to be done.
    Step(Step),
}

impl From<Step> for Found {
    fn from(step: Step) -> Found {
        Found::Step(step)
    }
}

/// A claim that is being deleted goes once no pod can have it mounted.
fn release(view: &Volumes, key: &Key, claim: &Claim) -> Found {
    let protection = write::protection(&claim.object);
    if !claim.object.finalizers().any(|one| one == protection) {
        return Step::Rest("somebody else holds the claim").into();
    }
    if view.users(key).any(|(_, pod)| pod.has_node()) {
        return Step::Rest("pods use the claim").into();
    }
    Step::Write(vec![write::let_go(&claim.object, protection)], "no pod uses the claim any more").into()
}

/// A claim that has its volume for good: both go on saying so, or the volume is lost.
fn keep(view: &Volumes, claim: &Claim) -> Found {
    let name = &claim.wish.volume;
    if name.is_empty() {
        return lose(
            claim,
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        );
    }
    let Some(volume) = view.volumes.get(name) else {
        return lose(
            claim,
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        );
    };
    match volume.offer.claim {
        None => bind(claim, volume).into(),
        Some(_) if belong_together(claim, volume) => bind(claim, volume).into(),
        Some(_) => lose(
            claim,
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        ),
    }
}

fn lose(claim: &Claim, reason: &'static str, message: &str) -> Found {
    if phase(&claim.object) == "Lost" {
        return Step::Tell(NoteKind::Warning, reason, message.to_owned()).into();
    }
    Step::Write(vec![write::status(&claim.object, json!({"phase": "Lost"}))], "the volume is lost").into()
}

/// A claim that names the volume that it wants.
fn take_named(view: &Volumes, key: &Key, claim: &Claim) -> Found {
    let name = &claim.wish.volume;
    let tell = |what, message: String| Step::Tell(NoteKind::Warning, what, message).into();
    let Some(volume) = view.volumes.get(name) else {
        return tell("FailedBinding", format!("volume {name:?} not found"));
    };
    if belong_together(claim, volume) {
        return bind(claim, volume).into();
    }
    match (&volume.offer.claim, claim.wish.check(&volume.offer)) {
        (Some(_), _) => tell("FailedBinding", format!("volume {name:?} already bound to a different claim.")),
        (None, Err(why)) => {
            tell("VolumeMismatch", format!("Cannot bind to requested volume {name:?}: {why}"))
        }
        (None, Ok(())) if is_promised(view, name, key) => {
            Step::Rest("the volume goes to another claim").into()
        }
        (None, Ok(())) => Found::Volume(name.clone()),
    }
}

/// A claim that takes what it can get.
fn find(view: &Volumes, key: &Key, claim: &Claim) -> Found {
    let reserved = view.reserved.get(key).into_iter().flatten().filter(|name| {
        view.volumes.get(*name).is_some_and(|volume| belong_together(claim, volume) && !volume.offer.deleting)
    });
    if let Some(name) = reserved.min() {
        return Found::Volume(name.clone());
    }
    let Some(class_name) = &claim.wish.class else {
        return match kinds::storage::default_class(view.classes.values()) {
            Some(class) => {
                let patch = json!({"spec": {"storageClassName": class.name()}});
                Step::Write(vec![write::patch(&claim.object, patch)], "there is a default class now").into()
            }
            None => find_of_class(view, key, claim, None),
        };
    };
    find_of_class(view, key, claim, view.classes.get(class_name))
}

fn find_of_class(view: &Volumes, key: &Key, claim: &Claim, class: Option<&Object>) -> Found {
    let waits = class.is_some_and(|class| class.str_at(&["volumeBindingMode"]) == "WaitForFirstConsumer");
    let node = claim.wish.selected_node.as_deref();
    if waits && node.is_none() {
        return wait_for_a_pod(view, key);
    }
    if let Some(name) = best(view, key, claim, node.filter(|_| waits)) {
        return Found::Volume(name);
    }
    let warn = |what, message: String| Step::Tell(NoteKind::Warning, what, message).into();
    let Some(class) = class else {
        return match claim.wish.class.as_deref().unwrap_or_default() {
            "" => Step::Tell(
                NoteKind::Normal,
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set".to_owned(),
            )
            .into(),
            name => warn("ProvisioningFailed", format!("storageclass.storage.k8s.io {name:?} not found")),
        };
    };
    let node_is_gone = waits && node.is_some_and(|node| !view.nodes.contains_key(node));
    match class.str_at(&["provisioner"]) {
        // The scheduler chooses anew among the nodes that there are now.
        _ if node_is_gone => unselect(claim),
        NO_PROVISIONER if waits => unselect(claim),
        NO_PROVISIONER => {
            warn("ProvisioningFailed", format!("no volume plugin matched name: {NO_PROVISIONER}"))
        }
        LOCAL_PATH => match node.filter(|_| waits) {
            Some(node) => match local_path::volume(claim, class, node, &view.nodes) {
                Ok(volume) => Found::Make(volume),
                Err(why) => warn(
                    "ProvisioningFailed",
                    format!("failed to provision volume with StorageClass {:?}: {why}", class.name()),
                ),
            },
            None => warn(
                "ProvisioningFailed",
                format!(
                    "failed to provision volume with StorageClass {:?}: its volumes lie on the nodes of their pods, \
                     so it needs volumeBindingMode WaitForFirstConsumer",
                    class.name()
                ),
            ),
        },
        other => leave_to(claim, other),
    }
}

fn wait_for_a_pod(view: &Volumes, key: &Key) -> Found {
    let message = match view.users(key).map(|(pod, _)| pod.name()).min() {
        Some(pod) => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
        None => {
            let text = "waiting for first consumer to be created before binding";
            ("WaitForFirstConsumer", text.to_owned())
        }
    };
    Step::Tell(NoteKind::Normal, message.0, message.1).into()
}

fn unselect(claim: &Claim) -> Found {
    let patch = json!({"metadata": {"annotations": {(SELECTED_NODE): null}}});
    Step::Write(vec![write::patch(&claim.object, patch)], "the chosen node cannot have its volume").into()
}

/// Another provisioner is told by annotations that the claim is its.
fn leave_to(claim: &Claim, provisioner: &str) -> Found {
    let says = |name: &&str| claim.object.str_at(&["metadata", "annotations", name]) == provisioner;
    if !PROVISIONER.iter().all(says) {
        let names: Value = PROVISIONER.iter().map(|name| ((*name).to_owned(), json!(provisioner))).collect();
        let patch = json!({"metadata": {"annotations": names}});
        return Step::Write(vec![write::patch(&claim.object, patch)], "another provisioner is to act").into();
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    Step::Tell(NoteKind::Normal, "ExternalProvisioning", message).into()
}

/// The smallest volume that nobody has and that is what the claim asks for; one that `node` reaches.
fn best(view: &Volumes, key: &Key, claim: &Claim, node: Option<&str>) -> Option<String> {
    let reaches = |volume: &Volume| match (node, &volume.offer.affinity) {
        (Some(name), Some(affinity)) => {
            view.nodes.get(name).is_some_and(|node| affinity.admits(name, &node.labels))
        }
        _ => true,
    };
    let suits = |name: &str, volume: &Volume| {
        claim.wish.may_take(&volume.offer) && reaches(volume) && !is_promised(view, name, key)
    };
    let suiting = view.volumes.iter().filter(|(name, volume)| suits(name, volume));
    suiting.min_by_key(|(_, volume)| *volume.offer.capacity()).map(|(name, _)| name.clone())
}

fn is_promised(view: &Volumes, volume: &str, claim: &Key) -> bool {
    view.promised.get(volume).is_some_and(|other| other != claim)
}

/// Whether the volume names this claim, or may still be any claim's of that name.
fn belong_together(claim: &Claim, volume: &Volume) -> bool {
    let object = &claim.object;
    volume.offer.is_for(object.namespace(), object.name(), &claim.wish.uid)
}

/// The next step of giving a volume and a claim to each other.
fn bind(claim: &Claim, volume: &Volume) -> Step {
    let (object, name) = (&claim.object, volume.object.name());
    let has_uid = volume.offer.claim.as_ref().is_some_and(|reference| !reference.uid.is_empty());
    if !has_uid {
        // Whoever reserved it by name keeps that when the claim is gone.
        let by_us = volume.offer.claim.is_none().then(|| json!({(BOUND_BY_CONTROLLER): "yes"}));
        let patch = json!({
            "metadata": {"annotations": by_us.unwrap_or_else(|| json!({}))},
            "spec": {"claimRef": reference(claim)},
        });
        return Step::Write(vec![write::patch(&volume.object, patch)], "the volume is to name the claim");
    }
    let mut writes = Vec::new();
    if phase(&volume.object) != "Bound" {
        writes
            .push(write::status(&volume.object, json!({"phase": "Bound", "message": null, "reason": null})));
    }
    if claim.wish.volume != name || !claim.wish.bound {
        let mut annotations = json!({(BIND_COMPLETED): "yes"});
        if claim.wish.volume.is_empty() {
            annotations[BOUND_BY_CONTROLLER] = json!("yes");
        }
        let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": name}});
        writes.push(write::patch(object, patch));
    } else if let Some(status) = outdated_status(claim, volume) {
        writes.push(write::status(object, status));
    }
    match writes.is_empty() {
        true => Step::Rest("the claim has its volume"),
        false => Step::Write(writes, "both are to say that they belong together"),
    }
}

/// What the status of a bound claim should say, if it does not.
fn outdated_status(claim: &Claim, volume: &Volume) -> Option<Value> {
    let spec = |field: &str| volume.object.at(&["spec", field]).cloned().unwrap_or_default();
    let wanted = json!({"phase": "Bound", "accessModes": spec("accessModes"), "capacity": spec("capacity")});
    let present = claim.object.get("status").cloned().unwrap_or_default();
    let differs = wanted.as_object()?.iter().any(|(field, value)| present[field] != *value);
    differs.then_some(wanted)
}

/// The claim as its volume names it.
pub fn reference(claim: &Claim) -> Value {
    let object = &claim.object;
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": object.namespace(),
        "name": object.name(), "uid": object.uid(), "resourceVersion": object.resource_version(),
    })
}

fn phase(object: &Object) -> &str {
    object.str_at(&["status", "phase"])
}
