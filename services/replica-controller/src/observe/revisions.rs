//! ControllerRevisions of DaemonSets, and of nobody.

use client::ownership::controller_of;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Result;

use super::owned::Dependent;

/// A template that a set has had.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision(pub ControllerRevision);

// === impl Revision ===

impl Revision {
    /// The revision in its stored JSON; `None` for one that another kind manages.
    pub fn parse(json: &[u8]) -> Result<Option<Revision>> {
        let revision: ControllerRevision = serde_json::from_slice(json)?;
        let owner = controller_of(revision.metadata.owner_references.as_ref());
        let is_ours = owner.is_none_or(|owner| owner.kind == "DaemonSet");
        Ok(is_ours.then_some(Revision(revision)))
    }
}

impl Dependent for Revision {
    fn manager(&self) -> Option<&str> {
        controller_of(self.0.metadata.owner_references.as_ref()).map(|owner| owner.uid.as_str())
    }
}
