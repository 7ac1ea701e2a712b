//! Kinds of `storage.k8s.io`: the class that a volume is made by, and what CSI drivers tell of themselves.

use model::{FieldError, Object, names};
use serde_json::{Value, json};

use crate::cell::{self, UNSET, or};
use crate::field::{Errors, Field};
use crate::{Column, Kind, fill};

const GROUP: &str = "storage.k8s.io";
const POLICIES: [&str; 2] = ["Delete", "Retain"];
const BINDING_MODES: [&str; 2] = ["Immediate", "WaitForFirstConsumer"];
/// On the class of claims that name none; the second is what old manifests say.
const DEFAULT_MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// The rows of the group, in the order of their names.
pub fn kinds() -> [Kind; 5] {
    [driver(), node(), capacity(), class(), attachment()]
}

/// Whether a StorageClass is that of claims that name none.
pub fn is_default(class: &Object) -> bool {
    DEFAULT_MARKS.iter().any(|mark| class.str_at(&["metadata", "annotations", mark]) == "true")
}

/// The class of claims that name none: of several the newest, as upstream has it.
pub fn default_class<'a>(classes: impl IntoIterator<Item = &'a Object>) -> Option<&'a Object> {
    let newest = |class: &&Object| {
        let created = class.str_at(&["metadata", "creationTimestamp"]).to_owned();
        (std::cmp::Reverse(created), class.name().to_owned())
    };
    classes.into_iter().filter(|class| is_default(class)).min_by_key(newest)
}

/// `StorageClass`
fn class() -> Kind {
    let text = |object: &Object, field: &str| object.str_at(&[field]).to_owned();
    let columns = vec![
        Column { format: "name", ..Column::text("Name", "Name of the class.", class_name) },
        Column::text("Provisioner", "Who makes its volumes.", move |object| text(object, "provisioner")),
        Column::text("ReclaimPolicy", "What becomes of a volume without a claim.", move |object| {
            or(&text(object, "reclaimPolicy"), "Delete").to_owned()
        }),
        Column::text("VolumeBindingMode", "When a claim gets its volume.", move |object| {
            or(&text(object, "volumeBindingMode"), "Immediate").to_owned()
        }),
        Column::new("AllowVolumeExpansion", "string", "Whether its volumes can grow.", |object, _| {
            object.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or(false).into()
        }),
        Column::age(),
    ];
    let kind =
        Kind::cluster(GROUP, "v1", "StorageClass", "storageclasses").short(&["sc"]).with_hooks(|hooks| {
            hooks.default = |object| {
                fill::text(object, "reclaimPolicy", "Delete");
                fill::text(object, "volumeBindingMode", "Immediate");
            };
            hooks.validate = validate_class;
            hooks.validate_update = validate_class_update;
        });
    Kind { columns, ..kind }
}

fn class_name(object: &Object) -> String {
    match is_default(object) {
        true => format!("{} (default)", object.name()),
        false => object.name().to_owned(),
    }
}

fn validate_class(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let provisioner = Field::of(object, "provisioner");
    match provisioner.text() {
        "" => errors.push(provisioner.required("")),
        name => {
            let wrong = names::qualified_name(&name.to_lowercase());
            errors.extend(wrong.into_iter().map(|why| provisioner.invalid(why)));
        }
    }
    let parameters = Field::of(object, "parameters");
    for (key, _) in parameters.entries().filter(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid("parameters", key, "field must not be empty."));
    }
    Field::of(object, "reclaimPolicy").may_be_one_of(&POLICIES, &mut errors);
    Field::of(object, "volumeBindingMode").one_of(&BINDING_MODES, &mut errors);
    errors
}

/// Volumes were made by what the class said; it goes on saying it.
fn validate_class_update(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    for name in ["parameters", "provisioner", "reclaimPolicy"] {
        let field = Field::of(new, name);
        if field.value != Field::of(old, name).value {
            errors.push(field.forbidden(format!("updates to {name} are forbidden.")));
        }
    }
    let mode = |object| Field::of(object, "volumeBindingMode");
    mode(new).unchanged(&mode(old), &mut errors);
    errors
}

/// `VolumeAttachment`
fn attachment() -> Kind {
    Kind::cluster(GROUP, "v1", "VolumeAttachment", "volumeattachments")
        .with_status()
        .with_columns(vec![
            Column::text("Attacher", "The driver that attaches it.", |object| {
                object.str_at(&["spec", "attacher"]).to_owned()
            }),
            Column::text("PV", "The volume.", |object| {
                object.str_at(&["spec", "source", "persistentVolumeName"]).to_owned()
            }),
            Column::text("Node", "Where it is to be.", |object| {
                object.str_at(&["spec", "nodeName"]).to_owned()
            }),
            Column::new("Attached", "boolean", "Whether it is there.", |object, _| {
                object.at(&["status", "attached"]).and_then(Value::as_bool).unwrap_or(false).into()
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.prepare_create = |object| object.set(&["status"], json!({"attached": false}));
            hooks.validate = |object| {
                let mut errors = Errors::new();
                let spec = Field::of(object, "spec");
                for name in ["attacher", "nodeName"] {
                    if spec.at(name).text().is_empty() {
                        errors.push(spec.at(name).required(""));
                    }
                }
                errors
            };
            hooks.validate_update = |new, old| {
                let mut errors = Errors::new();
                Field::of(new, "spec").unchanged(&Field::of(old, "spec"), &mut errors);
                errors
            };
        })
}

/// `CSIDriver`
fn driver() -> Kind {
    let truth = |name: &'static str, field: &'static str, description: &'static str| {
        Column::new(name, "boolean", description, move |object, _| {
            object.at(&["spec", field]).and_then(Value::as_bool).unwrap_or(false).into()
        })
    };
    Kind::cluster(GROUP, "v1", "CSIDriver", "csidrivers")
        .with_columns(vec![
            truth("AttachRequired", "attachRequired", "Whether its volumes are attached first."),
            truth("PodInfoOnMount", "podInfoOnMount", "Whether it is told of the pod."),
            truth("StorageCapacity", "storageCapacity", "Whether it says how much is left."),
            Column::text("TokenRequests", "Whom it asks tokens for.", |object| {
                match cell::list(object, &["spec", "tokenRequests"]) {
                    [] => UNSET.to_owned(),
                    requests => cell::joined(requests, "audience"),
                }
            }),
            truth("RequiresRepublish", "requiresRepublish", "Whether it is called again and again."),
            Column::text("Modes", "Which volumes it makes.", |object| {
                let modes = cell::list(object, &["spec", "volumeLifecycleModes"]).iter();
                modes.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }),
            Column::age(),
        ])
        .with_generation()
        .with_hooks(|hooks| {
            hooks.default = |object| {
                let Some(spec) = fill::object_or_new(object, "spec") else { return };
                fill::value(spec, "attachRequired", true);
                for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
                    fill::value(spec, field, false);
                }
                fill::value(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
                fill::value(spec, "volumeLifecycleModes", json!(["Persistent"]));
            };
        })
}

/// `CSINode`
fn node() -> Kind {
    Kind::cluster(GROUP, "v1", "CSINode", "csinodes").with_columns(vec![
        Column::count("Drivers", "How many drivers the node has.", |object| {
            cell::count(object, &["spec", "drivers"])
        }),
        Column::age(),
    ])
}

/// `CSIStorageCapacity`
fn capacity() -> Kind {
    Kind::namespaced(GROUP, "v1", "CSIStorageCapacity", "csistoragecapacities")
        .with_columns(vec![
            Column::text("StorageClassName", "The class that it is about.", |object| {
                object.str_at(&["storageClassName"]).to_owned()
            }),
            Column::text("Capacity", "How much is left.", |object| object.str_at(&["capacity"]).to_owned()),
        ])
        .with_hooks(|hooks| {
            hooks.validate = |object| {
                let mut errors = Errors::new();
                Field::of(object, "storageClassName").must_have(names::dns_subdomain, &mut errors);
                errors
            };
            hooks.validate_update = |new, old| {
                let mut errors = Errors::new();
                for name in ["nodeTopology", "storageClassName"] {
                    Field::of(new, name).unchanged(&Field::of(old, name), &mut errors);
                }
                errors
            };
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};

    fn class_of(name: &str, created: &str, default: &str) -> Object {
        object(json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {
            DEFAULT_MARKS[0]: default}}, "provisioner": "x.io/y", "volumeBindingMode": "Immediate"}))
    }

    #[test]
    fn a_default_class_says_so() {
        let shown = defaulted(
            &class(),
            json!({"metadata": {"name": "s", "annotations": {DEFAULT_MARKS[0]: "true"}},
                "provisioner": "x.io/y"}),
        );
        assert_eq!(
            row(&class(), &object(shown)),
            "s (default) | x.io/y | Delete | Immediate | false | <unknown>"
        );
    }

    #[test]
    fn of_several_default_classes_the_newest_counts() {
        let classes = [
            class_of("old", "2026-01-01T00:00:00Z", "true"),
            class_of("new", "2026-01-02T00:00:00Z", "true"),
            class_of("none", "2026-01-03T00:00:00Z", "false"),
        ];
        assert_eq!(default_class(&classes).map(Object::name), Some("new"));
        assert_eq!(default_class(&classes[2..]), None);
    }

    #[test]
    fn a_class_stays_what_its_volumes_were_made_by() {
        let before = class_of("s", "", "");
        let mut after = before.clone();
        after.set(&["reclaimPolicy"], "Retain");
        after.set(&["provisioner"], "other.io/y");
        assert_eq!(
            said(validate_class_update(&after, &before)),
            "provisioner: Forbidden: updates to provisioner are forbidden.\n\
             reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."
        );
        let odd = object(json!({"provisioner": "", "reclaimPolicy": "Recycle", "volumeBindingMode": "Late"}));
        assert_eq!(
            said(validate_class(&odd)),
            "provisioner: Required value\n\
             reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"\n\
             volumeBindingMode: Unsupported value: \"Late\": supported values: \"Immediate\", \
             \"WaitForFirstConsumer\""
        );
    }

    #[test]
    fn what_drivers_tell_is_shown() {
        let shown = defaulted(&driver(), json!({"metadata": {"name": "d"}, "spec": {}}));
        assert_eq!(
            headings(&driver()),
            "Name | AttachRequired | PodInfoOnMount | StorageCapacity | TokenRequests | RequiresRepublish | Modes | Age"
        );
        assert_eq!(
            row(&driver(), &object(shown)),
            "d | true | false | false | <unset> | false | Persistent | <unknown>"
        );
        let attached = object(json!({"metadata": {"name": "a"}, "spec": {"attacher": "d", "nodeName": "n",
            "source": {"persistentVolumeName": "v"}}, "status": {"attached": true}}));
        assert_eq!(row(&attachment(), &attached), "a | d | v | n | true | <unknown>");
    }
}
