//! Folders of the node that outlive pods: made when a pod first mounts them, given to its group, removed with their
//! volume.
//!
//! What lies in them belongs to pods, which may put a link in the place of a folder while we look. So everything below
//! a volume is reached by file descriptors, and no link is followed.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{Gid, fchownat};

use super::disk;
use crate::settings::Paths;

/// Folders below each other that are given to a group; deeper ones keep their owner.
const DEPTH_MAX: usize = 64;
const SET_GROUP: u32 = 0o2000;

/// Makes sure that the folder is there. One that is not ours is never made.
pub fn prepare(path: &Path, made_here: bool, group: Option<u32>) -> Result<(), String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => (),
        // Somebody's own disk may be mounted under a link.
        Ok(found) if found.is_symlink() && !made_here && path.is_dir() => (),
        Ok(_) => return Err(format!("{shown} is not a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && made_here => {
            make(path).map_err(|error| format!("cannot make {shown}: {error}"))?;
        }
        Err(error) => return Err(format!("path {shown} does not exist: {error}")),
    }
    match group {
        Some(group) => {
            give_to(path, group).map_err(|error| format!("cannot give {shown} to its group: {error}"))
        }
        None => Ok(()),
    }
}

/// Whatever user the containers run as may write to it; nobody but root gets to it from outside.
fn make(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
    }
    fs::create_dir(path)?;
    // Not by the mode of the creation, which the process's mask would cut.
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}

/// Removes a volume's folder with all that is in it. May be repeated.
pub fn remove(paths: &Paths, name: &str) -> Result<(), String> {
    let Some(path) = paths.local_volume(name) else {
        return Err(format!("{name:?} is no name of a volume"));
    };
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => (),
        Ok(_) => return Err(format!("{} is not a directory", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    }
    disk::unmount_below(&path)
        .map_err(|error| format!("cannot unmount below {}: {error}", path.display()))?;
    disk::remove_folder(&path)
}

/// Gives everything in a folder to a group that may read and write it, unless the folder is its already: then all that
/// was made in it since is, too.
fn give_to(path: &Path, group: u32) -> io::Result<()> {
    let found = fs::metadata(path)?;
    if found.gid() == group && found.mode() & (SET_GROUP | 0o070) == SET_GROUP | 0o070 {
        return Ok(());
    }
    let folder =
        nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    give_below(&folder, Gid::from_raw(group), DEPTH_MAX)?;
    // The folder itself last: it says that all is done.
    give_one(&folder, Gid::from_raw(group))?;
    Ok(())
}

fn give_below(folder: &OwnedFd, group: Gid, depth: usize) -> nix::Result<()> {
    if depth == 0 {
        return Ok(());
    }
    let listed = Dir::from_fd(folder.try_clone().map_err(|_| Errno::EMFILE)?)?;
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match give_entry(folder, name, group, depth) {
            // It was removed meanwhile, or is no longer what it was.
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => (),
            result => result?,
        }
    }
    Ok(())
}

fn give_entry(folder: &OwnedFd, name: &std::ffi::CStr, group: Gid, depth: usize) -> nix::Result<()> {
    let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    match kind(&found) {
        SFlag::S_IFDIR => {
            let inner = openat(folder, name, flags | OFlag::O_DIRECTORY, Mode::empty())?;
            give_below(&inner, group, depth - 1)?;
            give_one(&inner, group)
        }
        SFlag::S_IFREG => give_one(&openat(folder, name, flags, Mode::empty())?, group),
        _ => fchownat(folder, name, None, Some(group), AtFlags::AT_SYMLINK_NOFOLLOW),
    }
}

fn give_one(file: &OwnedFd, group: Gid) -> nix::Result<()> {
    let found = fstat(file.as_fd())?;
    nix::unistd::fchown(file.as_fd(), None, Some(group))?;
    let more = if kind(&found) == SFlag::S_IFDIR { SET_GROUP | 0o070 } else { 0o060 };
    fchmod(file.as_fd(), Mode::from_bits_truncate(found.st_mode & 0o7777 | more))
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_of_ours_is_made_kept_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let path = paths.local_volume("pvc-1").expect("a name");
        assert!(prepare(&path, false, None).unwrap_err().contains("does not exist"));
        prepare(&path, true, None).unwrap();
        fs::write(path.join("kept"), "x").unwrap();
        prepare(&path, true, None).unwrap();
        assert_eq!(fs::read_to_string(path.join("kept")).unwrap(), "x");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
        remove(&paths, "pvc-1").unwrap();
        assert!(!path.exists());
        remove(&paths, "pvc-1").unwrap();
    }

    #[test]
    fn a_name_or_a_link_never_leads_out_of_our_folder() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(&root.path().join("agent"));
        fs::create_dir_all(root.path().join("agent/volumes")).unwrap();
        let precious = root.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        for name in ["..", ".", "", "../../precious", "a/b"] {
            assert!(remove(&paths, name).is_err(), "{name:?}");
        }
        let link = paths.local_volume("link").expect("a name");
        symlink(&precious, &link).unwrap();
        assert!(prepare(&link, true, None).unwrap_err().ends_with("is not a directory"));
        assert!(remove(&paths, "link").is_err(), "a link is nothing that we made");
        let volume = paths.local_volume("v").expect("a name");
        prepare(&volume, true, None).unwrap();
        symlink(&precious, volume.join("out")).unwrap();
        remove(&paths, "v").unwrap();
        assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "x");
    }

    #[test]
    fn a_group_gets_all_that_is_there_and_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let group = nix::unistd::getgid().as_raw();
        let outside = root.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
        let volume = root.path().join("volume");
        fs::create_dir_all(volume.join("deep")).unwrap();
        fs::write(volume.join("deep/file"), "x").unwrap();
        fs::set_permissions(volume.join("deep/file"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&outside, volume.join("deep/link")).unwrap();
        prepare(&volume, true, Some(group)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&volume.join("deep/file")), 0o660);
        assert_eq!(mode(&volume.join("deep")) & 0o2070, 0o2070);
        assert_eq!(mode(&outside), 0o600);
        // Once it is the group's, what is in it is left alone.
        fs::set_permissions(volume.join("deep/file"), fs::Permissions::from_mode(0o600)).unwrap();
        prepare(&volume, true, Some(group)).unwrap();
        assert_eq!(mode(&volume.join("deep/file")), 0o600);
    }
}
