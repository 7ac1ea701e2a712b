//! The state written down, so that the log can be purged and a reader need not start from the first message.
//!
//! ```text
//!  state at sequence S ──> per class: chunk 0, 1, 2, …  (each names what is in it, compressed)
//!                                        │ all written
//!                                        v
//!                       pointer { S, chunks per class }     replaced only if nobody else replaced it meanwhile
//!                                        │
//!                                        v
//!                       older chunks dropped, log purged up to S except its newest part
//! ```
//! Two writers at once waste work but do no harm: the second finds the pointer replaced and drops its own chunks.
//! A reader whose chunks vanish starts over with the newer pointer. The newest history goes along, so that clients
//! can resume their watches after every API server was restarted.

mod form;
mod janitor;

use std::collections::{BTreeMap, HashMap, VecDeque};

use model::{Class, Revision};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

use crate::history::{Batch, History};
use crate::item::{Change, Item};
use crate::log::{ChunkName, Log, LogError};
use crate::ordered::Ordered;
use crate::partition::Partition;
use crate::state::{Ages, Seen, State, Writers};
pub(crate) use form::Manifest;
use form::Part;
pub(crate) use janitor::Janitor;

/// Chunks that are decoded ahead of the one that is put into the state: enough to keep a second core busy.
const DECODE_AHEAD: usize = 3;

/// Why a checkpoint was not loaded.
pub(crate) enum LoadError {
    /// The log does not answer, or the chunks were dropped: try again.
    Log(LogError),
    /// Written by a newer version, or damaged.
    Unreadable(String),
}

/// Everything that the chunks of a checkpoint say.
#[derive(Default)]
struct Loaded {
    items: Vec<Item>,
    writers: Writers,
    times: HashMap<u64, u64>,
    changes: Vec<Change>,
    newest: BTreeMap<Class, u64>,
}

/// Brings the state to the newest checkpoint, if that is ahead of it. Says whether it was.
pub(crate) async fn load(log: &dyn Log, partition: &Partition) -> Result<bool, LoadError> {
    let Some(pointer) = log.pointer(partition.stream).await? else { return Ok(false) };
    let manifest = Manifest::decode(&pointer.value).map_err(LoadError::Unreadable)?;
    let reached = partition.reached();
    if manifest.sequence <= reached {
        return Ok(false);
    }
    let newest = |class: &Class| manifest.class(*class).map_or(0, |entry| entry.newest);
    if reached > 0 && !manifest.moved && partition.classes.iter().all(|class| newest(class) <= reached) {
        // A reader of quiet classes: nothing that it follows has happened since.
        partition.skip_to(manifest.sequence);
        return Ok(true);
    }
    let started = std::time::Instant::now();
    let mut loaded = Loaded::default();
    for class in &partition.classes {
        loaded.read(log, partition, &manifest, *class).await?;
    }
    let objects = loaded.items.len();
    loaded.items.sort_by(|a, b| a.key.cmp(&b.key));
    loaded.changes.sort_by_key(Change::revision);
    let age_limit = partition.read().state.ages.as_ref().map(|ages| ages.limit);
    partition.replace(|front| loaded.into_state(partition, &manifest, age_limit, front));
    let (stream, sequence) = (partition.stream.name(), manifest.sequence);
    tracing::info!(stream, sequence, objects, seconds = started.elapsed().as_secs_f64(), "checkpoint loaded");
    Ok(true)
}

/// Work that takes a while goes to a thread of its own. A runtime of one thread is a test's or a simulation's: there it
/// is a task like others, so that the order of things does not depend on a second thread.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => tokio::spawn(async move { work() }),
        _ => tokio::task::spawn_blocking(work),
    }
}

// === impl Loaded ===

impl Loaded {
    async fn read(
        &mut self,
        log: &dyn Log,
        partition: &Partition,
        manifest: &Manifest,
        class: Class,
    ) -> Result<(), LoadError> {
        let Some(entry) = manifest.class(class) else { return Ok(()) };
        let count = entry.chunks;
        self.newest.insert(class, entry.newest);
        let first = ChunkName { stream: partition.stream, checkpoint: manifest.checkpoint, class, index: 0 };
        let mut chunks = log.read_chunks(first, count).await?;
        let mut decoding = VecDeque::new();
        for _ in 0..count {
            let chunk = chunks.next().await?;
            decoding.push_back(aside(move || Part::decode(&chunk)));
            if decoding.len() > DECODE_AHEAD
                && let Some(part) = decoding.pop_front()
            {
                self.take(class, decoded(part).await?);
            }
        }
        for part in decoding {
            self.take(class, decoded(part).await?);
        }
        Ok(())
    }

    fn take(&mut self, class: Class, part: Part) {
        match part {
            Part::Items(mut items) => self.items.append(&mut items),
            Part::Changes(mut changes) => self.changes.append(&mut changes),
            Part::Times(times) => self.times.extend(times),
            Part::Writers(writers) => {
                for (writer, number, sequence) in writers {
                    self.writers.0.insert((class, writer), Seen { number, sequence });
                }
            }
        }
    }

    fn into_state(
        self,
        partition: &Partition,
        manifest: &Manifest,
        age_limit: Option<u64>,
        front: u64,
    ) -> State {
        let mut history = History::new(partition.history, manifest.floor, front);
        let mut batch: Vec<Change> = Vec::new();
        for change in self.changes {
            let sequence = change.revision().sequence();
            if let Some(last) = batch.last().map(|last| last.revision().sequence())
                && last != sequence
            {
                let changes = std::mem::take(&mut batch);
                history.push(Batch { sequence: last, changes, ..Batch::default() });
            }
            batch.push(change);
        }
        if let Some(last) = batch.last().map(|last| last.revision().sequence()) {
            history.push(Batch { sequence: last, changes: batch, ..Batch::default() });
        }
        State {
            bytes: self.items.iter().map(|item| item.value.len() as u64).sum(),
            ages: age_limit.map(|limit| ages(limit, &self.items, &self.times)),
            items: Ordered::from_sorted(self.items),
            history,
            writers: self.writers,
            newest: self.newest,
            reached: manifest.sequence,
            time: manifest.time,
        }
    }
}

async fn decoded(part: JoinHandle<Result<Part, String>>) -> Result<Part, LoadError> {
    part.await.expect("decoding does not panic").map_err(LoadError::Unreadable)
}

/// The queue of what leaves by age, from the items and the times of the messages that wrote them.
fn ages(limit: u64, items: &[Item], times: &HashMap<u64, u64>) -> Ages {
    let mut queue: Vec<_> = items
        .iter()
        .map(|item| {
            let time = times.get(&item.revision.sequence()).copied().unwrap_or(0);
            (time, item.key.clone(), item.revision)
        })
        .collect();
    queue.sort_by_key(|(_, _, revision): &(_, _, Revision)| *revision);
    Ages { limit, queue: VecDeque::from(queue) }
}

impl From<LogError> for LoadError {
    fn from(error: LogError) -> Self {
        LoadError::Log(error)
    }
}
