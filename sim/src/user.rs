//! Somebody who uses the cluster through whichever API server answers, and remembers what they were told.

use std::sync::Arc;
use std::time::Duration;

use apiserver::registry::{Registry, body};
use apiserver::verbs::{
    self, Context, DeleteOptions, GetOptions, Identity, Patch, PatchKind, Propagation, Stored, Target,
    WriteOptions,
};
use jiff::Timestamp;
use model::{Reason, Revision, Status};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::check::ledger::TOKEN;
use crate::world::World;

/// A kind, as a user names it.
#[derive(Clone, Copy, Debug)]
pub struct What {
    /// Its group.
    pub group: &'static str,
    /// Plural.
    pub plural: &'static str,
    /// `apiVersion`
    pub version: &'static str,
    /// `kind`
    pub kind: &'static str,
}

/// `v1` ConfigMap
pub const CONFIG_MAP: What = What { group: "", plural: "configmaps", version: "v1", kind: "ConfigMap" };
/// `v1` Namespace
pub const NAMESPACE: What = What { group: "", plural: "namespaces", version: "v1", kind: "Namespace" };
/// `v1` Node
pub const NODE: What = What { group: "", plural: "nodes", version: "v1", kind: "Node" };
/// `apps/v1` Deployment
pub const DEPLOYMENT: What =
    What { group: "apps", plural: "deployments", version: "apps/v1", kind: "Deployment" };
/// `apps/v1` StatefulSet
pub const STATEFUL_SET: What =
    What { group: "apps", plural: "statefulsets", version: "apps/v1", kind: "StatefulSet" };
/// `batch/v1` Job
pub const JOB: What = What { group: "batch", plural: "jobs", version: "batch/v1", kind: "Job" };

/// What a user knows after a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It happened.
    Done(T),
    /// It did not.
    Refused(Status),
    /// No answer came, or one that says nothing.
    Unknown,
}

/// A user.
pub struct User {
    /// Where.
    pub world: Arc<World>,
    /// Their chance.
    pub random: StdRng,
    name: String,
}

/// A client gives up after that.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before somebody tries again.
const PAUSE: Duration = Duration::from_millis(300);

// === impl User ===

impl User {
    /// A user of that name.
    pub fn new(world: &Arc<World>, name: &str) -> User {
        User { world: world.clone(), random: world.chance(name), name: name.to_owned() }
    }

    /// Does nothing for up to that long.
    pub async fn pause(&mut self, longest: Duration) {
        let pause = self.random.random_range(Duration::ZERO..=longest);
        tokio::time::sleep(pause).await;
    }

    /// Makes an object.
    pub async fn create(&mut self, what: What, namespace: &str, object: Value) -> Outcome<Value> {
        let (token, object) = self.marked(object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = key(what, namespace, &name);
        let outcome = self
            .ask("create", &key, async |registry, context| {
                let target = target(registry, what, namespace, "")?;
                let body =
                    body::decode(registry.schemas(), what.version, what.kind, object.to_string().as_bytes())?;
                verbs::create(registry, &context, &target, body, &WriteOptions::default()).await
            })
            .await;
        self.written(&token, &key, None, outcome)
    }

    /// Changes an object by a merge patch.
    pub async fn patch(&mut self, what: What, namespace: &str, name: &str, patch: Value) -> Outcome<Value> {
        let (token, patch) = self.marked(patch);
        let key = key(what, namespace, name);
        let patch = Patch { kind: PatchKind::Merge, body: patch.to_string().into() };
        let outcome = self
            .ask("patch", &key, async |registry, context| {
                let target = target(registry, what, namespace, name)?;
                verbs::patch(registry, &context, &target, &patch, &WriteOptions::default()).await
            })
            .await;
        self.written(&token, &key, None, outcome)
    }

    /// Replaces an object by a version of it that was read.
    pub async fn update(&mut self, what: What, namespace: &str, object: Value) -> Outcome<Value> {
        let (token, object) = self.marked(object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = key(what, namespace, &name);
        let replaces = revision_of(&object);
        let outcome = self
            .ask("update", &key, async |registry, context| {
                let target = target(registry, what, namespace, &name)?;
                let body =
                    body::decode(registry.schemas(), what.version, what.kind, object.to_string().as_bytes())?;
                verbs::update(registry, &context, &target, body, &WriteOptions::default()).await
            })
            .await;
        self.written(&token, &key, replaces, outcome)
    }

    /// Reads an object as it is now.
    pub async fn get(&mut self, what: What, namespace: &str, name: &str) -> Outcome<Value> {
        let key = key(what, namespace, name);
        let outcome = self
            .ask("get", &key, async |registry, context| {
                let target = target(registry, what, namespace, name)?;
                verbs::get(registry, &context, &target, &GetOptions::default()).await
            })
            .await;
        match outcome {
            Outcome::Done(stored) => Outcome::Done(value(&stored)),
            Outcome::Refused(status) => Outcome::Refused(status),
            Outcome::Unknown => Outcome::Unknown,
        }
    }

    /// Asks that an object goes, until somebody says that it will or has.
    pub async fn delete(
        &mut self,
        what: What,
        namespace: &str,
        name: &str,
        propagation: Option<Propagation>,
    ) {
        let key = key(what, namespace, name);
        loop {
            let options = DeleteOptions { propagation, ..DeleteOptions::default() };
            let outcome = self
                .ask("delete", &key, async |registry, context| {
                    let target = target(registry, what, namespace, name)?;
                    verbs::delete_noted(registry, &context, &target, &options).await
                })
                .await;
            match outcome {
                Outcome::Done((_, revision)) => {
                    if revision != Revision::ZERO {
                        self.world.ledger.lock().acknowledge_deletion(&key, revision);
                    }
                    return;
                }
                Outcome::Refused(_) => return,
                Outcome::Unknown => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The object with a mark by which it is found in the log.
    fn marked(&self, mut object: Value) -> (String, Value) {
        let token = self.world.ledger.lock().token();
        object["metadata"]["annotations"][TOKEN] = json!(token);
        (token, object)
    }

    fn written(
        &self,
        token: &str,
        key: &str,
        replaces: Option<Revision>,
        outcome: Outcome<Stored>,
    ) -> Outcome<Value> {
        let mut ledger = self.world.ledger.lock();
        match outcome {
            Outcome::Done(stored) => {
                ledger.acknowledge(token, key, stored.revision, replaces);
                Outcome::Done(value(&stored))
            }
            Outcome::Refused(status) => {
                ledger.refuse(token);
                Outcome::Refused(status)
            }
            Outcome::Unknown => Outcome::Unknown,
        }
    }

    /// Asks one of the API servers that are there.
    async fn ask<T>(
        &mut self,
        verb: &str,
        key: &str,
        question: impl AsyncFnOnce(&Registry, Context) -> Result<T, Status>,
    ) -> Outcome<T> {
        let servers = self.world.api_servers();
        if servers.is_empty() {
            tokio::time::sleep(PAUSE).await;
            return Outcome::Unknown;
        }
        let (server, registry) = servers[self.random.random_range(0..servers.len())].clone();
        self.pause(Duration::from_millis(5)).await;
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        let identity = Identity { user: self.name.clone(), groups, ..Identity::default() };
        let context = Context { identity, now: Timestamp::now(), ..Context::default() };
        let answer = tokio::select! {
            biased;
            () = server.process.fate().death() => None,
            answer = question(&registry, context) => Some(answer),
            () = tokio::time::sleep(PATIENCE) => None,
        };
        let outcome = outcome(answer);
        let told = match &outcome {
            Outcome::Done(_) => "done".to_owned(),
            Outcome::Refused(status) => status.to_string(),
            Outcome::Unknown => "unknown".to_owned(),
        };
        self.world
            .trace
            .say(format_args!("user {} {verb} {key} at {}: {told}", self.name, server.process.name));
        outcome
    }
}

fn outcome<T>(answer: Option<Result<T, Status>>) -> Outcome<T> {
    match answer {
        Some(Ok(done)) => Outcome::Done(done),
        Some(Err(status)) => match status.reason {
            Reason::Conflict
            | Reason::AlreadyExists
            | Reason::NotFound
            | Reason::Invalid
            | Reason::Forbidden
            | Reason::BadRequest => Outcome::Refused(status),
            _ => Outcome::Unknown,
        },
        None => Outcome::Unknown,
    }
}

fn target(registry: &Registry, what: What, namespace: &str, name: &str) -> Result<Target, Status> {
    let version = what.version.rsplit('/').next().unwrap_or("v1");
    let kind = registry.kind(what.group, version, what.plural).expect("the kind is built in");
    Ok(Target::object(kind, namespace, name))
}

fn key(what: What, namespace: &str, name: &str) -> String {
    model::Key::object(what.group, what.plural, namespace, name).as_str().to_owned()
}

fn value(stored: &Stored) -> Value {
    serde_json::from_slice(&stored.object).expect("an answer is JSON")
}

/// `metadata.resourceVersion`
pub fn revision_of(object: &Value) -> Option<Revision> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok().map(Revision)
}
