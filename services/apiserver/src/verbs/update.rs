//! PUT: replace an object, or a part of it.

use kinds::Verb;
use model::Status;

use super::{Body, Context, Stored, Target, WriteOptions};
use crate::registry::{Part, Registry, body, pipeline};

/// Replaces an object or a part of it with what was sent.
pub async fn update(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let part = Part::of(target, Verb::Update)?;
    let sent = body::fit(target, &part, sent)?;
    let mut warnings = body::field_warnings(target, &sent, options.field_validation)?;
    let mut stored =
        pipeline::change(registry, context, target, &part, options, |_| Ok(sent.object.clone())).await?;
    warnings.append(&mut stored.warnings);
    Ok(Stored { warnings, ..stored })
}
