//! May they: role-based access control, from the roles and bindings in the store.
//!
//! ```text
//!  store ── changes ──> grants (roles and bindings by subject) ──> Permissions of an identity, kept until the next change
//!                                                                       │
//!  http, commands, reviews ──── Attributes (verb, resource or path) ───>┴──> yes, or 403 with the reason
//!  admission ────────────────── rules that somebody wants to grant ────────> does the one who grants hold them?
//! ```
//! The decision is a pure function of identity, attributes and what the store holds. What changed is taken in when
//! somebody asks, so whoever sees a binding in the store is judged by it; nothing runs in between.
//! Absent on purpose: who somebody is (`identity`).

pub mod attributes;
pub mod escalation;
pub mod grants;
pub mod policy;
pub mod rule;

mod metrics;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use model::{Key, Object, Status};
use store::{Change, Glance, Item, Store, Watch};

use crate::verbs::Identity;

pub use attributes::{Attributes, On, Resource};
pub use grants::{Decision, Grants, Permissions};
pub use rule::Rule;

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// Of the keys of roles and bindings.
const PREFIX: &str = "rbac.authorization.k8s.io/";
/// The group of those who may do everything.
pub const MASTERS: &str = "system:masters";

/// Users whose permissions are remembered: a few hundred bytes each. When there are more, all are forgotten, which
/// costs each of them a few microseconds once.
const REMEMBERED: usize = 8_192;

/// Decides on the roles and bindings of a store.
pub struct Authorizer {
    store: Store,
    state: Mutex<State>,
    unlimited: Arc<Permissions>,
}

#[derive(Default)]
struct State {
    /// `None` before the first question, and when it has to be begun again.
    changes: Option<Watch>,
    grants: Grants,
    /// By user.
    known: HashMap<String, Vec<Known>>,
}

/// What a user may do who comes with these groups, which are rarely others.
struct Known {
    groups: Vec<String>,
    permissions: Arc<Permissions>,
}

// === impl Authorizer ===

impl Authorizer {
    /// Decides on what `store` holds.
    pub fn new(store: Store) -> Authorizer {
        Authorizer { store, state: Mutex::default(), unlimited: Arc::new(Permissions::unlimited()) }
    }

    /// All that somebody may do at this moment.
    pub fn permissions(&self, identity: &Identity) -> Arc<Permissions> {
        if is_master(identity) {
            return Arc::clone(&self.unlimited);
        }
        self.with(|state| state.permissions(identity))
    }

    /// 403 with the reason unless `identity` may do that.
    pub async fn authorize(&self, identity: &Identity, wanted: &Attributes<'_>) -> Result<(), Status> {
        let mut permissions = self.permissions(identity);
        if !permissions.allows(wanted) && self.catch_up().await {
            permissions = self.permissions(identity);
        }
        permissions.authorize(&identity.user, wanted)
    }

    /// Whether `identity` may do that, and why.
    pub async fn decide(&self, identity: &Identity, wanted: &Attributes<'_>) -> Decision {
        let decision = self.permissions(identity).decide(wanted);
        if !decision.allowed && self.catch_up().await {
            return self.permissions(identity).decide(wanted);
        }
        decision
    }

    /// Our state may be behind the one in which something was granted: nobody is refused on account of that. While
    /// the log is away, what is known counts.
    async fn catch_up(&self) -> bool {
        self.store.barrier_of(PREFIX).await.is_ok()
    }

    /// The rules of a role; `None` when there is no such role.
    pub fn rules(&self, role: &Key) -> Option<Vec<Arc<Rule>>> {
        self.with(|state| state.grants.rules(role))
    }

    fn with<T>(&self, ask: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().expect("nobody panics while asking");
        state.catch_up(&self.store);
        ask(&mut state)
    }
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

/// Whether nothing is refused to somebody.
pub fn is_master(identity: &Identity) -> bool {
    identity.groups.iter().any(|group| group == MASTERS)
}

// === impl State ===

impl State {
    /// Takes in what has changed since the last question.
    fn catch_up(&mut self, store: &Store) {
        loop {
            match self.changes.as_mut().map_or(Glance::CutOff, Watch::glance) {
                Glance::CaughtUp => return,
                Glance::Change(change) => self.apply(&change),
                Glance::CutOff => {
                    self.begin(store);
                    // Begun in vain: what was read counts, and the next question begins again.
                    if self.changes.is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn begin(&mut self, store: &Store) {
        let listing = store.list(PREFIX);
        *self = State::default();
        for item in &listing.items {
            self.put(item);
        }
        self.changes = store.watch(PREFIX, listing.revision).ok();
    }

    fn apply(&mut self, change: &Change) {
        self.known.clear();
        match change {
            Change::Put { item, .. } => self.put(item),
            Change::Delete { key, .. } => self.grants.remove(key),
        }
    }

    fn put(&mut self, item: &Item) {
        match serde_json::from_slice::<Object>(&item.value) {
            Ok(object) => self.grants.put(&item.key, &object),
            // What cannot be read gives nothing to anybody.
            Err(_) => self.grants.remove(&item.key),
        }
    }

    fn permissions(&mut self, identity: &Identity) -> Arc<Permissions> {
        let mut known = self.known.get(&identity.user).into_iter().flatten();
        if let Some(known) = known.find(|known| known.groups == identity.groups) {
            return Arc::clone(&known.permissions);
        }
        let permissions = Arc::new(self.grants.permissions(&identity.user, &identity.groups));
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let of_user = self.known.entry(identity.user.clone()).or_default();
        // Somebody who may choose groups freely must not fill the memory with them.
        of_user.truncate(3);
        let groups = identity.groups.clone();
        of_user.insert(0, Known { groups, permissions: Arc::clone(&permissions) });
        permissions
    }
}

#[cfg(test)]
mod tests;
