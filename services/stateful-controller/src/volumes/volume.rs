//! What to do about a volume.

use bus::command::Write;
use bus::node::{LOCAL_PATH, VOLUME_NODE};
use client::{Decision, NoteKind};
use model::Key;
use serde_json::{Value, json};

use super::{BOUND_BY_CONTROLLER, PROVISIONED_BY, Volume, Volumes, claim_key, write};

/// What a volume is to its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody has it.
    Free,
    /// Its claim is about to get it.
    Promised,
    /// Its claim has it.
    Bound,
    /// Its claim is gone.
    Left,
    /// Its claim has another volume.
    Passed,
}

/// Decides.
pub fn decide(view: &mut Volumes, key: &Key) -> Decision {
    let Some(volume) = view.volumes.get(key.name()) else {
        return Decision { reason: "the volume is gone", ..Decision::default() };
    };
    let standing = standing(view, volume);
    if let Some((writes, reason)) = step(view, volume, standing) {
        return Decision { writes, reason, ..Decision::default() };
    }
    let mut decision = Decision { reason: "the volume is what it says", ..Decision::default() };
    if phase(volume) == "Failed" {
        let (object, message) =
            (volume.object.clone(), volume.object.str_at(&["status", "message"]).to_owned());
        let reason = match policy(volume) {
            "Recycle" => "VolumeFailedRecycle",
            _ => "VolumeFailedDelete",
        };
        decision.notes.extend(view.tell(key, &object, NoteKind::Warning, reason, message));
    }
    decision
}

fn standing(view: &Volumes, volume: &Volume) -> Standing {
    let Some(reference) = volume.offer.claim.as_ref().filter(|reference| !reference.uid.is_empty()) else {
        return Standing::Free;
    };
    let claim = view.claims.get(&claim_key(reference)).filter(|claim| claim.wish.uid == reference.uid);
    match claim.map(|claim| claim.wish.volume.as_str()) {
        None => Standing::Left,
        Some("") => Standing::Promised,
        Some(name) if name == volume.object.name() => Standing::Bound,
        Some(_) => Standing::Passed,
    }
}

fn step(view: &Volumes, volume: &Volume, standing: Standing) -> Option<(Vec<Write>, &'static str)> {
    let phase_is = |wanted: &str, reason| {
        let status = json!({"phase": wanted, "message": null, "reason": null});
        (phase(volume) != wanted).then(|| (vec![write::status(&volume.object, status)], reason))
    };
    let next = match standing {
        Standing::Free => phase_is("Available", "nobody has the volume"),
        Standing::Promised => None,
        Standing::Bound => phase_is("Bound", "its claim has the volume"),
        Standing::Passed if !was_made_for_it(volume) => Some(unreserve(volume)),
        Standing::Left | Standing::Passed => match phase(volume) {
            "Released" | "Failed" => reclaim(volume),
            _ => phase_is("Released", "its claim does not have the volume any more"),
        },
    };
    next.or_else(|| let_go(view, volume, standing))
}

fn was_made_for_it(volume: &Volume) -> bool {
    policy(volume) == "Delete" && !provisioner(volume).is_empty()
}

/// Its claim took another: it is free again, or waits again for whoever has the name.
fn unreserve(volume: &Volume) -> (Vec<Write>, &'static str) {
    let by_us = volume.object.str_at(&["metadata", "annotations", BOUND_BY_CONTROLLER]) == "yes";
    let patch = match by_us {
        true => json!({
            "metadata": {"annotations": {(BOUND_BY_CONTROLLER): null}}, "spec": {"claimRef": null},
        }),
        false => json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}}),
    };
    (vec![write::patch(&volume.object, patch)], "its claim took another volume")
}

/// A volume that lost its claim.
fn reclaim(volume: &Volume) -> Option<(Vec<Write>, &'static str)> {
    if volume.offer.deleting || phase(volume) == "Failed" {
        return None;
    }
    match (policy(volume), provisioner(volume)) {
        ("Delete", LOCAL_PATH) => {
            Some((vec![write::delete(&volume.object)], "nobody wants its data any more"))
        }
        ("Delete", "") => Some(fail(volume, "no volume plugin can delete what lies there")),
        ("Recycle", _) => Some(fail(volume, "No recycler plugin found for the volume!")),
        // Its provisioner deletes it; or somebody wants the data kept.
        _ => None,
    }
}

fn fail(volume: &Volume, why: &str) -> (Vec<Write>, &'static str) {
    let status: Value = json!({"phase": "Failed", "message": why});
    (vec![write::status(&volume.object, status)], "the volume cannot be reclaimed")
}

/// A volume that is being deleted goes once no claim has it and its data is gone, or is to be kept.
fn let_go(view: &Volumes, volume: &Volume, standing: Standing) -> Option<(Vec<Write>, &'static str)> {
    if !volume.offer.deleting || matches!(standing, Standing::Bound | Standing::Promised) {
        return None;
    }
    let object = &volume.object;
    let has = |finalizer: &str| object.finalizers().any(|one| one == finalizer);
    let protection = write::protection(object);
    if has(protection) {
        return Some((vec![write::let_go(object, protection)], "no claim has the volume any more"));
    }
    let node = object.str_at(&["metadata", "annotations", VOLUME_NODE]);
    let nobody_removes_it = policy(volume) != "Delete" || !view.nodes.contains_key(node);
    (has(LOCAL_PATH) && nobody_removes_it)
        .then(|| (vec![write::let_go(object, LOCAL_PATH)], "its data is kept, or went with its node"))
}

fn phase(volume: &Volume) -> &str {
    volume.object.str_at(&["status", "phase"])
}

fn policy(volume: &Volume) -> &str {
    volume.object.str_at(&["spec", "persistentVolumeReclaimPolicy"])
}

fn provisioner(volume: &Volume) -> &str {
    volume.object.str_at(&["metadata", "annotations", PROVISIONED_BY])
}
