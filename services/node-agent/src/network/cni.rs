//! The configuration of the CNI plugins for a node's pods.

use std::io;
use std::path::Path;

/// The file's name; containerd takes the first of its folder.
pub const FILE: &str = "10-sampan.conflist";

/// Each pod of a node has a link of its own to it. On a bridge, answers from one pod to another would pass by what
/// Services need to see of them, unless the kernel was told otherwise. What leaves the pods' network is masqueraded
/// by the agent, which knows the whole of it.
pub fn conflist(range: &str, leases: &Path) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "sampan",
        "plugins": [
            {
                "type": "ptp", "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": leases,
                    "ranges": [[{"subnet": range}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

/// Writes it into `folder`, whole or not at all; false when it was there already.
pub fn write(folder: &Path, text: &str) -> io::Result<bool> {
    let (path, partial) = (folder.join(FILE), folder.join(format!(".{FILE}.partial")));
    if std::fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, &path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = conflist("10.244.3.0/24", Path::new("/var/lib/leases"));
        assert!(write(&folder.path().join("cni"), &text).unwrap());
        assert!(!write(&folder.path().join("cni"), &text).unwrap());
        let written = std::fs::read_to_string(folder.path().join("cni").join(FILE)).unwrap();
        assert!(written.contains(r#""subnet":"10.244.3.0/24""#), "{written}");
    }
}
