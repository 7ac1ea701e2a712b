//! Linearizable reads: one question to the log answers every reader who waited when it was asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::item::Unavailable;
use crate::log::Log;
use crate::partition::{Partition, Shared};

/// Pause before a question is asked again that the log did not answer.
const PAUSE: Duration = Duration::from_millis(50);

/// Readers that may wait for a question to be asked; more wait to be let in.
const WAITING: usize = 4096;

/// The way to the task that asks.
pub(crate) struct Barrier(mpsc::Sender<oneshot::Sender<u64>>);

impl Barrier {
    pub fn start(partition: Shared, log: Arc<dyn Log>, tasks: &mut JoinSet<()>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING);
        tasks.spawn(ask(partition, log, waiting));
        Barrier(sender)
    }

    /// Waits until the state has passed what was the end of the log after this was called.
    pub async fn wait(&self, partition: &Partition) -> Result<u64, Unavailable> {
        let closed = || Unavailable("the store is closed".into());
        let (sender, end) = oneshot::channel();
        self.0.send(sender).await.map_err(|_| closed())?;
        let end = end.await.map_err(|_| closed())?;
        partition.wait_reached(end).await;
        Ok(partition.reached())
    }
}

async fn ask(partition: Shared, log: Arc<dyn Log>, mut waiting: mpsc::Receiver<oneshot::Sender<u64>>) {
    while let Some(first) = waiting.recv().await {
        let mut asking = vec![first];
        while let Ok(next) = waiting.try_recv() {
            asking.push(next);
        }
        let end = loop {
            match log.bounds(partition.stream).await {
                Ok(bounds) => break bounds.last,
                Err(error) => tracing::debug!(%error, "the end of the log is not known, asking again"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        for waiter in asking {
            // One that has given up does not care.
            let _ = waiter.send(end);
        }
    }
}
