//! What every pod on this node shares: the node's identity, name servers, and where things lie.

use std::path::{Path, PathBuf};

/// Known when the agent starts and fixed from then on; an argument of everything that is pure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the Node object.
    pub node_name: String,
    /// Addresses of the node, the one it is known by first.
    pub node_ips: Vec<String>,
    /// How pods resolve names.
    pub resolver: Resolver,
    /// The node's own `/etc/hosts`, for pods in its network.
    pub hosts_file: String,
    /// What the node can give, for `resourceFieldRef` of a container without a limit.
    pub allocatable: Allocatable,
    /// Where things lie.
    pub paths: Paths,
}

/// Name servers of the cluster and of the node itself.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    /// Of the cluster; empty while it has none.
    pub cluster_servers: Vec<String>,
    /// Domain of the cluster's services.
    pub cluster_domain: String,
    /// `nameserver` lines of the node's `/etc/resolv.conf`.
    pub host_servers: Vec<String>,
    /// Its search list.
    pub host_searches: Vec<String>,
    /// Its options.
    pub host_options: Vec<String>,
}

/// What the node can give to pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocatable {
    /// Thousandths of a cpu.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
}

/// Every path that the agent makes.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

// === impl Paths ===

impl Paths {
    /// Everything under `root`.
    pub fn new(root: &Path) -> Self {
        Paths { root: root.to_owned() }
    }

    /// All folders of pods, one a uid.
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// Everything of one pod but its logs.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// A volume, in the folder of its kind, as `kubernetes.io~empty-dir`.
    pub fn volume(&self, uid: &str, kind: &str, name: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(format!("kubernetes.io~{kind}")).join(name)
    }

    /// Where a part of a volume is mounted for one mount of one container.
    pub fn subpath(&self, uid: &str, volume: &str, container: &str, index: usize) -> PathBuf {
        self.pod(uid).join("volume-subpaths").join(volume).join(container).join(index.to_string())
    }

    /// All folders that outlive pods, one a PersistentVolume.
    pub fn local_volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The data of a PersistentVolume; `None` for what is not the name of one.
    pub fn local_volume(&self, name: &str) -> Option<PathBuf> {
        model::names::dns_subdomain(name).is_empty().then(|| self.local_volumes().join(name))
    }

    /// The `/etc/hosts` of a pod.
    pub fn hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// The termination message of one instance of a container.
    pub fn termination(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod(uid).join("containers").join(container).join(attempt.to_string())
    }

    /// All log folders, one a pod.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log").join("pods")
    }

    /// The logs of one pod, under the name that log collectors know.
    pub fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs().join(format!("{namespace}_{name}_{uid}"))
    }
}

/// The log of one instance of a container, below the pod's log folder.
pub fn log_path(container: &str, attempt: u32) -> PathBuf {
    Path::new(container).join(format!("{attempt}.log"))
}

// === impl Resolver ===

impl Resolver {
    /// Takes the node's own settings from the text of its `/etc/resolv.conf`.
    pub fn with_host(mut self, resolv_conf: &str) -> Self {
        for line in resolv_conf.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => self.host_servers.extend(words.take(1)),
                // The last one counts.
                Some("search") => self.host_searches = words.filter(|domain| domain != ".").collect(),
                Some("options") => self.host_options.extend(words),
                _ => (),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_resolver_reads_it() {
        let text =
            "# made by hand\nsearch old\nnameserver 10.0.0.2 # first\nsearch a.example .\noptions ndots:2\n";
        let resolver = Resolver::default().with_host(text);
        assert_eq!(resolver.host_servers, ["10.0.0.2"]);
        assert_eq!(resolver.host_searches, ["a.example"]);
        assert_eq!(resolver.host_options, ["ndots:2"]);
    }
}
