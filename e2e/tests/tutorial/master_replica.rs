//! Master and replica: a StatefulSet, its headless Service, and who is reached by which name.

use anyhow::{Result, ensure};
use e2e::{Cluster, Kubectl, Step, eventually};

use crate::{manifest, node_of};

pub const STEPS: &[Step] = &[
    (
        "kubectl create -f server.yaml: statefulset.apps/redis-sfs created, its pods one after the other",
        server,
    ),
    ("kubectl logs -f redis-sfs-1: without the service it cannot find its master", waits),
    ("kubectl create -f service.yaml: a service without an address of its own", service),
    ("kubectl logs -f redis-sfs-1: MASTER <-> REPLICA sync: Finished with success", synchronised),
    (
        "redis-cli -h redis-sfs-0.redis-sfs.default.svc.cluster.local in another pod: PONG, and one word in both",
        word,
    ),
    ("a headless service is both of its pods, one with an address sends to either", two_kinds),
    ("any pod deleted returns under its own name, and the replication with it", identity),
    ("with volumeClaimTemplates its data returns too", data),
    ("kubectl delete: nothing of it is left", clean),
];

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
        image: redis
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

const MASTER: &str = "redis-sfs-0.redis-sfs.default.svc.cluster.local";

fn server(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = manifest(cluster, "server.yaml", SERVER)?;
    let text = kubectl.ok(&format!("create -f {file}"))?;
    ensure!(text.trim() == "statefulset.apps/redis-sfs created", "{text}");
    kubectl.ok("rollout status statefulset/redis-sfs --timeout=60s")?;
    let ready = kubectl
        .path("get pod redis-sfs-0", "{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}")?;
    let made = kubectl.path("get pod redis-sfs-1", "{.metadata.creationTimestamp}")?;
    ensure!(ready <= made, "redis-sfs-1 was made at {made}, redis-sfs-0 ready at {ready}");
    let (one, other) = (node_of(cluster, "redis-sfs-0")?, node_of(cluster, "redis-sfs-1")?);
    ensure!(one != other, "master and replica share {one}");
    Ok(())
}

fn waits(cluster: &Cluster) -> Result<()> {
    let mut log = cluster.kubectl().follow("logs -f redis-sfs-1")?;
    log.line("it cannot find its master", |line| line.contains("Unable to connect to MASTER"))?;
    Ok(())
}

fn service(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = manifest(cluster, "service.yaml", SERVICE)?;
    let text = kubectl.ok(&format!("create -f {file}"))?;
    ensure!(text.trim() == "service/redis-sfs created", "{text}");
    let table = kubectl.ok("get service --no-headers")?;
    let row = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().take(5).map(str::to_owned).collect()
    };
    ensure!(row("kubernetes") == ["kubernetes", "ClusterIP", "10.96.0.1", "<none>", "443/TCP"], "{table}");
    ensure!(row("redis-sfs") == ["redis-sfs", "ClusterIP", "None", "<none>", "6379/TCP"], "{table}");
    Ok(())
}

fn synchronised(cluster: &Cluster) -> Result<()> {
    let mut log = cluster.kubectl().follow("logs -f redis-sfs-1")?;
    log.line("it synchronises", |line| line.contains("MASTER <-> REPLICA sync: Finished with success"))?;
    Ok(())
}

fn redis(kubectl: &Kubectl, pod: &str, command: &str) -> Result<String> {
    Ok(kubectl.ok(&format!("exec {pod} -- redis-cli {command}"))?.trim().to_owned())
}

fn word(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    ensure!(redis(kubectl, "redis-sfs-1", &format!("-h {MASTER} ping"))? == "PONG", "the master answers");
    redis(kubectl, "redis-sfs-1", &format!("-h {MASTER} set word swordfish"))?;
    eventually("the replica has the word", || {
        Ok((redis(kubectl, "redis-sfs-1", "get word")? == "swordfish").then_some(()))
    })
}

fn two_kinds(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let either = "create service clusterip redis-either --tcp=6379:6379 --dry-run=client -o yaml";
    let either = kubectl.ok(either)?.replace("app: redis-either", "app: redis-sfs");
    kubectl.ok_fed("create -f -", &either)?;
    let address = kubectl.path("get service redis-either", "{.spec.clusterIP}")?;
    ensure!(address.starts_with("10.96."), "{address}");
    let both = kubectl.ok("exec redis-sfs-1 -- nslookup redis-sfs.default.svc.cluster.local")?;
    for pod in ["redis-sfs-0", "redis-sfs-1"] {
        let ip = kubectl.path(&format!("get pod {pod}"), "{.status.podIP}")?;
        ensure!(both.contains(&ip), "{pod} has {ip}: {both}");
    }
    // Each pod reaches both, itself among them, at the one address.
    for pod in ["redis-sfs-0", "redis-sfs-1"] {
        eventually(&format!("{pod} reaches master and replica"), || {
            let ask = "for i in $(seq 20); do redis-cli -h redis-either info replication | grep ^role; done";
            let roles = kubectl.ok_with(&["exec", pod, "--", "sh", "-c", ask])?;
            Ok((roles.contains("role:master") && roles.contains("role:slave")).then_some(()))
        })?;
    }
    kubectl.ok("delete service redis-either").map(drop)
}

fn identity(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    for pod in ["redis-sfs-1", "redis-sfs-0"] {
        let before = kubectl.path(&format!("get pod {pod}"), "{.metadata.uid}")?;
        kubectl.ok(&format!("delete pod {pod}"))?;
        eventually(&format!("{pod} is another pod of that name"), || {
            let after = kubectl.path(&format!("get pod {pod}"), "{.metadata.uid}")?;
            Ok((after != before).then_some(()))
        })?;
        kubectl.ok("rollout status statefulset/redis-sfs --timeout=60s")?;
        eventually("the replication is there again", || {
            let info = redis(kubectl, "redis-sfs-1", "info replication")?;
            Ok(info.contains("master_link_status:up").then_some(()))
        })?;
    }
    Ok(())
}

fn kept() -> String {
    let claims = "  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
";
    let mounted = SERVER.replace("redis-sfs", "redis-kept").replace(
        "        image: redis\n",
        "        image: redis\n        volumeMounts: [{name: data, mountPath: /data}]\n",
    );
    mounted + claims + &format!("---{}", SERVICE.replace("redis-sfs", "redis-kept"))
}

fn data(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = manifest(cluster, "kept.yaml", &kept())?;
    kubectl.ok(&format!("create -f {file}"))?;
    kubectl.ok("rollout status statefulset/redis-kept --timeout=60s")?;
    let claims = kubectl.ok("get pvc --no-headers")?;
    for claim in ["data-redis-kept-0", "data-redis-kept-1"] {
        let line = claims.lines().find(|line| line.starts_with(claim)).unwrap_or_default();
        ensure!(line.contains(" Bound "), "{claims}");
    }
    let node = node_of(cluster, "redis-kept-0")?;
    redis(kubectl, "redis-kept-0", "set word barracuda")?;
    ensure!(redis(kubectl, "redis-kept-0", "save")? == "OK", "it is on the disk");
    let before = kubectl.path("get pod redis-kept-0", "{.metadata.uid}")?;
    kubectl.ok("delete pod redis-kept-0")?;
    eventually("it is another pod of that name", || {
        let after = kubectl.path("get pod redis-kept-0", "{.metadata.uid}")?;
        Ok((after != before).then_some(()))
    })?;
    kubectl.ok("rollout status statefulset/redis-kept --timeout=60s")?;
    ensure!(redis(kubectl, "redis-kept-0", "get word")? == "barracuda", "its data is there");
    ensure!(node_of(cluster, "redis-kept-0")? == node, "it is where its data is");
    kubectl.ok(&format!("delete -f {file}"))?;
    kubectl.ok("delete pvc --all").map(drop)
}

fn clean(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete statefulset redis-sfs")?;
    kubectl.ok("delete service redis-sfs")?;
    eventually("no pod is left", || Ok(kubectl.ok("get pods -o name")?.trim().is_empty().then_some(())))
}
