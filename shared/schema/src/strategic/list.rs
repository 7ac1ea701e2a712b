//! Merging lists: texts and numbers as a set, objects by their key.

use serde_json::Value;

use super::{Directive, Fields, Merge, Meta, Refused, directive, order, strip};
use crate::types::Type;

impl Merge<'_> {
    /// `original` with the items of `patch` merged in. What the patch names comes in the patch's order; what it
    /// does not name stays where it is among the rest.
    pub(super) fn list(
        &self,
        meta: Option<Meta<'_>>,
        name: &str,
        original: Vec<Value>,
        patch: &[Value],
    ) -> Result<Vec<Value>, Refused> {
        let all = || original.iter().chain(patch);
        if all().any(Value::is_array) {
            return Err(Refused::Content("lists of lists are not supported".to_owned()));
        }
        if !all().any(Value::is_object) {
            let mut merged = original.clone();
            for item in patch {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            return order::arrange(merged, patch, &original, None);
        }
        if !all().all(Value::is_object) {
            return Err(Refused::Format("list element types are not identical".to_owned()));
        }
        let Some(Meta { key: Some(key), ty, .. }) = meta else {
            return Err(Refused::Format(format!("cannot merge lists without merge key for {name:?}")));
        };
        self.objects(Meta { ty, merges: true, key: Some(key) }, key, original, patch)
    }

    fn objects(
        &self,
        meta: Meta<'_>,
        key: &str,
        original: Vec<Value>,
        patch: &[Value],
    ) -> Result<Vec<Value>, Refused> {
        let mut merged = original.clone();
        let mut replace = false;
        let mut plain: Vec<Value> = Vec::new();
        for item in patch.iter().filter_map(Value::as_object) {
            match directive(item)? {
                Some(Directive::Replace) => replace = true,
                Some(Directive::Delete) => {
                    let value = identity(item, key)?;
                    merged.retain(|one| one.get(key) != Some(value));
                }
                Some(Directive::Merge) => {
                    return Err(Refused::Format(
                        "merging a list cannot yet be specified in the patch".to_owned(),
                    ));
                }
                None => plain.push(Value::Object(item.clone())),
            }
        }
        if replace {
            plain.iter_mut().for_each(strip);
            return Ok(plain);
        }
        let item_type = match self.schemas.get(meta.ty) {
            Type::List(item) => Some(item),
            _ => None,
        };
        for item in plain.iter().filter_map(Value::as_object) {
            let value = identity(item, key)?;
            match merged.iter_mut().find(|one| one.get(key) == Some(value)) {
                Some(Value::Object(found)) => self.object(item_type, found, item)?,
                _ => {
                    let mut new = Value::Object(item.clone());
                    strip(&mut new);
                    merged.push(new);
                }
            }
        }
        order::arrange(merged, &plain, &original, Some(key))
    }
}

fn identity<'v>(item: &'v Fields, key: &str) -> Result<&'v Value, Refused> {
    item.get(key).ok_or_else(|| {
        let shown = Value::Object(item.clone());
        Refused::Format(format!("map: {shown} does not contain declared merge key: {key}"))
    })
}

/// `$deleteFromPrimitiveList`: takes the values out of a list of texts or numbers.
pub(super) fn delete_primitives(original: Option<&mut Value>, values: &Value) -> Result<(), Refused> {
    let bad = || Refused::Format("invalid patch format of primitive list".to_owned());
    let values = values.as_array().ok_or_else(bad)?;
    if values.iter().any(|value| value.is_object() || value.is_array()) {
        return Err(bad());
    }
    match original {
        Some(Value::Array(items)) => items.retain(|item| !values.contains(item)),
        Some(_) => return Err(bad()),
        None => {}
    }
    Ok(())
}
