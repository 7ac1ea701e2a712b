//! The patch that every controller here sends.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Fields of the kinds of status that are left out when there is nothing to say, and so must be taken away.
const OPTIONAL: [&str; 12] = [
    "availableReplicas",
    "collisionCount",
    "conditions",
    "fullyLabeledReplicas",
    "numberAvailable",
    "numberUnavailable",
    "readyReplicas",
    "replicas",
    "terminatingReplicas",
    "unavailableReplicas",
    "updatedNumberScheduled",
    "updatedReplicas",
];

/// A merge patch that makes the status exactly this.
pub fn status(status: &impl Serialize) -> Value {
    let mut fields: Map<String, Value> =
        OPTIONAL.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    if let Ok(Value::Object(set)) = serde_json::to_value(status) {
        fields.extend(set);
    }
    json!({"status": fields})
}
