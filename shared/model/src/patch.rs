//! JSON patches (RFC 6902) and merge patches (RFC 7396) of an object.
//!
//! Strategic merge and apply need the types and live in crate `schema` and the API server.

use serde_json::Value;

use crate::{Reason, Status};

/// Operations that one JSON patch may have: what upstream allows, so that a patch of a few bytes an operation
/// cannot keep a server busy.
pub const MAX_OPERATIONS: usize = 10_000;

/// Applies a JSON patch, a list of operations; when one fails the document stays as it was.
pub fn json_patch(document: &mut Value, patch: &Value) -> Result<(), Status> {
    let operations = patch.as_array().ok_or_else(|| undecodable(patch, "jsonpatch.Patch"))?;
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    let patch: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| Status::new(Reason::BadRequest, format!("error decoding patch: {error}")))?;
    json_patch::patch(document, &patch).map_err(|error| inapplicable(&error))
}

/// Applies a merge patch: what it names is replaced, a null removes.
pub fn merge_patch(document: &mut Value, patch: &Value) -> Result<(), Status> {
    if !patch.is_object() {
        return Err(undecodable(patch, "map[string]interface {}"));
    }
    json_patch::merge(document, patch);
    Ok(())
}

fn undecodable(patch: &Value, wanted: &str) -> Status {
    let found = match patch {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let message =
        format!("error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}");
    Status::new(Reason::BadRequest, message)
}

/// 422; the message is the one that clients know, the cause says what happened.
fn inapplicable(error: &json_patch::PatchError) -> Status {
    let mut status =
        Status::new(Reason::Invalid, "the server rejected our request due to an error in our request");
    status.causes.push(crate::status::Cause {
        reason: "UnexpectedServerResponse".to_owned(),
        message: error.to_string(),
        field: error.path.to_string(),
    });
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_json_patch_applies_wholly_or_not_at_all() {
        let mut pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x"}]}});
        let good = json!([
            {"op": "add", "path": "/metadata/labels/c~1d", "value": "e"},
            {"op": "replace", "path": "/spec/containers/0/name", "value": "y"},
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "z"}},
            {"op": "test", "path": "/metadata/labels/a", "value": "b"},
            {"op": "remove", "path": "/metadata/labels/a"}
        ]);
        json_patch(&mut pod, &good).expect("applies");
        let patched = json!({"metadata": {"labels": {"c/d": "e"}}, "spec": {"containers": [{"name": "y"}, {"name": "z"}]}});
        assert_eq!(pod, patched);

        let bad = json!([
            {"op": "remove", "path": "/spec"},
            {"op": "replace", "path": "/metadata/annotations/x", "value": "y"}
        ]);
        let status = json_patch(&mut pod, &bad).expect_err("no such field");
        assert_eq!(status.code(), 422);
        assert_eq!(pod, patched);
    }

    #[test]
    fn what_is_no_patch_is_a_bad_request() {
        let mut document = json!({});
        for patch in [json!({}), json!([{"op": "leap", "path": "/a"}]), json!([1]), json!("x")] {
            assert_eq!(json_patch(&mut document, &patch).expect_err("no patch").code(), 400, "{patch}");
        }
        assert_eq!(merge_patch(&mut document, &json!([])).expect_err("no patch").code(), 400);
        let many = Value::Array(vec![json!({"op": "test", "path": "", "value": {}}); MAX_OPERATIONS + 1]);
        assert_eq!(json_patch(&mut document, &many).expect_err("too many").code(), 413);
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_removes_nulls() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "list": [1, 2]});
        merge_patch(&mut object, &json!({"a": {"b": null, "d": {"e": null}}, "list": [3]})).expect("applies");
        assert_eq!(object, json!({"a": {"c": 2, "d": {}}, "list": [3]}));
    }
}
