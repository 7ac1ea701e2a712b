//! Writes by bus command.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::command::{BYTES_MAX, Batch, Guard, ITEMS_MAX, Replies, Reply, Write};
use bus::{Bus, BusError, subject};
use model::Status;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::leader::Leadership;

/// How long one question may take before it is asked again; a commit takes milliseconds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts while no API server answers.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a write keeps trying to reach an API server before the caller is told.
const REACH_PATIENCE: Duration = Duration::from_secs(30);

/// Writes as one user through whichever API server answers.
#[derive(Clone, Debug)]
pub struct Writer {
    bus: Bus,
    user: String,
    leadership: Leadership,
    guard: Option<Arc<Guard>>,
}

// === impl Writer ===

impl Writer {
    /// A writer that the API servers know as `user`, as `system:kube-scheduler`.
    pub fn new(bus: Bus, user: &str) -> Self {
        Writer { bus, user: user.to_owned(), leadership: Leadership::sole(), guard: None }
    }

    /// The writer of a controller that acts only while this replica leads.
    pub fn led_by(self, leadership: Leadership) -> Self {
        Writer { leadership, ..self }
    }

    /// Who leads among those who would write.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// The same writer, whose writes count only while the guard holds. It is the guard under which was *decided*: a
    /// decision from before others have led must not count because we lead again.
    pub fn under(&self, guard: Option<Arc<Guard>>) -> Self {
        Writer { guard, ..self.clone() }
    }

    /// The same writer under another name.
    pub fn acting_as(&self, user: &str) -> Self {
        Writer { user: user.to_owned(), ..self.clone() }
    }

    /// Carries out every write, independently of each other; the replies are in the writes' order.
    ///
    /// A write that no API server could be reached for is tried again for half a minute. One whose answer was lost
    /// is *not*: it may have happened, and the caller's view will tell.
    pub async fn write(&self, writes: Vec<Write>) -> Vec<Reply> {
        let batches = split(writes).into_iter().map(|items| self.batch(items));
        futures::future::join_all(batches).await.concat()
    }

    /// Carries out one write.
    pub async fn one(&self, write: Write) -> Reply {
        let mut replies = self.batch(vec![write]).await;
        replies.pop().unwrap_or_else(|| Err(Status::internal("an answer without a reply")))
    }

    async fn batch(&self, items: Vec<Write>) -> Vec<Reply> {
        let count = items.len();
        let mut batch =
            Batch { user: self.user.clone(), deadline_ms: 0, guard: self.guard.as_deref().cloned(), items };
        let give_up = Instant::now() + REACH_PATIENCE;
        let failure = loop {
            batch.deadline_ms = now_ms() + ANSWER_PATIENCE.as_millis() as u64;
            match self.bus.request::<_, Replies>(subject::WRITE, &batch, ANSWER_PATIENCE).await {
                Ok(answer) if answer.replies.len() == count => return answer.replies,
                Ok(answer) => {
                    warn!(asked = count, answered = answer.replies.len(), "an answer of another length");
                    break Status::internal("the answer does not fit the question");
                }
                Err(error @ (BusError::NoResponders(_) | BusError::Disconnected(_)))
                    if Instant::now() < give_up =>
                {
                    debug!("no API server yet: {error}");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => break error.into(),
            }
        };
        vec![Err(failure); count]
    }
}

/// Batches that keep the order and the bounds of a frame.
fn split(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut batches: Vec<Vec<Write>> = Vec::new();
    let mut bytes = usize::MAX;
    for write in writes {
        let size = write.size();
        match batches.last_mut() {
            Some(batch) if batch.len() < ITEMS_MAX && bytes.saturating_add(size) <= BYTES_MAX => {
                bytes += size;
                batch.push(write);
            }
            _ => {
                bytes = size;
                batches.push(vec![write]);
            }
        }
    }
    batches
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bytes: usize) -> Write {
        Write::Delete {
            resource: bus::command::Resource::new("", "v1", "pods"),
            namespace: "default".to_owned(),
            name: "a".to_owned(),
            options: vec![0; bytes].into(),
        }
    }

    #[test]
    fn a_batch_holds_a_thousand_small_writes_and_a_large_one_travels_alone() {
        let mut writes: Vec<Write> = (0..1_001).map(|_| write(0)).collect();
        writes.push(write(BYTES_MAX));
        writes.push(write(0));
        let lengths: Vec<usize> = split(writes).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1_000, 1, 1, 1]);
    }
}
