//! The folders of pods: making what a container mounts, and leaving nothing behind.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use tracing::debug;

use super::subpath;
use crate::decide::action::Start;
use crate::observe::listing::PodIdentity;
use crate::settings::Paths;

/// Whether something is mounted at `path`.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    // A bind mount of the same file system has its device, so the list of mounts is asked.
    let path = fs::canonicalize(path)?;
    Ok(mount_points()?.contains(&path))
}

/// Makes log folder, hosts file, termination file and parts of volumes for an instance.
pub fn prepare_start(paths: &Paths, pod: &PodIdentity, start: &Start) -> Result<(), String> {
    let logs = paths.pod_logs(&pod.namespace, &pod.name, &pod.uid).join(&start.container);
    let (hosts, text) = &start.hosts;
    make_file(hosts, text)
        .and_then(|()| make_file(&start.blueprint.termination, ""))
        .and_then(|()| fs::create_dir_all(logs))
        .map_err(|error| error.to_string())?;
    for part in &start.blueprint.subpaths {
        subpath::prepare(part)
            .map_err(|error| format!("failed to prepare subPath {:?}: {error}", part.path))?;
    }
    Ok(())
}

/// Whatever user the container runs as writes its last words there.
fn make_file(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if text.is_empty() { 0o666 } else { 0o644 };
    // Written in place: containers have this very file mounted.
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Removes everything of a pod.
pub fn discard(paths: &Paths, pod: &PodIdentity) -> Result<(), String> {
    let folder = paths.pod(&pod.uid);
    unmount_below(&folder).map_err(|error| format!("cannot unmount below {}: {error}", folder.display()))?;
    remove_folder(&folder)?;
    remove_folder(&paths.pod_logs(&pod.namespace, &pod.name, &pod.uid))?;
    remove_control_groups(&pod.uid);
    Ok(())
}

/// Removes a folder with all that is in it, if it is there. No link in it is followed.
pub fn remove_folder(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Unmounts everything below `folder`, innermost first. A mount that stays is an error: removing the folder would
/// remove what is mounted there, which may be the node's own files.
pub fn unmount_below(folder: &Path) -> io::Result<()> {
    let Ok(folder) = fs::canonicalize(folder) else { return Ok(()) };
    let below = || -> io::Result<Vec<PathBuf>> {
        Ok(mount_points()?.into_iter().filter(|point| point.starts_with(&folder)).collect())
    };
    let mut points = below()?;
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in points {
        umount2(&point, MntFlags::MNT_DETACH)?;
    }
    match below()?.first() {
        Some(left) => Err(io::Error::other(format!("{} is still mounted", left.display()))),
        None => Ok(()),
    }
}

fn mount_points() -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect())
}

/// The kernel writes blanks in paths as `\040`.
fn unescape(point: &str) -> PathBuf {
    let text = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(point.to_owned(), |text, (code, char)| text.replace(code, char));
    PathBuf::from(text)
}

/// The runtime removes the control groups of containers; that of the pod is left empty.
fn remove_control_groups(uid: &str) {
    const ROOT: &str = "/sys/fs/cgroup";
    let hierarchies = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from(ROOT)]) {
        for class in ["kubepods", "kubepods/burstable", "kubepods/besteffort"] {
            let group = hierarchy.join(class).join(format!("pod{uid}"));
            if let Err(error) = fs::remove_dir(&group)
                && error.kind() != io::ErrorKind::NotFound
                && error.kind() != io::ErrorKind::NotADirectory
            {
                debug!(group = %group.display(), "cannot remove the control group: {error}");
            }
        }
    }
}

/// Pods that have folders: what an earlier run of the agent may have left.
pub fn folders(paths: &Paths) -> Vec<PodIdentity> {
    let names = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let from_logs = names(paths.logs()).into_iter().filter_map(|name| {
        let mut parts = name.splitn(3, '_').map(str::to_owned);
        Some(PodIdentity { namespace: parts.next()?, name: parts.next()?, uid: parts.next()? })
    });
    let mut pods: Vec<PodIdentity> = from_logs.collect();
    for uid in names(paths.pods()) {
        if !pods.iter().any(|pod| pod.uid == uid) {
            pods.push(PodIdentity { uid, ..Default::default() });
        }
    }
    pods
}

/// Removes a log and its older parts.
pub fn remove_log(log: &Path) {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return };
    let name = name.to_string_lossy();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&*name)
            && let Err(error) = fs::remove_file(entry.path())
        {
            debug!(path = %entry.path().display(), "cannot remove an old log: {error}");
        }
    }
}

/// Bytes of a file that is not larger than `max`, else its first `max`.
pub fn read_start(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = fs::File::open(path)?;
    let mut content = Vec::new();
    file.take(max as u64).read_to_end(&mut content)?;
    Ok(content)
}

/// The last `max` bytes of a file.
pub fn read_end(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.size();
    file.seek(SeekFrom::Start(size.saturating_sub(max)))?;
    let mut content = Vec::new();
    file.take(max).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_known_by_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let web = PodIdentity { namespace: "default".into(), name: "web".into(), uid: "u1".into() };
        fs::create_dir_all(paths.pod("u1")).unwrap();
        fs::create_dir_all(paths.pod("u2")).unwrap();
        fs::create_dir_all(paths.pod_logs("default", "web", "u1")).unwrap();
        let nameless = PodIdentity { uid: "u2".into(), ..Default::default() };
        assert_eq!(folders(&paths), [web.clone(), nameless]);
        discard(&paths, &web).unwrap();
        assert!(!paths.pod("u1").exists() && !paths.pod_logs("default", "web", "u1").exists());
        discard(&paths, &web).unwrap();
    }

    #[test]
    fn a_log_goes_with_its_older_parts() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["0.log", "0.log.20260101-000000", "1.log"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        remove_log(&folder.path().join("0.log"));
        let left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(left, ["1.log"]);
    }
}
