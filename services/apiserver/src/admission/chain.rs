//! The plugins in their order, and what they are told.

use jiff::Timestamp;
use kinds::Kind;
use model::{Key, Object, Status};
use store::{Op, Store};

use super::{
    escalation, namespace_lifecycle, priority, service_account, service_addresses, storage, tolerations,
};
use crate::authorization::Authorizer;
use crate::registry::{Registry, decode};
use crate::verbs::{Context, Identity, Target};

/// What is being done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It, or a part of it, changes.
    Update,
    /// It goes.
    Delete,
}

/// What a plugin knows besides the object.
pub struct Request<'a> {
    /// What is being done.
    pub operation: Operation,
    /// To what.
    pub target: &'a Target,
    /// The object as it was, for an update or a delete.
    pub old: Option<&'a Object>,
    /// The state of the cluster.
    pub view: View<'a>,
    /// Who asks.
    pub identity: &'a Identity,
    /// Who may do what.
    pub authorizer: &'a Authorizer,
    /// When.
    pub now: Timestamp,
    /// To choose at random from.
    pub seed: u64,
}

/// The cluster as plugins see it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    store: &'a Store,
}

/// Changes the object, or adds writes that stand or fall with it.
type Mutate = fn(&Request<'_>, &mut Object, &mut Vec<Op>) -> Result<(), Status>;
/// Refuses.
type Validate = fn(&Request<'_>, &Object) -> Result<(), Status>;

/// The namespace first: without it nothing else matters. Addresses last: they are only taken for an object that
/// every other plugin lets pass.
const MUTATE: [Mutate; 6] = [
    namespace_lifecycle::check,
    service_account::mutate,
    priority::mutate,
    tolerations::mutate,
    storage::mutate,
    service_addresses::mutate,
];

const VALIDATE: [Validate; 3] = [namespace_lifecycle::validate, escalation::validate, storage::validate];

/// Runs the first phase.
pub fn mutate(request: &Request<'_>, object: &mut Object, beside: &mut Vec<Op>) -> Result<(), Status> {
    MUTATE.iter().try_for_each(|plugin| plugin(request, object, beside))
}

/// Runs the second phase: on a create or an update the very object that is stored, on a delete the one that is there.
pub fn validate(request: &Request<'_>, object: &Object) -> Result<(), Status> {
    VALIDATE.iter().try_for_each(|plugin| plugin(request, object))
}

// === impl Request ===

impl<'a> Request<'a> {
    /// What plugins are told of a request to the registry.
    pub fn new(
        operation: Operation,
        registry: &'a Registry,
        context: &'a Context,
        target: &'a Target,
        old: Option<&'a Object>,
    ) -> Request<'a> {
        Request {
            operation,
            target,
            old,
            view: View { store: registry.store() },
            identity: &context.identity,
            authorizer: registry.authorizer(),
            now: context.now,
            seed: registry.entropy().seed(),
        }
    }

    /// The row of the object's kind.
    pub fn kind(&self) -> &'a Kind {
        &self.target.kind
    }

    /// Whether it is about objects of this core resource, and not about a part of one.
    pub fn is_about_whole(&self, group: &str, plural: &str) -> bool {
        self.target.subresource.is_empty() && self.kind().group == group && self.kind().plural == plural
    }

    /// 403 for the object.
    pub fn forbidden(&self, object: &Object, why: &str) -> Status {
        Status::forbidden(&self.kind().group, &self.kind().plural, object.name(), why)
    }
}

// === impl View ===

impl View<'_> {
    /// An object, if it is there.
    pub fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        // What is not JSON is as good as absent to a plugin; whoever reads it is told.
        self.store.get(&Key::object(group, resource, namespace, name)).and_then(|item| decode(&item).ok())
    }

    /// Whether a key is there.
    pub fn has(&self, key: &Key) -> bool {
        self.store.get(key).is_some()
    }

    /// Every object of a collection; for collections that are small by nature.
    pub fn list(&self, group: &str, resource: &str) -> Vec<Object> {
        let listing = self.store.list(&Key::prefix(group, resource, None));
        listing.items.iter().filter_map(|item| decode(item).ok()).collect()
    }
}
