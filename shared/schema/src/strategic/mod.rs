//! Strategic merge patch: a merge patch that knows from the types which lists are sets of named things.
//!
//! ```text
//!   object: for each field   null ─> gone      object ─> merged      list ─> merged by its key, or replaced
//!   directives of an object  $patch: replace|delete|merge   $retainKeys: […]
//!   directives of a list     $patch in an item   $deleteFromPrimitiveList/x: […]   $setElementOrder/x: […]
//! ```
//! Where a type is not known (free-form JSON) objects merge and lists are replaced.

use model::{Reason, Status};
use serde_json::{Map, Value};

use crate::types::{Field, Type};
use crate::{Schemas, TypeId};

mod list;
mod order;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

type Fields = Map<String, Value>;

/// Applies a strategic merge patch to an object of a type. After an error `original` may be half patched.
pub fn apply(schemas: &Schemas, ty: TypeId, original: &mut Value, patch: &Value) -> Result<(), Status> {
    match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => {
            Merge { schemas }.object(Some(ty), original, patch).map_err(Refused::status)
        }
        _ => Err(Refused::Format("invalid JSON document".to_owned()).status()),
    }
}

/// Why a patch cannot be applied.
#[derive(Debug, PartialEq)]
enum Refused {
    /// The patch is not well formed: 400.
    Format(String),
    /// It is, but it does not fit its own directives: 422.
    Content(String),
}

/// What `$patch` says.
#[derive(Clone, Copy, PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

/// How a field is patched.
#[derive(Clone, Copy)]
struct Meta<'a> {
    ty: TypeId,
    /// Its list is added to instead of replaced…
    merges: bool,
    /// …and its objects are found by this field.
    key: Option<&'a str>,
}

struct Merge<'a> {
    schemas: &'a Schemas,
}

impl<'a> Merge<'a> {
    fn object(&self, ty: Option<TypeId>, original: &mut Fields, patch: &Fields) -> Result<(), Refused> {
        match directive(patch)? {
            Some(Directive::Replace) => {
                *original = patch.clone();
                strip_fields(original);
                return Ok(());
            }
            Some(Directive::Delete) => {
                original.clear();
                return Ok(());
            }
            Some(Directive::Merge) | None => {}
        }
        retain_keys(original, patch)?;
        let mut ordered: Vec<&str> = Vec::new();
        for (name, order) in patch {
            if let Some(field) = name.strip_prefix(SET_ORDER)
                && self.ordered_list(ty, original, patch, field, order)?
            {
                ordered.push(field);
            }
        }
        for (name, value) in patch {
            if let Some(field) = name.strip_prefix(DELETE_FROM) {
                list::delete_primitives(original.get_mut(field), value)?;
            } else if !is_directive(name) && !ordered.contains(&name.as_str()) {
                self.field(ty, original, name, value)?;
            }
        }
        Ok(())
    }

    fn field(
        &self,
        ty: Option<TypeId>,
        original: &mut Fields,
        name: &str,
        patch: &Value,
    ) -> Result<(), Refused> {
        if patch.is_null() {
            original.remove(name);
            return Ok(());
        }
        let meta = ty.and_then(|ty| self.meta(ty, name));
        match (original.get_mut(name), patch) {
            (Some(Value::Object(original)), Value::Object(patch)) => {
                self.object(meta.map(|meta| meta.ty), original, patch)
            }
            (Some(Value::Array(original)), Value::Array(patch)) if meta.is_some_and(|meta| meta.merges) => {
                let items = std::mem::take(original);
                *original = self.list(meta, name, items, patch)?;
                Ok(())
            }
            (Some(slot), patch) => {
                *slot = patch.clone();
                Ok(())
            }
            (None, patch) => {
                let mut new = patch.clone();
                strip(&mut new);
                original.insert(name.to_owned(), new);
                Ok(())
            }
        }
    }

    /// Applies `$setElementOrder` with the list that it is about; false if the field's list is one that is
    /// replaced, where order says nothing.
    fn ordered_list(
        &self,
        ty: Option<TypeId>,
        original: &mut Fields,
        patch: &Fields,
        name: &str,
        order: &Value,
    ) -> Result<bool, Refused> {
        let Some(meta) = ty.and_then(|ty| self.meta(ty, name)).filter(|meta| meta.merges) else {
            return Ok(false);
        };
        let Value::Array(order) = order else { return Err(order::bad_format()) };
        let old = match original.get(name) {
            Some(Value::Array(items)) => items.clone(),
            None => Vec::new(),
            Some(_) => return Ok(false),
        };
        let new = match patch.get(name) {
            Some(Value::Array(patch)) => {
                order::validate(patch, order, meta.key)?;
                self.list(Some(meta), name, old.clone(), patch)?
            }
            None => old.clone(),
            Some(_) => return Ok(false),
        };
        if !(new.is_empty() && old.is_empty()) {
            let sorted = order::arrange(new, order, &old, meta.key)?;
            original.insert(name.to_owned(), Value::Array(sorted));
        }
        Ok(true)
    }

    fn meta(&self, ty: TypeId, name: &str) -> Option<Meta<'a>> {
        match self.schemas.get(ty) {
            Type::Struct(of) => {
                let Field { ty, merges, merge_key, .. } = *self.schemas.field(of, name)?;
                Some(Meta { ty, merges, key: merge_key.map(|key| self.schemas.names.get(key)) })
            }
            Type::Map(inner) => Some(Meta { ty: inner, merges: false, key: None }),
            _ => None,
        }
    }
}

fn retain_keys(original: &mut Fields, patch: &Fields) -> Result<(), Refused> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let bad = || Refused::Format("invalid patch format of retainKeys".to_owned());
    let keys: Vec<&str> = match keys {
        Value::Array(keys) => keys.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(bad)?,
        _ => return Err(bad()),
    };
    let set = patch.iter().filter(|(name, value)| !is_directive(name) && !value.is_null());
    for (name, _) in set {
        if !keys.contains(&name.as_str()) {
            return Err(Refused::Content(format!(
                "the patch sets {name:?}, which $retainKeys does not keep"
            )));
        }
    }
    original.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

fn directive(patch: &Fields) -> Result<Option<Directive>, Refused> {
    match patch.get(PATCH).map(|value| (value, value.as_str())) {
        None => Ok(None),
        Some((_, Some("merge"))) => Ok(Some(Directive::Merge)),
        Some((_, Some("replace"))) => Ok(Some(Directive::Replace)),
        Some((_, Some("delete"))) => Ok(Some(Directive::Delete)),
        Some((other, _)) => Err(Refused::Format(format!("unknown patch type found: {other}"))),
    }
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER)
}

/// Takes out of a part of a patch that becomes a value what is only meant for patching: nulls and directives.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => strip_fields(fields),
        Value::Array(items) => {
            items.retain(|item| item.get(PATCH).is_none_or(|directive| directive == "merge"));
            items.iter_mut().for_each(strip);
        }
        _ => {}
    }
}

fn strip_fields(fields: &mut Fields) {
    fields.retain(|name, value| !is_directive(name) && !value.is_null());
    fields.values_mut().for_each(strip);
}

impl Refused {
    fn status(self) -> Status {
        match self {
            Refused::Format(message) => Status::bad_request(message),
            Refused::Content(message) => Status::new(Reason::Invalid, message),
        }
    }
}

#[cfg(test)]
mod tests;
