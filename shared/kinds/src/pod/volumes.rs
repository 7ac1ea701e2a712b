//! The rules of volumes and of where they are mounted.

use std::collections::{HashMap, HashSet};

use model::{FieldError, names};

use super::containers::{field_ref, resource_ref};
use super::defaults::NOT_A_SOURCE;
use crate::field::{Errors, Field};

/// The valid volumes of a pod by name, and whether each is a claim.
pub type Known = HashMap<String, bool>;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_TYPE: &str = "may not specify more than 1 volume type";
/// What a file of the downward API can be made from.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// Below ten minutes a token would be renewed more often than it is read.
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// Judges the volumes of a pod; those without a fault are known to its containers.
pub fn validate(volumes: &Field<'_>, errors: &mut Errors) -> Known {
    let mut known = Known::new();
    for volume in volumes.items() {
        let before = errors.len();
        let name = volume.at("name");
        validate_source(&volume, errors);
        name.must_have(names::dns_label, errors);
        if known.contains_key(name.text()) {
            errors.push(name.duplicate());
        }
        if errors.len() == before {
            known.insert(name.text().to_owned(), volume.at("persistentVolumeClaim").is_set());
        }
    }
    known
}

fn validate_source(volume: &Field<'_>, errors: &mut Errors) {
    let mut sources = volume.entries().filter(|(name, value)| *name != NOT_A_SOURCE && value.is_set());
    let Some((kind, _)) = sources.next() else {
        return errors.push(volume.required("must specify a volume type"));
    };
    errors.extend(sources.map(|(name, _)| volume.at(name).forbidden(ONE_TYPE)));
    let source = volume.at(kind);
    match kind {
        "emptyDir" => empty_dir(&source, errors),
        "hostPath" => host_path(&source, errors),
        "secret" => {
            required(&source.at("secretName"), errors);
            files(&source, errors);
        }
        "configMap" => {
            required(&source.at("name"), errors);
            files(&source, errors);
        }
        "downwardAPI" => {
            mode(&source.at("defaultMode"), errors);
            source.at("items").items().for_each(|file| downward_file(&file, errors));
        }
        "projected" => projected(&source, errors),
        "persistentVolumeClaim" => required(&source.at("claimName"), errors),
        "nfs" => {
            required(&source.at("server"), errors);
            required(&source.at("path"), errors);
        }
        "csi" => required(&source.at("driver"), errors),
        "image" => {
            required(&source.at("reference"), errors);
            source.at("pullPolicy").may_be_one_of(&["Always", "IfNotPresent", "Never"], errors);
        }
        "ephemeral" => {
            let template = source.at("volumeClaimTemplate");
            match template.is_set() {
                true => crate::volume::validate_claim_spec(&template.at("spec"), errors),
                false => errors.push(template.required("")),
            }
        }
        _ => (),
    }
}

fn required(field: &Field<'_>, errors: &mut Errors) {
    if field.text().is_empty() {
        errors.push(field.required(""));
    }
}

fn empty_dir(source: &Field<'_>, errors: &mut Errors) {
    let limit = source.at("sizeLimit");
    if limit.is_set() && crate::resource::parse(&limit, errors).is_some_and(|limit| limit.sign() < 0) {
        errors.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
    }
}

/// Judges a path of the host, of a pod's volume or of a PersistentVolume.
pub fn host_path(source: &Field<'_>, errors: &mut Errors) {
    let path = source.at("path");
    required(&path, errors);
    no_backsteps(&path, errors);
    let kind = source.at("type");
    if !HOST_PATH_TYPES.contains(&kind.text()) {
        errors.push(kind.not_supported(&HOST_PATH_TYPES));
    }
}

/// Judges the path of a PersistentVolume on its node.
pub fn local_path(path: &Field<'_>, errors: &mut Errors) {
    required(path, errors);
    no_backsteps(path, errors);
}

fn no_backsteps(path: &Field<'_>, errors: &mut Errors) {
    if path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
}

/// Below where it is mounted, and nowhere else.
fn descending(path: &Field<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.push(path.invalid("must be a relative path"));
    }
    no_backsteps(path, errors);
}

fn mode(mode: &Field<'_>, errors: &mut Errors) {
    if mode.number().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.push(mode.invalid(MODE));
    }
}

fn files(source: &Field<'_>, errors: &mut Errors) {
    mode(&source.at("defaultMode"), errors);
    for item in source.at("items").items() {
        required(&item.at("key"), errors);
        file_path(&item.at("path"), errors);
        mode(&item.at("mode"), errors);
    }
}

fn file_path(path: &Field<'_>, errors: &mut Errors) {
    required(path, errors);
    descending(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
        errors.push(path.invalid("must not start with '..'"));
    }
}

fn downward_file(file: &Field<'_>, errors: &mut Errors) {
    file_path(&file.at("path"), errors);
    let (field, resource) = (file.at("fieldRef"), file.at("resourceFieldRef"));
    match (field.is_set(), resource.is_set()) {
        (true, true) => {
            errors.push(file.invalid("fieldRef and resourceFieldRef can not be specified simultaneously"));
        }
        (true, false) => field_ref(&field, &FILE_FIELDS, errors),
        (false, true) => resource_ref(&resource, true, errors),
        (false, false) => errors.push(file.required("one of fieldRef and resourceFieldRef is required")),
    }
    mode(&file.at("mode"), errors);
}

fn projected(projected: &Field<'_>, errors: &mut Errors) {
    mode(&projected.at("defaultMode"), errors);
    let mut paths = HashSet::new();
    for source in projected.at("sources").items() {
        if source.len() > 1 {
            errors.push(source.forbidden("may not specify more than 1 volume type"));
        }
        for named in ["secret", "configMap"].map(|name| source.at(name)).iter().filter(|one| one.is_set()) {
            required(&named.at("name"), errors);
            for item in named.at("items").items() {
                required(&item.at("key"), errors);
                projected_path(&item.at("path"), &mut paths, errors);
                mode(&item.at("mode"), errors);
            }
        }
        for file in source.at("downwardAPI").at("items").items() {
            downward_file(&file, errors);
        }
        let token = source.at("serviceAccountToken");
        if token.is_set() {
            validate_token(&token, errors);
            projected_path(&token.at("path"), &mut paths, errors);
        }
    }
}

fn validate_token(token: &Field<'_>, errors: &mut Errors) {
    let lifetime = token.at("expirationSeconds");
    match lifetime.number() {
        Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
            errors.push(lifetime.invalid("may not specify a duration less than 10 minutes"));
        }
        Some(seconds) if seconds > TOKEN_SECONDS_MAX => {
            errors.push(lifetime.invalid("may not specify a duration larger than 2^32 seconds"));
        }
        _ => (),
    }
}

fn projected_path<'a>(path: &Field<'a>, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    file_path(path, errors);
    if !path.text().is_empty() && !seen.insert(path.text()) {
        errors.push(path.invalid("conflicting duplicate paths"));
    }
}

/// Judges where a container mounts volumes.
pub fn validate_mounts(container: &Field<'_>, volumes: &Known, errors: &mut Errors) {
    let (mounts, devices) = (container.at("volumeMounts"), container.at("volumeDevices"));
    let mut paths = HashSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        required(&name, errors);
        if !volumes.contains_key(name.text()) {
            errors.push(name_not_found(&name));
        }
        required(&path, errors);
        if !paths.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
        }
        if devices.items().any(|device| device.at("name").text() == name.text()) {
            errors.push(name.invalid("must not already exist in volumeDevices"));
        }
        validate_sub_paths(&mount, errors);
        propagation(&mount.at("mountPropagation"), container, errors);
    }
    validate_devices(&devices, volumes, errors);
}

fn name_not_found(name: &Field<'_>) -> FieldError {
    FieldError::not_found(&name.path, name.text())
}

fn validate_sub_paths(mount: &Field<'_>, errors: &mut Errors) {
    let (plain, expanded) = (mount.at("subPath"), mount.at("subPathExpr"));
    descending(&plain, errors);
    if !expanded.text().is_empty() && !plain.text().is_empty() {
        errors.push(expanded.invalid("subPathExpr and subPath are mutually exclusive"));
    }
    descending(&expanded, errors);
}

fn propagation(mode: &Field<'_>, container: &Field<'_>, errors: &mut Errors) {
    mode.may_be_one_of(&["Bidirectional", "HostToContainer", "None"], errors);
    if mode.text() == "Bidirectional" && !container.at("securityContext").at("privileged").truth() {
        errors.push(
            mode.forbidden("Bidirectional mount propagation is available only to privileged containers"),
        );
    }
}

fn validate_devices(devices: &Field<'_>, volumes: &Known, errors: &mut Errors) {
    let (mut seen, mut paths) = (HashSet::new(), HashSet::new());
    for device in devices.items() {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        required(&name, errors);
        if !seen.insert(name.text()) {
            errors.push(name.invalid("must be unique"));
        }
        match volumes.get(name.text()) {
            None => errors.push(name_not_found(&name)),
            Some(false) => {
                errors.push(
                    name.invalid("can only use volume source type of PersistentVolumeClaim for block mode"),
                );
            }
            Some(true) => (),
        }
        required(&path, errors);
        if !paths.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
        }
    }
}
