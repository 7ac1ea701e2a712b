//! Who leads: fences are written when leadership changes, and shown as Leases.
//!
//! ```text
//!  cmd.lead ── Ask ──> claim: the fence in the first class, if nobody has taken over since; then in the others
//!                          │ its revision is the term, and guards every write of the leader (registry::commit)
//!  lead.<role> ─ Beat ─> leaders: when each was last heard of ──┬──> leases: what people see in kube-system
//!                                               the fences ─────┘
//! ```
//! The fence alone says who leads. It is the Lease that people see, kept under another name; only the time of the last
//! renewal is from the beats, so that staying a leader writes nothing.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use bus::leader::{Act, Answer, Ask, Beat, Standing};
use bus::{Bus, BusError, Incoming, subject};
use jiff::Timestamp;
use model::{Class, Reason, Status};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::authorization::{Attributes, Resource};
use crate::commands::identity;
use crate::registry::Registry;
use crate::verbs::Context;

mod claim;
pub mod leases;

pub use claim::fence_key;

/// Roles that are remembered; a cluster has a dozen.
const ROLES_MAX: usize = 1_000;

/// The last sign of life of each role's leader.
#[derive(Debug, Default)]
pub struct Leaders(RwLock<HashMap<String, Heard>>);

/// A leader's sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The replica.
    pub holder: String,
    /// When it came in, on this server's clock.
    pub received: Timestamp,
}

// === impl Leaders ===

impl Leaders {
    /// Notes the beat of a leader.
    pub fn note(&self, role: &str, beat: &Beat, received: Timestamp) {
        if beat.term.is_none() {
            return;
        }
        let mut leaders = self.0.write().expect("nobody panics while holding the leaders");
        if leaders.len() < ROLES_MAX || leaders.contains_key(role) {
            leaders.insert(role.to_owned(), Heard { holder: beat.holder.clone(), received });
        }
    }

    /// The last sign of life of a role's leader.
    pub fn last(&self, role: &str) -> Option<Heard> {
        self.0.read().expect("nobody panics while holding the leaders").get(role).cloned()
    }
}

/// Answers and listens until `shutdown`.
pub async fn serve(registry: Arc<Registry>, bus: Bus, shutdown: CancellationToken) -> Result<(), BusError> {
    let mut asks = bus.serve(subject::LEAD, subject::API_SERVERS).await?;
    let mut beats = bus.subscribe(subject::BEAT_ALL).await?;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(beat) = beats.next() => note(&registry, &beat),
            Some(request) = asks.next() => {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move { answer(&registry, &request).await });
            }
            else => return Ok(()),
        }
    }
}

fn note(registry: &Registry, message: &Incoming) {
    if let Ok(beat) = message.decode::<Beat>() {
        registry.leaders().note(&subject::node_of(message.subject()), &beat, Timestamp::now());
    }
}

async fn answer(registry: &Registry, request: &Incoming) {
    let reply = match request.decode::<Ask>() {
        Ok(ask) => handle(registry, &ask, Timestamp::now()).await,
        Err(error) => Err(Status::bad_request(error.to_string())),
    };
    request.answer(&Answer { reply }).await;
}

/// Carries out what a replica asks.
pub async fn handle(registry: &Registry, ask: &Ask, now: Timestamp) -> Result<Standing, Status> {
    let context = Context { identity: identity(&ask.user), now, guard: None };
    let lease = Resource {
        group: leases::GROUP,
        resource: leases::PLURAL,
        subresource: "",
        namespace: leases::NAMESPACE,
        name: &ask.role,
    };
    registry.authorizer().authorize(&context.identity, &Attributes::resource("update", lease)).await?;
    if u64::try_from(now.as_millisecond()).unwrap_or(0) > ask.deadline_ms {
        return Err(Status::new(Reason::Timeout, "the deadline of the request has passed"));
    }
    let first = first_class(ask)?;
    match &ask.act {
        Act::Look => {
            registry.catch_up(fence_key(first, &ask.role).as_str()).await?;
            Ok(claim::standing(registry, &fence_key(first, &ask.role)))
        }
        Act::Take { holder, over } => {
            let taken = claim::take(registry, &context, ask, holder, *over).await?;
            if !taken.fences.is_empty() {
                info!(role = ask.role, holder, term = taken.term, "leads from now on");
            }
            Ok(taken)
        }
        Act::Release { term } => {
            let left = claim::release(registry, &context, &fence_key(first, &ask.role), *term).await?;
            debug!(role = ask.role, term, "leads no more");
            Ok(left)
        }
    }
}

fn first_class(ask: &Ask) -> Result<Class, Status> {
    // Events have an order of their own, and nobody decides by them.
    if ask.role.is_empty() || ask.role.contains('/') || ask.classes.contains(&Class::Events) {
        return Err(Status::bad_request("a role has a name without a slash, and no fence among events"));
    }
    ask.classes.first().copied().ok_or_else(|| Status::bad_request("a leader writes some class"))
}
