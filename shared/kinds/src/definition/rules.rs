//! What a definition has to be: upstream's rules, paths and words.

use model::{FieldError, Object, names};
use schema::Schemas;
use schema::structural::{self, Context, Structural};

use crate::custom::{COLUMN_FORMATS, json_path::JsonPath};
use crate::field::{Errors, Field};
use crate::metadata;

/// Selectable fields of a version at most.
const SELECTABLE_MAX: usize = 8;
/// Bytes of a deprecation warning at most, so that it fits into a header.
const WARNING_MAX: usize = 256;
const APPROVAL: &str = "api-approved.kubernetes.io";

/// Judges a whole definition.
pub fn validate(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let spec = Field::of(object, "spec");
    let wanted = format!("{}.{}", spec.at("names").at("plural").text(), spec.at("group").text());
    if object.name() != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", object.name(), why));
    }
    group(&spec.at("group"), &mut errors);
    spec.at("scope").one_of(&["Cluster", "Namespaced"], &mut errors);
    if spec.at("preserveUnknownFields").truth() {
        let field = spec.at("preserveUnknownFields");
        errors.push(field.invalid(
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
             spec.versions[*].schema instead",
        ));
    }
    versions(&spec.at("versions"), &mut errors);
    for name in ["plural", "singular", "kind", "listKind"] {
        let name = spec.at("names").at(name);
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
    }
    given_names(&spec.at("names"), &mut errors);
    conversion(&spec.at("conversion"), &mut errors);
    approval(object, &mut errors);
    errors.extend(validate_status(object));
    errors.extend(stored_versions(object));
    errors
}

/// Judges a change: what its objects depend on stays.
pub fn validate_update(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let (new, before) = (Field::of(new, "spec"), Field::of(old, "spec"));
    if metadata::is_true(old, "Established") {
        new.at("scope").unchanged(&before.at("scope"), &mut errors);
        new.at("names").at("kind").unchanged(&before.at("names").at("kind"), &mut errors);
    }
    new.at("group").unchanged(&before.at("group"), &mut errors);
    new.at("names").at("plural").unchanged(&before.at("names").at("plural"), &mut errors);
    errors
}

/// Judges the status.
pub fn validate_status(object: &Object) -> Errors {
    let mut errors = Errors::new();
    given_names(&Field::of(object, "status").at("acceptedNames"), &mut errors);
    errors
}

fn group(group: &Field<'_>, errors: &mut Errors) {
    let wrong = names::dns_subdomain(group.text());
    match group.text() {
        "" => errors.push(group.required("")),
        _ if !wrong.is_empty() => errors.push(group.invalid(wrong.join(","))),
        text if !text.contains('.') => errors.push(group.invalid("should be a domain with at least one dot")),
        _ => {}
    }
}

fn versions(versions: &Field<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    let mut storages = 0;
    for version in versions.items() {
        let name = version.at("name");
        let wrong = names::dns_1035_label(name.text());
        if !wrong.is_empty() {
            errors.push(name.invalid(wrong.join(",")));
        }
        storages += usize::from(version.at("storage").truth());
        seen.push(name.text());
        self::version(&version, errors);
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < count {
        errors.push(short(versions, "must contain unique version names"));
    }
    if storages != 1 {
        errors.push(short(versions, "must have exactly one version marked as storage version"));
    }
}

/// An error that shows the names of the versions, not all that is in them.
fn short(versions: &Field<'_>, why: &str) -> FieldError {
    let names: Vec<&str> = versions.items().map(|version| version.at("name").text()).collect();
    FieldError::invalid(&versions.path, names, why)
}

fn version(version: &Field<'_>, errors: &mut Errors) {
    deprecation(version, errors);
    let parts = version.at("subresources");
    let schema = version.at("schema").at("openAPIV3Schema");
    match schema.is_set() {
        false => errors.push(schema.required("schemas are required")),
        true => {
            let context = Context { status_apart: parts.at("status").is_set() };
            errors.extend(structural::judge(Schemas::builtin(), schema.value, &schema.path, context));
        }
    }
    if parts.at("scale").is_set() {
        scale(&parts.at("scale"), errors);
    }
    version.at("additionalPrinterColumns").items().for_each(|one| column(&one, errors));
    selectable(&version.at("selectableFields"), &Structural::parse(schema.value), errors);
}

fn deprecation(version: &Field<'_>, errors: &mut Errors) {
    let warning = version.at("deprecationWarning");
    if !warning.is_set() {
        return;
    }
    if !version.at("deprecated").truth() {
        return errors.push(warning.invalid("can only be set for deprecated versions"));
    }
    let text = warning.text();
    if text.len() > WARNING_MAX {
        errors.push(warning.invalid(format!("must be <= {WARNING_MAX} characters long")));
    }
    if text.is_empty() {
        errors.push(warning.invalid("must not be an empty string"));
    }
    if let Some(at) = text.find(char::is_control) {
        let why = "must only contain printable UTF-8 characters; non-printable character found at index";
        errors.push(warning.invalid(format!("{why} {at}")));
    }
}

fn scale(scale: &Field<'_>, errors: &mut Errors) {
    for (name, root, needed) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", "", false),
    ] {
        let path = scale.at(name);
        let roots = if root.is_empty() { vec![".spec.", ".status."] } else { vec![root] };
        match path.text() {
            "" if needed => errors.push(path.required("")),
            "" => {}
            text if !text.starts_with('.') => {
                errors.push(path.invalid("must be a simple json path starting with ."));
            }
            text if !roots.iter().any(|root| text.starts_with(root)) => {
                let roots: Vec<&str> = roots.iter().map(|root| root.trim_end_matches('.')).collect();
                errors.push(path.invalid(format!("should be a json path under {}", roots.join(" or "))));
            }
            text if JsonPath::parse(text).and_then(|path| path.names()).is_none() => {
                errors.push(path.invalid("must be a json path in the dot notation"));
            }
            _ => {}
        }
    }
}

fn column(column: &Field<'_>, errors: &mut Errors) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    let [name, ty, format, path] = ["name", "type", "format", "jsonPath"].map(|field| column.at(field));
    if name.text().is_empty() {
        errors.push(name.required(""));
    }
    let types = format!("must be one of {}", TYPES.join(","));
    match ty.text() {
        "" => errors.push(ty.required(&types)),
        text if !TYPES.contains(&text) => errors.push(ty.invalid(types)),
        _ => {}
    }
    if !format.text().is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
        let mut formats = COLUMN_FORMATS;
        formats.sort_unstable();
        errors.push(format.invalid(format!("must be one of {}", formats.join(","))));
    }
    match path.text() {
        "" => errors.push(path.required("")),
        text if !text.starts_with('.') => {
            errors.push(path.invalid("must be a simple json path starting with ."));
        }
        text if JsonPath::parse(text).is_none() => {
            errors.push(path.invalid("is not a path that can be read"))
        }
        _ => {}
    }
}

fn selectable(fields: &Field<'_>, schema: &Structural, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for field in fields.items() {
        let path = field.at("jsonPath");
        if path.text().is_empty() {
            errors.push(path.required(""));
            continue;
        }
        let Some(names) = JsonPath::parse(path.text()).and_then(|path| path.names()) else {
            errors.push(path.invalid("is an invalid path: only fields can be named"));
            continue;
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.first() == Some(&"metadata") {
            errors.push(path.invalid("must not point to fields in metadata"));
        }
        if !matches!(schema.type_at(&names), Some("string" | "boolean" | "integer")) {
            errors.push(path.invalid(
                "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                 formats are allowed.",
            ));
        }
        if seen.contains(&path.text()) {
            errors.push(path.duplicate());
        }
        seen.push(path.text());
    }
    if seen.len() > SELECTABLE_MAX {
        let why = format!("must have at most {SELECTABLE_MAX} items");
        errors.push(FieldError::new(model::FieldErrorKind::TooMany, &fields.path, seen.len(), why));
    }
}

fn given_names(given: &Field<'_>, errors: &mut Errors) {
    let label = |field: &Field<'_>, errors: &mut Errors| {
        let wrong = names::dns_1035_label(field.text());
        if !field.text().is_empty() && !wrong.is_empty() {
            errors.push(field.invalid(wrong.join(",")));
        }
    };
    for name in ["plural", "singular"] {
        label(&given.at(name), errors);
    }
    for name in ["kind", "listKind"] {
        let field = given.at(name);
        let wrong = names::dns_1035_label(&field.text().to_lowercase());
        if !field.text().is_empty() && !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(field.invalid(why));
        }
    }
    given.at("shortNames").items().for_each(|name| label(&name, errors));
    let (kind, list) = (given.at("kind"), given.at("listKind"));
    if !kind.text().is_empty() && kind.text() == list.text() {
        errors.push(list.invalid("kind and listKind may not be the same"));
    }
    given.at("categories").items().for_each(|name| label(&name, errors));
}

fn conversion(conversion: &Field<'_>, errors: &mut Errors) {
    let (strategy, webhook) = (conversion.at("strategy"), conversion.at("webhook"));
    strategy.one_of(&["None", "Webhook"], errors);
    if strategy.text() != "Webhook" {
        if webhook.is_set() {
            errors.push(webhook.forbidden("should not be set when strategy is not set to Webhook"));
        }
        return;
    }
    let client = webhook.at("clientConfig");
    if !client.is_set() {
        errors.push(client.required("required when strategy is set to Webhook"));
    } else if client.at("url").is_set() == client.at("service").is_set() {
        errors.push(client.required("exactly one of url or service is required"));
    }
    let reviews = webhook.at("conversionReviewVersions");
    if reviews.is_empty() {
        errors.push(reviews.required(""));
    } else if !reviews.texts().any(|version| matches!(version, "v1" | "v1beta1")) {
        errors.push(reviews.invalid("must include at least one of v1, v1beta1"));
    }
}

/// Groups of the Kubernetes project are its own: whoever defines a kind there says that it was approved.
fn approval(object: &Object, errors: &mut Errors) {
    let group = object.str_at(&["spec", "group"]);
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')));
    let approved = object.str_at(&["metadata", "annotations", APPROVAL]);
    let field = format!("metadata.annotations[{APPROVAL}]");
    match approved {
        _ if !is_protected => {}
        "" => {
            let why = format!(
                "protected groups must have approval annotation {APPROVAL:?}, see \
                 https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.push(FieldError::required(field, why));
        }
        text if text.starts_with("unapproved") || text.contains("://") => {}
        text => {
            let why = "protected groups must have approval annotation with either a URL or a reason starting with \
                       \"unapproved\"";
            errors.push(FieldError::invalid(field, text, why));
        }
    }
}

fn stored_versions(object: &Object) -> Errors {
    let field = Field::of(object, "status");
    let field = field.at("storedVersions");
    let known: Vec<&str> = super::versions(object).filter_map(|version| version["name"].as_str()).collect();
    let missing = |version: &Field<'_>| !known.contains(&version.text());
    let why = |name: &str| {
        format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {name} and removes {name} from \
             status.storedVersions"
        )
    };
    field.items().filter(missing).map(|version| version.invalid(why(version.text()))).collect()
}
