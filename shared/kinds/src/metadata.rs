//! What holds for every kind alike.

use model::{FieldError, Object};

use crate::Kind;

/// On create: a client cannot say what the status is.
pub fn clear_status(object: &mut Object) {
    object.remove("status");
}

/// On update of the main resource: the status stays.
pub fn keep_status(new: &mut Object, old: &Object) {
    match old.get("status") {
        Some(status) => new.insert("status".to_owned(), status.clone()),
        None => new.remove("status"),
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
pub fn validate(_kind: &Kind, _object: &Object) -> Vec<FieldError> {
    Vec::new()
}

/// Judges the change of `metadata`.
pub fn validate_update(_kind: &Kind, _new: &Object, _old: &Object) -> Vec<FieldError> {
    Vec::new()
}
