//! What is refused, and in which words.

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually, eventually_within};
use std::time::Duration;

pub const STEPS: &[Step] = &[
    ("unknown fields are refused, warned of or dropped as the client asks", unknown_fields),
    ("wrong types and missing fields are refused with the field's path", wrong_types),
    ("names with illegal characters are refused", names),
    ("a body over 3 MB is refused and nothing is lost", large),
    ("an image that does not exist shows ErrImagePull and ImagePullBackOff", no_image),
    ("a command that fails shows CrashLoopBackOff, and logs --previous its last words", crash_loop),
    ("a pod that fits nowhere stays Pending and says why", unschedulable),
    ("without a client certificate nothing is shown", anonymous),
];

fn unknown_fields(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndatum: {a: b}\n";
    let strict = kubectl.fed("create -f -", object)?;
    ensure!(strict.code != 0 && strict.err.contains("unknown field \"datum\""), "{strict:?}");
    let warned = kubectl.fed("create --validate=warn -f -", object)?;
    ensure!(warned.code == 0 && warned.err.contains("Warning: unknown field \"datum\""), "{warned:?}");
    kubectl.ok("delete cm odd")?;
    let ignored = kubectl.fed("create --validate=ignore -f -", object)?;
    ensure!(ignored.code == 0 && !ignored.err.contains("Warning"), "{ignored:?}");
    kubectl.ok("delete cm odd")?;
    Ok(())
}

fn wrong_types(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let pod = |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: odd}}\nspec: {spec}\n");
    let refusal = |text: &str| -> Result<String> {
        let ran = kubectl.fed("create --validate=ignore -f -", text)?;
        ensure!(ran.code != 0, "it was accepted: {text}");
        Ok(ran.err)
    };
    let text = refusal(&pod("{containers: 7}"))?;
    ensure!(
        text.contains("BadRequest")
            || text.contains("cannot unmarshal")
            || text.contains("cannot be handled"),
        "{text}"
    );
    let text = refusal(&pod("{containers: []}"))?;
    ensure!(text.contains("spec.containers: Required value"), "{text}");
    let text = refusal(&pod("{restartPolicy: Maybe, containers: [{name: a, image: b}]}"))?;
    ensure!(text.contains("spec.restartPolicy: Unsupported value: \"Maybe\""), "{text}");
    let text = refusal("{\"apiVersion\":\"v1\",\"kind\":")?;
    ensure!(!text.is_empty(), "malformed JSON");
    Ok(())
}

fn names(cluster: &Cluster) -> Result<()> {
    let refusal = cluster.kubectl().refused("create configmap Not_A_Name")?;
    ensure!(refusal.contains("metadata.name: Invalid value") && refusal.contains("RFC 1123"), "{refusal}");
    Ok(())
}

fn large(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = cluster.folder().join("large.json");
    let filler = "x".repeat(4 * 1024 * 1024);
    std::fs::write(
        &file,
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"large"}},"data":{{"a":"{filler}"}}}}"#
        ),
    )?;
    let refusal = kubectl.refused(&format!("create -f {}", file.display()))?;
    ensure!(refusal.contains("too large") || refusal.contains("TooLarge"), "{refusal}");
    kubectl.ok("create cm after-large")?;
    kubectl.ok("delete cm after-large")?;
    Ok(())
}

fn no_image(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("run missing --image=127.0.0.1:1/no/such:image")?;
    let mut seen = Vec::new();
    eventually("both reasons are seen", || {
        let line = kubectl.ok("get pod missing --no-headers")?;
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            if line.contains(reason) && !seen.contains(&reason) {
                seen.push(reason);
            }
        }
        Ok((seen.len() == 2).then_some(()))
    })?;
    let events = kubectl.ok("get events --field-selector involvedObject.name=missing")?;
    ensure!(events.contains("Failed") && events.contains("Failed to pull image"), "{events}");
    kubectl.ok("delete pod missing")?;
    Ok(())
}

fn crash_loop(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_with(&["run", "crashes", "--image=busybox", "--", "sh", "-c", "echo last words; exit 7"])?;
    let line = eventually_within(Duration::from_secs(90), "it is in its crash loop", || {
        let line = kubectl.ok("get pod crashes --no-headers")?;
        Ok(line.contains("CrashLoopBackOff").then_some(line))
    })?;
    ensure!(line.contains("0/1"), "{line}");
    let state =
        kubectl.path("get pod crashes", "{.status.containerStatuses[0].lastState.terminated.exitCode}")?;
    ensure!(state == "7", "{state}");
    let text = eventually("the instance before this one has a log", || {
        Ok(kubectl.ok("logs crashes --previous").ok().filter(|text| !text.is_empty()))
    })?;
    ensure!(text.contains("last words"), "{text}");
    kubectl.ok("delete pod crashes")?;
    Ok(())
}

fn unschedulable(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: huge}\nspec: {containers: [{name: a, image: 'redis:7', \
               resources: {requests: {cpu: '1000'}}}]}\n";
    kubectl.ok_fed("create -f -", pod)?;
    eventually("the scheduler says why", || {
        let text = kubectl.ok("describe pod huge")?;
        Ok(text.contains("0/1 nodes are available: 1 Insufficient cpu").then_some(()))
    })?;
    ensure!(kubectl.ok("get pod huge --no-headers")?.contains("Pending"), "it waits");
    kubectl.ok("delete pod huge")?;
    Ok(())
}

fn anonymous(cluster: &Cluster) -> Result<()> {
    let server = cluster.kubectl().path("config view --raw", "{.clusters[0].cluster.server}")?;
    let line = format!(
        "get pods --kubeconfig=/dev/null --insecure-skip-tls-verify --server={server} --username=a --password=b"
    );
    let refusal = cluster.kubectl().refused(&line)?;
    ensure!(refusal.contains("Unauthorized") || refusal.contains("must be logged in"), "{refusal}");
    Ok(())
}
