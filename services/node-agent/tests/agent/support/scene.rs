//! The whole scene: a bus, a machine, an API server's part, and the agent.

use std::path::PathBuf;

use bus::Bus;
use clap::Parser;
use node_agent::Config;
use serde_json::{Value, json};
use testkit::NatsServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::machine::Machine;

/// The node's name, which has a dot as many have.
pub const NODE: &str = "node-1.test";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// Everything that a test needs of the world.
pub struct Scene {
    pub nats: NatsServer,
    pub machine: Machine,
    pub control: Control,
    agent: Option<(JoinHandle<anyhow::Result<()>>, CancellationToken)>,
}

// === impl Scene ===

impl Scene {
    pub async fn set() -> Option<Scene> {
        let machine = Machine::start().await?;
        let nats = NatsServer::start().expect("a bus");
        let config = bus::Config::new(&nats.url(), "test");
        let bus = Bus::connect(&config).await.expect("the URL is one");
        let control = Control::start(&bus, NODE).await;
        let mut scene = Scene { nats, machine, control, agent: None };
        scene.start_agent().await;
        Some(scene)
    }

    pub async fn start_agent(&mut self) {
        let arguments = Arguments::parse_from([
            "test".to_owned(),
            format!("--nats-url={}", self.nats.url()),
            format!("--node-name={NODE}"),
            "--node-ip=192.0.2.1".to_owned(),
            "--no-services".to_owned(),
            format!("--data-dir={}", self.machine.data().display()),
            format!("--containerd-socket={}", self.machine.socket().display()),
        ]);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(node_agent::run(arguments.config, shutdown.clone()));
        self.agent = Some((task, shutdown));
    }

    pub async fn stop_agent(&mut self) {
        if let Some((task, shutdown)) = self.agent.take() {
            shutdown.cancel();
            task.await.expect("the agent does not panic").expect("the agent ends well");
        }
    }

    /// Deletes every pod and waits until the machine is as it was.
    pub async fn end(&mut self) {
        for name in self.control.pods() {
            self.control.delete(&name, 0).await;
        }
        self.control.until("the pods are gone", 30, |control| control.pods().is_empty()).await;
        self.stop_agent().await;
    }

    pub fn log(&self, name: &str, attempt: u32) -> String {
        let folder = format!("log/pods/default_{name}_{}/main/{attempt}.log", self.control.uid(name));
        std::fs::read_to_string(self.machine.data().join(folder)).unwrap_or_default()
    }

    pub async fn until_log(&self, name: &str, text: &str) {
        self.control
            .until(&format!("{name} prints {text:?}"), 20, |_| self.log(name, 0).contains(text))
            .await;
    }

    pub fn pod_folder(&self, uid: &str) -> PathBuf {
        self.machine.data().join("pods").join(uid)
    }
}

/// A container that runs a script.
pub fn shell(script: &str) -> Value {
    json!({"command": ["/bin/busybox", "sh", "-c", script]})
}

/// A container that runs until it is asked to end.
pub fn forever() -> Value {
    json!({"command": ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.1; done"]})
}
