//! What a user does: requests to the API over HTTPS.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Requests at a time: enough that the API server always has one to work on, as upstream's load does.
const AT_ONCE: usize = 128;
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// Makes requests as the administrator, in the namespace `default`.
pub struct Driver {
    client: kube::Client,
}

// === impl Driver ===

impl Driver {
    /// Over this connection.
    pub fn new(client: kube::Client) -> Self {
        Driver { client }
    }

    /// Creates the Deployment `load` with that many replicas.
    pub async fn deploy(&self, replicas: u32) -> Result<()> {
        self.wait_account().await?;
        let labels = json!({"app": "load"});
        let deployment = json!({
            "metadata": {"name": "load"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
            },
        });
        let deployments: Api<Deployment> = Api::default_namespaced(self.client.clone());
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        Ok(())
    }

    /// Scales it.
    pub async fn scale(&self, replicas: u32) -> Result<()> {
        self.patch(json!({"spec": {"replicas": replicas}})).await
    }

    /// Changes its template, so that every pod is replaced.
    pub async fn roll(&self, round: u64) -> Result<()> {
        let annotations = json!({"loadtest/round": round.to_string()});
        self.patch(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})).await
    }

    async fn patch(&self, patch: Value) -> Result<()> {
        let deployments: Api<Deployment> = Api::default_namespaced(self.client.clone());
        deployments.patch("load", &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until pods can be created: they need the namespace's service account.
    pub async fn wait_account(&self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(self.client.clone());
        while accounts.get_opt("default").await?.is_none() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Creates node objects.
    pub async fn make_nodes(&self, count: u16) -> Result<()> {
        let node = |number: u32| {
            let room = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
            json!({
                "metadata": {"name": format!("node-{number:05}")},
                "status": {
                    "capacity": room,
                    "allocatable": room,
                    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                },
            })
        };
        create::<Node>(&Api::all(self.client.clone()), u32::from(count), node).await
    }

    /// Creates pods.
    pub async fn make_pods(&self, prefix: &str, count: u32) -> Result<()> {
        let pod =
            |number: u32| json!({"metadata": {"name": format!("{prefix}-{number:06}")}, "spec": pod_spec()});
        create::<Pod>(&Api::default_namespaced(self.client.clone()), count, pod).await
    }
}

/// Creates objects, many at a time.
async fn create<K>(api: &Api<K>, count: u32, object: impl Fn(u32) -> Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    futures::stream::iter(0..count)
        .map(|number| {
            let object = serde_json::from_value::<K>(object(number));
            async move { anyhow::Ok(api.create(&PostParams::default(), &object?).await?) }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// A pod as upstream's scheduling load has it.
fn pod_spec() -> Value {
    let container = json!({
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}},
    });
    json!({"containers": [container], "terminationGracePeriodSeconds": 1})
}
