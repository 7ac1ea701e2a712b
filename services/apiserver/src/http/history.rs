//! `/sampan/history?key=…`: what was written about objects, as far back as this server's history goes.
//!
//! ```text
//!  GET /sampan/history?key=core/pods/default/web-1&key=apps/replicasets/default/web
//!    {"since": 4096, "reached": 91135, "writes": [{"key": …, "revision": …, "time": …, "trace": …, "object": {…}}, …]}
//! ```
//! The history is the window from which watches resume. It has what no object says of itself: which write came when,
//! to the millisecond by the log's clock, and in which order. Whoever asks must be allowed to `get` each of the
//! objects, and the path itself.

use jiff::Timestamp;
use model::{Key, Reason, Status};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Change, Recalled};

use crate::authorization::{Attributes, On, Resource};
use crate::registry::Registry;
use crate::verbs::Identity;

/// Where it is.
pub const PATH: &str = "/sampan/history";

/// Objects in one question: a pod, what it belongs to, and room.
const KEYS_MAX: usize = 16;
/// Writes in one answer, the newest ones: more than any pod sees between its creation and its start.
const WRITES_MAX: usize = 1_000;

#[derive(Serialize)]
struct History<'a> {
    /// After this revision no write is missing.
    since: u64,
    /// How far the server's state is.
    reached: u64,
    writes: Vec<Write<'a>>,
}

#[derive(Serialize)]
struct Write<'a> {
    key: &'a str,
    revision: u64,
    /// The message of the log.
    sequence: u64,
    /// When the log took it; nothing where only a checkpoint tells of the write.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Whether it made the object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    created: bool,
    /// A `traceparent`, where the write was traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// The object from there on; nothing where it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a RawValue>,
}

/// The history of these keys as JSON.
pub async fn of(registry: &Registry, identity: &Identity, keys: &[&str]) -> Result<String, Status> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(Status::bad_request(format!("between 1 and {KEYS_MAX} parameters \"key\" are needed")));
    }
    let keys: Vec<Key> = keys.iter().copied().map(Key::from_raw).collect();
    for key in &keys {
        registry.authorizer().authorize(identity, &reading(key)?).await?;
    }
    // Somebody asks for what was just answered to them, perhaps by another server.
    registry.catch_up(keys[0].as_str()).await?;
    let (recalled, since) = registry.store().recall(&keys);
    let newest = &recalled[recalled.len().saturating_sub(WRITES_MAX)..];
    let left_out = recalled.len() > newest.len();
    let history = History {
        since: match newest.first() {
            Some(first) if left_out => first.change.revision().0 - 1,
            _ => since.0,
        },
        reached: registry.store().revision_of(keys[0].as_str()).0,
        writes: newest.iter().map(write).collect(),
    };
    serde_json::to_string(&history).map_err(Status::internal)
}

fn reading(key: &Key) -> Result<Attributes<'_>, Status> {
    if key.resource().is_empty() || key.name().is_empty() || key.group() == "fence" {
        let why = format!("{key:?} is no key: group/resource/namespace/name, as core/pods/default/web");
        return Err(Status::new(Reason::BadRequest, why));
    }
    let on = On::Resource(Resource {
        group: key.group(),
        resource: key.resource(),
        namespace: key.namespace(),
        name: key.name(),
        ..Resource::default()
    });
    Ok(Attributes { verb: "get", on })
}

fn write(recalled: &Recalled) -> Write<'_> {
    let revision = recalled.change.revision();
    Write {
        key: recalled.change.key().as_str(),
        revision: revision.0,
        sequence: revision.sequence(),
        time: recalled.time.and_then(shown),
        created: matches!(&recalled.change, Change::Put { previous: None, .. }),
        trace: recalled.trace.map(String::from),
        object: match &recalled.change {
            Change::Put { item, .. } => serde_json::from_slice(&item.value).ok(),
            Change::Delete { .. } => None,
        },
    }
}

fn shown(milliseconds: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(milliseconds).ok()?).ok()?;
    Some(format!("{time:.3}"))
}
