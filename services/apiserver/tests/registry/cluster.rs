//! An API server without its doors, and short ways to ask it.

use std::sync::Arc;

use apiserver::identity::{FixedTokens, Issuer, SigningKey, Tokens};
use apiserver::registry::{Entropy, Registry, body, bootstrap};
use apiserver::verbs::{
    self, Context, DeleteOptions, Deleted, GetOptions, Identity, ListOptions, ListResult, Patch, PatchKind,
    Stored, Target, WatchItem, WatchOptions, WatchStream, WriteOptions,
};
use bytes::Bytes;
use futures::FutureExt;
use kinds::Table;
use model::{Object, Status};
use schema::Schemas;
use serde_json::{Value, json};
use store::memory::{Faults, MemoryLog};
use store::{HistoryBounds, Options, Store};

pub const NOW: &str = "2026-01-01T00:00:00Z";

/// One API server of a cluster whose log is `log`.
pub struct Cluster {
    pub registry: Arc<Registry>,
    pub log: MemoryLog,
}

pub fn now() -> jiff::Timestamp {
    NOW.parse().expect("a time")
}

pub fn context() -> Context {
    Context { identity: identity("tester", &["system:masters"]), now: now(), guard: None }
}

pub fn identity(user: &str, groups: &[&str]) -> Identity {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Identity { user: user.to_owned(), groups, ..Identity::default() }
}

/// A small pod that every rule accepts.
pub fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "redis"}], "terminationGracePeriodSeconds": 30}
    })
}

pub fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "data": {"a": "b"}})
}

pub fn value(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

impl Cluster {
    /// The first API server of a new cluster.
    pub async fn start() -> Cluster {
        Cluster::start_with(Faults::default()).await
    }

    pub async fn start_with(faults: Faults) -> Cluster {
        let cluster = Cluster::join(&MemoryLog::new(7, faults), 7).await;
        bootstrap::ensure(&cluster.registry, &context(), 6443).await.expect("a cluster begins");
        cluster
    }

    /// Another API server of the same cluster.
    pub async fn another(&self) -> Cluster {
        Cluster::join(&self.log, 8).await
    }

    /// Another API server of the same cluster, with a short memory.
    pub async fn with_history(&self, history: HistoryBounds) -> Cluster {
        Cluster::open(&self.log, 9, Options { history, ..Options::default() }).await
    }

    async fn join(log: &MemoryLog, seed: u64) -> Cluster {
        Cluster::open(log, seed, Options::default()).await
    }

    async fn open(log: &MemoryLog, seed: u64, options: Options) -> Cluster {
        let store = Store::open(log.clone(), options).await.expect("an open store");
        let registry = Registry::new(store, Table::builtin(), Schemas::builtin(), Entropy::from_seed(seed));
        let key = SigningKey::generate().expect("a key");
        let registry = registry.with_tokens(Tokens::new(Issuer::new(&key), FixedTokens::default()));
        Cluster { registry: Arc::new(registry), log: log.clone() }
    }

    /// `deployments.apps/web` or `pods/a/status`, in the namespace `default` if the kind has namespaces; with
    /// `other:` before it, in that one.
    pub fn target(&self, path: &str) -> Target {
        let (namespace, path) = path.split_once(':').unwrap_or(("default", path));
        let mut parts = path.split('/');
        let resource = parts.next().expect("a resource");
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let kind = self.registry.kind(group, "v1", plural).unwrap_or_else(|| panic!("no kind {resource}"));
        let namespace = if kind.namespaced { namespace } else { "" };
        let target = Target::object(kind, namespace, parts.next().unwrap_or_default());
        target.at(parts.next().unwrap_or_default())
    }

    pub fn body(&self, target: &Target, object: &Value) -> verbs::Body {
        let (api_version, kind) = match target.kind.subresource(&target.subresource) {
            Some(row) if row.group.is_empty() => (row.version.to_string(), row.kind.to_string()),
            Some(row) => (format!("{}/{}", row.group, row.version), row.kind.to_string()),
            None => (target.kind.api_version(), target.kind.kind.to_string()),
        };
        let json = object.to_string();
        body::decode(self.registry.schemas(), &api_version, &kind, json.as_bytes())
            .expect("a body of that type")
    }

    pub async fn try_create(&self, path: &str, object: Value) -> Result<Stored, Status> {
        self.try_create_as(&context().identity, path, object).await
    }

    pub async fn try_create_as(&self, who: &Identity, path: &str, object: Value) -> Result<Stored, Status> {
        let target = self.target(path);
        let body = self.body(&target, &object);
        let context = Context { identity: who.clone(), ..context() };
        verbs::create(&self.registry, &context, &target, body, &WriteOptions::default()).await
    }

    /// Gives a user a cluster role.
    pub async fn grant(&self, user: &str, role: &str) {
        let binding = json!({
            "metadata": {"name": format!("{role}-{user}")}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user}]
        });
        self.create("clusterrolebindings.rbac.authorization.k8s.io", binding).await;
    }

    pub async fn create(&self, path: &str, object: Value) -> Value {
        let created = self.try_create(path, object).await;
        value(&created.unwrap_or_else(|status| panic!("{path}: {status}")).object)
    }

    pub async fn try_get(&self, path: &str) -> Result<Value, Status> {
        let target = self.target(path);
        let stored = verbs::get(&self.registry, &context(), &target, &GetOptions::default()).await?;
        Ok(value(&stored.object))
    }

    pub async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    pub async fn is_gone(&self, path: &str) -> bool {
        self.try_get(path).await.is_err_and(|status| status.reason == model::Reason::NotFound)
    }

    pub async fn try_update(&self, path: &str, object: Value) -> Result<Value, Status> {
        let target = self.target(path);
        let body = self.body(&target, &object);
        let stored =
            verbs::update(&self.registry, &context(), &target, body, &WriteOptions::default()).await?;
        Ok(value(&stored.object))
    }

    pub async fn update(&self, path: &str, object: Value) -> Value {
        self.try_update(path, object).await.unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    pub async fn try_patch(&self, path: &str, kind: PatchKind, patch: Value) -> Result<Value, Status> {
        let target = self.target(path);
        let patch = Patch { kind, body: Bytes::from(patch.to_string()) };
        let stored =
            verbs::patch(&self.registry, &context(), &target, &patch, &WriteOptions::default()).await?;
        Ok(value(&stored.object))
    }

    pub async fn merge(&self, path: &str, patch: Value) -> Value {
        self.try_patch(path, PatchKind::Merge, patch)
            .await
            .unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    pub async fn try_delete(&self, path: &str, options: &DeleteOptions) -> Result<Deleted, Status> {
        verbs::delete(&self.registry, &context(), &self.target(path), options).await
    }

    pub async fn delete(&self, path: &str) -> Value {
        let deleted = self.try_delete(path, &DeleteOptions::default()).await;
        value(&deleted.unwrap_or_else(|status| panic!("{path}: {status}")).into_bytes())
    }

    pub async fn try_list(&self, path: &str, options: &ListOptions) -> Result<ListResult, Status> {
        verbs::list(&self.registry, &context(), &self.target(path), options).await
    }

    /// The names in a list.
    pub async fn names(&self, path: &str, options: &ListOptions) -> Vec<String> {
        let list = self.try_list(path, options).await.unwrap_or_else(|status| panic!("{path}: {status}"));
        names(&list)
    }

    pub async fn try_watch(&self, path: &str, options: &WatchOptions) -> Result<WatchStream, Status> {
        verbs::watch(&self.registry, &context(), &self.target(path), options).await
    }

    pub async fn watch(&self, path: &str, options: &WatchOptions) -> WatchStream {
        self.try_watch(path, options).await.unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    /// Binds a pod and says that it runs.
    pub async fn run(&self, pod: &str, node: &str) {
        self.create(&format!("pods/{pod}/binding"), json!({"target": {"kind": "Node", "name": node}})).await;
        self.merge(&format!("pods/{pod}/status"), json!({"status": {"phase": "Running"}})).await;
    }
}

pub fn names(list: &ListResult) -> Vec<String> {
    list.items.iter().map(|bytes| object(bytes).name().to_owned()).collect()
}

pub fn object(bytes: &Bytes) -> Object {
    serde_json::from_slice(bytes).expect("an object")
}

/// `ADDED a`, `BOOKMARK ` and so on, as many as come without waiting.
pub fn ready(stream: &mut WatchStream) -> Vec<String> {
    ready_items(stream).iter().map(text).collect()
}

pub fn ready_items(stream: &mut WatchStream) -> Vec<WatchItem> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
}

pub fn text(item: &WatchItem) -> String {
    format!("{} {}", item.kind.as_str(), object(&item.object).name())
}
