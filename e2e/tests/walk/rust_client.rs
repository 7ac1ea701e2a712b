//! The same cluster through the Rust client `kube`: typed and dynamic API, watcher and reflector.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, PATIENCE, Step};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Config, ResourceExt};
use serde_json::json;

pub const STEPS: &[Step] = &[
    ("kube: the typed API creates, reads, patches and deletes", |cluster| run(cluster, typed)),
    ("kube: the dynamic API finds kinds by discovery", |cluster| run(cluster, dynamic)),
    ("kube: a watcher with a streaming list sees every change", |cluster| run(cluster, watched)),
    ("kube: a reflector holds the state", |cluster| run(cluster, reflected)),
    ("kube: exec and logs of a pod", |cluster| run(cluster, executed)),
];

fn run<F: Future<Output = Result<()>>>(cluster: &Cluster, step: impl FnOnce(Client) -> F) -> Result<()> {
    // Several steps ask for it; the first one installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let file = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        tokio::time::timeout(PATIENCE, step(client)).await.context("it took too long")?
    })
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"n": "0"}})).expect("a config map")
}

async fn typed(client: Client) -> Result<()> {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let created = api.create(&PostParams::default(), &config_map("typed")).await?;
    ensure!(created.uid().is_some() && created.resource_version().is_some(), "{created:?}");
    let patch = Patch::Merge(json!({"data": {"n": "1"}}));
    let patched = api.patch("typed", &PatchParams::default(), &patch).await?;
    ensure!(patched.data.as_ref().and_then(|data| data.get("n")).is_some_and(|n| n == "1"), "{patched:?}");
    let stale = api.replace("typed", &PostParams::default(), &created).await;
    ensure!(matches!(&stale, Err(kube::Error::Api(status)) if status.code == 409), "{stale:?}");
    ensure!(!api.list(&ListParams::default().limit(1)).await?.items.is_empty(), "a page");
    api.delete("typed", &DeleteParams::default()).await?;
    ensure!(api.get_opt("typed").await?.is_none(), "it is gone");
    Ok(())
}

async fn dynamic(client: Client) -> Result<()> {
    let discovery = kube::discovery::Discovery::new(client.clone()).run_aggregated().await?;
    let group = discovery.get("apps").context("no group apps")?;
    let (resource, _) = group.recommended_kind("Deployment").context("no Deployment")?;
    ensure!(resource.plural == "deployments", "{resource:?}");
    let core = discovery.get("").context("no core group")?;
    let (resource, _) = core.recommended_kind("ConfigMap").context("no ConfigMap")?;
    let api: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let object = DynamicObject::new("dynamic", &resource).data(json!({"data": {"a": "b"}}));
    let created = api.create(&PostParams::default(), &object).await?;
    ensure!(created.data["data"]["a"] == "b", "{created:?}");
    api.delete("dynamic", &DeleteParams::default()).await?;
    Ok(())
}

async fn watched(client: Client) -> Result<()> {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let config = watcher::Config::default().fields("metadata.name=watched").streaming_lists();
    let mut events = watcher(api.clone(), config).boxed();
    while let Some(event) = events.try_next().await? {
        if matches!(event, watcher::Event::InitDone) {
            break;
        }
    }
    api.create(&PostParams::default(), &config_map("watched")).await?;
    api.patch("watched", &PatchParams::default(), &Patch::Merge(json!({"data": {"n": "1"}}))).await?;
    api.delete("watched", &DeleteParams::default()).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match events.try_next().await?.context("the watch ended")? {
            watcher::Event::Apply(object) => seen.push(object.data.unwrap_or_default()["n"].clone()),
            watcher::Event::Delete(_) => seen.push("deleted".to_owned()),
            other => anyhow::bail!("unexpected {other:?}"),
        }
    }
    ensure!(seen == ["0", "1", "deleted"], "{seen:?}");
    Ok(())
}

async fn reflected(client: Client) -> Result<()> {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config_map("reflected")).await?;
    let (store, writer) = reflector::store();
    let stream = watcher(api.clone(), watcher::Config::default()).default_backoff().reflect(writer);
    let task = tokio::spawn(stream.for_each(|_| futures::future::ready(())));
    store.wait_until_ready().await?;
    ensure!(store.state().iter().any(|object| object.name_any() == "reflected"), "it is in the store");
    task.abort();
    api.delete("reflected", &DeleteParams::default()).await?;
    Ok(())
}

async fn executed(client: Client) -> Result<()> {
    let api: Api<Pod> = Api::default_namespaced(client);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "executed"},
        "spec": {"containers": [{"name": "redis", "image": "redis:7"}]}
    }))?;
    api.create(&PostParams::default(), &pod).await?;
    kube::runtime::wait::await_condition(
        api.clone(),
        "executed",
        kube::runtime::conditions::is_pod_running(),
    )
    .await?;
    let mut process = api.exec("executed", ["echo", "hello"], &AttachParams::default()).await?;
    let mut text = String::new();
    let mut output = process.stdout().context("no stdout")?;
    tokio::io::AsyncReadExt::read_to_string(&mut output, &mut text).await?;
    ensure!(text == "hello\n", "{text:?}");
    process.join().await?;
    api.delete("executed", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await?;
    Ok(())
}
