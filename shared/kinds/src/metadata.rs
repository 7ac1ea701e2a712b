//! What holds for every kind alike: the status apart from the rest, and the rules of `metadata`.

use model::{FieldError, Object, names};
use serde_json::{Value, json};

use crate::field::{Errors, Field};
use crate::{Kind, NameRule};

/// All keys and values of the annotations together: they are copied with every event of the object.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// As upstream: enough for a program and its version.
const MANAGER_MAX: usize = 128;

/// On create: a client cannot say what the status is.
pub fn clear_status(object: &mut Object) {
    object.remove("status");
}

/// On update of the main resource: the status stays.
pub fn keep_status(new: &mut Object, old: &Object) {
    keep(new, old, "status");
}

/// The field stays as it is in `old`.
pub fn keep(new: &mut Object, old: &Object, field: &str) {
    match old.get(field) {
        Some(value) => new.insert(field.to_owned(), value.clone()),
        None => new.remove(field),
    };
}

/// On update of the status: everything else stays, but for labels, annotations, finalizers and owners.
pub fn keep_all_but_status(new: &mut Object, old: &Object) {
    let status = new.remove("status");
    let metadata = new.remove("metadata");
    new.0.clone_from(&old.0);
    new.remove("status");
    if let Some(metadata) = metadata {
        new.insert("metadata".to_owned(), metadata);
    }
    if let Some(status) = status {
        new.insert("status".to_owned(), status);
    }
}

/// Judges `metadata` of an object that is about to be created.
pub fn validate(kind: &Kind, object: &Object) -> Errors {
    let metadata = Field::of(object, "metadata");
    let mut errors = Errors::new();
    let prefix = metadata.at("generateName");
    if !prefix.text().is_empty() {
        let masked = mask_trailing_dash(prefix.text());
        errors.extend(name_rule(kind.name_rule)(&masked).into_iter().map(|why| prefix.invalid(why)));
    }
    let name = metadata.at("name");
    match name.text() {
        "" => errors.push(name.required("name or generateName is required")),
        _ => name.must(name_rule(kind.name_rule), &mut errors),
    }
    validate_namespace(kind, &metadata.at("namespace"), &mut errors);
    metadata.at("generation").not_negative(&mut errors);
    validate_common(&metadata, &mut errors);
    errors
}

/// Judges the change of `metadata`.
pub fn validate_update(_kind: &Kind, new: &Object, old: &Object) -> Errors {
    let (new, old) = (Field::of(new, "metadata"), Field::of(old, "metadata"));
    let mut errors = Errors::new();
    if old.at("deletionTimestamp").is_set() {
        no_new_finalizers(&new.at("finalizers"), &old.at("finalizers"), &mut errors);
    }
    let (generation, before) = (new.at("generation"), old.at("generation"));
    generation.not_negative(&mut errors);
    if generation.number().unwrap_or(0) < before.number().unwrap_or(0) {
        errors.push(generation.invalid("must not be decremented"));
    }
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        new.at(field).unchanged(&old.at(field), &mut errors);
    }
    validate_common(&new, &mut errors);
    errors
}

/// The rule as a function of the name.
pub fn name_rule(rule: NameRule) -> fn(&str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => names::dns_subdomain,
        NameRule::Label => names::dns_label,
        NameRule::Label1035 => names::dns_1035_label,
        NameRule::PathSegment => names::path_segment,
    }
}

/// What follows a generated prefix is alphanumeric, so a dash may end it.
fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{}a", &rest[..rest.floor_char_boundary(rest.len() - 1)]),
        _ => prefix.to_owned(),
    }
}

fn validate_namespace(kind: &Kind, namespace: &Field<'_>, errors: &mut Errors) {
    match (kind.namespaced, namespace.text()) {
        (true, _) => namespace.must_have(names::dns_label, errors),
        (false, "") => (),
        (false, _) => errors.push(namespace.forbidden("not allowed on this type")),
    }
}

fn validate_common(metadata: &Field<'_>, errors: &mut Errors) {
    labels(&metadata.at("labels"), errors);
    annotations(&metadata.at("annotations"), errors);
    owners(&metadata.at("ownerReferences"), errors);
    finalizers(&metadata.at("finalizers"), errors);
    managers(&metadata.at("managedFields"), errors);
}

/// Judges a map of labels.
pub fn labels(labels: &Field<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        errors.extend(
            names::qualified_name(key).into_iter().map(|why| FieldError::invalid(&labels.path, key, why)),
        );
        let wrong = names::label_value(value.text());
        errors.extend(wrong.into_iter().map(|why| FieldError::invalid(&labels.path, value.text(), why)));
    }
}

/// Judges a map of annotations.
pub fn annotations(annotations: &Field<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        let wrong = names::qualified_name(&key.to_lowercase());
        errors.extend(wrong.into_iter().map(|why| FieldError::invalid(&annotations.path, key, why)));
        size += key.len() + value.text().len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(annotations.too_long(ANNOTATIONS_MAX));
    }
}

fn owners(owners: &Field<'_>, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in owners.items() {
        let version = owner.at("apiVersion");
        let parts: Vec<&str> = version.text().split('/').collect();
        match version.text() {
            "" => errors.push(version.required("must not be empty")),
            _ if parts.len() > 2 || parts.last() == Some(&"") => {
                errors.push(version.invalid("must be <group>/<version> or <version>"));
            }
            _ => (),
        }
        for field in ["kind", "name", "uid"].map(|name| owner.at(name)) {
            if field.text().is_empty() {
                errors.push(field.required("must not be empty"));
            }
        }
        if (version.text(), owner.at("kind").text()) == ("v1", "Event") {
            errors.push(owner.invalid("/v1, Kind=Event is disallowed from being an owner"));
        }
        if !owner.at("controller").truth() {
            continue;
        }
        let this = format!("{}/{}", owner.at("kind").text(), owner.at("name").text());
        match &controller {
            None => controller = Some(this),
            Some(first) => errors.push(owners.invalid(format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
            ))),
        }
    }
}

fn finalizers(finalizers: &Field<'_>, errors: &mut Errors) {
    for name in finalizers.texts() {
        let wrong = names::qualified_name(name);
        errors.extend(wrong.into_iter().map(|why| FieldError::invalid(&finalizers.path, name, why)));
    }
    if ["orphan", "foregroundDeletion"].iter().all(|one| finalizers.texts().any(|name| name == *one)) {
        errors.push(finalizers.invalid("finalizer orphan and foregroundDeletion cannot be both set"));
    }
}

fn no_new_finalizers(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let before: Vec<&str> = old.texts().collect();
    let mut extra: Vec<&str> = new.texts().filter(|name| !before.contains(name)).collect();
    if extra.is_empty() {
        return;
    }
    extra.sort_unstable();
    let found: Vec<String> = extra.iter().map(|name| format!("{name:?}")).collect();
    errors.push(new.forbidden(format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        found.join(", ")
    )));
}

fn managers(entries: &Field<'_>, errors: &mut Errors) {
    for entry in entries.items() {
        let operation = entry.at("operation");
        match operation.text() {
            "" => errors.push(operation.required("must not be empty")),
            _ => operation.one_of(&["Apply", "Update"], errors),
        }
        let kind = entry.at("fieldsType");
        if !["", "FieldsV1"].contains(&kind.text()) {
            errors.push(kind.invalid("must be `FieldsV1`"));
        }
        let manager = entry.at("manager");
        if manager.text().len() > MANAGER_MAX {
            errors.push(manager.too_long(MANAGER_MAX));
        }
    }
}

/// Judges a `metav1.LabelSelector`; one that is absent is fine.
pub fn label_selector(selector: &Field<'_>, errors: &mut Errors) {
    labels(&selector.at("matchLabels"), errors);
    for expression in selector.at("matchExpressions").items() {
        let (operator, values) = (expression.at("operator"), expression.at("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(
                    values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => (),
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        expression.at("key").must(names::qualified_name, errors);
        values.items().for_each(|value| value.must(names::label_value, errors));
    }
}

/// The first condition of that type.
pub fn condition<'a>(object: &'a Object, kind: &str) -> Option<&'a Value> {
    let conditions = object.at(&["status", "conditions"])?.as_array()?;
    conditions.iter().find(|one| one["type"] == kind)
}

/// Whether the condition of that type is there and true.
pub fn is_true(object: &Object, kind: &str) -> bool {
    condition(object, kind).is_some_and(|one| one["status"] == "True")
}

/// The condition of that type, made or changed to this status; the time of the last change is the caller's.
pub fn new_condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

/// The owner that controls the object.
pub fn controller(object: &Object) -> Option<&Value> {
    let owners = object.at(&["metadata", "ownerReferences"])?.as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> Kind {
        Kind::namespaced("", "v1", "Thing", "things")
    }

    fn said(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    fn metadata(change: Value) -> Object {
        let mut metadata = json!({"name": "a", "namespace": "default"});
        for (name, value) in change.as_object().expect("fields") {
            metadata[name] = value.clone();
        }
        Object::from_value(json!({"metadata": metadata})).expect("an object")
    }

    #[test]
    fn each_rule_of_metadata_names_its_field() {
        let cases = [
            (json!({"name": ""}), "metadata.name: Required value: name or generateName is required"),
            (
                json!({"name": "A"}),
                "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must",
            ),
            (json!({"generateName": "Ab-"}), "metadata.generateName: Invalid value: \"Ab-\": a lowercase"),
            (json!({"namespace": ""}), "metadata.namespace: Required value"),
            (
                json!({"namespace": "a.b"}),
                "metadata.namespace: Invalid value: \"a.b\": must not contain dots",
            ),
            (
                json!({"generation": -1}),
                "metadata.generation: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"labels": {"a b": "c"}}),
                "metadata.labels: Invalid value: \"a b\": name part must consist",
            ),
            (json!({"labels": {"a": "-"}}), "metadata.labels: Invalid value: \"-\": a valid label must be"),
            (
                json!({"annotations": {"/a": "c"}}),
                "metadata.annotations: Invalid value: \"/a\": prefix part must be",
            ),
            (
                json!({"annotations": {"a": "x".repeat(262_144)}}),
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            (json!({"finalizers": ["a b"]}), "metadata.finalizers: Invalid value: \"a b\": name part must"),
            (
                json!({"finalizers": ["orphan", "foregroundDeletion"]}),
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and",
            ),
            (
                json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a"}]}),
                "metadata.ownerReferences[0].uid: Required value: must not be empty",
            ),
            (
                json!({"managedFields": [{"operation": "Guess"}]}),
                "metadata.managedFields[0].operation: Unsupported value: \"Guess\": supported values: \"Apply\", \"Update\"",
            ),
        ];
        for (change, wrong) in cases {
            let found = said(&validate(&kind(), &metadata(change.clone())));
            assert!(found.len() == 1 && found[0].starts_with(wrong), "{change}: {found:?}");
        }
    }

    #[test]
    fn good_metadata_is_accepted() {
        let good = [
            json!({}),
            json!({"generateName": "a-"}),
            json!({"labels": {"app.kubernetes.io/Name": "x_1", "b": ""}, "annotations": {"X.io/Y": "{}"}}),
            json!({"finalizers": ["example.com/x"], "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}
            ]}),
        ];
        for change in good {
            assert_eq!(said(&validate(&kind(), &metadata(change.clone()))), Vec::<String>::new(), "{change}");
        }
        let cluster = Kind::cluster("", "v1", "Thing", "things");
        assert_eq!(
            said(&validate(&cluster, &metadata(json!({})))),
            ["metadata.namespace: Forbidden: not allowed on this type"]
        );
    }

    #[test]
    fn an_update_keeps_what_names_the_object() {
        let old = metadata(json!({"uid": "u", "generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}));
        let new = metadata(json!({"uid": "v", "generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["example.com/b", "example.com/a"]}));
        assert_eq!(
            said(&validate_update(&kind(), &new, &old)),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, \
                 found new finalizers []string{\"example.com/a\", \"example.com/b\"}",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.uid: Invalid value: \"v\": field is immutable",
            ]
        );
        assert_eq!(said(&validate_update(&kind(), &old, &old)), Vec::<String>::new());
    }

    #[test]
    fn a_status_update_changes_nothing_else() {
        let object = |value: Value| Object::from_value(value).expect("an object");
        let old = object(json!({"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {"y": 1}}));
        let sent = object(
            json!({"metadata": {"name": "a", "labels": {"l": "m"}}, "spec": {"x": 2}, "status": {"y": 2}}),
        );
        let mut new = sent.clone();
        keep_all_but_status(&mut new, &old);
        assert_eq!(
            new.into_value(),
            json!({"metadata": {"name": "a", "labels": {"l": "m"}}, "spec": {"x": 1}, "status": {"y": 2}})
        );
        let mut new = sent;
        keep_status(&mut new, &old);
        assert_eq!(new.at(&["status", "y"]), Some(&json!(1)));
    }
}
