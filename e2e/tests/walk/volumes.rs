//! Volumes: data that returns with its pod, and what becomes of it when nobody wants it any more.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};
use serde_json::json;

pub const STEPS: &[Step] = &[
    ("volumes: kubectl get sc shows the class that a cluster begins with", class),
    ("volumes: a StatefulSet's data returns with its pod", data_returns),
    ("volumes: claim and volume print as upstream and say how they came about", print),
    ("volumes: a claim that is deleted while in use stays, and its folder goes after it", in_use),
    (
        "volumes: a hostPath volume is bound at once, mounted in parts, and kept when it is released",
        host_path,
    ),
    ("volumes: a pod without its claim says so", missing_claim),
    ("volumes: a StatefulSet whose volume cannot be made says why, and goes on once it can", cannot_be_made),
    ("volumes: a volume that cannot be mounted is told and tried again", cannot_be_mounted),
    ("volumes: claims go with the set, or with pods too many, if the set says so", retention),
    ("volumes: a pod's own claim lives as long as the pod", ephemeral),
];

/// A set `name` of one Redis that keeps its data in a claim of that class (of the default one if it is empty).
fn set(name: &str, class: &str, policy: serde_json::Value) -> String {
    let mut claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "64Mi"}}}});
    if !class.is_empty() {
        claim["spec"]["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "persistentVolumeClaimRetentionPolicy": policy,
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "redis", "image": "redis:7",
                    "command": ["redis-server", "--dir", "/data", "--save", ""],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 1}
                }]}
            },
            "volumeClaimTemplates": [claim]
        }
    })
    .to_string()
}

fn ready(cluster: &Cluster, pod: &str) -> Result<()> {
    eventually(&format!("{pod} is ready"), || {
        let ready = cluster.kubectl().run(&format!("wait --for=condition=Ready pod/{pod} --timeout=1s"))?;
        Ok((ready.code == 0).then_some(()))
    })
}

/// The volume of a claim, and where its data lies on this machine.
fn volume(cluster: &Cluster, claim: &str) -> Result<(String, PathBuf)> {
    let name = cluster.kubectl().path(&format!("get pvc {claim}"), "{.spec.volumeName}")?;
    let path = cluster.kubectl().path(&format!("get pv {name}"), "{.spec.local.path}")?;
    Ok((name, PathBuf::from(path)))
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn class(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("get sc")?;
    let lines: Vec<String> = text.lines().map(words).collect();
    ensure!(
        lines[0] == "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE"
            && lines[1]
                .starts_with("local-path (default) sampan.io/local-path Delete WaitForFirstConsumer false "),
        "{text}"
    );
    Ok(())
}

fn data_returns(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", &set("keep", "", json!({})))?;
    ready(cluster, "keep-0")?;
    kubectl.ok("exec keep-0 -- redis-cli set place here")?;
    kubectl.ok("exec keep-0 -- redis-cli save")?;
    let before = kubectl.path("get pod keep-0", "{.metadata.uid}")?;
    kubectl.ok("delete pod keep-0")?;
    eventually("another pod of that name is there", || {
        let now = kubectl.run("get pod keep-0 -o=jsonpath={.metadata.uid}")?.out;
        Ok((!now.is_empty() && now != before).then_some(()))
    })?;
    ready(cluster, "keep-0")?;
    let place = kubectl.ok("exec keep-0 -- redis-cli get place")?;
    ensure!(place.trim() == "here", "{place}");
    let (_, path) = volume(cluster, "data-keep-0")?;
    ensure!(path.join("dump.rdb").is_file(), "the data lies in {}", path.display());
    Ok(())
}

fn print(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let (name, _) = volume(cluster, "data-keep-0")?;
    let text = kubectl.ok("get pvc data-keep-0")?;
    let lines: Vec<String> = text.lines().map(words).collect();
    ensure!(
        lines[0] == "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE"
            && lines[1].starts_with(&format!("data-keep-0 Bound {name} 64Mi RWO local-path <unset> ")),
        "{text}"
    );
    let text = kubectl.ok(&format!("get pv {name}"))?;
    let lines: Vec<String> = text.lines().map(words).collect();
    let header = "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE";
    let row = format!("{name} 64Mi RWO Delete Bound default/data-keep-0 local-path <unset> ");
    ensure!(lines[0] == header && lines[1].starts_with(&row), "{text}");
    let described = words(&kubectl.ok("describe pvc data-keep-0")?);
    for part in ["ProvisioningSucceeded", "Successfully provisioned volume pvc-", "Used By: keep-0"] {
        ensure!(described.contains(part), "{part} is missing: {described}");
    }
    Ok(())
}

fn in_use(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let (name, path) = volume(cluster, "data-keep-0")?;
    kubectl.ok("delete pvc data-keep-0 --wait=false")?;
    let line = words(&kubectl.ok("get pvc data-keep-0 --no-headers")?);
    ensure!(line.starts_with("data-keep-0 Terminating "), "{line}");
    let place = kubectl.ok("exec keep-0 -- redis-cli get place")?;
    ensure!(place.trim() == "here" && path.is_dir(), "the pod still has its data");
    kubectl.ok("delete statefulset keep")?;
    eventually("the claim, the volume and its folder are gone", || {
        let claim = kubectl.run("get pvc data-keep-0")?.code != 0;
        let volume = kubectl.run(&format!("get pv {name}"))?.code != 0;
        Ok((claim && volume && !path.exists()).then_some(()))
    })
}

fn host_path(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let folder = cluster.folder().join("by-hand");
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "by-hand"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "by-hand"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": {"requests": {"storage": "512Mi"}}}});
    kubectl.ok_fed("create -f -", &volume.to_string())?;
    kubectl.ok_fed("create -f -", &claim.to_string())?;
    kubectl.ok("wait --for=jsonpath={.status.phase}=Bound pvc/by-hand --timeout=30s")?;
    let write =
        "echo whole > /whole/a; echo part > /part/b; cat /whole/$NAME/b; echo x > /only/c || echo refused";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand"}, "spec": {
    "restartPolicy": "Never",
    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "by-hand"}}],
    "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", write],
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [
            {"name": "v", "mountPath": "/whole"},
            {"name": "v", "mountPath": "/part", "subPathExpr": "$(NAME)"},
            {"name": "v", "mountPath": "/only", "readOnly": true}
        ]}]}});
    kubectl.ok_fed("create -f -", &pod.to_string())?;
    kubectl.ok("wait --for=jsonpath={.status.phase}=Succeeded pod/by-hand --timeout=60s")?;
    let log = kubectl.ok("logs by-hand")?;
    ensure!(log.contains("part\n") && log.contains("refused"), "{log}");
    ensure!(std::fs::read_to_string(folder.join("by-hand/b"))? == "part\n", "the part lies below the whole");
    kubectl.ok("delete pod by-hand")?;
    kubectl.ok("delete pvc by-hand")?;
    eventually("the volume is released", || {
        let phase = kubectl.path("get pv by-hand", "{.status.phase}")?;
        Ok((phase == "Released").then_some(()))
    })?;
    kubectl.ok("delete pv by-hand")?;
    ensure!(folder.join("a").is_file(), "its data stays");
    Ok(())
}

fn missing_claim(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"}, "spec": {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "nowhere"}}],
        "containers": [{"name": "c", "image": "busybox"}]}});
    kubectl.ok_fed("create -f -", &pod.to_string())?;
    eventually("the pod says what it lacks", || {
        let path = "{.status.conditions[?(@.type==\"PodScheduled\")].message}";
        let message = kubectl.path("get pod lost", path)?;
        Ok(message.contains("persistentvolumeclaim \"nowhere\" not found").then_some(()))
    })?;
    kubectl.ok("delete pod lost")?;
    Ok(())
}

fn cannot_be_made(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", &set("late", "late", json!({})))?;
    eventually("claim and pod say why", || {
        let claim = kubectl.ok("describe pvc data-late-0")?;
        let pod = kubectl.run("describe pod late-0")?.out;
        let said = claim.contains("storageclass.storage.k8s.io \"late\" not found")
            && pod.contains("pod has unbound immediate PersistentVolumeClaims");
        Ok(said.then_some(()))
    })?;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "late"},
        "provisioner": "sampan.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"});
    kubectl.ok_fed("create -f -", &class.to_string())?;
    ready(cluster, "late-0")?;
    kubectl.ok("delete statefulset late")?;
    kubectl.ok("delete pvc data-late-0")?;
    kubectl.ok("delete sc late")?;
    Ok(())
}

fn cannot_be_mounted(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let folder = cluster.folder().join("not-yet");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "early"}, "spec": {
        "volumes": [{"name": "v", "hostPath": {"path": folder, "type": "Directory"}}],
        "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "600"],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}});
    kubectl.ok_fed("create -f -", &pod.to_string())?;
    eventually("the pod says what it lacks", || {
        let text = kubectl.ok("describe pod early")?;
        let said = text.contains("FailedMount") && text.contains("hostPath type check failed");
        Ok(said.then_some(()))
    })?;
    std::fs::create_dir(&folder)?;
    ready(cluster, "early")?;
    kubectl.ok("delete pod early --grace-period=1")?;
    Ok(())
}

fn retention(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    kubectl.ok_fed("create -f -", &set("brief", "", policy))?;
    ready(cluster, "brief-0")?;
    kubectl.ok("scale statefulset brief --replicas=2")?;
    ready(cluster, "brief-1")?;
    kubectl.ok("scale statefulset brief --replicas=1")?;
    eventually("the claim of the pod too many is gone", || {
        Ok((kubectl.run("get pvc data-brief-1")?.code != 0).then_some(()))
    })?;
    kubectl.ok("get pvc data-brief-0")?;
    kubectl.ok("delete statefulset brief")?;
    eventually("the last claim went with the set", || {
        Ok((kubectl.run("get pvc data-brief-0")?.code != 0).then_some(()))
    })
}

fn ephemeral(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let template =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "scratch"}, "spec": {
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "volumes": [{"name": "own", "ephemeral": {"volumeClaimTemplate": template}}],
        "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", "touch /own/a && sleep 600"],
            "volumeMounts": [{"name": "own", "mountPath": "/own"}]}]}});
    kubectl.ok_fed("create -f -", &pod.to_string())?;
    ready(cluster, "scratch")?;
    let group = kubectl.ok("exec scratch -- stat -c %g /own/a")?;
    ensure!(group.trim() == "2000", "the volume is the group's: {group}");
    kubectl.ok("delete pod scratch --grace-period=1")?;
    eventually("its claim is gone", || Ok((kubectl.run("get pvc scratch-own")?.code != 0).then_some(())))
}
