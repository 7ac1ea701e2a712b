//! The Rust client that operators use.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::Discovery;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use serde_json::json;

use crate::server::Server;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

#[tokio::test]
async fn typed_objects_are_made_listed_patched_and_deleted() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.client().await, "default");
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    let mut changed = made.clone();
    changed.data = Some([("k".to_owned(), "2".to_owned())].into());
    let replaced = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(made.metadata.resource_version, replaced.metadata.resource_version);
    let conflict = maps.replace("a", &PostParams::default(), &changed).await.unwrap_err();
    assert!(matches!(&conflict, kube::Error::Api(status) if status.code == 409), "{conflict}");
    let patch = json!({"metadata": {"labels": {"app": "web"}}});
    maps.patch("a", &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
    let found = maps.list(&ListParams::default().labels("app=web")).await.unwrap();
    assert_eq!(found.items.len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn dynamic_objects_are_found_by_discovery() {
    let server = Server::start().await;
    let client = server.client().await;
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let gvk = GroupVersionKind::gvk("", "v1", "ConfigMap");
    let (resource, _) = discovery.resolve_gvk(&gvk).unwrap();
    assert_eq!(resource, ApiResource::from_gvk_with_plural(&gvk, "configmaps"));
    let maps: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
    let object = DynamicObject::new("a", &resource).data(json!({"data": {"k": "1"}}));
    maps.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap().data["data"]["k"], "1");
    let metadata = maps.get_metadata("a").await.unwrap();
    assert_eq!(metadata.metadata.name.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_and_what_comes_in_both_modes() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let server = Server::start().await;
        let maps: Api<ConfigMap> = Api::namespaced(server.client().await, "default");
        maps.create(&PostParams::default(), &map("before", "1")).await.unwrap();
        let mut events = std::pin::pin!(watcher(maps.clone(), config).applied_objects());
        let first = tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(first.metadata.name.as_deref(), Some("before"));
        maps.create(&PostParams::default(), &map("after", "1")).await.unwrap();
        let second = tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(second.metadata.name.as_deref(), Some("after"));
    }
}

#[tokio::test]
async fn a_reflector_holds_what_the_server_has() {
    let server = Server::start().await;
    let client = server.client().await;
    let (reader, writer) = reflector::store::<Namespace>();
    let stream =
        reflector(writer, watcher(Api::<Namespace>::all(client.clone()), watcher::Config::default()));
    let running = tokio::spawn(async move { stream.for_each(|_| std::future::ready(())).await });
    tokio::time::timeout(PATIENCE, reader.wait_until_ready()).await.unwrap().unwrap();
    assert!(reader.state().iter().any(|namespace| namespace.metadata.name.as_deref() == Some("default")));
    let namespaces: Api<Namespace> = Api::all(client);
    let object = serde_json::from_value(json!({"metadata": {"name": "extra"}})).unwrap();
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    testkit::eventually("the reflector sees it", || {
        let names: Vec<_> = reader.state().iter().filter_map(|one| one.metadata.name.clone()).collect();
        async move { names.contains(&"extra".to_owned()).then_some(()) }
    })
    .await;
    running.abort();
}
