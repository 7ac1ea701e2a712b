//! A kind of the user's own, from its definition to its end.

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("the definition of a custom kind makes it one that kubectl finds and explains", define),
    ("kubectl apply of a custom object creates, changes and leaves alone", apply),
    ("a custom object that its schema forbids is refused with the field's path", refusals),
    ("kubectl patch and scale change a custom object, and its status apart", parts),
    ("kubectl get shows the columns of a custom kind, and follows changes", columns),
    ("a wrong definition of a custom kind is refused with the field's path", wrong_definition),
    ("a custom object is an owner, and goes with its namespace", owners),
    ("the definition of a custom kind takes its objects along", end),
];

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: memcacheds.cache.example.com}
spec:
  group: cache.example.com
  scope: Namespaced
  names: {kind: Memcached, plural: memcacheds, singular: memcached, shortNames: [mc]}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.ready}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Node, type: string, jsonPath: ".status.nodes[0]"}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A memcached deployment.
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, format: int32, minimum: 0, description: How many pods there are to be.}
              image: {type: string, default: "memcached:1.6"}
          status:
            type: object
            properties:
              nodes: {type: array, items: {type: string}}
              ready: {type: integer}
"#;

fn memcached(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: cache.example.com/v1alpha1\nkind: Memcached\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn define(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", DEFINITION)?;
    kubectl.ok("wait --for=condition=Established crd/memcacheds.cache.example.com --timeout=10s")?;
    // At once: who waits for Established can rely on it.
    kubectl.ok_fed("create -f -", &memcached("first", "size: 1"))?;
    let found = kubectl.ok("api-resources --api-group=cache.example.com")?;
    ensure!(found.contains("memcacheds") && found.contains("mc") && found.contains("Memcached"), "{found}");
    let explained = kubectl.ok("explain memcached.spec")?;
    ensure!(
        explained.contains("size") && explained.contains("How many pods there are to be"),
        "no description:\n{explained}"
    );
    ensure!(kubectl.ok("get crd")?.contains("memcacheds.cache.example.com"), "it is listed");
    ensure!(kubectl.path("get mc first", "{.spec.image}")? == "memcached:1.6", "the default is there");
    kubectl.ok("delete mc first").map(drop)
}

fn apply(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let applied = |spec: &str| kubectl.ok_fed("apply -f -", &memcached("sample", spec));
    ensure!(applied("size: 1")?.trim() == "memcached.cache.example.com/sample created", "created");
    ensure!(applied("size: 1")?.trim() == "memcached.cache.example.com/sample unchanged", "unchanged");
    ensure!(applied("size: 3")?.trim() == "memcached.cache.example.com/sample configured", "configured");
    ensure!(kubectl.path("get mc sample", "{.metadata.generation}")? == "2", "the generation grew once");
    Ok(())
}

fn refusals(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let cases = [
        ("size: -1", "spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0"),
        (
            "size: many",
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        ("image: redis", "spec.size: Required value"),
        ("size: 1, colour: red", "strict decoding error: unknown field \"spec.colour\""),
    ];
    for (spec, wanted) in cases {
        let ran = kubectl.fed("create -f -", &memcached("wrong", spec))?;
        ensure!(ran.code != 0 && ran.err.contains(wanted), "{spec}: {ran:?}");
    }
    let warned = kubectl.fed("create --validate=warn -f -", &memcached("warned", "size: 1, colour: red"))?;
    ensure!(warned.code == 0 && warned.err.contains("Warning: unknown field \"spec.colour\""), "{warned:?}");
    ensure!(kubectl.path("get mc warned", "{.spec.colour}")?.is_empty(), "what is not known is not kept");
    kubectl.ok("delete mc warned").map(drop)
}

fn parts(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let patch = |more: &[&str], patch: &str| {
        kubectl.ok_with(&[&["patch", "mc", "sample"], more, &["-p", patch]].concat())
    };
    patch(&["--type=merge"], r#"{"spec":{"size":4},"status":{"nodes":["x"]}}"#)?;
    ensure!(kubectl.path("get mc sample", "{.status}")?.is_empty(), "the status has a path of its own");
    patch(&["--type=json"], r#"[{"op":"replace","path":"/spec/size","value":5}]"#)?;
    let strategic = kubectl.run("patch mc sample -p {}")?;
    ensure!(strategic.code != 0 && strategic.err.contains("is not supported"), "{strategic:?}");
    let before = kubectl.json("get mc sample")?["metadata"]["generation"].clone();
    patch(
        &["--type=merge", "--subresource=status"],
        r#"{"spec":{"size":9},"status":{"nodes":["node-1"],"ready":2}}"#,
    )?;
    let object = kubectl.json("get mc sample")?;
    ensure!(object["spec"]["size"] == 5 && object["status"]["nodes"][0] == "node-1", "{object}");
    ensure!(object["metadata"]["generation"] == before, "a status is no wish");
    kubectl.ok("scale mc sample --replicas=6")?;
    ensure!(kubectl.path("get mc sample", "{.spec.size}")? == "6", "scaled");
    Ok(())
}

fn columns(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let table = kubectl.ok("get mc")?;
    let cells: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    ensure!(table.starts_with("NAME") && table.contains("SIZE") && table.contains("NODE"), "{table}");
    ensure!(matches!(cells.as_slice(), ["sample", "6", "node-1", _]), "{table}");
    let mut rows = kubectl.follow("get mc -w --no-headers")?;
    rows.line("the present state", |line| line.starts_with("sample"))?;
    kubectl.ok("scale mc sample --replicas=7")?;
    rows.line("the change", |line| line.contains(" 7 "))?;
    Ok(())
}

fn wrong_definition(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let cases = [
        (
            DEFINITION.replace("memcacheds", "others").replace("type: integer, format: int32, ", ""),
            "properties[size].type: Required value: must not be empty for specified object fields",
        ),
        (
            DEFINITION.replace("name: memcacheds.cache", "name: caches.cache"),
            "metadata.name: Invalid value: \"caches.cache.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
    ];
    for (definition, wanted) in cases {
        let ran = kubectl.fed("create -f -", &definition)?;
        ensure!(ran.code != 0 && ran.err.contains(wanted), "{ran:?}");
    }
    Ok(())
}

fn owners(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create namespace custom")?;
    kubectl.ok_fed("create -n custom -f -", &memcached("inside", "size: 1"))?;
    kubectl.ok("delete namespace custom")?;
    kubectl.ok_fed("create -f -", &memcached("owner", "size: 1"))?;
    let uid = kubectl.path("get mc owner", "{.metadata.uid}")?;
    let owned = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  ownerReferences: [{{apiVersion: \
         cache.example.com/v1alpha1, kind: Memcached, name: owner, uid: {uid}}}]\n"
    );
    kubectl.ok_fed("create -f -", &owned)?;
    kubectl.ok("delete mc owner")?;
    eventually("what it owns goes too", || Ok(kubectl.refused("get cm owned").ok().map(drop)))
}

fn end(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete crd memcacheds.cache.example.com")?;
    ensure!(kubectl.refused("get crd memcacheds.cache.example.com")?.contains("not found"), "it is gone");
    kubectl.ok_fed("create -f -", DEFINITION)?;
    kubectl.ok("wait --for=condition=Established crd/memcacheds.cache.example.com --timeout=10s")?;
    ensure!(kubectl.ok("get mc -A -o name")?.trim().is_empty(), "its objects went with it");
    kubectl.ok("delete crd memcacheds.cache.example.com").map(drop)
}
