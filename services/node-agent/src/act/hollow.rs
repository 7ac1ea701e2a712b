//! A machine that pretends: its containers run until they are stopped. For load tests and simulations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cri::CriError;
use cri::v1::{AuthConfig, ContainerConfig, PodSandboxConfig};
use jiff::Timestamp;

use super::runtime::{Answer, Health, ImageRecord, Runtime};
use crate::decide::action::{Check, Start};
use crate::node::facts::Facts;
use crate::observe::listing::{Exit, Instance, Listing, PodIdentity, Sandbox, State};
use crate::spec::container::LocalImage;
use crate::spec::names;
use crate::spec::volumes::Plan;

/// A machine without containers. Clones are the same machine.
#[derive(Clone)]
pub struct Hollow {
    facts: Facts,
    /// The second and third byte of its pods' addresses.
    subnet: [u8; 2],
    state: Arc<Mutex<Pretence>>,
}

#[derive(Default)]
struct Pretence {
    made: u64,
    sandboxes: BTreeMap<String, Sandbox>,
    instances: BTreeMap<String, Instance>,
}

// === impl Hollow ===

impl Hollow {
    /// A machine of that size; `number` tells its pods' addresses from those of others.
    pub fn new(facts: Facts, number: u16) -> Self {
        Hollow { facts, subnet: number.to_be_bytes(), state: Arc::default() }
    }

    /// Makes a running container end, as a crash would.
    pub fn crash(&self, id: &str, code: i32) {
        self.exit(id, code);
    }

    fn exit(&self, id: &str, code: i32) {
        let mut state = self.lock();
        if let Some(instance) = state.instances.get_mut(id)
            && let State::Running { started } = instance.state
        {
            let reason = if code == 0 { "Completed" } else { "Error" };
            instance.state = State::Exited(Exit {
                started: Some(started),
                finished: now(),
                code,
                reason: reason.to_owned(),
                message: String::new(),
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pretence> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pretence {
    fn next(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}", self.made)
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

impl Runtime for Hollow {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    async fn health(&self) -> Result<Health, CriError> {
        Ok(Health { version: "hollow://1".to_owned(), problem: None })
    }

    async fn list(&self) -> Result<Listing, CriError> {
        let state = self.lock();
        Ok(Listing {
            sandboxes: state.sandboxes.values().cloned().collect(),
            containers: state.instances.values().cloned().collect(),
        })
    }

    async fn changed(&self) -> Result<(), CriError> {
        // Nothing happens here but what the agent does itself.
        std::future::pending().await
    }

    fn trust(&self) -> Duration {
        // Thousands of these share a machine.
        Duration::from_secs(300)
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, CriError> {
        Ok(Vec::new())
    }

    async fn image(&self, name: &str) -> Result<Option<ImageRecord>, CriError> {
        let image = LocalImage { id: name.to_owned(), ..Default::default() };
        Ok(Some(ImageRecord { image, names: vec![name.to_owned()], size: 0 }))
    }

    async fn pull(&self, _: &str, _: Option<AuthConfig>) -> Result<(), CriError> {
        Ok(())
    }

    async fn run_sandbox(&self, config: PodSandboxConfig) -> Result<(), CriError> {
        let mut state = self.lock();
        let id = state.next("sandbox");
        let [high, low] = self.subnet;
        let ip = format!("10.{high}.{low}.{}", state.made % 254 + 1);
        let metadata = config.metadata.unwrap_or_default();
        let sandbox = Sandbox {
            id: id.clone(),
            pod: PodIdentity { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid },
            attempt: metadata.attempt,
            created: now(),
            ready: true,
            ips: vec![ip],
        };
        state.sandboxes.insert(id, sandbox);
        Ok(())
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let inside: Vec<String> = {
            let mut state = self.lock();
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.ready = false;
            }
            let instances = state.instances.values().filter(|instance| instance.sandbox == id);
            instances.map(|instance| instance.id.clone()).collect()
        };
        for instance in inside {
            self.exit(&instance, 137);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let mut state = self.lock();
        state.sandboxes.remove(id);
        state.instances.retain(|_, instance| instance.sandbox != id);
        Ok(())
    }

    async fn create(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        _: PodSandboxConfig,
    ) -> Result<String, CriError> {
        let mut state = self.lock();
        let id = state.next("container");
        let Some(pod) = state.sandboxes.get(sandbox).map(|sandbox| sandbox.pod.clone()) else {
            return Err(CriError::NotFound(format!("no sandbox {sandbox}")));
        };
        let metadata = config.metadata.unwrap_or_default();
        let annotation = |name: &str| config.annotations.get(name).cloned().unwrap_or_default();
        let image = config.image.unwrap_or_default().image;
        let instance = Instance {
            id: id.clone(),
            sandbox: sandbox.to_owned(),
            pod,
            name: metadata.name,
            attempt: metadata.attempt,
            created: now(),
            state: State::Created,
            image_id: image.clone(),
            image,
            hash: annotation(names::HASH),
            log_path: PathBuf::new(),
            grace_seconds: annotation(names::GRACE_PERIOD).parse().unwrap_or(30),
        };
        state.instances.insert(id.clone(), instance);
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), CriError> {
        match self.lock().instances.get_mut(id) {
            Some(instance) => {
                instance.state = State::Running { started: now() };
                Ok(())
            }
            None => Err(CriError::NotFound(format!("no container {id}"))),
        }
    }

    async fn stop(&self, id: &str, _: Duration) -> Result<(), CriError> {
        self.exit(id, 0);
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), CriError> {
        self.lock().instances.remove(id);
        Ok(())
    }

    async fn exec(&self, _: &str, _: Vec<String>, _: Duration) -> Result<Answer, CriError> {
        Ok(Answer::passed(""))
    }

    async fn reach(&self, _: &Check, _: Duration) -> Answer {
        Answer::passed("")
    }

    async fn reopen_log(&self, _: &str) -> Result<(), CriError> {
        Ok(())
    }

    async fn prepare_volumes(&self, _: &PodIdentity, _: Plan) -> Result<Option<Timestamp>, String> {
        Ok(None)
    }

    async fn prepare_start(&self, _: &PodIdentity, _: &Start) -> Result<(), String> {
        Ok(())
    }

    async fn remove_volume(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn discard(&self, _: &PodIdentity) -> Result<(), String> {
        Ok(())
    }

    fn folders(&self) -> Vec<PodIdentity> {
        Vec::new()
    }
}
