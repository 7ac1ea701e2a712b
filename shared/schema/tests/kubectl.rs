//! Bodies that kubectl 1.32 really sent, one a file: `kubectl create deployment x --image=redis --port=6379
//! --replicas=0`, `kubectl create quota q --hard=cpu=1.5,memory=1024Mi` and so on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use schema::{Schemas, fields, proto};
use serde_json::Value;

#[test]
fn every_body_is_read_as_the_json_that_kubectl_means() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured");
    let expected = fs::read(folder.join("expected.json")).expect("it is committed");
    let expected: BTreeMap<String, Value> = serde_json::from_slice(&expected).expect("it is JSON");
    assert_eq!(expected.len(), 17);
    for (name, wanted) in expected {
        let bytes = fs::read(folder.join(format!("{name}.bin"))).expect("a body for each expectation");
        let decoded = proto::decode(Schemas::builtin(), &bytes).expect("a body of a built-in kind");
        assert_eq!(decoded.value, wanted, "{name}");
        assert_eq!(
            (&wanted["apiVersion"], &wanted["kind"]),
            (&decoded.api_version.into(), &decoded.kind.into())
        );
    }
}

#[test]
fn what_is_read_from_protobuf_fits_its_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured");
    let schemas = Schemas::builtin();
    for entry in fs::read_dir(folder).expect("it is committed") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            let bytes = fs::read(&path).expect("a file");
            let decoded = proto::decode(schemas, &bytes).expect("a body of a built-in kind");
            let (group, version) = decoded.api_version.split_once('/').unwrap_or(("", &decoded.api_version));
            let ty = schemas.resource(group, version, &decoded.kind).expect("a built-in kind");
            let mut value = decoded.value.clone();
            assert_eq!(
                fields::check(schemas, ty, &mut value),
                fields::Report::default(),
                "{}",
                path.display()
            );
            assert_eq!(value, decoded.value, "{}", path.display());
        }
    }
}
