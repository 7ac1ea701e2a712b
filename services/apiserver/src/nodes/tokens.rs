//! Tokens for the pods of a node, so that its agent can lay them into their volumes.

use std::sync::Arc;

use bus::node::{TokenMade, TokenReply, TokenWish};
use bus::{Bus, BusError, Incoming, subject};
use jiff::Timestamp;
use model::{Key, Object, Status};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::identity::request::{self, BoundTo, Wish};
use crate::registry::{Registry, decode};

/// Requests that are answered at a time; more wait on the bus. Each is a signature, well under a millisecond.
const CONCURRENT: usize = 256;

/// Serves requests for tokens until `shutdown`.
pub async fn serve(registry: Arc<Registry>, bus: Bus, shutdown: CancellationToken) -> Result<(), BusError> {
    let mut requests = bus.serve(subject::TOKEN_ALL, subject::API_SERVERS).await?;
    let room = Arc::new(Semaphore::new(CONCURRENT));
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            request = requests.next() => request,
        };
        let Some(request) = request else { return Ok(()) };
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            answer(&registry, &request).await;
            drop(permit);
        });
    }
}

async fn answer(registry: &Registry, request: &Incoming) {
    let reply: TokenReply = match request.decode::<TokenWish>() {
        Ok(wish) => handle(registry, &subject::node_of(request.subject()), &wish, Timestamp::now()).await,
        Err(error) => Err(Status::bad_request(error.to_string())),
    };
    request.answer(&reply).await;
}

/// Makes a token for a pod of the node that asks, of a kind that the pod's volumes ask for.
pub async fn handle(registry: &Registry, node: &str, wish: &TokenWish, now: Timestamp) -> TokenReply {
    let TokenWish { namespace, pod: name, uid, audience, seconds } = wish;
    let key = Key::object("", "pods", namespace, name);
    // The pod may have been bound a moment ago, on another server.
    registry.catch_up("").await?;
    let item = registry.store().get(&key).ok_or_else(|| Status::not_found("", "pods", name))?;
    let pod = decode(&item)?;
    if pod.str_at(&["spec", "nodeName"]) != node {
        let why = format!("node {node:?} cannot speak for it");
        return Err(Status::forbidden("", "pods", name, &why));
    }
    if !asks_for(&pod, audience) {
        let why = format!("no volume of the pod asks for a token for {audience:?}");
        return Err(Status::forbidden("", "serviceaccounts/token", name, &why));
    }
    let account = pod.str_at(&["spec", "serviceAccountName"]).to_owned();
    let wish = Wish {
        namespace: namespace.clone(),
        account,
        audiences: Some(audience.clone()).filter(|audience| !audience.is_empty()).into_iter().collect(),
        seconds: i64::try_from(*seconds).unwrap_or(i64::MAX),
        bound: Some(BoundTo { kind: "Pod".to_owned(), name: name.clone(), uid: uid.clone() }),
    };
    let made = request::make(registry, &wish, now)?;
    let expires_ms = u64::try_from(made.expires.as_millisecond()).unwrap_or(0);
    Ok(TokenMade { token: made.token, expires_ms })
}

fn asks_for(pod: &Object, audience: &str) -> bool {
    let list = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let sources = list(pod.at(&["spec", "volumes"]))
        .into_iter()
        .flat_map(|volume| list(volume.pointer("/projected/sources")));
    sources
        .filter_map(|source| source.get("serviceAccountToken").cloned())
        .any(|token| token["audience"].as_str().unwrap_or("") == audience)
}
