//! Custom kinds: from the CustomResourceDefinitions in the log to rows of the table.
//!
//! ```text
//!   log ──> store ──> catalog   each definition's rows, in the one table with the built-in ones
//!               │
//!               └──> settle     names accepted? established?  (decide: pure) ──> status
//!                    cleanup    a definition that goes takes its objects along
//! ```
//! Every API server does all of this for itself, from the same log: rows are a function of the definition as it is
//! stored, and a status is written on condition that the definition is the one that was judged, so it does not
//! matter how many do so. What is written to a custom kind is written on condition that its definition is still the
//! one that judged it.

pub mod catalog;
pub mod decide;

mod cleanup;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use kinds::definition::{GROUP, PLURAL};
use model::Key;
use runtime::Shutdown;
use store::{Watch, WatchEvent};

use crate::registry::Registry;
use crate::verbs::{Context, Identity};

/// Between attempts at what does not work now.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows definitions until `shutdown`.
pub async fn run(registry: Arc<Registry>, shutdown: Shutdown) {
    tokio::join!(follow(&registry, &shutdown), settle::run(&registry, &shutdown));
}

/// Keeps the table up to date. A request that is faster than this looks for itself; discovery and watches wait.
async fn follow(registry: &Registry, shutdown: &Shutdown) {
    let mut changes = Changes::new(registry);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            name = changes.next() => match name {
                Some(name) => drop(registry.learn(&name)),
                None => registry.learn_all(),
            },
        }
    }
}

/// The definitions that change.
struct Changes<'a> {
    registry: &'a Registry,
    watch: Option<Watch>,
}

impl Changes<'_> {
    fn new(registry: &Registry) -> Changes<'_> {
        Changes { registry, watch: None }
    }

    /// The name of the next that changes; `None` when it may be any of them: at first, and after a gap.
    async fn next(&mut self) -> Option<String> {
        loop {
            let Some(watch) = &mut self.watch else {
                let store = self.registry.store();
                match store.watch(&prefix(), store.revision()) {
                    Ok(watch) => self.watch = Some(watch),
                    // The history has moved on in between; a moment later it reaches the present again.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                return None;
            };
            match watch.next().await {
                Some(WatchEvent::Progress(_)) => {}
                Some(WatchEvent::Change(change)) => return Some(change.key().name().to_owned()),
                None => self.watch = None,
            }
        }
    }
}

/// The prefix of the keys of definitions.
pub fn prefix() -> String {
    Key::prefix(GROUP, PLURAL, None)
}

/// The key of a definition.
pub fn key(name: &str) -> Key {
    Key::object(GROUP, PLURAL, "", name)
}

/// The API server itself, now.
fn myself() -> Context {
    let groups = ["system:masters", "system:authenticated"].map(str::to_owned).to_vec();
    let identity = Identity { user: "system:apiserver".to_owned(), groups, ..Identity::default() };
    Context { identity, now: jiff::Timestamp::now(), guard: None }
}
