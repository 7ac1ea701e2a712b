//! PersistentVolumes and the claims to them.

use model::{FieldError, Object, names};
use serde_json::{Value, json};

use crate::cell::{self, or};
use crate::field::{Errors, Field};
use crate::metadata::label_selector;
use crate::plain::spec_or_unset;
use crate::{Column, Kind, fill};

const ACCESS_MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
/// In the order in which upstream lists them.
const SUPPORTED_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// Fields of a volume's spec that are not where it lies.
const NOT_A_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// The row of PersistentVolumes.
pub fn volume() -> Kind {
    Kind::cluster("", "v1", "PersistentVolume", "persistentvolumes")
        .short(&["pv"])
        .with_status()
        .with_columns(vec![
            Column::text("Capacity", "How much it holds.", |object| {
                or(object.str_at(&["spec", "capacity", "storage"]), "0").to_owned()
            }),
            Column::text("Access Modes", "How it can be mounted.", |object| access_modes(object, "spec")),
            Column::text("Reclaim Policy", "What becomes of it without its claim.", |object| {
                object.str_at(&["spec", "persistentVolumeReclaimPolicy"]).to_owned()
            }),
            Column::text("Status", "Whether it is claimed.", phase),
            Column::text("Claim", "The claim that has it.", |object| {
                match object.at(&["spec", "claimRef"]) {
                    None => String::new(),
                    Some(_) => {
                        let text = |field| object.str_at(&["spec", "claimRef", field]);
                        format!("{}/{}", text("namespace"), text("name"))
                    }
                }
            }),
            Column::text("StorageClass", "The class that it is of.", class),
            Column::text("VolumeAttributesClass", "The class of its attributes.", |object| {
                spec_or_unset(object, "volumeAttributesClassName")
            }),
            Column::text("Reason", "Why it is in this state.", |object| {
                object.str_at(&["status", "reason"]).to_owned()
            }),
            Column::age(),
            Column::text("VolumeMode", "A file system or a block device.", |object| {
                spec_or_unset(object, "volumeMode")
            })
            .wide(),
        ])
        .with_hooks(|hooks| {
            hooks.default = default_volume;
            hooks.prepare_create = |object| object.set(&["status"], json!({"phase": "Pending"}));
            hooks.validate = validate_volume;
            hooks.validate_update = validate_volume_update;
        })
}

/// The row of PersistentVolumeClaims.
pub fn claim() -> Kind {
    Kind::namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
        .short(&["pvc"])
        .with_status()
        .with_columns(vec![
            Column::text("Status", "Whether it has a volume.", phase),
            Column::text("Volume", "The volume that it has.", |object| {
                object.str_at(&["spec", "volumeName"]).to_owned()
            }),
            Column::text("Capacity", "How much the volume holds.", |object| match bound(object) {
                true => or(object.str_at(&["status", "capacity", "storage"]), "0").to_owned(),
                false => String::new(),
            }),
            Column::text("Access Modes", "How the volume can be mounted.", |object| match bound(object) {
                true => access_modes(object, "status"),
                false => String::new(),
            }),
            Column::text("StorageClass", "The class that its volume is to be of.", class),
            Column::text("VolumeAttributesClass", "The class of the volume's attributes.", |object| {
                spec_or_unset(object, "volumeAttributesClassName")
            }),
            Column::age(),
            Column::text("VolumeMode", "A file system or a block device.", |object| {
                spec_or_unset(object, "volumeMode")
            })
            .wide(),
        ])
        .with_hooks(|hooks| {
            hooks.default = default_claim;
            hooks.prepare_create = |object| object.set(&["status"], json!({"phase": "Pending"}));
            hooks.validate = |object| {
                let mut errors = Errors::new();
                validate_claim_spec(&Field::of(object, "spec"), &mut errors);
                errors
            };
            hooks.validate_update = validate_claim_update;
        })
}

fn phase(object: &Object) -> String {
    match object.deletion_timestamp() {
        Some(_) => "Terminating".to_owned(),
        None => object.str_at(&["status", "phase"]).to_owned(),
    }
}

fn bound(object: &Object) -> bool {
    !object.str_at(&["spec", "volumeName"]).is_empty()
}

fn class(object: &Object) -> String {
    let annotation = object.str_at(&["metadata", "annotations", CLASS_ANNOTATION]);
    or(annotation, object.str_at(&["spec", "storageClassName"])).to_owned()
}

fn access_modes(object: &Object, part: &str) -> String {
    let modes = cell::list(object, &[part, "accessModes"]);
    let short: Vec<&str> = ACCESS_MODES
        .iter()
        .filter(|(mode, _)| modes.iter().any(|one| one == mode))
        .map(|(_, short)| *short)
        .collect();
    short.join(",")
}

fn default_volume(object: &mut Object) {
    if let Some(spec) = fill::object(object, "spec") {
        fill::text(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill::value(spec, "volumeMode", "Filesystem");
        fill::resources(spec, "capacity");
        if let Some(path) = fill::object(spec, "hostPath") {
            fill::value(path, "type", "");
        }
        if let Some(claim) = fill::object(spec, "claimRef") {
            fill::text(claim, "kind", "PersistentVolumeClaim");
            fill::text(claim, "apiVersion", "v1");
        }
    }
    if let Some(status) = fill::object_or_new(object, "status") {
        fill::text(status, "phase", "Pending");
    }
}

fn default_claim(object: &mut Object) {
    if let Some(spec) = fill::object(object, "spec") {
        default_claim_spec(spec);
    }
    if let Some(status) = fill::object_or_new(object, "status") {
        fill::text(status, "phase", "Pending");
        fill::resources(status, "capacity");
    }
}

/// What a claim's spec leaves out, also in a template of claims.
pub fn default_claim_spec(spec: &mut fill::Fields) {
    fill::value(spec, "volumeMode", "Filesystem");
    if let Some(resources) = fill::object_or_new(spec, "resources") {
        fill::resources(resources, "requests");
        fill::resources(resources, "limits");
    }
    // Two names of one thing: what refers to an object of the core group says so in both.
    if let (None, Some(source)) = (spec.get("dataSourceRef"), spec.get("dataSource").cloned()) {
        spec.insert("dataSourceRef".to_owned(), source);
    }
}

fn validate_volume(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    validate_access_modes(&spec.at("accessModes"), "", &mut errors);
    let capacity = spec.at("capacity");
    if capacity.is_empty() {
        errors.push(capacity.required(""));
    }
    if capacity.key("storage").value.is_null() || capacity.len() > 1 {
        errors.push(capacity.not_supported(&["storage"]));
    }
    for (name, amount) in capacity.entries() {
        positive(name, &amount, &mut errors);
    }
    spec.at("persistentVolumeReclaimPolicy").may_be_one_of(&POLICIES, &mut errors);
    spec.at("volumeMode").may_be_one_of(&VOLUME_MODES, &mut errors);
    spec.at("storageClassName").may(names::dns_subdomain, &mut errors);
    validate_sources(&spec, &mut errors);
    let affinity = spec.at("nodeAffinity");
    if affinity.is_set() {
        match affinity.at("required").is_set() {
            true => crate::pod::placement::node_selector(&affinity.at("required"), &mut errors),
            false => errors.push(affinity.at("required").required("must specify required node constraints")),
        }
    }
    errors
}

fn validate_sources(spec: &Field<'_>, errors: &mut Errors) {
    let mut sources = spec.entries().filter(|(name, value)| value.is_set() && !NOT_A_SOURCE.contains(name));
    let Some((first, _)) = sources.next() else {
        errors.push(spec.required("must specify a volume type"));
        return;
    };
    errors
        .extend(sources.map(|(name, _)| spec.at(name).forbidden("may not specify more than 1 volume type")));
    match first {
        "hostPath" => crate::pod::volumes::host_path(&spec.at(first), errors),
        "local" => {
            crate::pod::volumes::local_path(&spec.at(first).at("path"), errors);
            if !spec.at("nodeAffinity").is_set() {
                let detail = "Local volume requires node affinity";
                errors.push(FieldError::required("metadata.annotations", detail));
            }
        }
        _ => (),
    }
}

fn validate_volume_update(new: &Object, old: &Object) -> Errors {
    let (new, old) = (Field::of(new, "spec"), Field::of(old, "spec"));
    let mut errors = Errors::new();
    let source = |spec: &Field<'_>| -> fill::Fields {
        let fields = spec.value.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| !NOT_A_SOURCE.contains(&name.as_str()));
        fields.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if source(&new) != source(&old) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
    }
    Field::new("volumeMode", new.at("volumeMode").value).unchanged(&old.at("volumeMode"), &mut errors);
    // Where the data is does not change; it may be said later.
    if old.at("nodeAffinity").is_set() {
        new.at("nodeAffinity").unchanged(&old.at("nodeAffinity"), &mut errors);
    }
    errors
}

/// Judges the spec of a claim, also in a template of claims.
pub fn validate_claim_spec(spec: &Field<'_>, errors: &mut Errors) {
    validate_access_modes(&spec.at("accessModes"), "at least 1 access mode is required", errors);
    label_selector(&spec.at("selector"), errors);
    let requests = spec.at("resources").at("requests");
    let storage = Field::new(format!("{}.resources[storage]", spec.path), requests.key("storage").value);
    match storage.is_set() {
        true => positive("storage", &storage, errors),
        false => errors.push(storage.required("")),
    }
    spec.at("storageClassName").may(names::dns_subdomain, errors);
    spec.at("volumeMode").may_be_one_of(&VOLUME_MODES, errors);
}

fn validate_access_modes(modes: &Field<'_>, when_empty: &str, errors: &mut Errors) {
    if modes.is_empty() {
        errors.push(modes.required(when_empty));
    }
    for mode in modes.texts() {
        if !SUPPORTED_MODES.contains(&mode) {
            errors.push(FieldError::not_supported(&modes.path, mode, &SUPPORTED_MODES));
        }
    }
    if modes.len() > 1 && modes.texts().any(|mode| mode == "ReadWriteOncePod") {
        errors.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
}

fn positive(name: &str, amount: &Field<'_>, errors: &mut Errors) {
    crate::resource::amount(name, amount, errors);
    if amount.quantity().is_some_and(|amount| amount.sign() <= 0) {
        errors.push(amount.invalid("must be greater than zero"));
    }
}

/// A claim stays as it is, but that it gets a volume and a bound one may grow.
fn validate_claim_update(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let storage = ["spec", "resources", "requests", "storage"];
    let mut same = new.clone();
    if old.str_at(&["spec", "volumeName"]).is_empty() {
        crate::fill::spec(&mut same).map(|spec| spec.remove("volumeName"));
        if let Some(name) = old.at(&["spec", "volumeName"]) {
            same.set(&["spec", "volumeName"], name.clone());
        }
    }
    // A default class may come to a claim that was made before there was one.
    if old.at(&["spec", "storageClassName"]).is_none() {
        same.take(&["spec", "storageClassName"]);
    }
    if new.str_at(&["status", "phase"]) == "Bound"
        && let Some(size) = old.at(&storage)
    {
        same.set(&storage, size.clone());
    }
    if same.get("spec") != old.get("spec") {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                      bound claims";
        errors.push(FieldError::forbidden("spec", detail));
    }
    let size = |object: &Object| object.at(&storage).and_then(crate::field::quantity);
    if let (Some(now), Some(before)) = (size(new), size(old))
        && now < before
    {
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden(storage.join("."), detail));
    }
    let mode = |object: &'_ Object| object.at(&["spec", "volumeMode"]).cloned().unwrap_or(Value::Null);
    let (now, before) = (mode(new), mode(old));
    Field::new("volumeMode", &now).unchanged(&Field::new("volumeMode", &before), &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};

    #[test]
    fn defaults() {
        assert_eq!(
            defaulted(&claim(), json!({"spec": {"resources": {"requests": {"storage": "1024Mi"}}}})),
            json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
                "status": {"phase": "Pending"}})
        );
        assert_eq!(
            defaulted(&volume(), json!({"spec": {"hostPath": {"path": "/x"}}})),
            json!({"spec": {"hostPath": {"path": "/x", "type": ""}, "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}})
        );
    }

    #[test]
    fn columns() {
        let volume_object = object(json!({"metadata": {"name": "v"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "slow",
                "claimRef": {"namespace": "n", "name": "c"}, "volumeMode": "Filesystem"},
            "status": {"phase": "Bound"}}));
        assert_eq!(
            headings(&volume()),
            "Name | Capacity | Access Modes | Reclaim Policy | Status | Claim | StorageClass | VolumeAttributesClass | \
             Reason | Age | (VolumeMode)"
        );
        assert_eq!(
            row(&volume(), &volume_object),
            "v | 1Gi | RWO,RWX | Retain | Bound | n/c | slow | <unset> |  | <unknown> | Filesystem"
        );
        let waiting = object(json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"]},
            "status": {"phase": "Pending"}}));
        assert_eq!(row(&claim(), &waiting), "c | Pending |  |  |  |  | <unset> | <unknown> | <unset>");
    }

    #[test]
    fn a_claim_says_how_much_and_how() {
        let found = said((claim().hooks.validate)(&object(json!({"spec": {}}))));
        assert_eq!(
            found,
            "spec.accessModes: Required value: at least 1 access mode is required\n\
             spec.resources[storage]: Required value"
        );
        let odd =
            object(json!({"spec": {"accessModes": ["Once"], "resources": {"requests": {"storage": "0"}}}}));
        assert_eq!(
            said((claim().hooks.validate)(&odd)),
            "spec.accessModes: Unsupported value: \"Once\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
             \"ReadWriteOnce\", \"ReadWriteOncePod\"\n\
             spec.resources[storage]: Invalid value: \"0\": must be greater than zero"
        );
    }

    #[test]
    fn a_bound_claim_may_grow() {
        let claim = |size: &str, phase: &str| {
            object(json!({"spec": {"volumeName": "v", "resources": {"requests": {"storage": size}}},
                "status": {"phase": phase}}))
        };
        assert_eq!(said(validate_claim_update(&claim("2Gi", "Bound"), &claim("1Gi", "Bound"))), "");
        assert!(
            said(validate_claim_update(&claim("2Gi", "Pending"), &claim("1Gi", "Pending")))
                .starts_with("spec: Forb")
        );
        assert!(
            said(validate_claim_update(&claim("1Gi", "Bound"), &claim("2Gi", "Bound")))
                .starts_with("spec.resources.requests.storage: Forbidden")
        );
    }

    #[test]
    fn a_local_volume_says_where_it_is_and_stays_there() {
        let on = |node: &str| {
            object(json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "local": {"path": "/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}}))
        };
        assert_eq!(said(validate_volume(&on("a"))), "");
        assert!(
            said(validate_volume_update(&on("b"), &on("a"))).starts_with("spec.nodeAffinity: Invalid value")
        );
        let mut nowhere = on("a");
        nowhere.take(&["spec", "nodeAffinity"]);
        assert_eq!(said(validate_volume_update(&on("a"), &nowhere)), "");
        nowhere.set(&["spec", "local", "path"], "../x");
        assert_eq!(
            said(validate_volume(&nowhere)),
            "spec.local.path: Invalid value: \"../x\": must not contain '..'\n\
             metadata.annotations: Required value: Local volume requires node affinity"
        );
    }

    #[test]
    fn a_volume_lies_in_one_place() {
        let good = json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/x"}}});
        assert_eq!(said(validate_volume(&object(good.clone()))), "");
        let mut two = good.clone();
        two["spec"]["nfs"] = json!({"server": "s", "path": "/"});
        assert_eq!(
            said(validate_volume(&object(two.clone()))),
            "spec.nfs: Forbidden: may not specify more than 1 volume type"
        );
        assert!(
            said(validate_volume_update(&object(two), &object(good)))
                .starts_with("spec.persistentvolumesource: ")
        );
    }
}
