//! Strategic merge patch.

use model::Status;
use serde_json::Value;

use crate::{Schemas, TypeId};

/// Applies a strategic merge patch.
pub fn apply(_schemas: &Schemas, _ty: TypeId, _original: &mut Value, _patch: &Value) -> Result<(), Status> {
    Ok(())
}
