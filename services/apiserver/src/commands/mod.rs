//! Writes by bus command: services ask the registry for what clients ask over HTTP, many things in one message.
//!
//! ```text
//!  cmd.write ── Batch ──> each item as a request of its own, at the same time ──> Replies, in the items' order
//! ```
//! The items of a batch commit together with whatever else is under way, so a thousand bindings are a few messages
//! of the log. Who asks is taken from the message: the bus lets only services publish here.

use std::sync::Arc;
use std::time::Duration;

use bus::command::{Batch, ITEMS_MAX, PatchFormat, Replies, Reply, Resource, Write};
use bus::{Bus, BusError, Incoming, command, subject};
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kinds::Verb;
use model::{Key, Object, Reason, Status};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::identity::{AUTHENTICATED, service_account_groups, service_account_of};
use crate::registry::binding::{Binding, bind};
use crate::registry::{Part, Registry, body, part};
use crate::verbs::{self, Context, DeleteOptions, Identity, Patch, PatchKind, Target, WriteOptions};

mod metrics;
mod permission;

/// Batches that are carried out at a time; more wait on the bus. Each service has a few under way.
const BATCHES: usize = 64;
/// Items of one batch under way at a time: what one log message holds comfortably.
const ITEMS: usize = 256;

/// Serves commands until `shutdown`.
pub async fn serve(registry: Arc<Registry>, bus: Bus, shutdown: CancellationToken) -> Result<(), BusError> {
    let mut requests = bus.serve(subject::WRITE, subject::API_SERVERS).await?;
    let room = Arc::new(Semaphore::new(BATCHES));
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            request = requests.next() => request,
        };
        let Some(request) = request else { return Ok(()) };
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let registry = Arc::clone(&registry);
        let span = info_span!("commands");
        request.adopt(&span);
        let work = async move {
            answer(&registry, &request).await;
            drop(permit);
        };
        tokio::spawn(work.instrument(span));
    }
}

async fn answer(registry: &Registry, request: &Incoming) {
    let replies = match request.decode::<Batch>() {
        Ok(batch) => handle(registry, batch, Timestamp::now()).await,
        Err(error) => {
            // Without items there is nothing to answer each of; whoever asked sees that they do not match.
            warn!("a batch of commands cannot be read: {error}");
            Replies::default()
        }
    };
    request.answer(&replies).await;
}

/// Carries out a batch; an answer for each item, in their order.
pub async fn handle(registry: &Registry, batch: Batch, now: Timestamp) -> Replies {
    if batch.items.len() > ITEMS_MAX {
        let why = format!("a batch has {ITEMS_MAX} items at most, this one has {}", batch.items.len());
        return Replies { replies: batch.items.iter().map(|_| Err(Status::bad_request(&why))).collect() };
    }
    let context = Context { identity: identity(&batch.user), now, guard: batch.guard.map(Arc::new) };
    let patience = u64::try_from(now.as_millisecond()).map_or(0, |now| batch.deadline_ms.saturating_sub(now));
    let deadline = Instant::now() + Duration::from_millis(patience);
    let replies = stream::iter(batch.items)
        .map(|item| {
            let context = &context;
            async move {
                let verb = verb_of(&item);
                // Whoever asked has given up and asks again, perhaps for something else.
                let reply = match Instant::now() >= deadline {
                    true => Err(Status::new(Reason::Timeout, "the deadline of the request has passed")),
                    false => permitted(registry, context, item).await,
                };
                metrics::count(verb, &reply);
                reply
            }
        })
        .buffered(ITEMS)
        .collect()
        .await;
    Replies { replies }
}

/// A service's name and the groups that go with it.
pub(crate) fn identity(user: &str) -> Identity {
    let mut groups = vec![AUTHENTICATED.to_owned()];
    if let Some((namespace, _)) = service_account_of(user) {
        groups.extend(service_account_groups(namespace));
    }
    if user.starts_with("system:node:") {
        groups.push("system:nodes".to_owned());
    }
    Identity { user: user.to_owned(), groups, ..Identity::default() }
}

fn verb_of(item: &Write) -> &'static str {
    match item {
        Write::Create { .. } => "create",
        Write::Update { .. } => "update",
        Write::Patch { .. } => "patch",
        Write::Delete { .. } => "delete",
        Write::Bind { .. } => "bind",
    }
}

/// Carries out an item if whoever asks may do that.
async fn permitted(registry: &Registry, context: &Context, item: Write) -> Reply {
    registry.authorizer().authorize(&context.identity, &permission::attributes(&item)).await?;
    carry_out(registry, context, item).await
}

async fn carry_out(registry: &Registry, context: &Context, item: Write) -> Reply {
    let options = WriteOptions::default();
    match item {
        Write::Create { resource, namespace, object } => {
            let target = target(registry, &resource, &namespace, "").await?;
            let body = decode(registry, &target, &Part::Whole, &object)?;
            verbs::create(registry, context, &target, body, &options).await.map(reply)
        }
        Write::Update { resource, namespace, name, subresource, object } => {
            let target = target(registry, &resource, &namespace, &name).await?.at(&subresource);
            let part = Part::of(&target, Verb::Update)?;
            let body = decode(registry, &target, &part, &object)?;
            verbs::update(registry, context, &target, body, &options).await.map(reply)
        }
        Write::Patch { resource, namespace, name, subresource, format, patch } => {
            let target = target(registry, &resource, &namespace, &name).await?.at(&subresource);
            let patch = Patch { kind: patch_kind(format), body: patch };
            verbs::patch(registry, context, &target, &patch, &options).await.map(reply)
        }
        Write::Delete { resource, namespace, name, options } => {
            let target = target(registry, &resource, &namespace, &name).await?;
            let options = delete_options(&options)?;
            let (deleted, revision) = verbs::delete_noted(registry, context, &target, &options).await?;
            Ok(command::Stored { object: deleted.into_bytes(), revision: revision.0 })
        }
        Write::Bind { namespace, pod, uid, node } => {
            let binding = Binding { namespace, pod, uid, node, ..Binding::default() };
            let (object, revision) = bind(registry, context, &binding, false).await?;
            Ok(command::Stored { object, revision: revision.0 })
        }
    }
}

fn reply(stored: verbs::Stored) -> command::Stored {
    command::Stored { object: stored.object, revision: stored.revision.0 }
}

async fn target(
    registry: &Registry,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Target, Status> {
    let Resource { group, version, plural } = resource;
    let kind = match registry.find_kind(group, version, plural).await? {
        Some(kind) => kind,
        // Whoever deletes by what the log shows names the version that objects are stored in, served or not.
        None => {
            let stored = registry.table().stored(&Key::prefix(group, plural, None)).cloned();
            stored.filter(|row| row.version == *version).ok_or_else(part::no_such_part)?
        }
    };
    if kind.namespaced && namespace.is_empty() {
        return Err(Status::bad_request(
            "an empty namespace may not be set when a resource name is provided",
        ));
    }
    Ok(Target::object(kind, namespace, name))
}

fn decode(registry: &Registry, target: &Target, part: &Part, json: &Bytes) -> Result<verbs::Body, Status> {
    let (api_version, kind) = part.type_of_body(target);
    body::decode(registry.schemas(), &api_version, &kind, json)
}

fn delete_options(json: &Bytes) -> Result<DeleteOptions, Status> {
    if json.is_empty() {
        return Ok(DeleteOptions::default());
    }
    let object: Object = serde_json::from_slice(json)
        .map_err(|error| Status::bad_request(format!("DeleteOptions cannot be read: {error}")))?;
    DeleteOptions::from_object(&object)
}

const fn patch_kind(format: PatchFormat) -> PatchKind {
    match format {
        PatchFormat::Json => PatchKind::Json,
        PatchFormat::Merge => PatchKind::Merge,
        PatchFormat::Strategic => PatchKind::Strategic,
    }
}
