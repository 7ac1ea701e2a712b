//! A container as the runtime makes it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use cri::v1::{
    ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount, MountPropagation,
};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use model::spelling::Fnv;

use super::env::{self, ConfigError, Sources};
use super::expand::expand;
use super::security::ImageUser;
use super::{grace_seconds, image, names, resources, sandbox, security, uid, volumes};
use crate::settings::{Settings, log_path};

/// An image as the node has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalImage {
    /// The name that containers are made with.
    pub id: String,
    /// Who it runs as.
    pub user: ImageUser,
}

/// A container's configuration with what must be on the disk before it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint {
    /// For the runtime.
    pub config: ContainerConfig,
    /// Parts of volumes to be mounted on their own.
    pub subpaths: Vec<SubPath>,
    /// The file for its last words.
    pub termination: PathBuf,
}

/// A part of a volume that a container mounts by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubPath {
    /// The volume's folder.
    pub volume: PathBuf,
    /// The part, relative to it.
    pub path: String,
    /// Where it is to be found by the runtime.
    pub target: PathBuf,
}

const TERMINATION_PATH: &str = "/dev/termination-log";

/// Everything about instance number `attempt` of a container. Fails when something that it refers to is not there.
pub fn blueprint(
    container: &Container,
    attempt: u32,
    image: &LocalImage,
    sources: &Sources<'_>,
) -> Result<Blueprint, ConfigError> {
    let (pod, settings) = (sources.pod, sources.settings);
    let environment = env::environment(container, sources)?;
    let lookup: BTreeMap<&str, &str> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expanded = |texts: &Option<Vec<String>>| -> Vec<String> {
        let texts = texts.iter().flatten();
        texts.map(|text| expand(text, |name| lookup.get(name).map(|value| (*value).to_owned()))).collect()
    };
    let termination = settings.paths.termination(uid(pod), &container.name, attempt);
    let (mut mounts, subpaths) = volume_mounts(container, &lookup, sources)?;
    mounts.extend(own_files(container, &mounts, pod, settings, &termination));
    let config = ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(ImageSpec { image: image.id.clone(), ..Default::default() }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: environment
            .iter()
            .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone().into_bytes() })
            .collect(),
        mounts,
        labels: labels(pod, container),
        annotations: annotations(pod, container, attempt),
        log_path: log_path(&container.name, attempt).display().to_string(),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::linux(pod, container, settings.allocatable)),
            security_context: Some(security::container(pod, container, &image.user)?),
        }),
    };
    Ok(Blueprint { config, subpaths, termination })
}

/// Tells a container from what it would be now. Only an image can change while a pod lives; the text is kept with the
/// container and compared by later versions of this program, so it must stay the same for the same image.
pub fn hash(container: &Container) -> String {
    let text = [container.name.as_str(), image::name(container)].join("\n");
    format!("{:x}", Fnv::of(text))
}

fn labels(pod: &Pod, container: &Container) -> HashMap<String, String> {
    let mut labels = sandbox::labels(pod);
    labels.insert(names::CONTAINER_NAME.to_owned(), container.name.clone());
    labels
}

fn annotations(pod: &Pod, container: &Container, attempt: u32) -> HashMap<String, String> {
    let path = container.termination_message_path.as_deref().unwrap_or(TERMINATION_PATH);
    let policy = container.termination_message_policy.as_deref().unwrap_or("File");
    let pairs = [
        (names::HASH, hash(container)),
        (names::RESTART_COUNT, attempt.to_string()),
        (names::TERMINATION_PATH, path.to_owned()),
        (names::TERMINATION_POLICY, policy.to_owned()),
        (names::GRACE_PERIOD, grace_seconds(pod).to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn volume_mounts(
    container: &Container,
    environment: &BTreeMap<&str, &str>,
    sources: &Sources<'_>,
) -> Result<(Vec<Mount>, Vec<SubPath>), ConfigError> {
    let (pod, settings) = (sources.pod, sources.settings);
    let (mut mounts, mut subpaths) = (Vec::new(), Vec::new());
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let place = volumes::place(&mount.name, sources).map_err(ConfigError)?;
        let mut host_path = place.path;
        if let Some(path) = subpath_of(mount, environment)? {
            let target = settings.paths.subpath(uid(pod), &mount.name, &container.name, index);
            subpaths.push(SubPath { volume: host_path, path, target: target.clone() });
            host_path = target;
        }
        mounts.push(Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.display().to_string(),
            readonly: mount.read_only == Some(true) || place.read_only,
            selinux_relabel: false,
            propagation: propagation(mount).into(),
        });
    }
    Ok((mounts, subpaths))
}

fn subpath_of(
    mount: &VolumeMount,
    environment: &BTreeMap<&str, &str>,
) -> Result<Option<String>, ConfigError> {
    let text = match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
        (Some(path), _) if !path.is_empty() => path.to_owned(),
        (_, Some(expression)) if !expression.is_empty() => {
            expand(expression, |name| environment.get(name).map(|value| (*value).to_owned()))
        }
        _ => return Ok(None),
    };
    if text.starts_with('/') {
        return Err(ConfigError(format!("subPath {text:?} must be a relative path")));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(ConfigError(format!("subPath {text:?} must not contain \"..\"")));
    }
    Ok(Some(text))
}

/// `/etc/hosts` and the file for last words, unless a volume is mounted there.
fn own_files(
    container: &Container,
    taken: &[Mount],
    pod: &Pod,
    settings: &Settings,
    termination: &std::path::Path,
) -> Vec<Mount> {
    let path = container.termination_message_path.as_deref().unwrap_or(TERMINATION_PATH);
    let files = [("/etc/hosts", settings.paths.hosts(uid(pod))), (path, termination.to_owned())];
    files
        .into_iter()
        .filter(|(path, _)| !path.is_empty() && taken.iter().all(|mount| mount.container_path != *path))
        .map(|(path, file)| Mount {
            container_path: path.to_owned(),
            host_path: file.display().to_string(),
            ..Default::default()
        })
        .collect()
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn propagation(mount: &VolumeMount) -> MountPropagation {
    match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixture::{self, Objects};
    use super::super::{Addresses, of};
    use super::*;

    fn made(container: Value, volumes: Value, objects: &Objects) -> Result<Blueprint, ConfigError> {
        let mut container = container;
        container["name"] = json!("main");
        container["image"] = json!("app:1");
        let pod = fixture::pod(json!({"containers": [container], "volumes": volumes}));
        let settings = fixture::settings();
        let addresses =
            Addresses { pod_ips: vec!["10.1.0.2".to_owned()], host_ips: settings.node_ips.clone() };
        let sources = Sources { pod: &pod, references: objects, addresses: &addresses, settings: &settings };
        blueprint(&of(&pod).containers[0], 3, &LocalImage::default(), &sources)
    }

    fn environment(container: Value, objects: &Objects) -> Result<Vec<(String, String)>, String> {
        let made = made(container, json!([]), objects).map_err(|error| error.0)?;
        let text = |pair: KeyValue| (pair.key, String::from_utf8(pair.value).unwrap());
        Ok(made.config.envs.into_iter().map(text).collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn variables_come_from_every_source() {
        let objects = Objects::default()
            .config_map("config", "COLOR", "red")
            .config_map("config", "SIZE", "1")
            .secret("keys", "TOKEN", "s3cret");
        let container = json!({
            "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
            "envFrom": [{"prefix": "C_", "configMapRef": {"name": "config"}}, {"secretRef": {"name": "none", "optional": true}}],
            "env": [
                {"name": "PLAIN", "value": "v"},
                {"name": "C_SIZE", "value": "2"},
                {"name": "JOINED", "value": "$(PLAIN)-$(C_COLOR)-$(LATER)-$$(PLAIN)"},
                {"name": "LATER", "value": "x"},
                {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "COLOR"}}},
                {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "TOKEN"}}},
                {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "NO", "optional": true}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            ],
        });
        let expected = pairs(&[
            ("C_COLOR", "red"),
            ("C_SIZE", "2"),
            ("PLAIN", "v"),
            ("JOINED", "v-red-$(LATER)-$(PLAIN)"),
            ("LATER", "x"),
            ("FROM_MAP", "red"),
            ("FROM_SECRET", "s3cret"),
            ("NAME", "web"),
            ("LABEL", "web"),
            ("IP", "10.1.0.2"),
            ("HOST", "192.0.2.1"),
            ("CPU", "2"),
            ("MEMORY", "64"),
        ]);
        assert_eq!(environment(container, &objects), Ok(expected));
    }

    #[test]
    fn what_is_missing_is_named_in_upstreams_words() {
        let objects = Objects::default().config_map("config", "A", "1").secret("keys", "A", "1");
        let why = |env: Value| environment(env, &objects).unwrap_err();
        let from = |source: Value| json!({"env": [{"name": "X", "valueFrom": source}]});
        let cases = [
            (from(json!({"configMapKeyRef": {"name": "no", "key": "A"}})), "configmap \"no\" not found"),
            (from(json!({"secretKeyRef": {"name": "no", "key": "A"}})), "secret \"no\" not found"),
            (
                from(json!({"configMapKeyRef": {"name": "config", "key": "B"}})),
                "couldn't find key B in ConfigMap default/config",
            ),
            (
                from(json!({"secretKeyRef": {"name": "keys", "key": "B"}})),
                "couldn't find key B in Secret default/keys",
            ),
            (json!({"envFrom": [{"configMapRef": {"name": "no"}}]}), "configmap \"no\" not found"),
        ];
        for (container, expected) in cases {
            assert_eq!(why(container.clone()), expected, "{container}");
        }
    }

    #[test]
    fn commands_are_expanded_with_the_environment() {
        let container = json!({
            "command": ["echo", "$(WHO)"], "args": ["$(NOBODY)", "$$(WHO)"], "env": [{"name": "WHO", "value": "me"}],
        });
        let config = made(container, json!([]), &Objects::default()).unwrap().config;
        assert_eq!(config.command, ["echo", "me"]);
        assert_eq!(config.args, ["$(NOBODY)", "$(WHO)"]);
        assert_eq!(config.log_path, "main/3.log");
        assert_eq!(config.annotations[names::RESTART_COUNT], "3");
    }

    #[test]
    fn volumes_are_mounted_and_parts_of_them() {
        let container = json!({"volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "config", "mountPath": "/etc/app"},
            {"name": "scratch", "mountPath": "/part", "subPathExpr": "$(DIR)/x", "readOnly": true},
        ], "env": [{"name": "DIR", "value": "d"}]});
        let volumes =
            json!([{"name": "scratch", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}}]);
        let made = made(container, volumes, &Objects::default()).unwrap();
        let mounts: Vec<(&str, &str, bool)> = made
            .config
            .mounts
            .iter()
            .map(|mount| (mount.container_path.as_str(), mount.host_path.as_str(), mount.readonly))
            .collect();
        assert_eq!(
            mounts,
            [
                ("/scratch", "/agent/pods/u1/volumes/kubernetes.io~empty-dir/scratch", false),
                ("/etc/app", "/agent/pods/u1/volumes/kubernetes.io~configmap/config", true),
                ("/part", "/agent/pods/u1/volume-subpaths/scratch/main/2", true),
                ("/etc/hosts", "/agent/pods/u1/etc-hosts", false),
                ("/dev/termination-log", "/agent/pods/u1/containers/main/3", false),
            ]
        );
        assert_eq!(made.subpaths[0].path, "d/x");
    }

    #[test]
    fn a_part_must_lie_in_its_volume() {
        let volumes = json!([{"name": "scratch", "emptyDir": {}}]);
        for path in ["../x", "a/../../x", "/x"] {
            let container =
                json!({"volumeMounts": [{"name": "scratch", "mountPath": "/m", "subPath": path}]});
            assert!(made(container, volumes.clone(), &Objects::default()).is_err(), "{path}");
        }
    }

    #[test]
    fn the_hash_stays_the_same_from_version_to_version() {
        let container =
            Container { name: "main".to_owned(), image: Some("app:1".to_owned()), ..Default::default() };
        assert_eq!(hash(&container), hash(&container.clone()));
        let other = Container { image: Some("app:2".to_owned()), ..container.clone() };
        assert_ne!(hash(&container), hash(&other));
    }
}
