//! Who am I: `kubectl auth whoami`.

use serde_json::{Value, json};

use super::user_info;
use crate::verbs::Identity;

/// Who asks, as the server knows them.
pub fn review(identity: &Identity) -> Value {
    json!({ "userInfo": user_info(identity) })
}
