//! Follows Memcacheds, their Deployments and pods, and does what is decided.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action as Next, Controller, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use crate::api::Memcached;
use crate::decide::{Action, DecideError, INSTANCE, all_pods, decide, pods_of};
use crate::serve::State;

/// What failed is tried again after this long; a change of anything that is followed comes earlier.
const RETRY: Duration = Duration::from_secs(5);

/// Why a Memcached could not be brought to what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API refused, or did not answer.
    #[error("the API: {0}")]
    Api(#[from] kube::Error),
    /// It cannot be decided.
    #[error(transparent)]
    Decide(#[from] DecideError),
}

struct Context {
    client: Client,
    state: State,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(client: Client, state: State) -> Result<(), kube::Error> {
    let memcacheds: Api<Memcached> = Api::all(client.clone());
    let deployments: Api<Deployment> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client.clone());
    // Without the kind there is nothing to follow: better told at once than tried again in silence.
    memcacheds.list(&ListParams::default().limit(1)).await?;
    state.set_ready();
    info!("Starting Controller memcached");
    Controller::new(memcacheds, watcher::Config::default())
        .owns(deployments, watcher::Config::default())
        .watches(pods, watcher::Config::default().labels(&all_pods()), memcached_of)
        .shutdown_on_signal()
        .run(reconcile, |_, _, _| Next::requeue(RETRY), Arc::new(Context { client, state }))
        .for_each(|outcome| async move { tell(&outcome) })
        .await;
    Ok(())
}

fn tell<T>(outcome: &Result<T, ControllerError<ReconcileError, watcher::Error>>) {
    match outcome {
        // Its Deployment and pods end after the Memcached itself: there is nothing left to do for it.
        Ok(_) | Err(ControllerError::ObjectNotFound(_)) => {}
        Err(error) => warn!("{error}"),
    }
}

fn memcached_of(pod: Pod) -> Option<ObjectRef<Memcached>> {
    let name = pod.labels().get(INSTANCE)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

async fn reconcile(memcached: Arc<Memcached>, context: Arc<Context>) -> Result<Next, ReconcileError> {
    let began = Instant::now();
    let outcome = bring_about(&memcached, &context.client).await;
    context.state.reconciled(began.elapsed(), outcome.is_ok());
    outcome.map(|()| Next::await_change())
}

async fn bring_about(memcached: &Memcached, client: &Client) -> Result<(), ReconcileError> {
    let (name, namespace) = (memcached.name_any(), memcached.namespace().unwrap_or_default());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let deployment = deployments.get_opt(&name).await?;
    let pods = pods.list(&ListParams::default().labels(&pods_of(memcached))).await?;
    for action in decide(memcached, deployment.as_ref(), &pods.items)? {
        match action {
            Action::Create(deployment) => {
                info!(namespace, name, "Creating a new Deployment");
                deployments.create(&PostParams::default(), &deployment).await?;
            }
            Action::Resize { from, to } => {
                info!(namespace, name, from, to, "Changing the Deployment's size");
                let patch = Patch::Merge(json!({"spec": {"replicas": to}}));
                deployments.patch(&name, &PatchParams::default(), &patch).await?;
            }
            Action::Report(nodes) => {
                info!(namespace, name, ?nodes, "Updating the status");
                let patch = Patch::Merge(json!({"status": {"nodes": nodes}}));
                let memcacheds: Api<Memcached> = Api::namespaced(client.clone(), &namespace);
                memcacheds.patch_status(&name, &PatchParams::default(), &patch).await?;
            }
        }
    }
    Ok(())
}
