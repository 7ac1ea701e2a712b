use std::sync::Arc;
use std::time::Duration;

use apiserver::definitions;
use apiserver::discovery::documents::{Documents, Name};
use apiserver::registry::Registry;
use apiserver::verbs::{
    self, Body, DeleteOptions, FieldValidation, GetOptions, ListOptions, PatchKind, Stored, Target,
    WatchOptions, WriteOptions,
};
use kinds::Kind;
use model::{Object, Status};
use runtime::Shutdown;
use serde_json::{Value, json};

use crate::cluster::{Cluster, context, ready, value};

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const MEMCACHEDS: &str = "memcacheds.cache.example.com";

/// A cluster whose API server follows definitions for as long as the guard lives.
struct Serving {
    cluster: Cluster,
    shutdown: Shutdown,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl std::ops::Deref for Serving {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

fn serve(cluster: Cluster) -> Serving {
    let shutdown = Shutdown::new();
    tokio::spawn(definitions::run(Arc::clone(&cluster.registry), shutdown.clone()));
    Serving { cluster, shutdown }
}

async fn start() -> Serving {
    serve(Cluster::start().await)
}

/// The definition of a Memcached with a status of its own and these properties of the spec.
fn definition(spec: Value) -> Value {
    json!({
        "metadata": {"name": MEMCACHEDS},
        "spec": {
            "group": "cache.example.com", "scope": "Namespaced",
            "names": {"plural": "memcacheds", "kind": "Memcached", "shortNames": ["mc"]},
            "versions": [version("v1", true, spec)],
        },
    })
}

fn version(name: &str, storage: bool, spec: Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "properties": {"nodes": {"type": "array", "items": {"type": "string"}}}},
        }}},
    })
}

fn size() -> Value {
    json!({"size": {"type": "integer", "format": "int32", "minimum": 0}})
}

fn memcached(name: &str, size: i64) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"size": size}})
}

/// Asks until the answer is there; time is paused, so this waits for tasks and not for a clock.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: it does not come")
}

fn condition(definition: &Value, kind: &str) -> Option<String> {
    let conditions = definition["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|one| one["type"] == kind)?;
    Some(format!("{} {}", condition["status"].as_str()?, condition["reason"].as_str()?))
}

async fn established(cluster: &Cluster, name: &str) -> Value {
    until("established", async || {
        let definition = cluster.get(&format!("{DEFINITIONS}/{name}")).await;
        condition(&definition, "Established").filter(|one| one.starts_with("True")).map(|_| definition)
    })
    .await
}

async fn define(cluster: &Cluster, definition: Value) -> Value {
    let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
    cluster.create(DEFINITIONS, definition).await;
    established(cluster, &name).await
}

fn target(kind: &Arc<Kind>, name: &str) -> Target {
    Target::object(Arc::clone(kind), "default", name)
}

async fn create(registry: &Registry, kind: &Arc<Kind>, object: Value) -> Result<Stored, Status> {
    let object = Object::from_value(object).expect("an object");
    let body = Body { object, ..Body::default() };
    let target = Target::collection(Arc::clone(kind), "default");
    verbs::create(registry, &context(), &target, body, &WriteOptions::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_served_once_its_names_are_accepted() {
    let cluster = start().await;
    let definition = define(&cluster, definition(size())).await;
    assert_eq!(condition(&definition, "NamesAccepted"), Some("True NoConflicts".to_owned()));
    assert_eq!(
        definition["status"]["acceptedNames"],
        json!({"plural": "memcacheds", "singular": "memcached", "kind": "Memcached", "listKind": "MemcachedList",
               "shortNames": ["mc"]})
    );
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    let made = cluster.create(MEMCACHEDS, memcached("a", 3)).await;
    assert_eq!((&made["apiVersion"], &made["kind"]), (&json!("cache.example.com/v1"), &json!("Memcached")));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(cluster.names(MEMCACHEDS, &ListOptions::default()).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn objects_are_judged_by_their_schema() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    let refused = cluster.try_create(MEMCACHEDS, memcached("a", -1)).await.expect_err("too small");
    assert_eq!(
        refused.message,
        "Memcached.cache.example.com \"a\" is invalid: spec.size: Invalid value: -1: spec.size in body should be \
         greater than or equal to 0"
    );
    assert_eq!((refused.code(), refused.causes[0].field.as_str()), (422, "spec.size"));
    let unknown =
        json!({"metadata": {"name": "a", "namespace": "default"}, "spec": {"size": 1, "colour": "red"}});
    let kind = cluster.registry.kind("cache.example.com", "v1", "memcacheds").expect("a kind");
    let with = async |field_validation| {
        let body =
            Body { object: Object::from_value(unknown.clone()).expect("an object"), ..Body::default() };
        let options = WriteOptions { field_validation, ..WriteOptions::default() };
        let collection = Target::collection(Arc::clone(&kind), "default");
        verbs::create(&cluster.registry, &context(), &collection, body, &options).await
    };
    let refused = with(FieldValidation::Strict).await.expect_err("strict");
    assert_eq!(
        refused.message,
        "Memcached in version \"v1\" cannot be handled as a Memcached: strict decoding error: unknown field \
         \"spec.colour\""
    );
    let warned = with(FieldValidation::Warn).await.expect("a warning");
    assert_eq!(warned.warnings, ["unknown field \"spec.colour\""]);
    assert_eq!(value(&warned.object)["spec"], json!({"size": 1}));
}

#[tokio::test(start_paused = true)]
async fn patches_and_the_status_change_their_part() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    cluster.create(MEMCACHEDS, memcached("a", 1)).await;
    let path = format!("{MEMCACHEDS}/a");
    let patched = cluster.merge(&path, json!({"spec": {"size": 2}, "status": {"nodes": ["x"]}})).await;
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(2), &json!(2)));
    assert_eq!(patched.get("status"), None);
    let status = format!("{path}/status");
    let labels = json!({"metadata": {"labels": {"l": "x"}}, "spec": {"size": 7}, "status": {"nodes": ["x"]}});
    let patched = cluster.merge(&status, labels).await;
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(2), &json!(2)));
    assert_eq!((&patched["status"]["nodes"], patched["metadata"].get("labels")), (&json!(["x"]), None));
    let refused = cluster.try_patch(&status, PatchKind::Merge, json!({"status": {"nodes": "x"}})).await;
    assert_eq!(
        refused.expect_err("not a list").message,
        "Memcached.cache.example.com \"a\" is invalid: status.nodes: Invalid value: \"string\": status.nodes in \
         body must be of type array: \"string\""
    );
    let tested = json!([{"op": "replace", "path": "/spec/size", "value": 5}]);
    assert_eq!(
        cluster.try_patch(&path, PatchKind::Json, tested).await.expect("a JSON patch")["spec"]["size"],
        5
    );
    let strategic = cluster.try_patch(&path, PatchKind::Strategic, json!({"spec": {"size": 6}})).await;
    assert_eq!(strategic.expect_err("no strategy").code(), 415);
    let blind = cluster.try_update(&path, memcached("a", 6)).await.expect_err("no version");
    assert!(blind.message.contains("metadata.resourceVersion: Invalid value"), "{}", blind.message);
}

#[tokio::test(start_paused = true)]
async fn a_default_of_the_status_is_there_although_a_client_cannot_set_it() {
    let cluster = start().await;
    let mut with_default = definition(size());
    let schema = &mut with_default["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["status"]["default"] = json!({"nodes": []});
    define(&cluster, with_default).await;
    let mut object = memcached("a", 1);
    object["status"] = json!({"nodes": ["x"]});
    assert_eq!(cluster.create(MEMCACHEDS, object).await["status"], json!({"nodes": []}));
    assert_eq!(cluster.get(&format!("{MEMCACHEDS}/a")).await["status"], json!({"nodes": []}));
}

#[tokio::test(start_paused = true)]
async fn without_a_status_of_its_own_it_is_a_field_like_others() {
    let cluster = start().await;
    let mut plain = definition(size());
    plain["spec"]["versions"][0].as_object_mut().expect("a version").remove("subresources");
    define(&cluster, plain).await;
    let mut object = memcached("a", 1);
    object["status"] = json!({"nodes": ["x"]});
    assert_eq!(cluster.create(MEMCACHEDS, object).await["status"]["nodes"], json!(["x"]));
    let path = format!("{MEMCACHEDS}/a");
    let patched = cluster.merge(&path, json!({"status": {"nodes": []}})).await;
    assert_eq!(patched["metadata"]["generation"], 2);
    let labelled = cluster.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn every_server_serves_it_from_the_log() {
    let one = start().await;
    let other = one.another().await;
    define(&one, definition(size())).await;
    // The other one does not follow definitions here: it looks when it is asked.
    let found =
        other.registry.find_kind("cache.example.com", "v1", "memcacheds").await.expect("the log is there");
    let kind = found.expect("the kind is there");
    create(&other.registry, &kind, memcached("a", 1)).await.expect("an object");
    assert_eq!(one.get(&format!("{MEMCACHEDS}/a")).await["spec"]["size"], 1);
    let later = one.another().await;
    assert!(later.registry.kind("cache.example.com", "v1", "memcacheds").is_some(), "known from the start");
    let missing = other.registry.find_kind("cache.example.com", "v1", "others").await;
    assert!(missing.expect("the log is there").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_written_was_judged_by_the_definition_of_that_moment() {
    let one = start().await;
    define(&one, definition(size())).await;
    let other = one.another().await;
    let kind = other.registry.kind("cache.example.com", "v1", "memcacheds").expect("a kind");
    let tighter = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum", "value": 3}]);
    one.try_patch(&format!("{DEFINITIONS}/{MEMCACHEDS}"), PatchKind::Json, tighter).await.expect("a change");
    let refused = create(&other.registry, &kind, memcached("a", 5)).await.expect_err("the row is old");
    assert_eq!(refused.causes[0].field, "spec.size");
    one.delete(&format!("{DEFINITIONS}/{MEMCACHEDS}")).await;
    let refused = create(&other.registry, &kind, memcached("a", 1)).await.expect_err("it is going");
    assert!(matches!(refused.code(), 404 | 405), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_definition_takes_its_objects_along() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    let mut held = memcached("held", 1);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(MEMCACHEDS, held).await;
    for n in 0..20 {
        cluster.create(MEMCACHEDS, memcached(&format!("n{n}"), n)).await;
    }
    let path = format!("{DEFINITIONS}/{MEMCACHEDS}");
    let marked = cluster.delete(&path).await;
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(condition(&marked, "Terminating"), Some("True InstanceDeletionPending".to_owned()));
    until("only what is held is left", async || {
        let left = cluster.names(MEMCACHEDS, &ListOptions::default()).await;
        (left == ["held"]).then_some(())
    })
    .await;
    let refused = cluster.try_create(MEMCACHEDS, memcached("late", 1)).await.expect_err("it is going");
    assert_eq!(refused.code(), 405);
    assert_eq!(refused.message, "create not allowed while custom resource definition is terminating");
    cluster.merge(&format!("{MEMCACHEDS}/held"), json!({"metadata": {"finalizers": null}})).await;
    until("the definition is gone", async || cluster.is_gone(&path).await.then_some(())).await;
    let row = async || cluster.registry.table().find("cache.example.com", "v1", "memcacheds");
    until("the kind is gone", async || row().await.is_none().then_some(())).await;
    define(&cluster, definition(size())).await;
    assert_eq!(cluster.names(MEMCACHEDS, &ListOptions::default()).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_changed_schema_counts_for_what_is_there() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    cluster.create(MEMCACHEDS, memcached("a", 1)).await;
    let path = format!("{MEMCACHEDS}/a");
    let spec = json!({"colour": {"type": "string", "default": "red"}});
    let changed = json!({"spec": {"versions": [version("v1", true, spec)]}});
    cluster.merge(&format!("{DEFINITIONS}/{MEMCACHEDS}"), changed).await;
    let shown = until("the new schema is there", async || {
        Some(cluster.get(&path).await).filter(|object| object["spec"].get("size").is_none())
    })
    .await;
    assert_eq!(shown["spec"], json!({"colour": "red"}));
    assert_eq!(shown["metadata"]["generation"], 1);
}

#[tokio::test(start_paused = true)]
async fn versions_share_one_storage() {
    let cluster = start().await;
    let mut two = definition(size());
    two["spec"]["versions"] = json!([
        version("v1", true, json!({"size": {"type": "integer"}, "colour": {"type": "string"}})),
        version("v1alpha1", false, size()),
    ]);
    define(&cluster, two).await;
    let registry = &cluster.registry;
    let old = registry.kind("cache.example.com", "v1alpha1", "memcacheds").expect("the old version");
    let made = value(&create(registry, &old, memcached("a", 1)).await.expect("an object").object);
    assert_eq!(made["apiVersion"], "cache.example.com/v1alpha1");
    let stored = registry.store().get(&model::Key::object("cache.example.com", "memcacheds", "default", "a"));
    assert!(stored.expect("it is stored").value.starts_with(b"{\"apiVersion\":\"cache.example.com/v1\""));
    cluster.merge(&format!("{MEMCACHEDS}/a"), json!({"spec": {"colour": "red"}})).await;
    let shown = verbs::get(registry, &context(), &target(&old, "a"), &GetOptions::default()).await;
    let shown = value(&shown.expect("an object").object);
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]),
        (&json!("cache.example.com/v1alpha1"), &json!({"size": 1}))
    );
    let list = verbs::list(registry, &context(), &target(&old, ""), &ListOptions::default()).await;
    assert_eq!(value(&list.expect("a list").items[0])["apiVersion"], "cache.example.com/v1alpha1");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_kind_changes_and_tells_everything_before() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    cluster.create(MEMCACHEDS, memcached("a", 1)).await;
    let mut events = cluster.watch(MEMCACHEDS, &WatchOptions::default()).await;
    cluster.merge(&format!("{MEMCACHEDS}/a"), json!({"spec": {"size": 2}})).await;
    assert_eq!(ready(&mut events), ["ADDED a", "MODIFIED a"]);
    cluster.delete(&format!("{DEFINITIONS}/{MEMCACHEDS}")).await;
    let mut told = Vec::new();
    while let Some(item) = events.next().await {
        told.push(item.kind.as_str());
    }
    assert!(told.len() <= 1, "{told:?}");
    let mut after = cluster.watch("namespaces", &WatchOptions::default()).await;
    assert!(after.next().await.is_some(), "built-in kinds go on");
}

#[tokio::test(start_paused = true)]
async fn names_belong_to_who_asked_first() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    let mut second = definition(size());
    second["metadata"]["name"] = json!("machines.cache.example.com");
    second["spec"]["names"] = json!({"plural": "machines", "kind": "Machine", "shortNames": ["mc"]});
    let path = format!("{DEFINITIONS}/machines.cache.example.com");
    cluster.create(DEFINITIONS, second).await;
    let refused = until("it is judged", async || {
        Some(cluster.get(&path).await).filter(|one| condition(one, "NamesAccepted").is_some())
    })
    .await;
    assert_eq!(condition(&refused, "NamesAccepted"), Some("False ShortNamesConflict".to_owned()));
    assert_eq!(condition(&refused, "Established"), Some("False NotAccepted".to_owned()));
    assert!(cluster.registry.kind("cache.example.com", "v1", "machines").is_none());
    cluster.delete(&format!("{DEFINITIONS}/{MEMCACHEDS}")).await;
    established(&cluster, "machines.cache.example.com").await;
    cluster.create("machines.cache.example.com", memcached("a", 1)).await;
}

#[tokio::test(start_paused = true)]
async fn fields_that_the_definition_names_can_be_selected() {
    let cluster = start().await;
    let mut selectable = definition(size());
    selectable["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.size"}]);
    define(&cluster, selectable).await;
    for (name, size) in [("a", 1), ("b", 2)] {
        cluster.create(MEMCACHEDS, memcached(name, size)).await;
    }
    let by = |field_selector: &str| ListOptions {
        field_selector: field_selector.to_owned(),
        ..ListOptions::default()
    };
    assert_eq!(cluster.names(MEMCACHEDS, &by("spec.size=2")).await, ["b"]);
    let refused = cluster.try_list(MEMCACHEDS, &by("spec.colour=red")).await.expect_err("not selectable");
    assert_eq!(refused.message, "field label not supported: spec.colour");
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_is_wrong_is_refused() {
    let cluster = start().await;
    let refused =
        cluster.try_create(DEFINITIONS, definition(json!({"size": {}}))).await.expect_err("no type");
    let path = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].type";
    assert_eq!(
        refused.message,
        format!(
            "CustomResourceDefinition.apiextensions.k8s.io \"{MEMCACHEDS}\" is invalid: {path}: Required value: must \
             not be empty for specified object fields"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn documents_tell_of_it() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    let documents = Documents::default();
    let path = Name::OpenApi("apis/cache.example.com/v1".to_owned());
    let document =
        documents.get(cluster.registry.table(), path.clone()).await.expect("the group version is there");
    let document: Value = serde_json::from_slice(&document.bytes()).expect("JSON");
    let ty = &document["components"]["schemas"]["com.example.cache.v1.Memcached"];
    assert_eq!(ty["properties"]["spec"]["properties"]["size"]["minimum"], 0);
    let get =
        &document["paths"]["/apis/cache.example.com/v1/namespaces/{namespace}/memcacheds/{name}"]["get"];
    assert_eq!(
        get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/com.example.cache.v1.Memcached"
    );
    assert!(document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
    let patch =
        &document["paths"]["/apis/cache.example.com/v1/namespaces/{namespace}/memcacheds/{name}"]["patch"];
    let formats = patch["requestBody"]["content"].as_object().expect("formats");
    assert!(!formats.contains_key("application/strategic-merge-patch+json"), "kubectl would use it");
    let definition = format!("{DEFINITIONS}/{MEMCACHEDS}");
    cluster.delete(&definition).await;
    until("it is gone", async || cluster.is_gone(&definition).await.then_some(())).await;
    until("the document is gone", async || {
        documents.get(cluster.registry.table(), path.clone()).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_kind_that_is_going_can_still_be_deleted_one_by_one() {
    let cluster = start().await;
    define(&cluster, definition(size())).await;
    cluster.create(MEMCACHEDS, memcached("a", 1)).await;
    let options = DeleteOptions { uid: Some("another".to_owned()), ..DeleteOptions::default() };
    let refused = cluster.try_delete(&format!("{MEMCACHEDS}/a"), &options).await.expect_err("another object");
    assert_eq!(refused.code(), 409);
    cluster.delete(&format!("{MEMCACHEDS}/a")).await;
    assert!(cluster.is_gone(&format!("{MEMCACHEDS}/a")).await);
}
