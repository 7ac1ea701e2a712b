//! From what a token says to who shows it, as far as all that it is bound to is still there.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::Key;
use serde::Deserialize;
use store::Store;

use super::claims::{Claims, Named};
use super::{AUTHENTICATED, Refusal, service_account_groups, service_account_user};
use crate::verbs::Identity;

/// What is being deleted may speak for itself for so long after its time, to end in good order.
const LAST_WORDS: SignedDuration = SignedDuration::from_secs(60);

const EXTRA: &str = "authentication.kubernetes.io";

/// What of a stored object counts here.
#[derive(Deserialize)]
struct Bearing {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    deletion_timestamp: Option<Timestamp>,
}

/// Who shows a token with these claims.
pub fn identity(store: &Store, claims: &Claims, now: Timestamp) -> Result<Identity, Refusal> {
    let bound = &claims.bound;
    let account = &bound.serviceaccount;
    let user = service_account_user(&bound.namespace, &account.name);
    if claims.sub != user {
        return Err(Refusal::Invalid("its parts contradict each other"));
    }
    let there =
        |resource: &str, namespace: &str, named: &Named| is_there(store, resource, namespace, named, now);
    there("serviceaccounts", &bound.namespace, account)?;
    let parts = [("pods", &bound.pod), ("secrets", &bound.secret)];
    for (resource, named) in
        parts.into_iter().filter_map(|(resource, named)| Some((resource, named.as_ref()?)))
    {
        there(resource, &bound.namespace, named)?;
    }
    // Of a pod's token the node is only told; it ends with the pod.
    if let (Some(node), None) = (&bound.node, &bound.pod) {
        there("nodes", "", node)?;
    }
    let mut groups = service_account_groups(&bound.namespace);
    groups.push(AUTHENTICATED.to_owned());
    Ok(Identity { user, uid: account.uid.clone(), groups, extra: extra(claims) })
}

fn is_there(
    store: &Store,
    resource: &str,
    namespace: &str,
    named: &Named,
    now: Timestamp,
) -> Result<(), Refusal> {
    let gone = |why: &str| Refusal::Gone(format!("{resource} {:?} {why}", named.name));
    let item = store.get(&Key::object("", resource, namespace, &named.name));
    let item = item.ok_or_else(|| gone("no longer exists"))?;
    let bearing: Bearing = serde_json::from_slice(&item.value).map_err(|_| gone("cannot be read"))?;
    if bearing.metadata.uid != named.uid {
        return Err(gone("is another one of that name"));
    }
    match bearing.metadata.deletion_timestamp {
        Some(end) if now.duration_since(end) > LAST_WORDS => Err(gone("is being deleted")),
        _ => Ok(()),
    }
}

/// What is told of the token besides who shows it.
fn extra(claims: &Claims) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::from([(format!("{EXTRA}/credential-id"), vec![format!("JTI={}", claims.jti)])]);
    for (what, named) in [("node", &claims.bound.node), ("pod", &claims.bound.pod)] {
        if let Some(named) = named {
            extra.insert(format!("{EXTRA}/{what}-name"), vec![named.name.clone()]);
            extra.insert(format!("{EXTRA}/{what}-uid"), vec![named.uid.clone()]);
        }
    }
    extra
}
