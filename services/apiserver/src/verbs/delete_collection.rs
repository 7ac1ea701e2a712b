//! DELETE of a collection: what a list shows, one after the other.

use futures::{StreamExt, TryStreamExt, stream};
use kinds::Verb;
use model::{Object, Reason, Status};

use super::{Context, DeleteOptions, ListOptions, ListResult, Target, delete, list};
use crate::registry::{Registry, deletion};

/// Deletes under way at a time: enough to fill a log message, little enough to leave room for others.
const CONCURRENT: usize = 64;

/// Deletes what `which` chooses; answers with the objects as they were.
///
/// An object that goes meanwhile is as good as deleted; any other refusal ends it, with a part deleted.
pub async fn delete_collection(
    registry: &Registry,
    context: &Context,
    target: &Target,
    which: &ListOptions,
    options: &DeleteOptions,
) -> Result<ListResult, Status> {
    let kind = &target.kind;
    if !kind.verbs.contains(Verb::DeleteCollection) {
        return Err(Status::method_not_allowed(&kind.group, &kind.plural, "deletecollection"));
    }
    deletion::check_options(options)?;
    let found = list(registry, context, target, which).await?;
    let each = found.items.iter().map(|bytes| async move {
        let object: Object = serde_json::from_slice(bytes).map_err(Status::internal)?;
        let one = Target::object(kind.clone(), object.namespace(), object.name());
        // The object that was listed, not another one of that name made since.
        let options = DeleteOptions { uid: Some(object.uid().to_owned()), ..options.clone() };
        match delete(registry, context, &one, &options).await {
            Err(status) if !matches!(status.reason, Reason::NotFound | Reason::Conflict) => Err(status),
            _ => Ok(()),
        }
    });
    let each: Vec<_> = each.collect();
    stream::iter(each).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    Ok(found)
}
