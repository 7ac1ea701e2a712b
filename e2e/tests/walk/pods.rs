//! A single Redis, from `run` to `delete`.

use anyhow::{Result, ensure};
use e2e::registry::Registry;
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("kubectl run redis: a real Redis runs", run),
    ("kubectl exec: PING is answered with PONG", exec),
    ("the exit code of a command is kubectl's", exit_code),
    ("standard input reaches the command and ends", stdin),
    ("kubectl logs shows, follows and cuts", logs),
    ("kubectl cp carries a file there and back, byte by byte", cp),
    ("kubectl port-forward reaches the Redis", port_forward),
    ("kubectl describe and events tell the pod's way", describe),
    ("containers of a pod share network and volumes", two_containers),
    ("config maps and secrets come as environment and as files", configuration),
    ("an image comes from a registry where there is one", registry),
    ("kubectl delete ends the pod with its grace period", delete),
];

fn run(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("run redis --image=redis")?;
    ensure!(text.trim() == "pod/redis created", "{text}");
    kubectl.ok("wait --for=condition=Ready pod/redis --timeout=60s")?;
    let line = kubectl.ok("get pods redis --no-headers")?;
    ensure!(line.contains("1/1") && line.contains("Running"), "{line}");
    Ok(())
}

fn exec(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("exec redis -- redis-cli ping")?;
    ensure!(text.trim() == "PONG", "{text:?}");
    Ok(())
}

fn exit_code(cluster: &Cluster) -> Result<()> {
    let mut command = cluster.kubectl().with(&["exec", "redis", "--", "sh", "-c", "exit 3"]);
    let code = command.status()?.code();
    ensure!(code == Some(3), "{code:?}");
    Ok(())
}

fn stdin(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok_fed("exec -i redis -- wc -c", "five\n")?;
    ensure!(text.trim() == "5", "{text:?}");
    Ok(())
}

fn logs(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("logs redis")?;
    ensure!(text.contains("Ready to accept connections"), "{text}");
    let tail = kubectl.ok("logs redis --tail=1")?;
    ensure!(tail.lines().count() == 1, "{tail}");
    let stamped = kubectl.ok("logs redis --timestamps --tail=1")?;
    ensure!(stamped.starts_with("20"), "{stamped}");
    ensure!(!kubectl.ok("logs redis --since=1h")?.is_empty(), "an hour holds everything");
    let mut following = kubectl.follow("logs -f redis")?;
    following.line("the log so far", |line| line.contains("Ready to accept connections"))?;
    kubectl.ok_with(&["exec", "redis", "--", "sh", "-c", "echo from-exec > /proc/1/fd/1"])?;
    following.line("a new line", |line| line.contains("from-exec"))?;
    Ok(())
}

fn cp(cluster: &Cluster) -> Result<()> {
    let (there, back) = (cluster.folder().join("there"), cluster.folder().join("back"));
    // Three megabytes with every byte value: more than a window of the stream.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&there, &bytes)?;
    let kubectl = cluster.kubectl();
    kubectl.ok_with(&["cp", &there.display().to_string(), "redis:/tmp/file"])?;
    kubectl.ok_with(&["cp", "redis:/tmp/file", &back.display().to_string()])?;
    ensure!(std::fs::read(&back)? == bytes, "the file came back another");
    Ok(())
}

fn port_forward(cluster: &Cluster) -> Result<()> {
    use std::io::{Read, Write};
    let mut forward = cluster.kubectl().follow("port-forward pod/redis :6379")?;
    let line = forward.line("it listens", |line| line.starts_with("Forwarding from 127.0.0.1:"))?;
    let port: u16 = line
        .trim_start_matches("Forwarding from 127.0.0.1:")
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()?;
    for _ in 0..3 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(e2e::PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply)?;
        ensure!(&reply == b"+PONG\r\n", "{reply:?}");
    }
    Ok(())
}

fn describe(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = eventually("every event is told", || {
        let text = kubectl.ok("describe pod redis")?;
        let all = ["Scheduled", "Created", "Started"].iter().all(|reason| text.contains(reason));
        Ok(all.then_some(text))
    })?;
    ensure!(text.contains("Successfully assigned default/redis to node-1"), "{text}");
    for part in ["Status:", "Running", "IP:", "Container ID:", "containerd://", "QoS Class:", "BestEffort"] {
        ensure!(text.contains(part), "no {part:?}:\n{text}");
    }
    let events = kubectl.ok("get events --field-selector involvedObject.name=redis")?;
    ensure!(events.contains("LAST SEEN") && events.contains("Started"), "{events}");
    ensure!(kubectl.ok("events --for pod/redis")?.contains("Started"), "kubectl events");
    Ok(())
}

const TWO: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  initContainers:
  - {name: first, image: busybox, command: [sh, -c, "echo prepared > /shared/note"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: server, image: redis, volumeMounts: [{name: shared, mountPath: /shared}]}
  - name: beside
    image: busybox
    command: [sh, -c, "cat /shared/note; trap 'exit 0' TERM; while true; do sleep 0.1; done"]
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
"#;

fn two_containers(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", TWO)?;
    kubectl.ok("wait --for=condition=Ready pod/two --timeout=60s")?;
    ensure!(kubectl.ok("logs two -c beside")?.trim() == "prepared", "the volume is shared");
    let text = kubectl.ok_with(&[
        "exec",
        "two",
        "-c",
        "beside",
        "--",
        "sh",
        "-c",
        "echo PING | nc 127.0.0.1 6379",
    ])?;
    ensure!(text.contains("PONG"), "the network is shared: {text:?}");
    let refusal = kubectl.refused("logs two -c nobody")?;
    ensure!(refusal.contains("nobody"), "{refusal}");
    kubectl.ok("delete pod two --wait=false")?;
    Ok(())
}

const CONFIGURED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: configured}
spec:
  restartPolicy: Never
  containers:
  - name: only
    image: busybox
    command: [sh, -c, "echo $COLOR $WORD $POD_NAME; cat /etc/settings/color /etc/hidden/word"]
    env:
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    - {name: WORD, valueFrom: {secretKeyRef: {name: hidden, key: word}}}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    volumeMounts: [{name: settings, mountPath: /etc/settings}, {name: hidden, mountPath: /etc/hidden}]
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: hidden, secret: {secretName: hidden}}
"#;

fn configuration(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create configmap settings --from-literal=color=blue")?;
    kubectl.ok("create secret generic hidden --from-literal=word=swordfish")?;
    kubectl.ok_fed("create -f -", CONFIGURED)?;
    kubectl.ok_with(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/configured",
        "--timeout=60s",
    ])?;
    let text = kubectl.ok("logs configured")?;
    ensure!(text == "blue swordfish configured\nblueswordfish", "{text:?}");
    ensure!(kubectl.ok("get pod configured --no-headers")?.contains("Completed"), "its status");
    kubectl.ok("delete pod/configured configmap/settings secret/hidden")?;
    Ok(())
}

fn registry(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let registry = Registry::start(cluster.folder())?;
    registry.push(&cluster.containerd_socket()?, "docker.io/library/busybox:1", "team/box:2")?;
    kubectl
        .ok(&format!("run pulled --image={} --restart=Never -- echo pulled", registry.image("team/box:2")))?;
    kubectl.ok_with(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/pulled", "--timeout=60s"])?;
    ensure!(kubectl.ok("logs pulled")?.trim() == "pulled", "it ran");
    let events = kubectl.ok("get events --field-selector involvedObject.name=pulled,reason=Pulled")?;
    ensure!(events.contains("Successfully pulled image"), "{events}");
    kubectl.ok("delete pod pulled")?;
    Ok(())
}

fn delete(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("delete pod redis")?;
    ensure!(text.contains("pod \"redis\"") && text.contains("deleted"), "{text}");
    ensure!(kubectl.refused("get pod redis")?.contains("pods \"redis\" not found"), "it is gone");
    Ok(())
}
