//! Events: one storage, served as two kinds.
//!
//! ```text
//!   v1 Event                                    events.k8s.io/v1 Event
//!   involvedObject, message, related      <──>  regarding, note, related
//!   firstTimestamp, lastTimestamp, count  <──>  deprecatedFirstTimestamp, deprecatedLastTimestamp, deprecatedCount
//!   source, reportingComponent            <──>  deprecatedSource, reportingController
//! ```

use model::{FieldError, Object};
use serde_json::Value;

use crate::cell::or;
use crate::descriptor::FieldFn;
use crate::field::{Errors, Field};
use crate::{Column, Kind, SelectableField, Storage, age};

/// Each field's name in v1, and in events.k8s.io/v1.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
];
const CORE: &str = "v1";
const MODERN: &str = "events.k8s.io/v1";
const NOTE_MAX: usize = 1024;
const REASON_MAX: usize = 128;

/// The row of the core group; what is stored has its form.
pub fn core() -> Kind {
    let kind = Kind::namespaced("", CORE, "Event", "events").short(&["ev"]).with_fields(&FIELDS).with_hooks(
        |hooks| {
            hooks.validate = validate_core;
        },
    );
    Kind { columns: columns(), ..kind }
}

/// The row of the group of its own.
pub fn modern() -> Kind {
    let kind =
        Kind::namespaced("events.k8s.io", "v1", "Event", "events").short(&["ev"]).with_hooks(|hooks| {
            hooks.validate = validate_modern;
            hooks.to_storage = to_core;
            hooks.from_storage = Some(to_modern);
        });
    let storage = Storage::Collection { group: "".into(), resource: "events".into() };
    Kind { columns: columns(), selectable_fields: modern_fields(), storage, ..kind }
}

const FIELDS: [(&str, FieldFn); 11] = [
    ("involvedObject.kind", |event| about(event, "kind")),
    ("involvedObject.namespace", |event| about(event, "namespace")),
    ("involvedObject.name", |event| about(event, "name")),
    ("involvedObject.uid", |event| about(event, "uid")),
    ("involvedObject.apiVersion", |event| about(event, "apiVersion")),
    ("involvedObject.resourceVersion", |event| about(event, "resourceVersion")),
    ("involvedObject.fieldPath", |event| about(event, "fieldPath")),
    ("reason", |event| event.str_at(&["reason"]).to_owned()),
    ("reportingComponent", |event| either(event, "reportingComponent", &[]).to_owned()),
    ("source", |event| {
        or(either(event, "source", &["component"]), either(event, "reportingComponent", &[])).to_owned()
    }),
    ("type", |event| event.str_at(&["type"]).to_owned()),
];

fn modern_fields() -> Vec<SelectableField> {
    let renamed = FIELDS.iter().map(|(path, value)| {
        let path = match *path {
            "reportingComponent" => "reportingController".to_owned(),
            path => path.replacen("involvedObject", "regarding", 1),
        };
        SelectableField { path: path.into(), value: std::sync::Arc::new(*value) }
    });
    renamed.filter(|field| field.path != "source").collect()
}

/// A text under the field with this name in v1, in whichever form the event is.
fn either<'a>(event: &'a Object, core: &str, rest: &[&str]) -> &'a str {
    let modern = RENAMED.iter().find(|(name, _)| *name == core).map_or(core, |(_, modern)| *modern);
    let path = |first| std::iter::once(first).chain(rest.iter().copied()).collect::<Vec<&str>>();
    or(event.str_at(&path(core)), event.str_at(&path(modern)))
}

fn about(event: &Object, field: &str) -> String {
    either(event, "involvedObject", &[field]).to_owned()
}

/// The stored form of an event of events.k8s.io.
fn to_core(event: &mut Object) {
    rename(event, |(core, modern)| (modern, core));
    event.set(&["apiVersion"], CORE);
}

fn to_modern(event: &mut Object) {
    rename(event, |(core, modern)| (core, modern));
    event.set(&["apiVersion"], MODERN);
}

fn rename(event: &mut Object, direction: fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    for (from, to) in RENAMED.map(direction) {
        if let Some(value) = event.remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
}

fn columns() -> Vec<Column> {
    let cell = |name, description, of: fn(&Object) -> String| Column::text(name, description, of);
    vec![
        Column::new("Last Seen", "string", "Time since it was last seen.", |event, context| {
            age::since(last_seen(event), context.now).into()
        }),
        cell("Type", "Normal or Warning.", |event| event.str_at(&["type"]).to_owned()),
        cell("Reason", "What it is, in a word.", |event| event.str_at(&["reason"]).to_owned()),
        cell("Object", "What it is about.", |event| {
            let (kind, name) = (about(event, "kind").to_lowercase(), about(event, "name"));
            if name.is_empty() { kind } else { format!("{kind}/{name}") }
        }),
        cell("Subobject", "Which part of the object.", |event| about(event, "fieldPath")).wide(),
        cell("Source", "Who says so.", source).wide(),
        cell("Message", "What happened.", |event| either(event, "message", &[]).trim().to_owned()),
        Column::new("First Seen", "string", "Time since it was first seen.", |event, context| {
            age::since(first_seen(event), context.now).into()
        })
        .wide(),
        Column::count("Count", "How often it was seen.", count).wide(),
        Column { format: "name", ..cell("Name", "Name of the event.", |event| event.name().to_owned()) }
            .wide(),
    ]
}

fn first_seen(event: &Object) -> &str {
    or(either(event, "firstTimestamp", &[]), event.str_at(&["eventTime"]))
}

fn last_seen(event: &Object) -> &str {
    match event.get("series") {
        Some(series) => series["lastObservedTime"].as_str().unwrap_or_default(),
        None => or(either(event, "lastTimestamp", &[]), first_seen(event)),
    }
}

fn count(event: &Object) -> i64 {
    let counted = event.get("count").or_else(|| event.get("deprecatedCount"));
    let counted = event.get("series").map(|series| &series["count"]).or(counted);
    counted.and_then(Value::as_i64).filter(|count| *count != 0).unwrap_or(1)
}

fn source(event: &Object) -> String {
    let component = or(either(event, "source", &["component"]), either(event, "reportingComponent", &[]));
    let instance = or(either(event, "source", &["host"]), event.str_at(&["reportingInstance"]));
    if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") }
}

/// An event lies in the namespace of what it is about, or in `default`.
fn validate_namespace(event: &Object, errors: &mut Errors) {
    let (own, about) = (event.namespace(), about(event, "namespace"));
    let fits = if about.is_empty() { matches!(own, "default" | "kube-system" | "") } else { own == about };
    if !fits {
        let path =
            if event.contains_key("regarding") { "regarding.namespace" } else { "involvedObject.namespace" };
        errors.push(FieldError::invalid(path, about, "does not match event.namespace"));
    }
}

fn validate_core(event: &Object) -> Errors {
    let mut errors = Errors::new();
    validate_namespace(event, &mut errors);
    errors
}

fn validate_modern(event: &Object) -> Errors {
    let mut errors = Errors::new();
    validate_namespace(event, &mut errors);
    let field = |name| Field::of(event, name);
    if field("eventTime").text().is_empty() {
        errors.push(field("eventTime").required(""));
    }
    for (name, max) in [("action", REASON_MAX), ("reason", REASON_MAX)] {
        match field(name).text() {
            "" => errors.push(field(name).required("")),
            text if text.len() > max => {
                errors.push(field(name).invalid(format!("can have at most {max} characters")));
            }
            _ => (),
        }
    }
    field("reportingController").must_have(model::names::qualified_name, &mut errors);
    if field("reportingInstance").text().is_empty() {
        errors.push(field("reportingInstance").required(""));
    }
    if !matches!(field("type").text(), "Normal" | "Warning") {
        errors.push(field("type").invalid("has invalid value: ".to_owned() + field("type").text()));
    }
    if field("note").text().len() > NOTE_MAX {
        errors.push(field("note").invalid(format!("can have at most {NOTE_MAX} characters")));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{headings, object, row, said};
    use serde_json::json;

    fn stored() -> Object {
        object(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default", "fieldPath": "spec.containers{a}"},
            "reason": "Pulled", "message": " Image is there \n", "type": "Normal", "count": 3,
            "firstTimestamp": "2026-01-02T11:00:00Z", "lastTimestamp": "2026-01-02T11:59:00Z",
            "source": {"component": "kubelet", "host": "node-1"}, "reportingComponent": "", "reportingInstance": ""
        }))
    }

    #[test]
    fn both_kinds_show_one_event() {
        let mut event = stored();
        to_modern(&mut event);
        assert_eq!(event.str_at(&["apiVersion"]), "events.k8s.io/v1");
        assert_eq!(event.str_at(&["regarding", "name"]), "web");
        assert_eq!(event.str_at(&["note"]), " Image is there \n");
        assert_eq!(event.get("deprecatedCount"), Some(&json!(3)));
        assert_eq!(event.get("message"), None);
        assert_eq!(row(&modern(), &event), row(&core(), &stored()));
        to_core(&mut event);
        assert_eq!(event, stored());
        assert_eq!(modern().storage_key(), core().storage_key());
    }

    #[test]
    fn columns() {
        assert_eq!(
            headings(&core()),
            "Last Seen | Type | Reason | Object | (Subobject) | (Source) | Message | (First Seen) | (Count) | (Name)"
        );
        assert_eq!(
            row(&core(), &stored()),
            "60s | Normal | Pulled | pod/web | spec.containers{a} | kubelet, node-1 | Image is there | 60m | 3 | web.1"
        );
        let single =
            object(json!({"eventTime": "2026-01-02T11:59:00.000000Z", "reportingComponent": "scheduler"}));
        assert_eq!(row(&core(), &single), "60s |  |  |  |  | scheduler |  | 60s | 1 | ");
    }

    #[test]
    fn events_are_selected_by_what_they_are_about() {
        let kind = core();
        assert_eq!(kind.field(&stored(), "involvedObject.name"), Some("web".to_owned()));
        assert_eq!(kind.field(&stored(), "source"), Some("kubelet".to_owned()));
        assert_eq!(kind.field(&stored(), "regarding.name"), None);
        assert_eq!(modern().field(&stored(), "regarding.name"), Some("web".to_owned()));
    }

    #[test]
    fn an_event_lies_where_its_object_does() {
        assert_eq!(said(validate_core(&stored())), "");
        let mut elsewhere = stored();
        elsewhere.set(&["metadata", "namespace"], "other");
        assert_eq!(
            said(validate_core(&elsewhere)),
            "involvedObject.namespace: Invalid value: \"default\": does not match event.namespace"
        );
        let bare = object(json!({"metadata": {"namespace": "default"}, "type": "Normal"}));
        assert_eq!(
            said(validate_modern(&bare)),
            "eventTime: Required value\naction: Required value\nreason: Required value\n\
             reportingController: Required value\nreportingInstance: Required value"
        );
    }
}
