//! What each volume of a pod is to hold.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, KeyToPath, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use model::quantity::Quantity;

use super::claims::{self, Claimed};
use super::env::{Sources, no_config_map, no_secret};
use super::{References, fields, namespace, of, uid};

/// All volumes of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// In the spec's order.
    pub volumes: Vec<VolumePlan>,
    /// The group that is to own what the volumes hold: `fsGroup`.
    pub group: Option<u32>,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VolumePlan {
    /// Its name in the spec.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub content: Content,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Nothing at first.
    Empty {
        /// In memory instead of on the disk.
        memory: bool,
        /// Bytes that it may hold in memory.
        size: Option<i64>,
    },
    /// A path of the node.
    Host(HostPath),
    /// A folder of the node that outlives the pod.
    Local {
        /// Whether it is one of ours, and made when it is not there.
        made_here: bool,
    },
    /// Files by their path in the volume, replaced all at once when any of them changes.
    Files {
        /// By path.
        files: BTreeMap<String, File>,
        /// Files that hold tokens of the pod's account, by path.
        tokens: BTreeMap<String, TokenFile>,
        /// In memory, so that no secret is written to the disk.
        memory: bool,
    },
}

/// What a path of the node must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostPath {
    /// Anything, or nothing.
    Unchecked,
    /// A folder, made if it is not there.
    DirectoryOrCreate,
    /// A folder.
    Directory,
    /// A file, made if it is not there.
    FileOrCreate,
    /// A file.
    File,
    /// A unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct File {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// A file that holds a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenFile {
    /// Whom it is for; empty for the API server.
    pub audience: String,
    /// How long it is to live, in seconds.
    pub seconds: u64,
    /// The file's permissions.
    pub mode: u32,
}

/// Where a volume lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder, or the node's own path.
    pub path: PathBuf,
    /// Whether containers only read it, whatever they ask for.
    pub read_only: bool,
}

/// Why a volume cannot be made: `FailedMount` with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
pub struct VolumeProblem {
    /// Its name.
    pub volume: String,
    /// What is wrong.
    pub why: String,
}

const MODE: i32 = 0o644;
/// What is said of a volume that this node cannot make.
pub const UNKNOWN_KIND: &str = "this node knows no such kind of volume";

/// What the pod's volumes are to hold now.
pub fn plan(sources: &Sources<'_>) -> Result<Plan, VolumeProblem> {
    let pod = sources.pod;
    let volumes = of(pod).volumes.iter().flatten().map(|volume| {
        let problem = |why| VolumeProblem { volume: volume.name.clone(), why };
        if let Some((claim, read_only)) = claims::claim_of(pod, volume) {
            let found = claims::claimed(pod, (&claim, read_only), sources.references, sources.settings);
            let Claimed { path, content, .. } = found.map_err(problem)?;
            return Ok(VolumePlan { name: volume.name.clone(), path, content });
        }
        let place = place(&volume.name, sources).map_err(problem)?;
        let content = content(volume, sources).map_err(problem)?;
        Ok(VolumePlan { name: volume.name.clone(), path: place.path, content })
    });
    let context = of(pod).security_context.as_ref();
    let group = context.and_then(|context| context.fs_group).and_then(|group| u32::try_from(group).ok());
    Ok(Plan { volumes: volumes.collect::<Result<_, _>>()?, group })
}

/// Where the volume of that name lies, or why it cannot be had.
pub fn place(name: &str, sources: &Sources<'_>) -> Result<Place, String> {
    let pod = sources.pod;
    let volume = of(pod).volumes.iter().flatten().find(|volume| volume.name == name);
    let volume = volume.ok_or_else(|| format!("cannot find volume {name:?} to mount"))?;
    if let Some((claim, read_only)) = claims::claim_of(pod, volume) {
        let claimed = claims::claimed(pod, (&claim, read_only), sources.references, sources.settings)?;
        return Ok(Place { path: claimed.path, read_only: claimed.read_only });
    }
    let folder = |kind| sources.settings.paths.volume(uid(pod), kind, name);
    let (path, read_only) = match volume {
        Volume { host_path: Some(source), .. } => (PathBuf::from(&source.path), false),
        Volume { empty_dir: Some(_), .. } => (folder("empty-dir"), false),
        Volume { config_map: Some(_), .. } => (folder("configmap"), true),
        Volume { secret: Some(_), .. } => (folder("secret"), true),
        Volume { downward_api: Some(_), .. } => (folder("downward-api"), true),
        Volume { projected: Some(_), .. } => (folder("projected"), true),
        _ => return Err(UNKNOWN_KIND.to_owned()),
    };
    Ok(Place { path, read_only })
}

fn content(volume: &Volume, sources: &Sources<'_>) -> Result<Content, String> {
    match volume {
        Volume { host_path: Some(source), .. } => {
            Ok(Content::Host(HostPath::parse(source.type_.as_deref())?))
        }
        Volume { empty_dir: Some(source), .. } => Ok(empty(source)),
        Volume { config_map: Some(source), .. } => {
            let optional = source.optional == Some(true);
            let mode = source.default_mode.unwrap_or(MODE);
            config_map(&source.name, &source.items, optional, mode, sources).map(on_disk)
        }
        Volume { secret: Some(source), .. } => {
            let optional = source.optional == Some(true);
            let name = source.secret_name.as_deref().unwrap_or("");
            let mode = source.default_mode.unwrap_or(MODE);
            let files = secret(name, &source.items, optional, mode, sources)?;
            Ok(Content::Files { files, tokens: BTreeMap::new(), memory: true })
        }
        Volume { downward_api: Some(source), .. } => {
            let mode = source.default_mode.unwrap_or(MODE);
            downward(source.items.as_deref().unwrap_or_default(), mode, sources).map(on_disk)
        }
        Volume { projected: Some(source), .. } => {
            let mode = source.default_mode.unwrap_or(MODE);
            let (mut files, mut tokens) = (BTreeMap::new(), BTreeMap::new());
            for part in source.sources.iter().flatten() {
                match &part.service_account_token {
                    Some(token) => drop(tokens.insert(inside(&token.path)?, TokenFile::new(token, mode))),
                    None => files.extend(projection(part, mode, sources)?),
                }
            }
            let has_secrets = source.sources.iter().flatten().any(|part| part.secret.is_some());
            let memory = has_secrets || !tokens.is_empty();
            Ok(Content::Files { files, tokens, memory })
        }
        _ => Err(UNKNOWN_KIND.to_owned()),
    }
}

fn on_disk(files: BTreeMap<String, File>) -> Content {
    Content::Files { files, tokens: BTreeMap::new(), memory: false }
}

fn empty(source: &EmptyDirVolumeSource) -> Content {
    let limit = source.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok());
    Content::Empty {
        memory: source.medium.as_deref() == Some("Memory"),
        size: limit.map(|limit| limit.value()).filter(|size| *size > 0),
    }
}

fn projection(
    part: &VolumeProjection,
    mode: i32,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, File>, String> {
    if let Some(source) = &part.config_map {
        return config_map(&source.name, &source.items, source.optional == Some(true), mode, sources);
    }
    if let Some(source) = &part.secret {
        return secret(&source.name, &source.items, source.optional == Some(true), mode, sources);
    }
    if let Some(source) = &part.downward_api {
        return downward(source.items.as_deref().unwrap_or_default(), mode, sources);
    }
    Err("this node knows no such kind of projection".to_owned())
}

fn config_map(
    name: &str,
    items: &Option<Vec<KeyToPath>>,
    optional: bool,
    mode: i32,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, File>, String> {
    let references: &dyn References = sources.references;
    let Some(map) = references.config_map(namespace(sources.pod), name) else {
        return if optional { Ok(BTreeMap::new()) } else { Err(no_config_map(name)) };
    };
    let texts = map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
    chosen(texts.chain(binary).collect(), items, optional, mode)
}

fn secret(
    name: &str,
    items: &Option<Vec<KeyToPath>>,
    optional: bool,
    mode: i32,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, File>, String> {
    let references: &dyn References = sources.references;
    let Some(secret) = references.secret(namespace(sources.pod), name) else {
        return if optional { Ok(BTreeMap::new()) } else { Err(no_secret(name)) };
    };
    let data = secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
    chosen(data.collect(), items, optional, mode)
}

/// Every key as a file, or those that the items name under the items' paths.
fn chosen(
    mut data: BTreeMap<String, Vec<u8>>,
    items: &Option<Vec<KeyToPath>>,
    optional: bool,
    mode: i32,
) -> Result<BTreeMap<String, File>, String> {
    let Some(items) = items.as_ref().filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, content)| (key, File::new(content, mode))).collect());
    };
    let mut files = BTreeMap::new();
    for item in items {
        match data.remove(&item.key) {
            Some(content) => {
                let path = inside(&item.path)?;
                files.insert(path, File::new(content, item.mode.unwrap_or(mode)));
            }
            None if optional => (),
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn downward(
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, File>, String> {
    let files = items.iter().map(|item| {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(selector, sources.pod, sources.addresses),
            (None, Some(selector)) => fields::resource(selector, sources.pod, None, sources.settings),
            (None, None) => return Err(format!("{:?} names no field", item.path)),
        };
        let content = text.map_err(|error| error.to_string())?.into_bytes();
        Ok((inside(&item.path)?, File::new(content, item.mode.unwrap_or(mode))))
    });
    files.collect()
}

/// The API refuses other paths; nothing may be written outside of a volume all the same.
fn inside(path: &str) -> Result<String, String> {
    let leaves = path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if leaves || path.starts_with("..") { Err(format!("invalid path {path:?}")) } else { Ok(path.to_owned()) }
}

// === impl Plan ===

impl Plan {
    /// Tells one plan from another without keeping what it holds.
    pub fn digest(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

// === impl File ===

impl File {
    fn new(content: Vec<u8>, mode: i32) -> Self {
        File { content, mode: mode as u32 & 0o777 }
    }
}

// === impl TokenFile ===

impl TokenFile {
    fn new(source: &ServiceAccountTokenProjection, mode: i32) -> Self {
        const HOUR: u64 = 3600;
        TokenFile {
            audience: source.audience.clone().unwrap_or_default(),
            seconds: source
                .expiration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .unwrap_or(HOUR),
            mode: mode as u32 & 0o777,
        }
    }
}

// === impl HostPath ===

impl HostPath {
    /// As a hostPath's `type` says it.
    pub fn parse(text: Option<&str>) -> Result<Self, String> {
        Ok(match text.unwrap_or("") {
            "" => HostPath::Unchecked,
            "DirectoryOrCreate" => HostPath::DirectoryOrCreate,
            "Directory" => HostPath::Directory,
            "FileOrCreate" => HostPath::FileOrCreate,
            "File" => HostPath::File,
            "Socket" => HostPath::Socket,
            "CharDevice" => HostPath::CharDevice,
            "BlockDevice" => HostPath::BlockDevice,
            other => return Err(format!("unknown hostPath type {other:?}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Addresses;
    use super::super::fixture::{self, Objects};
    use super::*;

    fn planned(volume: Value, objects: &Objects) -> Result<Content, String> {
        let mut volume = volume;
        volume["name"] = json!("v");
        let pod = fixture::pod(json!({"volumes": [volume]}));
        let (settings, addresses) = (fixture::settings(), Addresses::default());
        let sources = Sources { pod: &pod, references: objects, addresses: &addresses, settings: &settings };
        let mut plan = plan(&sources).map_err(|problem| problem.to_string())?;
        Ok(plan.volumes.remove(0).content)
    }

    fn files(volume: Value, objects: &Objects) -> Result<Vec<(String, String, u32)>, String> {
        let Content::Files { files, .. } = planned(volume, objects)? else { panic!("not a volume of files") };
        let text = |(path, file): (String, File)| (path, String::from_utf8(file.content).unwrap(), file.mode);
        Ok(files.into_iter().map(text).collect())
    }

    fn file(path: &str, content: &str, mode: u32) -> (String, String, u32) {
        (path.to_owned(), content.to_owned(), mode)
    }

    #[test]
    fn config_maps_and_secrets_become_files() {
        let objects =
            Objects::default().config_map("c", "a", "1").config_map("c", "b", "2").secret("s", "k", "3");
        assert_eq!(
            files(json!({"configMap": {"name": "c"}}), &objects),
            Ok(vec![file("a", "1", 0o644), file("b", "2", 0o644)])
        );
        let items = json!([{"key": "b", "path": "deep/er", "mode": 0o600}]);
        assert_eq!(
            files(json!({"configMap": {"name": "c", "items": items}}), &objects),
            Ok(vec![file("deep/er", "2", 0o600)])
        );
        assert_eq!(
            files(json!({"secret": {"secretName": "s", "defaultMode": 0o400}}), &objects),
            Ok(vec![file("k", "3", 0o400)])
        );
    }

    #[test]
    fn projections_are_laid_into_one_volume() {
        let objects = Objects::default().config_map("c", "a", "1").secret("s", "k", "3");
        let downward = json!({"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]});
        let sources =
            json!([{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}, {"downwardAPI": downward}]);
        assert_eq!(
            files(json!({"projected": {"sources": sources, "defaultMode": 0o440}}), &objects),
            Ok(vec![file("a", "1", 0o440), file("k", "3", 0o440), file("labels", "app=\"web\"", 0o440)])
        );
    }

    #[test]
    fn a_token_is_asked_for_and_kept_in_memory() {
        let token = json!({"path": "token", "expirationSeconds": 3607});
        let sources = json!([{"serviceAccountToken": token}]);
        let planned = planned(json!({"projected": {"sources": sources}}), &Objects::default());
        let file = TokenFile { audience: String::new(), seconds: 3607, mode: 0o644 };
        let tokens = BTreeMap::from([("token".to_owned(), file)]);
        assert_eq!(planned, Ok(Content::Files { files: BTreeMap::new(), tokens, memory: true }));
    }

    #[test]
    fn what_is_missing_is_named() {
        let objects = Objects::default().config_map("c", "a", "1");
        let setup = "MountVolume.SetUp failed for volume \"v\" : ";
        let cases = [
            (json!({"configMap": {"name": "no"}}), "configmap \"no\" not found"),
            (json!({"secret": {"secretName": "no"}}), "secret \"no\" not found"),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}}),
                "references non-existent config key: x",
            ),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "a", "path": "../x"}]}}),
                "invalid path \"../x\"",
            ),
            (json!({"nfs": {"server": "s", "path": "/"}}), "this node knows no such kind of volume"),
        ];
        for (volume, why) in cases {
            assert_eq!(planned(volume.clone(), &objects), Err(format!("{setup}{why}")), "{volume}");
        }
        assert_eq!(files(json!({"configMap": {"name": "no", "optional": true}}), &objects), Ok(vec![]));
    }

    #[test]
    fn an_empty_volume_may_lie_in_memory() {
        let objects = Objects::default();
        let disk = planned(json!({"emptyDir": {}}), &objects);
        assert_eq!(disk, Ok(Content::Empty { memory: false, size: None }));
        let memory = planned(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}), &objects);
        assert_eq!(memory, Ok(Content::Empty { memory: true, size: Some(1 << 20) }));
    }
}
