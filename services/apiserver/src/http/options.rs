//! The options of each verb, from the query.

use http::HeaderMap;
use http::header::USER_AGENT;
use model::{FieldError, Status};
use serde_json::json;

use super::query::Query;
use crate::verbs::{
    DeleteOptions, FieldValidation, GetOptions, ListOptions, PatchKind, Propagation, WatchOptions,
    WriteOptions,
};

/// Bytes of a field manager's name at most.
const MANAGER_MAX: usize = 128;

/// Options of create and update; `kind` is as `CreateOptions`, for refusals.
pub fn write(query: &Query, headers: &HeaderMap, kind: &str) -> Result<WriteOptions, Status> {
    let mut errors = Vec::new();
    let dry_run = dry_run(query, &mut errors);
    let validation = query.first("fieldValidation").unwrap_or("");
    let field_validation = FieldValidation::parse(validation).unwrap_or_else(|| {
        let supported = ["Ignore", "Strict", "Warn"];
        errors.push(FieldError::not_supported("fieldValidation", validation, &supported));
        FieldValidation::default()
    });
    let manager = query.first("fieldManager").unwrap_or("");
    if manager.len() > MANAGER_MAX {
        let why = format!("may not be more than {MANAGER_MAX} bytes");
        errors.push(FieldError::new(model::FieldErrorKind::TooLong, "fieldManager", manager, why));
    }
    if manager.chars().any(char::is_control) {
        errors.push(FieldError::invalid("fieldManager", manager, "should only contain printable characters"));
    }
    check(kind, &errors)?;
    let field_manager = if manager.is_empty() { manager_of(headers) } else { manager.to_owned() };
    Ok(WriteOptions { dry_run, field_validation, field_manager, force: false })
}

/// Options of patch.
pub fn patch(query: &Query, headers: &HeaderMap, kind: PatchKind) -> Result<WriteOptions, Status> {
    let options = write(query, headers, "PatchOptions")?;
    let force = query.flag("force");
    let mut errors = Vec::new();
    match kind {
        PatchKind::Apply if query.first("fieldManager").unwrap_or("").is_empty() => {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        PatchKind::Apply => {}
        _ if force.is_some() => {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        _ => {}
    }
    check("PatchOptions", &errors)?;
    Ok(WriteOptions { force: force.unwrap_or(false), ..options })
}

/// Options of get.
pub fn get(query: &Query) -> GetOptions {
    GetOptions { resource_version: query.text("resourceVersion") }
}

/// Options of list, and what a delete of a collection deletes.
pub fn list(query: &Query) -> Result<ListOptions, Status> {
    let limit = query.number("limit")?.unwrap_or(0);
    Ok(ListOptions {
        label_selector: query.text("labelSelector"),
        field_selector: query.text("fieldSelector"),
        resource_version: query.text("resourceVersion"),
        resource_version_match: query.text("resourceVersionMatch"),
        limit: usize::try_from(limit).unwrap_or(0),
        continue_token: query.text("continue"),
        send_initial_events: query.flag("sendInitialEvents"),
    })
}

/// Options of watch. `name` is what the deprecated path names; empty for the whole collection.
pub fn watch(query: &Query, name: &str) -> WatchOptions {
    let mut field_selector = query.text("fieldSelector");
    if !name.is_empty() {
        let separator = if field_selector.is_empty() { "" } else { "," };
        field_selector = format!("{field_selector}{separator}metadata.name={name}");
    }
    WatchOptions {
        label_selector: query.text("labelSelector"),
        field_selector,
        resource_version: query.text("resourceVersion"),
        resource_version_match: query.text("resourceVersionMatch"),
        send_initial_events: query.flag("sendInitialEvents"),
        allow_bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
    }
}

/// Options of a delete that has no body.
pub fn delete(query: &Query) -> Result<DeleteOptions, Status> {
    let mut errors = Vec::new();
    let dry_run = dry_run(query, &mut errors);
    let named = query.first("propagationPolicy").filter(|text| !text.is_empty());
    let orphan = query.flag("orphanDependents");
    if let (Some(named), Some(_)) = (named, orphan) {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid("propagationPolicy", named, why));
    }
    check("DeleteOptions", &errors)?;
    Ok(DeleteOptions {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        propagation: match named {
            Some(named) => Some(Propagation::parse(named)?),
            None => orphan.map(Propagation::of_orphan_dependents),
        },
        dry_run,
        ..DeleteOptions::default()
    })
}

fn dry_run(query: &Query, errors: &mut Vec<FieldError>) -> bool {
    let values: Vec<&str> = query.all("dryRun").collect();
    if values.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported("dryRun", json!(values), &["All"]));
    }
    !values.is_empty()
}

fn check(kind: &str, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", kind, "", errors)) }
}

/// Who writes when the query does not say: the program that the client calls itself.
fn manager_of(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    let program = agent.split('/').next().unwrap_or("");
    let printable = program.chars().filter(|c| !c.is_control());
    printable.take(MANAGER_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(Some(text))
    }

    fn agent(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(USER_AGENT, text.parse().unwrap())])
    }

    #[test]
    fn what_a_write_may_say_is_checked() {
        let good =
            write(&query("dryRun=All&fieldValidation=Strict"), &agent("kubectl/v1.33"), "CreateOptions")
                .unwrap();
        assert!(good.dry_run);
        assert_eq!(
            (good.field_validation, good.field_manager.as_str()),
            (FieldValidation::Strict, "kubectl")
        );
        let named = write(&query("fieldManager=me"), &agent("kubectl/v1.33"), "CreateOptions").unwrap();
        assert_eq!((named.field_manager.as_str(), named.dry_run), ("me", false));
        for bad in ["dryRun=Some", "dryRun=", "fieldValidation=strict", "fieldManager=a%0Ab"] {
            let refused = write(&query(bad), &HeaderMap::new(), "CreateOptions").unwrap_err();
            assert_eq!(refused.code(), 422, "{bad}");
            assert!(
                refused.message.starts_with("CreateOptions.meta.k8s.io \"\" is invalid: "),
                "{}",
                refused.message
            );
        }
    }

    #[test]
    fn force_belongs_to_apply_and_apply_needs_a_manager() {
        let patch = |text: &str, kind| patch(&query(text), &agent("x/1"), kind);
        assert!(patch("fieldManager=me&force=true", PatchKind::Apply).unwrap().force);
        assert_eq!(patch("force=true", PatchKind::Apply).unwrap_err().code(), 422);
        assert_eq!(patch("force=true", PatchKind::Merge).unwrap_err().code(), 422);
        assert!(!patch("", PatchKind::Strategic).unwrap().force);
    }

    #[test]
    fn a_watch_by_the_old_path_is_a_watch_by_name() {
        assert_eq!(watch(&query(""), "a").field_selector, "metadata.name=a");
        assert_eq!(
            watch(&query("fieldSelector=spec.nodeName%3Dn"), "a").field_selector,
            "spec.nodeName=n,metadata.name=a"
        );
        assert!(watch(&query("allowWatchBookmarks=true"), "").allow_bookmarks);
        assert_eq!(watch(&query("sendInitialEvents=True"), "").send_initial_events, Some(true));
    }

    #[test]
    fn delete_options_come_from_the_query_too() {
        let options = delete(&query("gracePeriodSeconds=0&propagationPolicy=Foreground")).unwrap();
        assert_eq!(
            (options.grace_period_seconds, options.propagation),
            (Some(0), Some(Propagation::Foreground))
        );
        assert_eq!(
            delete(&query("orphanDependents=false")).unwrap().propagation,
            Some(Propagation::Background)
        );
        assert_eq!(delete(&query("orphanDependents=true&propagationPolicy=Orphan")).unwrap_err().code(), 422);
        assert_eq!(delete(&query("gracePeriodSeconds=soon")).unwrap_err().code(), 400);
    }
}
