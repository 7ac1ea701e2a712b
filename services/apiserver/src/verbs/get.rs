//! GET of one object, or of a part of it.

use kinds::Verb;
use model::{Revision, Status};

use super::{Context, GetOptions, Stored, Target};
use crate::leadership;
use crate::nodes::leases;
use crate::registry::{Part, Registry, key_of, pipeline};

/// Reads an object or a part of it.
pub async fn get(
    registry: &Registry,
    _context: &Context,
    target: &Target,
    options: &GetOptions,
) -> Result<Stored, Status> {
    let part = Part::of(target, Verb::Get)?;
    let key = key_of(&target.kind, &target.namespace, &target.name)?;
    catch_up(registry, key.as_str(), &options.resource_version).await?;
    let bytes = match registry.store().get(&key) {
        Some(item) => item.value,
        None => leases::get(registry, target)
            .or_else(|| leadership::leases::get(registry, target))
            .ok_or_else(|| target.not_found())?,
    };
    Ok(Stored { object: pipeline::answer(&target.kind, &part, bytes)?, ..Stored::default() })
}

/// Waits until the state under `prefix` is as new as a reader asks for: empty is the newest, `0` whatever there is,
/// else at least that.
pub async fn catch_up(registry: &Registry, prefix: &str, resource_version: &str) -> Result<(), Status> {
    match resource_version {
        "" => registry.catch_up(prefix).await.map(drop),
        "0" => Ok(()),
        text => registry.catch_up_to(prefix, parse_revision(text)?).await,
    }
}

/// A `resourceVersion` of a query.
pub fn parse_revision(text: &str) -> Result<Revision, Status> {
    text.parse().map_err(|_| {
        let wrong =
            model::FieldError::invalid("resourceVersion", text, "strconv.ParseUint: parsing: invalid syntax");
        Status::bad_request(format!("{wrong}"))
    })
}
