//! Files that change all at once.
//!
//! ```text
//!  volume/key ──> ..data/key       readers open this
//!  volume/..data ──> ..payload_x   one rename switches all files
//!  volume/..payload_x/key          the files themselves
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use crate::spec::volumes::File;

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_next";
const PAYLOAD: &str = "..payload_";

/// Makes `folder` hold exactly `files`, owned by `group` if there is one. Whether anything had to change.
pub fn write(folder: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    if holds(folder, files, group)? {
        return Ok(false);
    }
    let payload = new_payload(folder)?;
    for (path, file) in files {
        write_file(&payload, path, file, group)?;
    }
    fs::set_permissions(&payload, fs::Permissions::from_mode(folder_mode(group)))?;
    chown(&payload, group)?;
    let old = fs::read_link(folder.join(DATA)).ok();
    let next = folder.join(DATA_NEXT);
    remove_if_there(&next)?;
    symlink(payload.file_name().expect("a payload folder has a name"), &next)?;
    fs::rename(&next, folder.join(DATA))?;
    show(folder, files)?;
    if let Some(old) = old {
        match fs::remove_dir_all(folder.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    Ok(true)
}

/// Whether the folder shows these very files already.
fn holds(folder: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> io::Result<bool> {
    let data = folder.join(DATA);
    if !data.exists() {
        return Ok(false);
    }
    let mut count = 0;
    let mut folders = vec![data.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    let same = |(path, file): (&String, &File)| {
        let path = data.join(path);
        let mode = fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        mode.is_ok_and(|mode| mode == file_mode(file, group))
            && fs::read(&path).is_ok_and(|now| now == file.content)
    };
    Ok(count == files.len() && files.iter().all(same) && shown(folder)? == first_parts(files))
}

fn new_payload(folder: &Path) -> io::Result<std::path::PathBuf> {
    Ok(nix::unistd::mkdtemp(&folder.join(format!("{PAYLOAD}XXXXXX")))?)
}

fn write_file(payload: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let mut parent = payload.to_owned();
    for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        if !parent.exists() {
            fs::DirBuilder::new().mode(folder_mode(group)).create(&parent)?;
            chown(&parent, group)?;
        }
    }
    let path = payload.join(path);
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    out.write_all(&file.content)?;
    chown(&path, group)?;
    // Not by the mode of open, which the process's mask would cut.
    out.set_permissions(fs::Permissions::from_mode(file_mode(file, group)))
}

/// A group that owns the volume reads its files.
fn file_mode(file: &File, group: Option<u32>) -> u32 {
    if group.is_some() { file.mode | 0o440 } else { file.mode }
}

fn folder_mode(group: Option<u32>) -> u32 {
    if group.is_some() { 0o2755 } else { 0o755 }
}

fn chown(path: &Path, group: Option<u32>) -> io::Result<()> {
    match group {
        Some(group) => std::os::unix::fs::lchown(path, None, Some(group)),
        None => Ok(()),
    }
}

/// Links each file's first part of the path, and removes the links of files that are no more.
fn show(folder: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let wanted = first_parts(files);
    let present = shown(folder)?;
    for name in wanted.difference(&present) {
        symlink(Path::new(DATA).join(name), folder.join(name))?;
    }
    for name in present.difference(&wanted) {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

fn first_parts(files: &BTreeMap<String, File>) -> BTreeSet<String> {
    files.keys().filter_map(|path| path.split('/').next()).map(str::to_owned).collect()
}

fn shown(folder: &Path) -> io::Result<BTreeSet<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: io::Result<Vec<String>> = names.collect();
    Ok(names?.into_iter().filter(|name| !name.starts_with("..")).collect())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
        let file = |content: &str| File { content: content.as_bytes().to_vec(), mode: 0o640 };
        list.iter().map(|(path, content)| ((*path).to_owned(), file(content))).collect()
    }

    fn seen(folder: &Path) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                if name.starts_with("..") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else {
                    seen.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        seen
    }

    #[test]
    fn readers_see_the_old_files_or_the_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        assert!(write(&volume, &files(&[("a", "1"), ("deep/b", "2")]), None).unwrap());
        assert_eq!(seen(&volume), BTreeMap::from([("a".into(), "1".into()), ("deep/b".into(), "2".into())]));
        let first = fs::read_link(volume.join(DATA)).unwrap();

        assert!(
            !write(&volume, &files(&[("a", "1"), ("deep/b", "2")]), None).unwrap(),
            "nothing has changed"
        );
        assert_eq!(fs::read_link(volume.join(DATA)).unwrap(), first);

        assert!(write(&volume, &files(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!(seen(&volume), BTreeMap::from([("a".into(), "3".into()), ("c".into(), "4".into())]));
        assert_ne!(fs::read_link(volume.join(DATA)).unwrap(), first);
        assert!(!volume.join(&first).exists(), "the old files are removed");
        let mode = fs::metadata(volume.join("a")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640);
    }

    #[test]
    fn a_write_that_was_cut_short_is_made_good() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path();
        fs::create_dir(volume.join("..payload_dead")).unwrap();
        symlink("..payload_dead", volume.join(DATA_NEXT)).unwrap();
        assert!(write(volume, &files(&[("a", "1")]), None).unwrap());
        assert_eq!(seen(volume), BTreeMap::from([("a".into(), "1".into())]));
    }

    #[test]
    fn a_file_that_somebody_changed_is_put_right() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &files(&[("a", "1")]), None).unwrap();
        fs::write(folder.path().join("a"), "2").unwrap();
        assert!(write(folder.path(), &files(&[("a", "1")]), None).unwrap());
        assert_eq!(seen(folder.path()), BTreeMap::from([("a".into(), "1".into())]));
    }
}
