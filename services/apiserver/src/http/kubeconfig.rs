//! The administrator's kubeconfig: kept while it is valid, else written anew.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ca::{Ca, CaError, Pair, Purpose};
use super::private_file::{self, PRIVATE};
use crate::authorization::MASTERS;

/// The one cluster, context and user in the file.
const NAME: &str = "sampan";
/// Who the administrator is.
const ADMIN: &str = "kubernetes-admin";

/// Sees to it that `path` holds a kubeconfig that works with this CA at `server`.
pub fn ensure(path: &Path, server: &str, ca: &Ca, now: SystemTime) -> Result<(), CaError> {
    let at = |source| CaError::File { path: path.to_owned(), source };
    let kept = private_file::read(path).map_err(at)?.is_some_and(|text| is_valid(&text, server, ca, now));
    if kept {
        return Ok(());
    }
    private_file::write(path, issue(server, ca, now)?.as_bytes(), PRIVATE).map_err(at)
}

/// A new kubeconfig, with a new certificate in it.
pub fn issue(server: &str, ca: &Ca, now: SystemTime) -> Result<String, CaError> {
    let purpose = Purpose::Client { user: ADMIN.to_owned(), group: MASTERS.to_owned() };
    Ok(render(server, &ca.certificate, &ca.issue(&purpose, now)?))
}

/// A kubeconfig with everything embedded. It is JSON, which every reader of YAML reads.
fn render(server: &str, ca: &str, admin: &Pair) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": NAME, "preferences": {},
        "clusters": [{"name": NAME, "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{"name": ADMIN, "user": {
            "client-certificate-data": STANDARD.encode(&admin.certificate),
            "client-key-data": STANDARD.encode(&admin.key),
        }}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": ADMIN}}],
    });
    serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string())
}

fn is_valid(text: &str, server: &str, ca: &Ca, now: SystemTime) -> bool {
    let Ok(config) = serde_saphyr::from_str::<Value>(text) else { return false };
    let cluster = &config["clusters"][0]["cluster"];
    let user = &config["users"][0]["user"];
    let (Some(certificate), Some(key)) =
        (decoded(&user["client-certificate-data"]), decoded(&user["client-key-data"]))
    else {
        return false;
    };
    cluster["server"] == server
        && decoded(&cluster["certificate-authority-data"]).as_ref() == Some(&ca.certificate)
        && ca.vouches_for(&Pair { certificate, key }, now)
}

fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_valid_kubeconfig_is_kept_and_any_other_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let (ca, _) = Ca::prepare(folder.path(), &["a".to_owned()], now).unwrap();
        let path = folder.path().join("admin.kubeconfig");
        let ensure = |server: &str| {
            ensure(&path, server, &ca, now).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        let first = ensure("https://127.0.0.1:6443");
        assert_eq!(first, ensure("https://127.0.0.1:6443"));
        assert_ne!(first, ensure("https://127.0.0.1:7443"), "the server has moved");
        std::fs::write(&path, "rubbish: [").unwrap();
        let repaired = ensure("https://127.0.0.1:7443");
        assert!(repaired.contains("current-context: sampan"), "{repaired}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
