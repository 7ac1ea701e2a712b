//! Files, outputs, selectors and watches.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("kubectl create -f makes a pod, and creating it again is refused", create),
    ("kubectl apply creates, changes and leaves alone", apply),
    ("every output format prints the object", outputs),
    ("kubectl get -w prints a row per event without gap or replay", watch),
    ("labels and field selectors choose", selectors),
    ("lists come in pages", pages),
    ("kubectl label, annotate, patch, replace and edit-like updates change one thing", changes),
    ("a finalizer holds an object until it is taken off", finalizer),
    ("dependents go with their owner, or stay when orphaned", owners),
    ("kubectl delete -f takes what the file names", delete),
];

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: from-file
  labels: {app: from-file, tier: cache}
spec:
  containers:
  - name: redis
    image: redis:7
";

fn create(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = cluster.folder().join("pod.yaml");
    std::fs::write(&file, POD)?;
    let file = file.display().to_string();
    ensure!(kubectl.ok_with(&["create", "-f", &file])?.trim() == "pod/from-file created", "created");
    let refusal = kubectl.refused(&format!("create -f {file}"))?;
    ensure!(
        refusal.contains("AlreadyExists") && refusal.contains(r#"pods "from-file" already exists"#),
        "{refusal}"
    );
    kubectl.ok("wait --for=condition=Ready pod/from-file --timeout=60s")?;
    Ok(())
}

fn config_map(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: applied}}\ndata: {{color: {value}, size: big}}\n"
    )
}

fn apply(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let applied = |text: &str| kubectl.ok_fed("apply -f -", text);
    ensure!(applied(&config_map("red"))?.trim() == "configmap/applied created", "created");
    ensure!(applied(&config_map("red"))?.trim() == "configmap/applied unchanged", "unchanged");
    ensure!(applied(&config_map("blue"))?.trim() == "configmap/applied configured", "configured");
    ensure!(kubectl.path("get cm applied", "{.data.color}")? == "blue", "the change is there");
    let less = config_map("blue").replace(", size: big", "");
    applied(&less)?;
    ensure!(kubectl.path("get cm applied", "{.data.size}")?.is_empty(), "what the file drops is dropped");
    let diff = kubectl.fed("diff -f -", &config_map("green"))?;
    ensure!(diff.code == 1 && diff.out.contains("+  color: green"), "{diff:?}");
    kubectl.ok("delete cm applied")?;

    let deployment = |replicas: u8| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: applied}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{app: applied}}}}\n  template:\n    metadata: {{labels: {{app: applied}}}}\n    \
             spec: {{containers: [{{name: redis, image: 'redis:7', ports: [{{containerPort: 6379}}]}}]}}\n"
        )
    };
    applied(&deployment(0))?;
    ensure!(applied(&deployment(0))?.contains("unchanged"), "defaults do not count as changes");
    applied(&deployment(1))?;
    ensure!(kubectl.path("get deployment applied", "{.spec.replicas}")? == "1", "scaled by apply");
    kubectl.ok("delete deployment applied")?;
    Ok(())
}

fn outputs(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let wide = kubectl.ok("get pods from-file -o wide")?;
    for column in
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    {
        ensure!(wide.contains(column), "no column {column}:\n{wide}");
    }
    ensure!(kubectl.ok("get pods from-file -o yaml")?.starts_with("apiVersion: v1\nkind: Pod\n"), "yaml");
    ensure!(kubectl.json("get pod from-file")?["spec"]["restartPolicy"] == "Always", "json, with defaults");
    ensure!(kubectl.ok("get pods -o name")?.contains("pod/from-file"), "name");
    let columns = kubectl.ok("get pods from-file -o custom-columns=N:.metadata.name,P:.status.phase")?;
    ensure!(columns.contains("from-file") && columns.contains("Running"), "{columns}");
    ensure!(kubectl.ok("get pods -A")?.contains("NAMESPACE"), "all namespaces");
    ensure!(kubectl.ok("get pods --show-labels")?.contains("tier=cache"), "labels");
    ensure!(kubectl.ok("get pods --sort-by=.metadata.name")?.contains("from-file"), "sorted");
    ensure!(kubectl.ok("get all")?.contains("pod/from-file"), "all");
    ensure!(kubectl.ok("get --raw /api/v1/namespaces/default/pods/from-file")?.contains("from-file"), "raw");
    Ok(())
}

fn watch(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create configmap watched --from-literal=n=0")?;
    let mut rows = kubectl.follow("get cm watched -w --no-headers -o jsonpath={.data.n}{'\\n'}")?;
    let row = |n: u32| move |line: &str| line == n.to_string();
    rows.line("the present state", row(0))?;
    for n in 1..=5 {
        kubectl.ok_with(&["patch", "cm", "watched", "-p", &format!("{{\"data\":{{\"n\":\"{n}\"}}}}")])?;
    }
    for n in 1..=5 {
        rows.line("the next change", row(n))?;
    }
    kubectl.ok("delete cm watched")?;
    let mut table = kubectl.follow("get pods -w")?;
    table.line("the heading", |line| line.starts_with("NAME"))?;
    table.line("the pod", |line| line.starts_with("from-file"))?;
    Ok(())
}

fn selectors(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let named = |line: &str| -> Result<String> {
        Ok(kubectl.ok(&format!("get pods -o name {line}"))?.trim().to_owned())
    };
    ensure!(named("-l app=from-file,tier!=web")? == "pod/from-file", "labels");
    ensure!(named("-l app=from-file,tier=web")?.is_empty(), "no such label");
    ensure!(
        kubectl.ok_with(&["get", "pods", "-o", "name", "-l", "tier in (cache, web)"])?.contains("from-file"),
        "sets"
    );
    ensure!(named("--field-selector metadata.name=from-file")? == "pod/from-file", "name");
    ensure!(named("--field-selector spec.nodeName=nowhere")?.is_empty(), "no such node");
    let refusal = kubectl.refused("get pods --field-selector spec.nothing=1")?;
    ensure!(refusal.contains("field label not supported"), "{refusal}");
    Ok(())
}

fn pages(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let items: String = (0..7)
        .map(|n| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: page-{n}, labels: {{page: x}}}}\n"
            )
        })
        .collect();
    kubectl.ok_fed("create -f -", &items)?;
    let page = kubectl.ok("get --raw /api/v1/namespaces/default/configmaps?limit=3")?;
    let page: serde_json::Value = serde_json::from_str(&page).context("JSON")?;
    let token = page["metadata"]["continue"].as_str().unwrap_or_default();
    ensure!(page["items"].as_array().map(Vec::len) == Some(3) && !token.is_empty(), "{}", page["metadata"]);
    ensure!(kubectl.ok("get cm -l page=x --chunk-size=2 -o name")?.lines().count() == 7, "every page");
    kubectl.ok("delete cm -l page=x")?;
    ensure!(kubectl.ok("get cm -l page=x -o name")?.trim().is_empty(), "deleted by label");
    Ok(())
}

fn changes(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("label pod from-file color=red")?;
    kubectl.ok("annotate pod from-file note=x")?;
    ensure!(
        kubectl.refused("label pod from-file color=blue")?.contains("already has a value"),
        "no overwrite"
    );
    kubectl.ok("label pod from-file color-")?;
    kubectl.ok_with(&[
        "patch",
        "pod",
        "from-file",
        "--type=json",
        "-p",
        r#"[{"op":"add","path":"/metadata/labels/j","value":"1"}]"#,
    ])?;
    kubectl.ok_with(&[
        "patch",
        "pod",
        "from-file",
        "--type=merge",
        "-p",
        r#"{"metadata":{"labels":{"m":"2"}}}"#,
    ])?;
    kubectl.ok_with(&["patch", "pod", "from-file", "-p", r#"{"metadata":{"labels":{"s":"3"}}}"#])?;
    let labels = kubectl.path("get pod from-file", "{.metadata.labels}")?;
    ensure!(
        labels.contains("\"j\":\"1\"") && labels.contains("\"m\":\"2\"") && labels.contains("\"s\":\"3\""),
        "{labels}"
    );
    ensure!(!labels.contains("color"), "{labels}");
    kubectl.ok("create cm replaced --from-literal=a=1")?;
    let object = kubectl.ok("get cm replaced -o yaml")?;
    kubectl.ok_fed("replace -f -", &object.replace("a: \"1\"", "a: \"2\""))?;
    ensure!(kubectl.path("get cm replaced", "{.data.a}")? == "2", "replaced");
    let stale = object.replace("a: \"1\"", "a: \"3\"");
    let refusal = kubectl.fed("replace -f -", &stale)?.err;
    ensure!(refusal.contains("the object has been modified"), "{refusal}");
    kubectl.ok("delete cm replaced")?;
    Ok(())
}

fn finalizer(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n";
    kubectl.ok_fed("create -f -", object)?;
    kubectl.ok("delete cm held --wait=false")?;
    ensure!(!kubectl.path("get cm held", "{.metadata.deletionTimestamp}")?.is_empty(), "it waits");
    kubectl.ok_with(&["patch", "cm", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])?;
    ensure!(kubectl.refused("get cm held")?.contains("not found"), "it went with its last finalizer");
    Ok(())
}

fn owners(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let dependent = |owner: &str, name: &str| -> Result<()> {
        let uid = kubectl.path(&format!("get cm {owner}"), "{.metadata.uid}")?;
        let object = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  ownerReferences: \
             [{{apiVersion: v1, kind: ConfigMap, name: {owner}, uid: {uid}}}]\n"
        );
        kubectl.ok_fed("create -f -", &object).map(drop)
    };
    kubectl.ok("create cm owner")?;
    dependent("owner", "dependent")?;
    kubectl.ok("delete cm owner --cascade=background")?;
    eventually("the dependent goes too", || Ok(kubectl.refused("get cm dependent").ok().map(drop)))?;

    kubectl.ok("create cm owner")?;
    dependent("owner", "orphan")?;
    kubectl.ok("delete cm owner --cascade=orphan")?;
    ensure!(kubectl.path("get cm orphan", "{.metadata.ownerReferences}")?.is_empty(), "let go");
    kubectl.ok("delete cm orphan")?;

    kubectl.ok("create cm owner")?;
    dependent("owner", "first")?;
    kubectl.ok("delete cm owner --cascade=foreground")?;
    ensure!(kubectl.refused("get cm owner")?.contains("not found"), "the owner is gone");
    eventually("and the dependent", || Ok(kubectl.refused("get cm first").ok().map(drop)))
}

fn delete(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = cluster.folder().join("pod.yaml").display().to_string();
    let text = kubectl.ok_with(&["delete", "-f", &file])?;
    ensure!(text.contains("pod \"from-file\"") && text.contains("deleted"), "{text}");
    ensure!(kubectl.refused("get pod from-file")?.contains("not found"), "gone");
    Ok(())
}
