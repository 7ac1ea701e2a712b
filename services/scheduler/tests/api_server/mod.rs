//! What stands in for the API servers: it answers commands straight from a real store on a real nats-server.

use bus::command::{Batch, Replies, Reply, Stored, Write};
use bus::{Bus, subject};
use model::{Key, Object, Status};
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
                let replies =
                    futures::future::join_all(batch.items.iter().map(|write| answer(&store, write)));
                let replies = Replies { replies: replies.await };
                request.answer(&replies).await;
            });
        }
    });
    store
}

pub async fn connect(url: &str) -> Bus {
    Bus::connect(&bus::Config { url: url.to_owned(), name: "test".to_owned() }).await.expect("a bus")
}

/// Writes an object, new or not.
pub async fn put(store: &Store, resource: &str, object: Value) {
    let object = Object::from_value(object).expect("an object");
    let key = Key::object("", resource, object.namespace(), object.name());
    let written = commit(store, key, Expect::Any, &object).await;
    assert!(written.is_ok(), "{written:?}");
}

async fn answer(store: &Store, write: &Write) -> Reply {
    match write {
        Write::Bind { namespace, pod, uid, node } => bind(store, namespace, pod, uid, node).await,
        Write::Create { resource, namespace, object } => {
            let object: Object = serde_json::from_slice(object).expect("JSON");
            let key = Key::object(&resource.group, &resource.plural, namespace, object.name());
            commit(store, key, Expect::Absent, &object).await
        }
        Write::Patch { name, patch, .. } if name.starts_with("stuck") => {
            let patch: Value = serde_json::from_slice(patch).expect("JSON");
            let key = Key::object("", "pods", "default", name);
            let item = store.get(&key).ok_or_else(|| Status::not_found("", "pods", name))?;
            let mut pod: Object = serde_json::from_slice(&item.value).expect("JSON");
            pod.set(&["status", "conditions"], patch["status"]["conditions"].clone());
            commit(store, key, Expect::At(item.revision), &pod).await
        }
        _ => Ok(Stored::default()),
    }
}

async fn bind(store: &Store, namespace: &str, pod: &str, uid: &str, node: &str) -> Reply {
    let key = Key::object("", "pods", namespace, pod);
    // The scheduler may know of a pod before we do: nobody is refused on account of that.
    store.barrier().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let item = store.get(&key).ok_or_else(|| Status::not_found("", "pods", pod))?;
    let mut object: Object = serde_json::from_slice(&item.value).expect("JSON");
    if object.uid() != uid || !object.str_at(&["spec", "nodeName"]).is_empty() {
        return Err(Status::conflict("", "pods", pod, "it has a node, or is another"));
    }
    object.set(&["spec", "nodeName"], json!(node));
    commit(store, key, Expect::At(item.revision), &object).await
}

async fn commit(store: &Store, key: Key, expect: Expect, object: &Object) -> Reply {
    let op = Op { key: key.clone(), expect, action: Action::Put(object.encode()) };
    let txn = Txn { ops: vec![op], ..Txn::default() };
    let committed = store.commit(txn).await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    match &committed.outcomes[0] {
        OpOutcome::Done(revision) => Ok(Stored { object: object.encode(), revision: revision.0 }),
        OpOutcome::Refused { .. } => Err(Status::modified("", key.resource(), key.name())),
    }
}
