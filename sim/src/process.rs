//! A process of the simulated cluster: its cable to the bus, its way to the log, and its death.
//!
//! A process that is killed is cut off at whichever await each of its tasks is: nothing that it still does reaches
//! anybody, and nothing reaches it. Its main task is dropped; what it spawned besides waits for ever.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use bus::memory::Plug;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::Class;
use parking_lot::Mutex;
use runtime::Shutdown;
use store::Log;
use store::log::{Bounds, ChunkName, Chunks, Ends, Entry, LogError, Pointer, Stream, Tail};
use store::memory::MemoryLog;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How a process is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cable {
    Whole,
    /// Since this many changes of the cable: nothing passes, and nobody has noticed.
    Cut,
    /// Nothing passes, and the process knows.
    Noticed,
    Dead,
}

/// One incarnation of a service or an agent.
pub struct Process {
    /// Its name with the number of its incarnation, as `apiserver-0#3`.
    pub name: String,
    /// Cancelled to ask it to end.
    pub shutdown: Shutdown,
    plug: Plug,
    way: MemoryLog,
    fate: Fate,
    task: Mutex<Option<AbortHandle>>,
}

/// What becomes of a process, for those who depend on it.
#[derive(Clone)]
pub struct Fate {
    /// The cable, and how often it has changed.
    cable: Arc<watch::Sender<(Cable, u64)>>,
    /// The process dies at its so-manieth next step.
    doom: Arc<Mutex<Option<u32>>>,
}

/// What a process is given.
#[derive(Clone)]
pub struct Place {
    /// Its connection.
    pub bus: Bus,
    /// Its way to the log.
    pub log: ProcessLog,
    /// Cancelled when it is to end.
    pub shutdown: Shutdown,
    /// Its fate.
    pub fate: Fate,
}

/// The log as a process reaches it.
#[derive(Clone)]
pub struct ProcessLog {
    way: MemoryLog,
    fate: Fate,
}

struct ProcessTail {
    tail: Box<dyn Tail>,
    fate: Fate,
    /// The changes of the cable that there had been when it was opened.
    changes: u64,
}

/// Time after which a request without an answer is given up.
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Process ===

impl Process {
    /// A process that has not started yet, and what it is given.
    pub fn new(name: &str, (bus, plug): (Bus, Plug), way: MemoryLog) -> (Process, Place) {
        let fate = Fate { cable: Arc::new(watch::Sender::new((Cable::Whole, 0))), doom: Arc::default() };
        let shutdown = Shutdown::new();
        let log = ProcessLog { way: way.clone(), fate: fate.clone() };
        let place = Place { bus, log, shutdown: shutdown.clone(), fate: fate.clone() };
        let process = Process { name: name.to_owned(), shutdown, plug, way, fate, task: Mutex::default() };
        (process, place)
    }

    /// Its main task, which ends with it.
    pub fn runs(&self, task: AbortHandle) {
        *self.task.lock() = Some(task);
    }

    /// Its way to the log, to make that slow.
    pub fn way(&self) -> &MemoryLog {
        &self.way
    }

    /// What becomes of it.
    pub fn fate(&self) -> &Fate {
        &self.fate
    }

    /// Ends it as SIGKILL would.
    pub fn kill(&self) {
        self.fate.turn(Cable::Dead);
        self.plug.pull();
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    /// It dies at its so-manieth next write to the log.
    pub fn doom(&self, steps: u32) {
        *self.fate.doom.lock() = Some(steps);
    }

    /// Cuts it off; nobody notices.
    pub fn cut(&self) {
        self.fate.turn(Cable::Cut);
        self.plug.cut();
    }

    /// Everybody notices that it is cut off.
    pub fn notice(&self) {
        self.fate.turn(Cable::Noticed);
        self.plug.notice();
    }

    /// Connects it again.
    pub fn restore(&self) {
        self.fate.turn(Cable::Whole);
        self.plug.restore();
    }

    /// Whether it can be reached.
    pub fn is_whole(&self) -> bool {
        self.fate.cable.borrow().0 == Cable::Whole
    }
}

// === impl Fate ===

impl Fate {
    /// Whether the process is dead.
    pub fn is_dead(&self) -> bool {
        self.cable.borrow().0 == Cable::Dead
    }

    /// Resolves when it is dead.
    pub async fn death(&self) {
        let mut cable = self.cable.subscribe();
        cable.wait_for(|(cable, _)| *cable == Cable::Dead).await.expect("the sender lives as long as self");
    }

    /// For what a process does to the world: goes on only while it lives.
    pub async fn alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn turn(&self, to: Cable) {
        self.cable.send_if_modified(|(cable, changes)| {
            let turns = *cable != Cable::Dead && *cable != to;
            if turns {
                *cable = to;
                *changes += 1;
            }
            turns
        });
    }

    /// A step that the process takes; whether it dies of it.
    fn step(&self) -> bool {
        let mut doom = self.doom.lock();
        match doom.as_mut() {
            Some(0) => {
                *doom = None;
                true
            }
            Some(steps) => {
                *steps -= 1;
                false
            }
            None => false,
        }
    }

    /// Lets a request pass, or says why it does not.
    async fn pass(&self) -> Result<(), LogError> {
        let cable = self.cable.borrow().0;
        match cable {
            Cable::Whole => Ok(()),
            Cable::Cut => {
                tokio::time::sleep(PATIENCE).await;
                self.alive().await;
                Err(LogError::Unreachable("no answer".to_owned()))
            }
            Cable::Noticed => {
                // Who asks again at once must not turn in a circle without time.
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.alive().await;
                Err(LogError::Unreachable("the bus is away".to_owned()))
            }
            Cable::Dead => std::future::pending().await,
        }
    }

    /// A request there and its answer back.
    async fn through<T>(&self, work: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
        self.pass().await?;
        let result = work.await;
        self.pass().await?;
        result
    }
}

// === impl ProcessLog ===

impl Log for ProcessLog {
    fn append<'a>(
        &'a self,
        class: Class,
        id: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<u64, LogError>> {
        async move {
            if self.fate.step() {
                // Before the message has left, or just after: the size of the message decides, as good as any coin.
                if payload.len().is_multiple_of(2) {
                    let _ = self.way.append(class, id, payload.clone()).await;
                }
                self.fate.turn(Cable::Dead);
            }
            self.fate.through(self.way.append(class, id, payload)).await
        }
        .boxed()
    }

    fn read<'a>(&'a self, classes: &'a [Class], from: u64) -> BoxFuture<'a, Result<Box<dyn Tail>, LogError>> {
        async move {
            let tail = self.fate.through(self.way.read(classes, from)).await?;
            let changes = self.fate.cable.borrow().1;
            Ok(Box::new(ProcessTail { tail, fate: self.fate.clone(), changes }) as Box<dyn Tail>)
        }
        .boxed()
    }

    fn bounds(&self, stream: Stream) -> BoxFuture<'_, Result<Bounds, LogError>> {
        self.fate.through(self.way.bounds(stream)).boxed()
    }

    fn ends<'a>(&'a self, classes: &'a [Class]) -> BoxFuture<'a, Result<Ends, LogError>> {
        self.fate.through(self.way.ends(classes)).boxed()
    }

    fn purge(&self, stream: Stream, before: u64) -> BoxFuture<'_, Result<(), LogError>> {
        self.fate.through(self.way.purge(stream, before)).boxed()
    }

    fn pointer(&self, stream: Stream) -> BoxFuture<'_, Result<Option<Pointer>, LogError>> {
        self.fate.through(self.way.pointer(stream)).boxed()
    }

    fn point(&self, stream: Stream, value: Bytes, replaces: u64) -> BoxFuture<'_, Result<(), LogError>> {
        self.fate.through(self.way.point(stream, value, replaces)).boxed()
    }

    fn write_chunk(&self, name: ChunkName, chunk: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        self.fate.through(self.way.write_chunk(name, chunk)).boxed()
    }

    fn read_chunks(&self, first: ChunkName, count: u64) -> BoxFuture<'_, Result<Box<dyn Chunks>, LogError>> {
        self.fate.through(self.way.read_chunks(first, count)).boxed()
    }

    fn drop_chunks(&self, newest: ChunkName, failed: bool) -> BoxFuture<'_, Result<(), LogError>> {
        self.fate.through(self.way.drop_chunks(newest, failed)).boxed()
    }

    fn now(&self) -> u64 {
        self.way.now()
    }

    fn max_message(&self) -> usize {
        self.way.max_message()
    }
}

// === impl ProcessTail ===

impl Tail for ProcessTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Entry, LogError>> {
        async move {
            let mut cable = self.fate.cable.subscribe();
            let changes = self.changes;
            // A tail that was cut hears nothing, until it is noticed that something was missed.
            let broken = async {
                let is_over = |(cable, now): &(Cable, u64)| {
                    *now != changes && matches!(cable, Cable::Whole | Cable::Noticed)
                };
                cable.wait_for(is_over).await.expect("the sender lives as long as the fate");
            };
            let entry = async {
                let entry = self.tail.next().await;
                let has_changed = self.fate.cable.borrow().1 != changes;
                if has_changed {
                    std::future::pending::<()>().await;
                }
                entry
            };
            tokio::select! {
                biased;
                () = broken => Err(LogError::Unreachable("the tail broke".to_owned())),
                entry = entry => entry,
            }
        }
        .boxed()
    }
}
