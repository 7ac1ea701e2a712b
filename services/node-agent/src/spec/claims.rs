//! From a claim that a pod names to the place on this node where its data lies.
//!
//! ```text
//!  pod's volume ──claimName──> claim ──volumeName──> volume ─┬─ local   a folder: ours (made here) or somebody's
//!                                                            └─ hostPath
//! ```

use std::path::PathBuf;

use bus::node::{LOCAL_PATH, VOLUME_NODE};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};

use super::env::Sources;
use super::volumes::{Content, HostPath, UNKNOWN_KIND};
use super::{References, name, namespace, of};
use crate::settings::Settings;

/// On a volume that a provisioner made: its name.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// On a claim: it and its volume have each other for good.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// Where a claim's data lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The volume's name.
    pub volume: String,
    /// On this node.
    pub path: PathBuf,
    /// What must be there.
    pub content: Content,
    /// Whether containers only read it, whatever they ask for.
    pub read_only: bool,
}

/// The claim that a volume of a pod names, and whether it is only read; one that lives as long as the pod is named
/// after both.
pub fn claim_of(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    let named = volume.persistent_volume_claim.as_ref();
    let named = named.map(|source| (source.claim_name.clone(), source.read_only == Some(true)));
    let own = || volume.ephemeral.as_ref().map(|_| (format!("{}-{}", name(pod), volume.name), false));
    named.or_else(own)
}

/// Where the data of a claim lies, or why it cannot be had.
pub fn claimed(
    pod: &Pod,
    (claim_name, read_only): (&str, bool),
    references: &dyn References,
    settings: &Settings,
) -> Result<Claimed, String> {
    let namespace = namespace(pod);
    let claim = references
        .claim(namespace, claim_name)
        .ok_or_else(|| format!("persistentvolumeclaim {claim_name:?} not found"))?;
    let problem = |why: &str| format!("error processing PVC {namespace}/{claim_name}: {why}");
    let volume_name = bound_volume(claim).ok_or_else(|| problem("PVC is not bound"))?;
    let volume = references
        .volume(volume_name)
        .ok_or_else(|| problem(&format!("persistentvolume {volume_name:?} not found")))?;
    if !belongs_to(volume, claim) {
        return Err(problem(&format!("persistentvolume {volume_name:?} is bound to another claim")));
    }
    let spec = volume.spec.as_ref();
    if spec.and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return Err("this node knows no block volumes".to_owned());
    }
    let (path, content) = place(volume, volume_name, settings)?;
    Ok(Claimed { volume: volume_name.to_owned(), path, content, read_only })
}

/// The PersistentVolumes that the pod's claims lead to.
pub fn volumes(sources: &Sources<'_>) -> Vec<String> {
    let claims = of(sources.pod).volumes.iter().flatten().filter_map(|volume| claim_of(sources.pod, volume));
    let volume = |(claim, _): (String, bool)| {
        let claim = sources.references.claim(namespace(sources.pod), &claim)?;
        bound_volume(claim).map(str::to_owned)
    };
    claims.filter_map(volume).collect()
}

/// The scheduler goes on when both have each other for good, which the phase says a moment later.
fn bound_volume(claim: &PersistentVolumeClaim) -> Option<&str> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_bound = claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(BIND_COMPLETED));
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    volume.filter(|name| !name.is_empty() && (phase == Some("Bound") || is_bound && phase != Some("Lost")))
}

/// Whether both say that they belong together: a claim of the same name may be another one.
fn belongs_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| reference.uid == claim.metadata.uid)
}

fn place(volume: &PersistentVolume, name: &str, settings: &Settings) -> Result<(PathBuf, Content), String> {
    let spec = volume.spec.clone().unwrap_or_default();
    if let Some(source) = &spec.host_path {
        return Ok((PathBuf::from(&source.path), Content::Host(HostPath::parse(source.type_.as_deref())?)));
    }
    let Some(source) = &spec.local else { return Err(UNKNOWN_KIND.to_owned()) };
    let path = PathBuf::from(&source.path);
    if annotation(volume, PROVISIONED_BY) != Some(LOCAL_PATH) {
        return Ok((path, Content::Local { made_here: false }));
    }
    if annotation(volume, VOLUME_NODE) != Some(settings.node_name.as_str()) {
        // An empty folder here would look like lost data.
        return Err(format!("the data of {name:?} lies on another node"));
    }
    // Only a folder of ours is ever made, whatever the object says.
    let made_here = settings.paths.local_volume(name).is_some_and(|own| own == path);
    Ok((path, Content::Local { made_here }))
}

fn annotation<'a>(volume: &'a PersistentVolume, name: &str) -> Option<&'a str> {
    volume.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixture::{self, Objects};
    use super::*;

    fn claim(volume: &str, phase: &str) -> Value {
        json!({"metadata": {"name": "c", "uid": "cu"}, "spec": {"volumeName": volume}, "status": {"phase": phase}})
    }

    fn volume(source: Value, uid: &str, node: &str) -> Value {
        let mut spec = source;
        spec["claimRef"] = json!({"uid": uid});
        let annotations = match node {
            "" => json!({}),
            node => json!({PROVISIONED_BY: LOCAL_PATH, VOLUME_NODE: node}),
        };
        json!({"metadata": {"name": "v", "annotations": annotations}, "spec": spec})
    }

    fn found(claim: Option<Value>, volume: Option<Value>) -> Result<(PathBuf, Content), String> {
        let mut objects = Objects::default();
        if let Some(claim) = claim {
            objects = objects.claim("c", claim);
        }
        if let Some(volume) = volume {
            objects = objects.volume("v", volume);
        }
        let claimed = claimed(&fixture::pod(json!({})), ("c", false), &objects, &fixture::settings())?;
        Ok((claimed.path, claimed.content))
    }

    #[test]
    fn a_claim_leads_to_a_folder_of_ours_or_of_somebody_else() {
        let bound = || Some(claim("v", "Bound"));
        let own = json!({"local": {"path": "/agent/volumes/v"}});
        let at = |source: Value, node: &str| found(bound(), Some(volume(source, "cu", node)));
        let made = |path: &str, made_here| Ok((PathBuf::from(path), Content::Local { made_here }));
        assert_eq!(at(own.clone(), "node-1"), made("/agent/volumes/v", true));
        assert_eq!(at(json!({"local": {"path": "/etc"}}), "node-1"), made("/etc", false), "never made");
        assert_eq!(at(json!({"local": {"path": "/mnt/x"}}), ""), made("/mnt/x", false));
        let host = json!({"hostPath": {"path": "/h", "type": "Directory"}});
        assert_eq!(at(host, ""), Ok((PathBuf::from("/h"), Content::Host(HostPath::Directory))));
        assert_eq!(at(own, "node-2"), Err("the data of \"v\" lies on another node".to_owned()));
        assert!(at(json!({"nfs": {"server": "s", "path": "/"}}), "").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let volume = || volume(json!({"hostPath": {"path": "/h"}}), "cu", "");
        let why = |claim, volume| found(claim, volume).unwrap_err();
        assert_eq!(why(None, None), "persistentvolumeclaim \"c\" not found");
        let unbound = "error processing PVC default/c: PVC is not bound";
        assert_eq!(why(Some(claim("", "Pending")), Some(volume())), unbound);
        assert_eq!(why(Some(claim("v", "Lost")), Some(volume())), unbound);
        let mut almost = claim("v", "Pending");
        almost["metadata"]["annotations"] = json!({BIND_COMPLETED: "yes"});
        assert!(found(Some(almost), Some(volume())).is_ok());
        let gone = "error processing PVC default/c: persistentvolume \"v\" not found";
        assert_eq!(why(Some(claim("v", "Bound")), None), gone);
        let mut others = volume();
        others["spec"]["claimRef"]["uid"] = json!("another");
        assert!(why(Some(claim("v", "Bound")), Some(others)).ends_with("is bound to another claim"));
    }
}
