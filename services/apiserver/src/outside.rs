//! What concerns machines outside: read at the start, told to whoever looks, and given to those who join.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bus::Bus;
use bus::join::{Cluster, Token};
use bus::security::Signer;
use jiff::Timestamp;
use runtime::Shutdown;
use tracing::{error, warn};

use crate::nodes::joining::{self, Admission};
use crate::registry::Registry;
use crate::registry::cluster_info::{self, ClusterInfo};
use crate::{Config, verbs};

/// Between attempts at what does not work yet.
const PAUSE: Duration = Duration::from_millis(250);
/// Until the first objects are there.
const NAMESPACE_PAUSE: Duration = Duration::from_millis(50);

/// What was read.
#[derive(Debug)]
pub struct Outside {
    info: ClusterInfo,
    admission: Option<Admission>,
}

// === impl Outside ===

impl Outside {
    /// Reads the files that the arguments name. `server` is where the API is reached, `ca` the cluster's CA as PEM.
    pub async fn prepare(config: &Config, server: String, ca: String) -> Result<Outside> {
        let joining = &config.joining;
        let bus_ca = match &config.bus.bus_ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let token = match &joining.bootstrap_token_file {
            Some(path) => {
                Some(read(path).await?.parse::<Token>().with_context(|| path.display().to_string())?)
            }
            None => None,
        };
        let admission = match &joining.node_signer {
            Some(path) => {
                let signer = Signer::from_text(&read(path).await?);
                let cluster = Cluster {
                    ca: bus_ca.clone().unwrap_or_default(),
                    dns: Vec::new(),
                    pods: joining.cluster_cidr.clone().unwrap_or_default(),
                };
                Some(Admission { signer: signer.with_context(|| path.display().to_string())?, cluster })
            }
            None => None,
        };
        let info = ClusterInfo { server, ca, bus: joining.bus_advertise.clone(), bus_ca, token };
        Ok(Outside { info, admission })
    }

    /// Tells it, and admits nodes, until `shutdown`.
    pub async fn serve(self, registry: &Arc<Registry>, bus: &Bus, shutdown: &Shutdown) {
        let Outside { info, admission } = self;
        // Before anybody is admitted: who comes with a token that is not known yet would be turned away.
        tell(registry, &info, shutdown).await;
        let serving = joining::serve(Arc::clone(registry), bus.clone(), admission, shutdown.clone());
        if let Err(error) = serving.await {
            error!("machines that join are no longer served: {error}");
        }
    }
}

async fn tell(registry: &Registry, info: &ClusterInfo, shutdown: &Shutdown) {
    loop {
        let context = verbs::Context { now: Timestamp::now(), ..verbs::Context::default() };
        let Err(why) = cluster_info::publish(registry, &context, info).await else { return };
        // The namespaces are made at the same time.
        let pause = match why.reason {
            model::Reason::NotFound => NAMESPACE_PAUSE,
            _ => {
                warn!("machines outside cannot be told of this cluster yet: {why}");
                PAUSE
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn read(path: &std::path::Path) -> Result<String> {
    tokio::fs::read_to_string(path).await.with_context(|| format!("cannot read {}", path.display()))
}
