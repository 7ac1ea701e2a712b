//! What stands in for the API servers: it answers commands straight from a real store on a real nats-server.

use bus::command::{Batch, Guard, Replies, Reply, Stored, Write};
use bus::leader::{Act, Answer, Ask, Standing};
use bus::{Bus, subject};
use model::{Class, Key, Object, Revision, Status};
use serde_json::{Value, json};
use store::jetstream::{JetStream, JetStreamOptions};
use store::{Action, Expect, Op, OpOutcome, Options, Store, Txn};

/// Starts it; the store is the one that it writes to.
pub async fn start(url: &str) -> Store {
    let bus = connect(url).await;
    let log = JetStream::connect(bus.client(), JetStreamOptions::default()).await.expect("a log");
    let store = Store::open(log, Options::default()).await.expect("a store");
    let mut requests = bus.serve(subject::WRITE, subject::API_SERVERS).await.expect("commands");
    let writes_to = store.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let store = writes_to.clone();
            tokio::spawn(async move {
                let batch: Batch = request.decode().expect("a batch");
                let guard = batch.guard.as_ref();
                let writes = batch.items.iter().map(|write| answer(&store, write, guard));
                let replies = futures::future::join_all(writes);
                let replies = Replies { replies: replies.await };
                request.answer(&replies).await;
            });
        }
    });
    let mut asks = bus.serve(subject::LEAD, subject::API_SERVERS).await.expect("questions");
    let fences_in = store.clone();
    tokio::spawn(async move {
        while let Some(request) = asks.next().await {
            let ask: Ask = request.decode().expect("a question");
            request.answer(&Answer { reply: Ok(lead(&fences_in, ask).await) }).await;
        }
    });
    store
}

fn fence() -> Key {
    Key::fence("pods/binder")
}

async fn lead(store: &Store, ask: Ask) -> Standing {
    let fence_of = |holder: &str| {
        let object = json!({"metadata": {"name": "binder"}, "holder": holder});
        Object::from_value(object).expect("an object")
    };
    let (before, holder) = match &ask.act {
        Act::Look => (None, None),
        Act::Take { holder, over } => (Some(*over), Some(holder.clone())),
        Act::Release { term } => (Some(*term), Some(String::new())),
    };
    if let (Some(before), Some(holder)) = (before, holder) {
        let expect = if before == 0 { Expect::Absent } else { Expect::At(Revision(before)) };
        if let Ok(stored) = commit(store, fence(), expect, &fence_of(&holder), None).await {
            let fences = vec![(Class::Pods, stored.revision)];
            return Standing { holder, term: stored.revision, fences };
        }
    }
    let Some(item) = store.get(&fence()) else { return Standing::default() };
    let object: Object = serde_json::from_slice(&item.value).expect("JSON");
    Standing { holder: object.str_at(&["holder"]).to_owned(), term: item.revision.0, fences: Vec::new() }
}

pub async fn connect(url: &str) -> Bus {
    Bus::connect(&bus::Config::new(url, "test")).await.expect("a bus")
}

/// Writes an object, new or not.
pub async fn put(store: &Store, resource: &str, object: Value) {
    let object = Object::from_value(object).expect("an object");
    let key = Key::object("", resource, object.namespace(), object.name());
    let written = commit(store, key, Expect::Any, &object, None).await;
    assert!(written.is_ok(), "{written:?}");
}

async fn answer(store: &Store, write: &Write, guard: Option<&Guard>) -> Reply {
    match write {
        Write::Bind { namespace, pod, uid, node } => bind(store, (namespace, pod, uid), node, guard).await,
        Write::Create { resource, namespace, object } => {
            let object: Object = serde_json::from_slice(object).expect("JSON");
            let key = Key::object(&resource.group, &resource.plural, namespace, object.name());
            commit(store, key, Expect::Absent, &object, None).await
        }
        Write::Patch { name, patch, .. } if name.starts_with("stuck") => {
            let patch: Value = serde_json::from_slice(patch).expect("JSON");
            let key = Key::object("", "pods", "default", name);
            let item = store.get(&key).ok_or_else(|| Status::not_found("", "pods", name))?;
            let mut pod: Object = serde_json::from_slice(&item.value).expect("JSON");
            pod.set(&["status", "conditions"], patch["status"]["conditions"].clone());
            commit(store, key, Expect::At(item.revision), &pod, None).await
        }
        _ => Ok(Stored::default()),
    }
}

async fn bind(
    store: &Store,
    (namespace, pod, uid): (&str, &str, &str),
    node: &str,
    guard: Option<&Guard>,
) -> Reply {
    let key = Key::object("", "pods", namespace, pod);
    // The scheduler may know of a pod before we do: nobody is refused on account of that.
    store.barrier().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let item = store.get(&key).ok_or_else(|| Status::not_found("", "pods", pod))?;
    let mut object: Object = serde_json::from_slice(&item.value).expect("JSON");
    if object.uid() != uid || !object.str_at(&["spec", "nodeName"]).is_empty() {
        return Err(Status::conflict("", "pods", pod, "it has a node, or is another"));
    }
    object.set(&["spec", "nodeName"], json!(node));
    commit(store, key, Expect::At(item.revision), &object, guard).await
}

async fn commit(store: &Store, key: Key, expect: Expect, object: &Object, guard: Option<&Guard>) -> Reply {
    let op = Op { key: key.clone(), expect, action: Action::Put(object.encode()) };
    let fence = guard.and_then(|guard| guard.fence(Class::Pods));
    let guards = fence.map(|revision| store::Guard { key: self::fence(), expect: Revision(revision) });
    let txn = Txn { guards: guards.into_iter().collect(), ops: vec![op], ..Txn::default() };
    let committed = store.commit(txn).await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    match (&committed.outcomes[0], guard) {
        (OpOutcome::Refused { .. }, Some(guard)) if !committed.guards_held => Err(guard.refusal()),
        (OpOutcome::Done(revision), _) => Ok(Stored { object: object.encode(), revision: revision.0 }),
        (OpOutcome::Refused { .. }, _) => Err(Status::modified("", key.resource(), key.name())),
    }
}
