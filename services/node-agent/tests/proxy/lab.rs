//! A node's network of the test's own: one namespace for the node, one for each pod.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bus::node::Wanted;
use nix::sched::{CloneFlags, setns, unshare};
use node_agent::proxy::Proxy;
use node_agent::proxy::nft::{self, Ranges};
use runtime::{Readiness, Shutdown};
use serde_json::{Value, json};

/// The Service's address, and one that no Service has.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);
/// The node as its pods see it.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
/// Where pods serve.
pub const PORT: u16 = 8080;
/// For a single question.
const PATIENCE: Duration = Duration::from_secs(2);
/// Until something is so.
const EVENTUALLY: Duration = Duration::from_secs(20);

/// Where a question comes from.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// The node itself.
    Node,
    /// A pod.
    Pod(u8),
}

/// The node with three pods, each of which tells its number and who asked.
pub struct Lab {
    node: File,
    pods: Vec<String>,
    /// What Services are told to.
    pub proxy: Proxy,
    readiness: Readiness,
    shutdown: Shutdown,
}

/// Runs a test in a network of its own, or says why it cannot.
pub fn run<F: AsyncFnOnce(&Lab) + Send + 'static>(test: F) {
    let outcome = std::thread::spawn(move || {
        if let Err(why) = enter_new() {
            println!("SKIPPED, nothing was tested: {why}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lab = Lab::build();
        runtime.block_on(async {
            let condition = lab.readiness.condition("services");
            let ranges = Ranges {
                pods: Some("10.244.0.0/16".parse().unwrap()),
                services: Some("10.96.0.0/16".parse().unwrap()),
            };
            let running = tokio::spawn(lab.proxy.clone().run(ranges, condition, lab.shutdown.clone()));
            test(&lab).await;
            lab.shutdown.cancel();
            running.await.unwrap();
        });
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

fn enter_new() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
    let nft =
        Command::new("nft").args(["list", "tables"]).output().map_err(|error| format!("nft: {error}"))?;
    match nft.status.success() {
        true => Ok(()),
        false => Err(format!("nft: {}", String::from_utf8_lossy(&nft.stderr).trim())),
    }
}

// === impl Lab ===

impl Lab {
    fn build() -> Lab {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = |pod: u8| format!("sampan-test-{}-{number}-{pod}", std::process::id());
        let pods: Vec<String> = (1..=3).map(name).collect();
        ip("link set lo up");
        // Somewhere to send what no route is for: the kernel looks for a route before it looks at the table.
        for line in ["link add out0 type bridge", "addr add 192.0.2.2/24 dev out0", "link set out0 up"] {
            ip(line);
        }
        ip("route add default via 192.0.2.1");
        for (pod, namespace) in (1_u8..).zip(&pods) {
            ip(&format!("netns add {namespace}"));
            ip(&format!("link add pod{pod} type veth peer name eth0 netns {namespace}"));
            ip(&format!("link set pod{pod} up"));
            ip(&format!("addr add {NODE}/32 dev pod{pod}"));
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} addr add {}/32 dev eth0", address(pod)));
            ip(&format!("-n {namespace} link set eth0 up"));
            ip(&format!("-n {namespace} route add {NODE} dev eth0"));
            ip(&format!("-n {namespace} route add default via {NODE}"));
            ip(&format!("route add {} dev pod{pod}", address(pod)));
        }
        let node = File::open("/proc/thread-self/ns/net").unwrap();
        let proxy = Proxy::new("node-1");
        let lab = Lab { node, pods, proxy, readiness: Readiness::new(), shutdown: Shutdown::new() };
        (1..=3).for_each(|pod| lab.serve(pod));
        lab
    }

    /// Runs something with the network of another.
    pub fn inside<T: Send + 'static>(
        &self,
        from: From,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = T> + Send>> {
        let namespace = match from {
            From::Node => self.node.try_clone().unwrap(),
            From::Pod(pod) => File::open(format!("/run/netns/{}", self.pods[usize::from(pod) - 1])).unwrap(),
        };
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            // The test has failed otherwise.
            let _ = tell.send(what());
        });
        Box::pin(async { told.await.expect("what runs inside does not panic") })
    }

    /// What a TCP connection says: the pod that answers and whom it sees, or the error.
    pub async fn ask(&self, from: From, address: Ipv4Addr, port: u16) -> Result<String, std::io::ErrorKind> {
        self.inside(from, move || {
            let ask = || {
                let to = SocketAddr::from((address, port));
                let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok(answer)
            };
            ask().map_err(|error: std::io::Error| error.kind())
        })
        .await
    }

    /// The same so many times, each answer once, sorted.
    pub async fn answers(&self, from: From, address: Ipv4Addr, port: u16, times: usize) -> Vec<String> {
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(self.ask(from, address, port).await.unwrap_or_else(|error| format!("{error:?}")));
        }
        answers.sort();
        answers.dedup();
        answers
    }

    /// Tells Services and waits until the kernel has them.
    pub async fn tell(&self, objects: Vec<Wanted>) {
        self.proxy.reset(&objects);
        self.until(|lab| async { lab.readiness.is_ready() }).await;
    }

    /// Waits until it is so.
    pub async fn until<'a, F: Future<Output = bool>>(&'a self, is_so: impl Fn(&'a Lab) -> F) {
        let deadline = Instant::now() + EVENTUALLY;
        while !is_so(self).await {
            assert!(Instant::now() < deadline, "it did not become so within {EVENTUALLY:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Answers over TCP and UDP until the process ends.
    fn serve(&self, pod: u8) {
        let (tell, told) = std::sync::mpsc::channel();
        drop(self.inside(From::Pod(pod), move || {
            let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
            let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
            tell.send(()).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    // A client that is gone hears nothing.
                    let _ = udp.send_to(format!("pod{pod}").as_bytes(), peer);
                }
            });
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { return };
                let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
                let _ = stream.write_all(format!("pod{pod} {peer}").as_bytes());
            }
        }));
        told.recv().unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in &self.pods {
            ip(&format!("netns delete {namespace}"));
        }
    }
}

/// A pod's address.
pub fn address(pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 1, 10 + pod)
}

/// A Service with this spec beside its address.
pub fn service(more: Value) -> Wanted {
    let mut spec = json!({
        "clusterIP": VIP.to_string(),
        "ports": [
            {"name": "tcp", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"name": "udp", "port": 53, "protocol": "UDP", "nodePort": 30053},
        ],
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    wanted("core/services/default/web", &json!({"spec": spec}))
}

/// Its endpoints on this node.
pub fn slice(pods: &[u8]) -> Wanted {
    slice_on("node-1", pods)
}

/// Its endpoints on a node.
pub fn slice_on(node: &str, pods: &[u8]) -> Wanted {
    let endpoints: Vec<Value> =
        pods.iter().map(|pod| json!({"addresses": [address(*pod).to_string()], "nodeName": node})).collect();
    let object = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "tcp", "port": PORT, "protocol": "TCP"}, {"name": "udp", "port": PORT, "protocol": "UDP"}],
    });
    wanted("discovery.k8s.io/endpointslices/default/web-x", &object)
}

fn wanted(key: &str, object: &Value) -> Wanted {
    Wanted { key: key.to_owned(), object: Some(object.to_string().into()) }
}

/// A client over UDP that goes on from one port.
pub fn udp_client() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket
}

/// Which pod answers it.
pub fn udp_ask(socket: &UdpSocket, to: SocketAddrV4) -> Option<String> {
    let mut buffer = [0; 16];
    socket.send_to(b"?", to).ok()?;
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Removes the table as another program would.
pub async fn remove_table() {
    nft::run(format!("delete table ip {}\n", nft::TABLE)).await.unwrap();
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}
