//! Sockets inside a pod's network: a short-lived thread enters it, makes them and ends. A socket stays in the network
//! in which it was made.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};
use serde::Deserialize;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

/// Where a pod's network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// The pod has the node's.
    Host,
    /// The first of these files that can be opened is the network.
    Own(Vec<PathBuf>),
}

/// One socket for each family.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) v4: TcpSocket,
    /// Machines without IPv6 have none.
    pub(super) v6: Option<TcpSocket>,
}

/// What containerd says of a sandbox besides its status.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    runtime_spec: Option<RuntimeSpec>,
}

#[derive(Deserialize)]
struct RuntimeSpec {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: PathBuf,
}

// === impl Network ===

impl Network {
    /// Reads it out of the runtime's information about a sandbox; `None` when that does not say.
    pub(super) fn of(info: &HashMap<String, String>) -> Option<Network> {
        let info: Info = serde_json::from_str(info.get("info")?).ok()?;
        let namespaces = info.runtime_spec?.linux?.namespaces;
        let Some(network) = namespaces.into_iter().find(|namespace| namespace.kind == "network") else {
            return Some(Network::Host);
        };
        let mut files = Vec::new();
        if network.path.is_absolute() {
            files.push(network.path);
        }
        if info.pid > 0 {
            files.push(format!("/proc/{}/ns/net", info.pid).into());
        }
        (!files.is_empty()).then_some(Network::Own(files))
    }

    /// Makes sockets in it.
    pub(super) async fn sockets(self) -> io::Result<Sockets> {
        let files = match self {
            Network::Host => return Sockets::new(),
            Network::Own(files) => files,
        };
        let (done, made) = oneshot::channel();
        let enter = move || {
            // Whoever waits may have left.
            let _ = done.send(in_network(&files));
        };
        std::thread::Builder::new().name("pod-network".to_owned()).spawn(enter)?;
        made.await.map_err(|_| io::Error::other("the thread in the pod's network ended"))?
    }
}

fn in_network(files: &[PathBuf]) -> io::Result<Sockets> {
    let mut opened = files.iter().map(File::open);
    let network = opened
        .find_map(Result::ok)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the pod's network is gone"))?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    Sockets::new()
}

// === impl Sockets ===

impl Sockets {
    fn new() -> io::Result<Sockets> {
        Ok(Sockets { v4: TcpSocket::new_v4()?, v6: TcpSocket::new_v6().ok() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn network(info: Value) -> Option<Network> {
        Network::of(&HashMap::from([("info".to_owned(), info.to_string())]))
    }

    #[test]
    fn a_pods_network_is_the_one_in_its_specification_else_its_process_one() {
        let spec = |namespaces: Value| json!({"linux": {"namespaces": namespaces}});
        let own = spec(json!([{"type": "pid"}, {"type": "network", "path": "/var/run/netns/cni-1"}]));
        assert_eq!(
            network(json!({"pid": 7, "runtimeSpec": own})),
            Some(Network::Own(vec!["/var/run/netns/cni-1".into(), "/proc/7/ns/net".into()]))
        );
        let unnamed = spec(json!([{"type": "network"}]));
        assert_eq!(
            network(json!({"pid": 7, "runtimeSpec": unnamed})),
            Some(Network::Own(vec!["/proc/7/ns/net".into()]))
        );
    }

    #[test]
    fn a_pod_without_a_network_of_its_own_has_the_nodes() {
        let host = json!({"pid": 7, "runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}]}}});
        assert_eq!(network(host), Some(Network::Host));
    }

    #[test]
    fn what_the_runtime_does_not_say_is_not_guessed() {
        assert_eq!(Network::of(&HashMap::new()), None);
        assert_eq!(network(json!({"pid": 7})), None);
        assert_eq!(network(json!("text")), None);
    }

    #[tokio::test]
    async fn a_network_that_is_gone_is_an_error() {
        let gone = Network::Own(vec!["/proc/0/ns/net".into()]);
        assert_eq!(gone.sockets().await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
