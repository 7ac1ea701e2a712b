//! Machines that become nodes, and nodes that stay ones: their credentials on the bus.
//!
//! Whoever proves a bootstrap token gets a statement, signed for a key of its own, that it is the node that it asked
//! to be. Nodes have theirs signed again as long as there is a Node of their name.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::join::{Answer, Ask, Cluster, LIFE_SECONDS, Renew, Renewed};
use bus::security::Signer;
use bus::{Bus, BusError, Incoming, subject};
use jiff::{SignedDuration, Timestamp};
use model::{Key, Object, Reason, Status};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::metrics;
use crate::identity::bootstrap::{self, BootstrapToken};
use crate::registry::{Part, Registry, decode, own_identity, pipeline};
use crate::verbs::{Context, Target, WriteOptions};

/// Requests that are answered at a time; more wait on the bus. A guess costs as much as a good one, well under a
/// millisecond, so this also bounds how many can be tried.
const CONCURRENT: usize = 16;
/// A node that was heard of so recently lives: what the node controller waits for as well.
const LIVES: SignedDuration = SignedDuration::from_secs(40);

/// What it takes to admit nodes.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Signs for nodes.
    pub signer: Signer,
    /// What each is told; the name servers are looked up.
    pub cluster: Cluster,
}

/// Serves machines that join and nodes that stay until `shutdown`; without an [`Admission`], says that it cannot.
pub async fn serve(
    registry: Arc<Registry>,
    bus: Bus,
    admission: Option<Admission>,
    shutdown: CancellationToken,
) -> Result<(), BusError> {
    let mut joining = bus.serve(subject::JOIN_ALL, subject::API_SERVERS).await?;
    let mut staying = bus.serve(subject::CREDENTIAL_ALL, subject::API_SERVERS).await?;
    let (room, admission) = (Arc::new(Semaphore::new(CONCURRENT)), Arc::new(admission));
    loop {
        let (request, joins) = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            request = joining.next() => (request, true),
            request = staying.next() => (request, false),
        };
        let Some(request) = request else { return Ok(()) };
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let (registry, admission) = (Arc::clone(&registry), Arc::clone(&admission));
        tokio::spawn(async move {
            let admission = admission.as_ref().as_ref();
            match joins {
                true => request.answer(&answer_join(&registry, admission, &request).await).await,
                false => request.answer(&answer_renew(&registry, admission, &request).await).await,
            }
            drop(permit);
        });
    }
}

async fn answer_join(registry: &Registry, admission: Option<&Admission>, request: &Incoming) -> Answer {
    let ask: Ask = request.decode().map_err(|error| Status::bad_request(error.to_string()))?;
    let node = subject::node_of(request.subject());
    let answer = join(registry, admission.ok_or_else(cannot_sign)?, &node, &ask, Timestamp::now()).await;
    metrics::JOINS.with_label_values(&[if answer.is_ok() { "admitted" } else { "refused" }]).inc();
    match &answer {
        Ok(_) => info!(node, token = ask.token_id, "a machine joins"),
        Err(status) => warn!(node, token = ask.token_id, "a machine may not join: {status}"),
    }
    answer
}

/// Admits a machine as the node of this name, or says why not.
pub async fn join(
    registry: &Registry,
    admission: &Admission,
    node: &str,
    ask: &Ask,
    now: Timestamp,
) -> Answer {
    // The token may have been made a moment ago, on another server.
    registry.catch_up("").await?;
    let known = find_token(registry, &ask.token_id).filter(|known| known.token().proves(node, ask));
    // Whoever does not know the secret learns nothing of the token, not even whether there is one.
    let known =
        known.ok_or_else(|| Status::new(Reason::Unauthorized, "the token is not known to this cluster"))?;
    known.admits(node, now).map_err(|unfit| forbidden(&unfit.to_string()))?;
    if let Some(wrong) = model::names::dns_subdomain(node).first() {
        return Err(Status::bad_request(format!("{node:?} cannot be a node's name: {wrong}")));
    }
    if !Signer::is_user_key(&ask.public_key) {
        return Err(Status::bad_request("the key is not one of a user of the bus"));
    }
    if lives(registry, node, now) {
        let why = format!("a node {node:?} lives already: choose another name, or end it and wait {LIVES:#}");
        return Err(Status::new(Reason::Conflict, why));
    }
    if known.uses().is_some() {
        use_once(registry, node, &ask.token_id, now).await?;
    }
    let statement = admission.sign(node, &ask.public_key, now);
    let cluster = Cluster { dns: name_servers(registry), ..admission.cluster.clone() };
    Ok(known.token().welcome(&ask.public_key, statement, cluster))
}

async fn answer_renew(registry: &Registry, admission: Option<&Admission>, request: &Incoming) -> Renewed {
    let renew: Renew = request.decode().map_err(|error| Status::bad_request(error.to_string()))?;
    let node = subject::node_of(request.subject());
    renew_for(registry, admission.ok_or_else(cannot_sign)?, &node, &renew, Timestamp::now()).await
}

/// Signs again for a node that is still wanted.
pub async fn renew_for(
    registry: &Registry,
    admission: &Admission,
    node: &str,
    renew: &Renew,
    now: Timestamp,
) -> Renewed {
    registry.catch_up("").await?;
    if registry.store().get(&Key::object("", "nodes", "", node)).is_none() {
        return Err(forbidden("there is no such node any more"));
    }
    if !Signer::is_user_key(&renew.public_key) {
        return Err(Status::bad_request("the key is not one of a user of the bus"));
    }
    Ok(admission.sign(node, &renew.public_key, now))
}

/// Counts one use of the token down, at the same moment as everybody who does.
async fn use_once(registry: &Registry, node: &str, id: &str, now: Timestamp) -> Result<(), Status> {
    let kind = registry.kind("", "v1", "secrets").ok_or_else(crate::registry::part::no_such_part)?;
    let target = Target::object(kind, bootstrap::NAMESPACE, bootstrap::key(id).name());
    let context = Context { identity: own_identity(), now, ..Context::default() };
    let count_down = |present: &Object| {
        let known = BootstrapToken::read(present).ok_or_else(|| forbidden("the token is gone"))?;
        known.admits(node, now).map_err(|unfit| forbidden(&unfit.to_string()))?;
        let mut secret = present.clone();
        if let Some(left) = known.uses() {
            secret.set(&["data", bootstrap::USES], STANDARD.encode((left - 1).to_string()));
        }
        Ok(secret)
    };
    let options = WriteOptions::default();
    pipeline::change(registry, &context, &target, &Part::Whole, &options, count_down).await.map(drop)
}

fn find_token(registry: &Registry, id: &str) -> Option<BootstrapToken> {
    BootstrapToken::read(&decode(&registry.store().get(&bootstrap::key(id))?).ok()?)
}

/// Heard of a short time ago; by a server that has heard of no node yet, said to be ready.
fn lives(registry: &Registry, node: &str, now: Timestamp) -> bool {
    if let Some(beat) = registry.heartbeats().last(node) {
        return now.duration_since(beat.received) < LIVES;
    }
    let known = registry.store().get(&Key::object("", "nodes", "", node));
    let Some(Ok(known)) = known.map(|item| decode(&item)) else { return false };
    let conditions = known.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The address of the Service that name servers are behind.
fn name_servers(registry: &Registry) -> Vec<String> {
    let service = registry.store().get(&Key::object("", "services", "kube-system", "kube-dns"));
    let service = service.and_then(|item| decode(&item).ok());
    let address = service.map(|service| service.str_at(&["spec", "clusterIP"]).to_owned());
    address.filter(|address| !matches!(address.as_str(), "" | "None")).into_iter().collect()
}

fn forbidden(why: &str) -> Status {
    Status::new(Reason::Forbidden, why)
}

fn cannot_sign() -> Status {
    Status::unavailable(
        "this API server was given no key to sign the credentials of nodes with (--node-signer)",
    )
}

// === impl Admission ===

impl Admission {
    fn sign(&self, node: &str, public_key: &str, now: Timestamp) -> String {
        let now = now.as_second();
        self.signer.statement(&subject::escape(node), public_key, now, Some(now + LIFE_SECONDS))
    }
}
