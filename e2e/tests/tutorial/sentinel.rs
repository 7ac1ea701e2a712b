//! Redis Sentinel, and the master's node cut off.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step, eventually, outage};

use crate::moments::{Moment, Sight, await_all, is_leaving};
use crate::{WEB, manifest, node_of};

pub const STEPS: &[Step] = &[
    ("three sentinels watch a master with two replicas, each on a node of its own", watch),
    ("the master's node is cut off: a replica is promoted, and who asks the sentinels writes again", cut_off),
    ("the node is NotReady and tainted, its deployments' pods move, and services send elsewhere", moves),
    ("a stateful set keeps the identity of a pod that nobody hears of", keeps_identity),
    ("the node is back: Ready, and the master of before returns under its name, as a replica", back),
    ("kubectl delete: nothing of them is left", clean),
];

/// Redis that asks the sentinels who the master is, once there are any; without them it goes by its ordinal. The
/// whole names, with a point at their ends, are asked of the cluster alone.
const REDIS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: redis-ha}
spec:
  clusterIP: None
  # They find each other before they are ready.
  publishNotReadyAddresses: true
  selector: {app: redis-ha}
  ports: [{name: redis, port: 6379}]
---
apiVersion: v1
kind: Service
metadata: {name: redis-sentinel}
spec: {clusterIP: None, selector: {app: redis-sentinel}, ports: [{name: sentinel, port: 26379}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis-ha}
spec:
  serviceName: redis-ha
  replicas: 3
  selector: {matchLabels: {app: redis-ha}}
  template:
    metadata: {labels: {app: redis-ha}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers:
      - name: redis
        image: redis
        # A port of the node keeps two of them off one node.
        ports: [{name: redis, containerPort: 6379, hostPort: 16379}]
        command:
        - bash
        - -c
        - |
          ask="redis-cli -h redis-sentinel.default.svc.cluster.local. -p 26379"
          master=$(timeout 3 $ask sentinel get-master-addr-by-name mymaster 2>/dev/null | head -n 1)
          if [[ $master =~ ^[0-9.]+$ ]]; then
            of="--slaveof $master 6379"
          elif [[ $(hostname) != redis-ha-0 ]]; then
            of="--slaveof redis-ha-0.redis-ha.default.svc.cluster.local. 6379"
          fi
          exec redis-server $of --protected-mode no --dir /data
"#;

const SENTINELS: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis-sentinel}
spec:
  serviceName: redis-sentinel
  podManagementPolicy: Parallel
  replicas: 3
  selector: {matchLabels: {app: redis-sentinel}}
  template:
    metadata: {labels: {app: redis-sentinel}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: sentinel
        image: redis
        ports: [{name: sentinel, containerPort: 26379, hostPort: 26379}]
        command:
        - bash
        - -c
        - |
          printf '%s\n' \
            'sentinel resolve-hostnames yes' \
            'sentinel monitor mymaster redis-ha-0.redis-ha.default.svc.cluster.local. 6379 2' \
            'sentinel down-after-milliseconds mymaster 2000' \
            'sentinel failover-timeout mymaster 10000' >/tmp/sentinel.conf
          exec redis-server /tmp/sentinel.conf --sentinel --protected-mode no
"#;

fn watch(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let (redis, sentinels) =
        (manifest(cluster, "redis-ha.yaml", REDIS)?, manifest(cluster, "sentinel.yaml", SENTINELS)?);
    kubectl.ok(&format!("create -f {redis}"))?;
    kubectl.ok("rollout status statefulset/redis-ha --timeout=60s")?;
    kubectl.ok(&format!("create -f {sentinels}"))?;
    kubectl.ok("rollout status statefulset/redis-sentinel --timeout=60s")?;
    eventually("the sentinels know the master, its replicas and each other", || {
        let said = kubectl.ok("exec redis-sentinel-0 -- redis-cli -p 26379 sentinel ckquorum mymaster")?;
        let master = kubectl.ok("exec redis-sentinel-0 -- redis-cli -p 26379 sentinel master mymaster")?;
        let words: Vec<&str> = master.lines().collect();
        let replicas = words.windows(2).find(|two| two[0] == "num-slaves").map(|two| two[1]);
        Ok((said.starts_with("OK 3 usable Sentinels") && replicas == Some("2")).then_some(()))
    })
}

/// As a client of sentinels does: asks each of them who the master is, and writes there.
const WRITE: &str = r#"
for sentinel in 0 1 2; do
  name=redis-sentinel-$sentinel.redis-sentinel.default.svc.cluster.local.
  master=$(timeout 1 redis-cli -h $name -p 26379 sentinel get-master-addr-by-name mymaster | head -n 1)
  if [ -n "$master" ] && [ "$(timeout 1 redis-cli -h $master set word "$0")" = OK ]; then
    echo $master
    exit 0
  fi
done
exit 1
"#;

fn written(cluster: &Cluster, word: &str) -> Result<String> {
    let text = cluster.kubectl().ok_with(&["exec", "client", "--", "sh", "-c", WRITE, word])?;
    Ok(text.trim().to_owned())
}

fn cut_off(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let node = node_of(cluster, "redis-ha-0")?;
    let other = node_of(cluster, "redis-ha-1")?;
    ensure!(node != other, "master and replica share {node}");
    kubectl.ok_fed("create -f -", &WEB.replace("SECONDS", "1"))?;
    kubectl.ok("rollout status deployment/web --timeout=60s")?;
    // Where it can still be asked.
    let here = format!(r#"{{"spec": {{"nodeName": "{other}", "terminationGracePeriodSeconds": 0}}}}"#);
    let run = ["run", "client", "--image=redis", "--overrides", &here, "--command", "--", "sleep", "100000"];
    kubectl.ok_with(&run)?;
    kubectl.ok("wait --for=condition=Ready pod/client --timeout=60s")?;
    let before = written(cluster, "before").context("the client writes while all is well")?;

    let began = Instant::now();
    outage::cut_off(cluster, &node)?;
    let after = eventually("the client writes again", || written(cluster, "after").map(Some))?;
    println!("        {:>5.1} s  {after} is written to instead of {before}", began.elapsed().as_secs_f32());
    ensure!(after != before, "{before} was cut off");
    Ok(())
}

fn moves(cluster: &Cluster) -> Result<()> {
    let node = node_of(cluster, "redis-ha-0")?;
    let began = Instant::now();
    let moments = [
        Moment::new("the node is NotReady", |sight: &Sight| !sight.is_ready(&node)),
        Moment::new("it has a taint that drives pods away", |sight| sight.is_tainted(&node)),
        Moment::new("no service sends to it", |sight| sight.endpoints_on("web", &node) == 0),
        Moment::new("the deployment's pods are elsewhere", |sight| sight.elsewhere("web", &node) == 3),
        Moment::new("and ready", |sight| sight.ready_elsewhere("web", &node) == 3),
    ];
    await_all(cluster, began, &moments)?;
    let taints = cluster.kubectl().path(&format!("get node {node}"), "{.spec.taints[*].key}")?;
    ensure!(taints.contains("node.kubernetes.io/unreachable"), "{taints}");
    let text = cluster.kubectl().ok(&format!("describe node {node}"))?;
    ensure!(text.contains("NodeStatusUnknown"), "{text}");
    Ok(())
}

fn keeps_identity(cluster: &Cluster) -> Result<()> {
    eventually("the pod is told to go", || {
        let sight = Sight::take(cluster)?;
        Ok(sight
            .pods("redis-ha")
            .any(|pod| pod["metadata"]["name"] == "redis-ha-0" && is_leaving(pod))
            .then_some(()))
    })?;
    let line = cluster.kubectl().ok("get pod redis-ha-0 --no-headers")?;
    ensure!(line.contains("Terminating"), "{line}");
    // It may still run there: another one of its name would be a second master.
    let count = Sight::take(cluster)?.pods("redis-ha").count();
    ensure!(count == 3, "{count} pods of the set");
    Ok(())
}

fn back(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let node = node_of(cluster, "redis-ha-0")?;
    let before = kubectl.path("get pod redis-ha-0", "{.metadata.uid}")?;
    let began = Instant::now();
    outage::end(cluster, &node)?;
    let moments = [
        Moment::new("the node is Ready", |sight: &Sight| sight.is_ready(&node)),
        Moment::new("without its taints", |sight| !sight.is_tainted(&node)),
        Moment::new("redis-ha-0 is another pod of that name", |sight| {
            let mut pods = sight.pods("redis-ha");
            pods.any(|pod| {
                pod["metadata"]["name"] == "redis-ha-0" && pod["metadata"]["uid"] != before.as_str()
            })
        }),
    ];
    await_all(cluster, began, &moments)?;
    kubectl.ok("rollout status statefulset/redis-ha --timeout=60s")?;
    eventually("it follows the master that was chosen", || {
        let info = kubectl.ok("exec redis-ha-0 -- redis-cli info replication")?;
        Ok((info.contains("role:slave") && info.contains("master_link_status:up")).then_some(()))
    })?;
    let word = kubectl.ok("exec redis-ha-0 -- redis-cli get word")?;
    ensure!(word.trim() == "after", "what was written meanwhile is there: {word}");
    Ok(())
}

fn clean(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete statefulset redis-ha redis-sentinel")?;
    kubectl.ok("delete service redis-ha redis-sentinel web")?;
    kubectl.ok("delete deployment web")?;
    kubectl.ok("delete pod client")?;
    eventually("no pod is left", || Ok(kubectl.ok("get pods -o name")?.trim().is_empty().then_some(())))
}
