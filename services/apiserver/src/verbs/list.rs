//! GET of a collection: all of it at one moment, or page by page at the moment of the first page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kinds::Verb;
use model::{FieldError, Revision, Status};
use serde::{Deserialize, Serialize};
use store::{Item, Page, TooOld};

use super::get::{catch_up, parse_revision};
use super::select::{Selection, TURN};
use super::{Context, ListOptions, ListResult, Target};
use crate::leadership;
use crate::nodes::leases;
use crate::registry::{Part, Registry, part, pipeline};

/// Objects that are looked at between two questions of how many are still wanted, where a selector leaves some out:
/// enough that few questions are asked, not so many that a small page costs a large one.
const CHUNK: usize = 500;

/// The place where the next page begins, as `continue` carries it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Token {
    /// The moment that all pages show; 0 for whatever is there when the page is asked for.
    rv: u64,
    /// The key of the last object of the page before.
    after: String,
}

/// The moment that a list shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Present,
    Past(Revision),
}

/// Lists what the selectors choose.
pub async fn list(
    registry: &Registry,
    _context: &Context,
    target: &Target,
    options: &ListOptions,
) -> Result<ListResult, Status> {
    let kind = &target.kind;
    if !target.subresource.is_empty() {
        return Err(part::no_such_part());
    }
    if !kind.verbs.contains(Verb::List) {
        return Err(Status::method_not_allowed(&kind.group, &kind.plural, "list"));
    }
    check(options)?;
    let selection = Selection::new(target, &options.label_selector, &options.field_selector)?;
    let (moment, after) = start(registry, options, &selection).await?;
    let found = match options.limit {
        0 => whole(registry, &selection, moment, after.as_deref())
            .map_err(|_| too_old(options, after.as_deref()))?,
        limit => paged(registry, target, &selection, moment, after.clone(), limit)
            .map_err(|_| too_old(options, after.as_deref()))?,
    };
    let mut result =
        ListResult { revision: found.revision, remaining: found.remaining, ..ListResult::default() };
    if let Some(after) = found.next {
        let rv = if moment == Moment::Present && !options.continue_token.is_empty() {
            0
        } else {
            found.revision.0
        };
        result.continue_token = Token { rv, after }.encode();
    }
    for (index, item) in found.items.into_iter().enumerate() {
        if index % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        if selection.matches(kind, &item.key, &item.value) {
            result.items.push(pipeline::answer(kind, &Part::Whole, item.value)?);
        }
    }
    if result.continue_token.is_empty() {
        let led = leadership::leases::list(registry, target);
        let more = leases::list(registry, target).into_iter().chain(led);
        result
            .items
            .extend(more.filter(|(key, json)| selection.matches(kind, key, json)).map(|(_, json)| json));
    }
    Ok(result)
}

struct Found {
    items: Vec<Item>,
    revision: Revision,
    next: Option<String>,
    remaining: Option<usize>,
}

fn whole(
    registry: &Registry,
    selection: &Selection,
    moment: Moment,
    after: Option<&str>,
) -> Result<Found, TooOld> {
    let page = match (moment, after) {
        (Moment::Present, None) => {
            let listing = registry.store().list(selection.prefix());
            Page { items: listing.items, revision: listing.revision, remaining: 0 }
        }
        _ => page(registry, selection, moment, after, usize::MAX)?,
    };
    Ok(Found { items: page.items, revision: page.revision, next: None, remaining: None })
}

fn paged(
    registry: &Registry,
    target: &Target,
    selection: &Selection,
    moment: Moment,
    mut after: Option<String>,
    limit: usize,
) -> Result<Found, TooOld> {
    let mut found = Found { items: Vec::new(), revision: Revision::ZERO, next: None, remaining: None };
    let mut moment = moment;
    loop {
        let wanted = limit - found.items.len();
        let chunk = if selection.selects() { wanted.max(CHUNK) } else { wanted };
        let page = page(registry, selection, moment, after.as_deref(), chunk)?;
        found.revision = page.revision;
        // Further chunks of this page show the same moment as the first.
        moment = Moment::Past(page.revision);
        let count = page.items.len();
        for (index, item) in page.items.into_iter().enumerate() {
            after = Some(item.key.as_str().to_owned());
            if selection.matches(&target.kind, &item.key, &item.value) {
                found.items.push(item);
            }
            let left = count - index - 1 + page.remaining;
            if found.items.len() == limit && left > 0 {
                found.next.clone_from(&after);
                found.remaining = (!selection.selects()).then_some(left);
                return Ok(found);
            }
        }
        if page.remaining == 0 || count == 0 {
            return Ok(found);
        }
    }
}

fn page(
    registry: &Registry,
    selection: &Selection,
    moment: Moment,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, TooOld> {
    match moment {
        Moment::Present => Ok(registry.store().page(selection.prefix(), after, limit)),
        Moment::Past(revision) => registry.store().page_at(revision, selection.prefix(), after, limit),
    }
}

/// Which moment the list shows, and after which key it begins.
async fn start(
    registry: &Registry,
    options: &ListOptions,
    selection: &Selection,
) -> Result<(Moment, Option<String>), Status> {
    let version = options.resource_version.as_str();
    if !options.continue_token.is_empty() {
        if !matches!(version, "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(&options.continue_token, selection)?;
        let moment = match token.rv {
            0 => Moment::Present,
            rv => {
                registry.catch_up_to(selection.prefix(), Revision(rv)).await?;
                Moment::Past(Revision(rv))
            }
        };
        return Ok((moment, Some(token.after)));
    }
    catch_up(registry, selection.prefix(), version).await?;
    let exact = match options.resource_version_match.as_str() {
        "Exact" => true,
        // A version with a limit and nothing else said has always meant exactly that version.
        "" => options.limit > 0 && !matches!(version, "" | "0"),
        _ => false,
    };
    Ok((if exact { Moment::Past(parse_revision(version)?) } else { Moment::Present }, None))
}

fn check(options: &ListOptions) -> Result<(), Status> {
    const MATCH: &str = "resourceVersionMatch";
    let mut errors = Vec::new();
    match options.resource_version_match.as_str() {
        "" => (),
        how => {
            if options.resource_version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden(MATCH, why));
            }
            if !options.continue_token.is_empty() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                errors.push(FieldError::forbidden(MATCH, why));
            }
            if !matches!(how, "Exact" | "NotOlderThan") {
                errors.push(FieldError::not_supported(MATCH, how, &["Exact", "NotOlderThan", ""]));
            }
            if how == "Exact" && options.resource_version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(MATCH, why));
            }
        }
    }
    if options.send_initial_events.is_some() {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    match errors.as_slice() {
        [] => Ok(()),
        errors => Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors)),
    }
}

/// 410. A client in the midst of its pages may go on with what is there now, if it says so.
fn too_old(options: &ListOptions, after: Option<&str>) -> Status {
    if options.continue_token.is_empty() {
        return Status::expired("The resourceVersion for the provided list is too old.");
    }
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.continue_token = Token { rv: 0, after: after.unwrap_or_default().to_owned() }.encode();
    status
}

// === impl Token ===

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a number and a string always encode"))
    }

    /// Reads a token that was given out for the same list.
    fn decode(text: &str, selection: &Selection) -> Result<Token, Status> {
        let invalid = |why: String| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(error.to_string()))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        match token.after.starts_with(selection.prefix()) {
            true => Ok(token),
            false => Err(invalid("it belongs to another list".to_owned())),
        }
    }
}
