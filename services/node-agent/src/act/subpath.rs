//! Mounting a part of a volume without following a link out of it.
//!
//! What lies in a volume belongs to the pod, which may replace a folder by a link while we look. So the path is
//! resolved by the kernel inside the volume, and what was found is mounted by its file descriptor.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use super::disk;
use crate::spec::container::SubPath;

/// Makes the part's target show the part; makes its folders when they are not there. May be repeated.
pub fn prepare(part: &SubPath) -> io::Result<()> {
    let found = resolve(&part.volume, &part.path)?;
    if part.target.exists() && disk::is_mount_point(&part.target)? {
        // A running instance keeps its own view; a new one is to see what is there now.
        umount2(&part.target, MntFlags::MNT_DETACH)?;
    }
    make_target(&part.target, is_folder(&found)?)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let none: Option<&str> = None;
    mount(Some(&source), &part.target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    Ok(())
}

/// Opens `path` inside of `root`; a link that leads out of it is read as if `root` were `/`.
fn resolve(root: &Path, path: &str) -> io::Result<OwnedFd> {
    let mut here = open(root)?;
    let root = here.try_clone()?;
    let mut walked = PathBuf::new();
    for part in Path::new(path).components() {
        walked.push(part);
        here = match open_in(&root, &walked) {
            Ok(next) => next,
            Err(Errno::ENOENT) => {
                let name: &Path = part.as_ref();
                match mkdirat(here.as_fd(), name, Mode::from_bits_truncate(0o750)) {
                    Ok(()) | Err(Errno::EEXIST) => open_in(&root, &walked)?,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(here)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn open_in(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root.as_fd(), path, how)
}

fn is_folder(file: &OwnedFd) -> io::Result<bool> {
    let mode = SFlag::from_bits_truncate(fstat(file.as_fd())?.st_mode);
    Ok(mode & SFlag::S_IFMT == SFlag::S_IFDIR)
}

fn make_target(target: &Path, folder: bool) -> io::Result<()> {
    if target.exists() && target.is_dir() != folder {
        if target.is_dir() { fs::remove_dir(target)? } else { fs::remove_file(target)? }
    }
    if folder {
        return fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(target).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_does_not_lead_out_of_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir_all(volume.join("inside")).unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        symlink("../..", volume.join("up")).unwrap();
        symlink("inside", volume.join("in")).unwrap();

        let seen = |path: &str| {
            let found = resolve(&volume, path).unwrap();
            fs::canonicalize(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap()
        };
        let volume_path = fs::canonicalize(&volume).unwrap();
        assert_eq!(seen("in"), volume_path.join("inside"));
        assert_eq!(seen("up"), volume_path, "the volume is the root");
        assert_eq!(seen("new/deep"), volume_path.join("new/deep"), "missing folders are made");
        assert_eq!(seen("up/secret"), volume_path.join("secret"), "made inside, not found outside");
    }
}
