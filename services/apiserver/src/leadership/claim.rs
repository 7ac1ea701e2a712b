//! Fences: taken one class after the other, each only if nobody has taken over since.
//!
//! A transaction touches one class, so who writes several has a fence in each. The one in the first class says who
//! leads; its revision is the term, and a fence in another class is never given back to an earlier term. So when a
//! leader has all of its fences, nothing that an earlier one sends counts in any of them.

use bus::leader::{Ask, SILENCE_SECONDS, Standing};
use model::{Class, Key, Object, Reason, Revision, Status};
use serde_json::{Value, json};
use store::Item;

use super::leases;
use crate::registry::{Outcome, Registry, Verdict, decode};
use crate::verbs::Context;

/// The key of a role's fence in a class.
pub fn fence_key(class: Class, role: &str) -> Key {
    Key::fence(&format!("{}/{role}", class.token()))
}

/// Who leads by the fence in the first class.
pub fn standing(registry: &Registry, fence: &Key) -> Standing {
    let Some(item) = registry.store().get(fence) else { return Standing::default() };
    let holder = decode(&item).map(|lease| lease.str_at(&["spec", "holderIdentity"]).to_owned());
    Standing { holder: holder.unwrap_or_default(), term: item.revision.0, fences: Vec::new() }
}

/// Makes `holder` the leader, or says who is.
pub async fn take(
    registry: &Registry,
    context: &Context,
    ask: &Ask,
    holder: &str,
    over: u64,
) -> Result<Standing, Status> {
    let mut standing = Standing { holder: holder.to_owned(), ..Standing::default() };
    for class in &ask.classes {
        let key = fence_key(*class, &ask.role);
        let term = standing.term;
        let taken = match term {
            0 => write(registry, context, &key, |there| first(there, ask, holder, over, context)).await,
            term => write(registry, context, &key, |there| further(there, ask, holder, term)).await,
        };
        let revision = match taken {
            Ok(revision) => revision,
            // Somebody was first, or took over before all was taken.
            Err(status) if status.reason == Reason::Conflict => {
                return Ok(self::standing(registry, &fence_key(ask.classes[0], &ask.role)));
            }
            Err(status) => return Err(status),
        };
        standing.term = if term == 0 { revision.0 } else { term };
        standing.fences.push((*class, revision.0));
    }
    Ok(standing)
}

/// Ends a term, if it has not ended.
pub async fn release(
    registry: &Registry,
    context: &Context,
    fence: &Key,
    term: u64,
) -> Result<Standing, Status> {
    let judge = |there: Option<&Item>| match there {
        Some(item) if item.revision.0 == term => {
            let mut lease = decode(item)?;
            lease.set(&["spec", "holderIdentity"], "");
            Ok(Verdict::Put(lease.encode(), Vec::new()))
        }
        _ => Ok(Verdict::Keep),
    };
    registry.change(context, fence, false, judge).await?;
    Ok(standing(registry, fence))
}

async fn write(
    registry: &Registry,
    context: &Context,
    key: &Key,
    mut make: impl FnMut(Option<&Item>) -> Result<Object, Status>,
) -> Result<Revision, Status> {
    let judge = |there: Option<&Item>| Ok(Verdict::Put(make(there)?.encode(), Vec::new()));
    match registry.change(context, key, false, judge).await? {
        Outcome::Put(_, revision) => Ok(revision),
        other => Err(Status::internal(format!("taking {key} ended as {other:?}"))),
    }
}

/// The fence in the first class: the Lease that people see.
fn first(
    there: Option<&Item>,
    ask: &Ask,
    holder: &str,
    over: u64,
    context: &Context,
) -> Result<Object, Status> {
    if there.map_or(0, |item| item.revision.0) != over {
        return Err(taken_over(&ask.role));
    }
    let before = there.map(decode).transpose()?.unwrap_or_default();
    let now = leases::micro_time(context.now);
    let transitions = before.at(&["spec", "leaseTransitions"]).and_then(Value::as_u64);
    let transitions = match (transitions, before.str_at(&["spec", "holderIdentity"])) {
        (None, _) => 0,
        (Some(count), same) if same == holder => count,
        (Some(count), _) => count + 1,
    };
    let since = before.str_at(&["metadata", "creationTimestamp"]);
    let since = if since.is_empty() {
        context.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        since.to_owned()
    };
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": ask.role, "namespace": leases::NAMESPACE, "uid": leases::uid(&ask.role), "creationTimestamp": since,
        },
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": SILENCE_SECONDS, "leaseTransitions": transitions,
            "acquireTime": now, "renewTime": now,
        },
    });
    Object::from_value(lease).ok_or_else(|| Status::internal("a Lease is an object"))
}

/// A fence in another class.
fn further(there: Option<&Item>, ask: &Ask, holder: &str, term: u64) -> Result<Object, Status> {
    let before = there.map(decode).transpose()?.unwrap_or_default();
    if before.at(&["term"]).and_then(Value::as_u64).is_some_and(|later| later > term) {
        return Err(taken_over(&ask.role));
    }
    let fence = json!({"metadata": {"name": ask.role}, "holder": holder, "term": term});
    Object::from_value(fence).ok_or_else(|| Status::internal("a fence is an object"))
}

fn taken_over(role: &str) -> Status {
    Status::conflict(leases::GROUP, leases::PLURAL, role, "another replica has taken over")
}
