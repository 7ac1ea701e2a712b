use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A length-delimited field.
fn field(tag: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = varint(u64::from(tag << 3 | 2));
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

/// A number.
fn number(tag: u32, value: i64) -> Vec<u8> {
    let mut bytes = varint(u64::from(tag << 3));
    bytes.extend(varint(value as u64));
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn message<const N: usize>(fields: [Vec<u8>; N]) -> Vec<u8> {
    fields.concat()
}

fn body(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let meta = message([field(1, api_version), field(2, kind)]);
    [MAGIC.to_vec(), field(1, meta), field(2, raw), field(3, ""), field(4, "")].concat()
}

fn decoded(api_version: &str, kind: &str, raw: Vec<u8>) -> Value {
    let decoded = decode(Schemas::builtin(), &body(api_version, kind, raw)).expect("a well-formed body");
    assert_eq!((decoded.api_version.as_str(), decoded.kind.as_str()), (api_version, kind));
    decoded.value
}

fn refused(body: &[u8]) -> String {
    decode(Schemas::builtin(), body).expect_err("a malformed body")
}

#[test]
fn a_deployment_as_kubectl_sends_it() {
    // Zero values of fields that are no pointers are on the wire, as Go writes them.
    let labels = field(11, message([field(1, "app"), field(2, "x")]));
    let empty_meta = message([
        field(1, ""),
        field(2, ""),
        field(3, ""),
        field(4, ""),
        field(5, ""),
        field(6, ""),
        number(7, 0),
        field(8, ""),
    ]);
    let meta = message([field(1, "x"), field(3, ""), number(7, 0), field(8, ""), labels.clone()]);
    let container = message([
        field(1, "redis"),
        field(2, "redis"),
        field(5, ""),
        field(8, ""),
        field(13, ""),
        field(14, ""),
        number(16, 0),
        number(17, 0),
        number(18, 0),
        field(20, ""),
    ]);
    let pod = message([
        field(2, container),
        field(3, ""),
        field(6, ""),
        number(11, 0),
        number(12, 0),
        number(13, 0),
        field(16, ""),
    ]);
    let template = message([field(1, message([empty_meta, labels])), field(2, pod)]);
    let selector = field(1, message([field(1, "app"), field(2, "x")]));
    let spec = message([
        number(1, 1),
        field(2, selector),
        field(3, template),
        field(4, field(1, "")),
        number(5, 0),
        number(7, 0),
    ]);
    let status = message([number(1, 0), number(2, 0), number(3, 0), number(4, 0), number(5, 0)]);
    assert_eq!(
        decoded("apps/v1", "Deployment", message([field(1, meta), field(2, spec), field(3, status)])),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "labels": {"app": "x"}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "x"}},
                "template": {
                    "metadata": {"labels": {"app": "x"}},
                    "spec": {"containers": [{"name": "redis", "image": "redis", "resources": {}}]},
                },
                "strategy": {},
            },
            "status": {"replicas": 0},
        })
    );
}

#[test]
fn zeroes_that_say_something_stay() {
    assert_eq!(
        decoded("apps/v1", "Deployment", field(2, number(1, 0)))["spec"],
        json!({"replicas": 0}),
        "a pointer to zero"
    );
    let claim = field(2, field(5, ""));
    assert_eq!(decoded("v1", "PersistentVolumeClaim", claim)["spec"], json!({"storageClassName": ""}));
    let container = field(2, message([field(1, "a"), field(15, message([number(2, 0)]))]));
    assert_eq!(
        decoded("v1", "Pod", field(2, container))["spec"]["containers"],
        json!([{"name": "a", "securityContext": {"privileged": false}}])
    );
}

#[test]
fn types_with_a_form_of_their_own() {
    let time = message([number(1, 1_714_979_289), number(2, 0)]);
    let pod = message([
        field(1, field(9, &time)),
        field(2, {
            let port = message([number(1, 1), number(2, 0), field(3, "http")]);
            let probe = field(1, field(2, message([field(1, ""), field(2, port)])));
            let limit = field(1, message([field(1, "cpu"), field(2, field(1, "0.5"))]));
            field(2, message([field(1, "a"), field(8, limit), field(10, probe)]))
        }),
    ]);
    assert_eq!(
        decoded("v1", "Pod", pod),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"deletionTimestamp": "2024-05-06T07:08:09Z"},
            "spec": {"containers": [{
                "name": "a",
                "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"port": "http"}},
            }]},
        })
    );

    let lease = field(
        2,
        message([
            field(1, ""),
            number(2, 15),
            field(4, message([number(1, 1_714_979_289), number(2, 120_000)])),
        ]),
    );
    assert_eq!(
        decoded("coordination.k8s.io/v1", "Lease", lease)["spec"],
        json!({"holderIdentity": "", "leaseDurationSeconds": 15, "renewTime": "2024-05-06T07:08:09.000120Z"})
    );

    let secret = field(2, message([field(1, "key"), field(2, b"\x00\xff")]));
    assert_eq!(decoded("v1", "Secret", secret)["data"], json!({"key": "AP8="}));

    let revision = message([field(2, field(1, br#"{"spec":{"a":null}}"#)), number(3, 4)]);
    let value = decoded("apps/v1", "ControllerRevision", revision);
    assert_eq!((&value["data"], &value["revision"]), (&json!({"spec": {"a": null}}), &json!(4)));

    let extra = field(5, message([field(1, "scopes"), field(2, message([field(1, "a"), field(1, "b")]))]));
    let review = field(2, message([field(3, "jane"), extra]));
    assert_eq!(
        decoded("authorization.k8s.io/v1", "SubjectAccessReview", review)["spec"],
        json!({"user": "jane", "extra": {"scopes": ["a", "b"]}})
    );
}

#[test]
fn a_volume_source_is_embedded_in_its_volume() {
    let volume = message([field(1, "a"), field(2, field(2, field(1, "Memory")))]);
    assert_eq!(
        decoded("v1", "Pod", field(2, field(1, volume)))["spec"]["volumes"],
        json!([{"name": "a", "emptyDir": {"medium": "Memory"}}])
    );
}

#[test]
fn shapes_of_json_schema() {
    let string = field(5, "string");
    let property = message([field(1, "spec"), field(2, message([string.clone()]))]);
    let props = message([
        field(5, "object"),
        field(24, message([field(1, string.clone())])),
        field(29, property),
        field(30, message([number(1, 0)])),
        field(8, field(1, "[null]")),
        number(18, 0),
        number(38, 0),
    ]);
    let version = message([field(1, "v1"), field(4, field(1, props))]);
    let definition = field(2, field(7, version));
    let value = decoded("apiextensions.k8s.io/v1", "CustomResourceDefinition", definition);
    assert_eq!(
        value["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({
            "type": "object",
            "items": {"type": "string"},
            "properties": {"spec": {"type": "string"}},
            "additionalProperties": false,
            "default": [null],
            "x-kubernetes-preserve-unknown-fields": false,
        })
    );
}

#[test]
fn options_are_known_in_every_group() {
    let options = message([number(1, 0), field(4, "Background")]);
    assert_eq!(
        decoded("policy/v1", "DeleteOptions", options),
        json!({
            "apiVersion": "policy/v1", "kind": "DeleteOptions",
            "gracePeriodSeconds": 0, "propagationPolicy": "Background",
        })
    );
}

#[test]
fn fields_of_a_newer_client_are_ignored() {
    let value =
        decoded("v1", "ConfigMap", message([field(99, "new"), number(98, 1), field(1, field(1, "a"))]));
    assert_eq!(value["metadata"], json!({"name": "a"}));
}

#[test]
fn malformed_bodies_are_refused_with_the_place() {
    assert_eq!(refused(b"{}"), "the body does not begin as Kubernetes protobuf does");
    assert_eq!(refused(b"k8s\0\x0a\xff"), "the envelope is no protobuf: unexpected end");
    assert_eq!(
        refused(&body("v1", "Nothing", vec![])),
        "no kind \"Nothing\" is registered for version \"v1\""
    );
    assert_eq!(
        refused(&body("v1", "Pod", field(2, field(2, number(1, 3))))),
        "spec.containers[0].name: the wire type is not that of the field"
    );
    assert_eq!(
        refused(&body("v1", "Pod", field(1, field(1, b"\xff")))),
        "metadata.name: a text is not UTF-8"
    );
    assert_eq!(refused(&body("v1", "Pod", vec![0x0a, 0x05, 0x01])), "unexpected end");
    let data = field(2, field(1, b"{"));
    assert!(
        refused(&body("apps/v1", "ControllerRevision", data)).starts_with("data: the embedded JSON is none")
    );
}

#[test]
fn nesting_is_bounded() {
    let mut props = field(5, "string");
    for _ in 0..1_000 {
        props = field(28, props);
    }
    let version = message([field(1, "v1"), field(4, field(1, props))]);
    let definition = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, version)));
    assert!(refused(&definition).ends_with("messages are nested too deeply"));

    let mut embedded = body("v1", "ConfigMap", Vec::new());
    for _ in 0..1_000 {
        embedded = body("apps/v1", "ControllerRevision", field(2, field(1, embedded)));
    }
    assert!(refused(&embedded).contains("nested too deeply"));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..5_usize) {
        let schemas = Schemas::builtin();
        drop(decode(schemas, &bytes));
        drop(decode(schemas, &[MAGIC, &bytes].concat()));
        let (version, kind) = [
            ("v1", "Pod"),
            ("apps/v1", "Deployment"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("coordination.k8s.io/v1", "Lease"),
            ("apps/v1", "ControllerRevision"),
        ][kind];
        drop(decode(schemas, &body(version, kind, bytes)));
    }

    #[test]
    fn a_damaged_body_never_panics(at in 0..200_usize, flip in 1..=255_u8, cut in 0..200_usize) {
        let port = message([number(1, 1), number(2, 0), field(3, "http")]);
        let probe = field(1, field(2, message([field(1, ""), field(2, port)])));
        let container = message([field(1, "a"), field(10, probe), field(8, field(1, message([field(1, "cpu"), field(2, field(1, "1"))])))]);
        let mut bytes = body("v1", "Pod", message([field(1, field(8, number(1, 5))), field(2, field(2, container))]));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        drop(decode(Schemas::builtin(), &bytes));
        bytes.truncate(cut);
        drop(decode(Schemas::builtin(), &bytes));
    }
}
