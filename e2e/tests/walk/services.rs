//! Services and names: one address before many pods, a name for each pod, and the tutorial's master and replica.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("a pod finds a service by its name and reaches both of its pods", by_name),
    ("a service follows its pods: without any it refuses, and new ones are reached", follows),
    ("names: short and long ones, ports, reverse, and those that are not there", names),
    ("a node port answers on this machine, also at localhost", node_port),
    ("a client with session affinity stays with its pod", affinity),
    ("a service over UDP: the name server's own", udp),
    ("an external name stands for another", external_name),
    ("a pod reaches the API at kubernetes.default.svc, with a certificate of the cluster's CA", api),
    ("the tutorial's replica waits for the master's name", replica_waits),
    ("kubectl create -f service.yaml: the replica finds its master and synchronises", replica_synchronises),
    ("a deleted master comes back under its name, and the replication with it", master_comes_back),
    ("dnsPolicy and dnsConfig make a pod's resolv.conf", resolv_conf),
    ("the services' objects go again", clean),
];

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: redis, image: "redis:7", ports: [{name: redis, containerPort: 6379}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: redis, port: 6000, targetPort: redis}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: "redis:7"
    command: [sleep, "100000"]
    volumeMounts: [{name: ca, mountPath: /ca}]
  volumes: [{name: ca, configMap: {name: kube-root-ca.crt}}]
"#;

/// What a command in the pod `client` prints.
fn in_client(cluster: &Cluster, command: &str) -> Result<String> {
    cluster.kubectl().ok_with(&["exec", "client", "--", "sh", "-c", command])
}

/// The names of the pods that answer at a service when asked so many times, each once.
fn answering(cluster: &Cluster, host: &str, port: u16, times: usize) -> Result<Vec<String>> {
    let ask = format!("redis-cli -h {host} -p {port} info server | grep run_id");
    let text = in_client(cluster, &format!("for i in $(seq {times}); do {ask}; done"))?;
    let mut ids: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn by_name(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", WEB)?;
    kubectl.ok("wait --for=condition=Ready pod/client --timeout=60s")?;
    kubectl.ok("rollout status deployment/web --timeout=60s")?;
    let text = kubectl.ok("get service web --no-headers")?;
    ensure!(text.contains("ClusterIP") && text.contains("6000/TCP"), "{text}");
    eventually("both pods answer", || {
        let ids = answering(cluster, "web", 6000, 20)?;
        Ok((ids.len() == 2).then_some(()))
    })?;
    let environment = in_client(cluster, "env")?;
    ensure!(environment.contains("KUBERNETES_SERVICE_HOST=10.96.0.1"), "{environment}");
    Ok(())
}

fn follows(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("scale deployment web --replicas=0")?;
    eventually("nobody is there", || {
        let text = in_client(cluster, "redis-cli -h web -p 6000 ping 2>&1 || true")?;
        Ok(text.contains("Connection refused").then_some(()))
    })?;
    kubectl.ok("scale deployment web --replicas=1")?;
    eventually("somebody is there", || {
        Ok((in_client(cluster, "redis-cli -h web -p 6000 ping")?.trim() == "PONG").then_some(()))
    })?;
    kubectl.ok("scale deployment web --replicas=2")?;
    kubectl.ok("rollout status deployment/web --timeout=60s")?;
    Ok(())
}

fn names(cluster: &Cluster) -> Result<()> {
    let address = cluster.kubectl().path("get service web", "{.spec.clusterIP}")?;
    for name in ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"] {
        let text = in_client(cluster, &format!("ping -c 1 -W 1 {name} 2>&1 | head -1"))?;
        ensure!(text.contains(&format!("({address})")), "{name}: {text}");
    }
    let port = in_client(cluster, "nslookup -type=srv _redis._tcp.web.default.svc.cluster.local")?;
    ensure!(port.contains("6000 web.default.svc.cluster.local"), "{port}");
    let back = in_client(cluster, &format!("nslookup {address}"))?;
    ensure!(back.contains("web.default.svc.cluster.local"), "{back}");
    let nobody = in_client(cluster, "nslookup nobody.default.svc.cluster.local 2>&1 || true")?;
    ensure!(nobody.contains("NXDOMAIN"), "{nobody}");
    let six = in_client(cluster, "nslookup -type=aaaa web.default.svc.cluster.local 2>&1 || true")?;
    ensure!(!six.contains("NXDOMAIN"), "{six}");
    Ok(())
}

fn ping_redis(port: u16, address: &str) -> Result<()> {
    let mut stream = TcpStream::connect((address, port))?;
    stream.set_read_timeout(Some(e2e::PATIENCE))?;
    stream.write_all(b"PING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    ensure!(&reply == b"+PONG\r\n", "{reply:?}");
    Ok(())
}

fn node_port(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("expose deployment web --name=web-outside --type=NodePort --port=6379")?;
    let port: u16 = kubectl.path("get service web-outside", "{.spec.ports[0].nodePort}")?.parse()?;
    ensure!((30_000..=32_767).contains(&port), "{port}");
    let node = kubectl.path("get node node-1", "{.status.addresses[?(@.type==\"InternalIP\")].address}")?;
    for address in ["127.0.0.1", node.as_str()] {
        eventually(&format!("{address}:{port} answers"), || ping_redis(port, address).map(Some))?;
    }
    let from_pod = in_client(cluster, &format!("redis-cli -h {node} -p {port} ping"))?;
    ensure!(from_pod.trim() == "PONG", "{from_pod}");
    Ok(())
}

fn affinity(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_with(&["patch", "service", "web", "-p", r#"{"spec":{"sessionAffinity":"ClientIP"}}"#])?;
    eventually("one pod answers", || Ok((answering(cluster, "web", 6000, 10)?.len() == 1).then_some(())))?;
    kubectl.ok_with(&["patch", "service", "web", "-p", r#"{"spec":{"sessionAffinity":"None"}}"#])?;
    Ok(())
}

fn udp(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("get service kube-dns -n kube-system --no-headers")?;
    ensure!(text.contains("10.96.0.10") && text.contains("53/UDP,53/TCP"), "{text}");
    let text = in_client(cluster, "nslookup kube-dns.kube-system.svc.cluster.local 10.96.0.10")?;
    ensure!(text.matches("10.96.0.10").count() >= 2, "{text}");
    Ok(())
}

fn external_name(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create service externalname elsewhere --external-name=web.default.svc.cluster.local")?;
    eventually("the alias is followed", || {
        Ok((in_client(cluster, "redis-cli -h elsewhere -p 6000 ping")?.trim() == "PONG").then_some(()))
    })
}

fn api(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("get endpoints kubernetes --no-headers")?;
    ensure!(!text.contains("<none>"), "{text}");
    // The one client with a mind of its own about certificates in that image: it shakes hands, and then meets HTTP.
    let speak = |ca: &str| {
        format!(
            "redis-cli --tls --cacert {ca} --sni kubernetes.default.svc -h kubernetes.default.svc -p 443 ping 2>&1 || true"
        )
    };
    let met = in_client(cluster, &speak("/ca/ca.crt"))?;
    ensure!(met.contains("Protocol error") || met.contains("Server closed"), "{met}");
    let foreign = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=x -days 1";
    let foreign = std::process::Command::new("sh").args(["-c", foreign]).output().context("openssl")?;
    let foreign = String::from_utf8(foreign.stdout)?;
    cluster.kubectl().ok_fed("exec -i client -- tee /tmp/foreign.crt", &foreign)?;
    let refused = in_client(cluster, &speak("/tmp/foreign.crt"))?;
    ensure!(refused.contains("certificate verify failed"), "{refused}");
    Ok(())
}

const SERVER: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis-sfs}
spec:
  serviceName: redis-sfs
  replicas: 2
  selector: {matchLabels: {app: redis-sfs}}
  template:
    metadata: {labels: {app: redis-sfs}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: redis-sfs
        image: "redis:7"
        command:
        - bash
        - -c
        - |
          set -ex
          [[ $(hostname) =~ -([0-9]+)$ ]] || exit 1
          ordinal=${BASH_REMATCH[1]}
          if [[ $ordinal -eq 0 ]]; then
            echo > /tmp/redis.conf
          else
            echo "slaveof redis-sfs-0.redis-sfs 6379" > /tmp/redis.conf
          fi
          exec redis-server /tmp/redis.conf --protected-mode no --dir /data
"#;

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: redis-sfs}
spec: {clusterIP: None, selector: {app: redis-sfs}, ports: [{name: redis-sfs, port: 6379}]}
"#;

fn replica_waits(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok_fed("create -f -", SERVER)?;
    ensure!(text.trim() == "statefulset.apps/redis-sfs created", "{text}");
    kubectl.ok("rollout status statefulset/redis-sfs --timeout=60s")?;
    let mut log = kubectl.follow("logs -f redis-sfs-1")?;
    log.line("it cannot find its master", |line| line.contains("Unable to connect to MASTER"))?;
    Ok(())
}

fn replica_synchronises(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", SERVICE)?;
    let text = kubectl.ok("get service redis-sfs --no-headers")?;
    ensure!(text.contains("None") && text.contains("6379/TCP"), "{text}");
    synchronised(cluster)?;
    let whole = "redis-sfs-0.redis-sfs.default.svc.cluster.local";
    let text = kubectl.ok(&format!("exec redis-sfs-1 -- redis-cli -h {whole} ping"))?;
    ensure!(text.trim() == "PONG", "{text}");
    // Both pods behind the service's own name.
    let both = in_client(cluster, "nslookup redis-sfs.default.svc.cluster.local")?;
    for pod in ["redis-sfs-0", "redis-sfs-1"] {
        let ip = kubectl.path(&format!("get pod {pod}"), "{.status.podIP}")?;
        ensure!(both.contains(&ip), "{pod} at {ip}: {both}");
    }
    let ip = kubectl.path("get pod redis-sfs-1", "{.status.podIP}")?;
    let info = kubectl.ok("exec redis-sfs-0 -- redis-cli info replication")?;
    ensure!(info.contains(&format!("slave0:ip={ip},")), "the master sees the replica's own address: {info}");
    kubectl.ok("exec redis-sfs-0 -- redis-cli set word swordfish")?;
    eventually("the word is replicated", || {
        Ok((kubectl.ok("exec redis-sfs-1 -- redis-cli get word")?.trim() == "swordfish").then_some(()))
    })
}

fn synchronised(cluster: &Cluster) -> Result<()> {
    let mut log = cluster.kubectl().follow("logs -f redis-sfs-1")?;
    log.line("it synchronises", |line| line.contains("MASTER <-> REPLICA sync: Finished with success"))?;
    Ok(())
}

fn master_comes_back(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let before = kubectl.path("get pod redis-sfs-0", "{.metadata.uid}")?;
    kubectl.ok("delete pod redis-sfs-0")?;
    eventually("it is another pod of that name", || {
        Ok((kubectl.path("get pod redis-sfs-0", "{.metadata.uid}")? != before).then_some(()))
    })?;
    kubectl.ok("rollout status statefulset/redis-sfs --timeout=60s")?;
    eventually("the replica is linked again", || {
        let info = kubectl.ok("exec redis-sfs-1 -- redis-cli info replication")?;
        Ok(info.contains("master_link_status:up").then_some(()))
    })
}

const RESOLVERS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: resolver-host}
spec:
  dnsPolicy: Default
  restartPolicy: Never
  containers: [{name: main, image: "busybox:1", command: [cat, /etc/resolv.conf]}]
---
apiVersion: v1
kind: Pod
metadata: {name: resolver-own}
spec:
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [example.com], options: [{name: ndots, value: "2"}]}
  restartPolicy: Never
  containers: [{name: main, image: "busybox:1", command: [cat, /etc/resolv.conf]}]
---
apiVersion: v1
kind: Pod
metadata: {name: resolver-node}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  restartPolicy: Never
  containers: [{name: main, image: "busybox:1", command: [cat, /etc/resolv.conf]}]
"#;

fn resolv_conf(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = in_client(cluster, "cat /etc/resolv.conf")?;
    let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
    for line in ["nameserver 10.96.0.10", search, "options ndots:5"] {
        ensure!(text.contains(line), "no {line:?}:\n{text}");
    }
    kubectl.ok_fed("create -f -", RESOLVERS)?;
    let said = |pod: &str| {
        let done = "--for=jsonpath={.status.phase}=Succeeded";
        kubectl.ok_with(&["wait", done, &format!("pod/{pod}"), "--timeout=60s"])?;
        kubectl.ok(&format!("logs {pod}"))
    };
    let own = said("resolver-own")?;
    ensure!(own.contains("nameserver 192.0.2.53") && own.contains("search example.com"), "{own}");
    ensure!(!said("resolver-host")?.contains("10.96.0.10"), "the machine's own servers");
    ensure!(said("resolver-node")?.contains("nameserver 10.96.0.10"), "the cluster's server");
    Ok(())
}

fn clean(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete statefulset/redis-sfs deployment/web")?;
    kubectl.ok("delete service/web service/web-outside service/elsewhere service/redis-sfs")?;
    kubectl.ok("delete pod/client pod/resolver-host pod/resolver-own pod/resolver-node")?;
    eventually("no pod is left", || {
        let left =
            kubectl.ok("get pods -l app=redis-sfs -o name")? + &kubectl.ok("get pods -l app=web -o name")?;
        Ok(left.trim().is_empty().then_some(()))
    })
}
