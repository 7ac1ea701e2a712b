//! Making volumes.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, lchown};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::{atomic, disk, local_volume};
use crate::spec::volumes::{Content, HostPath, Plan, VolumePlan};

/// Makes every volume of the plan hold what it says. May be repeated.
pub fn prepare(plan: &Plan) -> Result<(), String> {
    for volume in &plan.volumes {
        one(volume, plan.group)
            .map_err(|why| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name))?;
    }
    Ok(())
}

fn one(volume: &VolumePlan, group: Option<u32>) -> Result<(), String> {
    match &volume.content {
        Content::Empty { memory, size } => empty(&volume.path, *memory, *size, group).map_err(in_words),
        Content::Host(kind) => host(&volume.path, *kind),
        Content::Local { made_here } => local_volume::prepare(&volume.path, *made_here, group),
        Content::Files { files, memory, .. } => {
            if *memory {
                in_memory(&volume.path, None).map_err(in_words)?;
            }
            atomic::write(&volume.path, files, group).map(drop).map_err(in_words)
        }
    }
}

fn in_words(error: io::Error) -> String {
    error.to_string()
}

fn empty(path: &Path, memory: bool, size: Option<i64>, group: Option<u32>) -> io::Result<()> {
    let is_new = !path.exists();
    fs::create_dir_all(path)?;
    if memory {
        in_memory(path, size)?;
    }
    if is_new || memory {
        // Whatever user the containers run as.
        let mode = if group.is_some() { 0o2777 } else { 0o777 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if let Some(group) = group {
            lchown(path, None, Some(group))?;
        }
    }
    Ok(())
}

/// A file system in memory at `path`, unless there is one.
fn in_memory(path: &Path, size: Option<i64>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if disk::is_mount_point(path)? {
        return Ok(());
    }
    let options = size.map(|size| format!("size={size}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref())?;
    Ok(())
}

fn host(path: &Path, kind: HostPath) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path).map(|metadata| metadata.file_type());
    let is = |what: &str, right: fn(&fs::FileType) -> bool| match &found {
        Ok(found) if right(found) => Ok(()),
        _ => Err(format!("hostPath type check failed: {shown} is not {what}")),
    };
    match kind {
        HostPath::Unchecked => Ok(()),
        HostPath::DirectoryOrCreate if found.is_err() => fs::create_dir_all(path).map_err(in_words),
        HostPath::FileOrCreate if found.is_err() => {
            // The folders above it are not made: whoever names a file knows where it belongs.
            fs::OpenOptions::new().create(true).append(true).open(path).map(drop).map_err(in_words)
        }
        HostPath::Directory | HostPath::DirectoryOrCreate => is("a directory", fs::FileType::is_dir),
        HostPath::File | HostPath::FileOrCreate => is("a file", fs::FileType::is_file),
        HostPath::Socket => is("a socket", FileTypeExt::is_socket),
        HostPath::CharDevice => is("a character device", FileTypeExt::is_char_device),
        HostPath::BlockDevice => is("a block device", FileTypeExt::is_block_device),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::volumes::File;

    #[test]
    fn paths_of_the_node_are_checked_or_made() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, file) = (folder.path().join("dir"), folder.path().join("file"));
        assert!(host(&dir, HostPath::Directory).unwrap_err().ends_with("is not a directory"));
        assert_eq!(host(&dir, HostPath::DirectoryOrCreate), Ok(()));
        assert_eq!(host(&dir, HostPath::Directory), Ok(()));
        assert!(host(&dir, HostPath::FileOrCreate).unwrap_err().ends_with("is not a file"));
        assert_eq!(host(&file, HostPath::FileOrCreate), Ok(()));
        assert_eq!(host(&file, HostPath::File), Ok(()));
        assert!(host(&file, HostPath::Socket).is_err());
        assert_eq!(host(&folder.path().join("none"), HostPath::Unchecked), Ok(()));
        assert_eq!(host(Path::new("/dev/null"), HostPath::CharDevice), Ok(()));
    }

    #[test]
    fn volumes_may_be_prepared_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = File { content: b"1".to_vec(), mode: 0o644 };
        let volume = |name: &str, content| VolumePlan {
            name: name.to_owned(),
            path: folder.path().join(name),
            content,
        };
        let plan = Plan {
            volumes: vec![
                volume("scratch", Content::Empty { memory: false, size: None }),
                volume(
                    "config",
                    Content::Files {
                        files: BTreeMap::from([("a".to_owned(), file)]),
                        tokens: BTreeMap::new(),
                        memory: false,
                    },
                ),
            ],
            group: None,
        };
        prepare(&plan).unwrap();
        fs::write(folder.path().join("scratch/kept"), "x").unwrap();
        prepare(&plan).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("scratch/kept")).unwrap(), "x");
        assert_eq!(fs::read_to_string(folder.path().join("config/a")).unwrap(), "1");
        let mode = fs::metadata(folder.path().join("scratch")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o777);
    }
}
