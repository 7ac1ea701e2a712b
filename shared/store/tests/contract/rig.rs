//! The two logs as the rules use them, and what the rules share.

use std::time::Duration;

use bytes::Bytes;
use model::object::with_resource_version;
use model::{Class, Key, Revision};
use store::jetstream::{JetStream, JetStreamOptions};
use store::memory::{Faults, MemoryLog};
use store::{Action, Committed, Expect, Log, OpOutcome, Options, Store, Txn};
use testkit::nats::NatsServer;

/// Seeds under which each rule runs in memory, unless `SAMPAN_SEEDS` says otherwise: a search for races wants
/// thousands, a test run wants to end.
const SEEDS: u64 = 12;

/// Longest time for one rule on JetStream; in memory it is the clock's, not ours.
const DEADLINE: Duration = Duration::from_secs(120);

/// A log that can be made to fail.
pub trait Rig {
    type Log: Log + Clone;

    /// The log, as another process would connect to it.
    async fn log(&self) -> Self::Log;

    /// Kills the server. What it has acknowledged must stay.
    fn crash(&mut self);

    /// Starts it again.
    fn restart(&mut self);

    /// A store on this log.
    async fn open(&self, options: Options) -> Store {
        Store::open(self.log().await, options).await.expect("the log can be followed")
    }

    /// A store that follows everything.
    async fn store(&self) -> Store {
        self.open(Options::default()).await
    }
}

pub struct MemoryRig(MemoryLog);

pub struct JetStreamRig(NatsServer);

impl Rig for MemoryRig {
    type Log = MemoryLog;

    async fn log(&self) -> MemoryLog {
        self.0.clone()
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

impl Rig for JetStreamRig {
    type Log = JetStream;

    async fn log(&self) -> JetStream {
        let client = async_nats::connect(self.0.url()).await.expect("the server runs");
        JetStream::connect(client, JetStreamOptions::default()).await.expect("the streams can be made")
    }

    fn crash(&mut self) {
        self.0.kill();
    }

    fn restart(&mut self) {
        self.0.restart().expect("the server starts again");
    }
}

pub fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("SAMPAN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..asked.unwrap_or(SEEDS)
}

pub fn in_memory(seed: u64, rule: impl AsyncFnOnce(&mut MemoryRig)) {
    // The first seed has no faults: what fails there is no race.
    let faults = match seed {
        0 => Faults::default(),
        _ => Faults {
            delay: Duration::from_millis(seed % 5),
            lost_ack: 0.05,
            lost_append: 0.03,
            duplicate: 0.1,
            late: Duration::from_secs(5),
            broken_tail: 0.01,
            lost_request: 0.02,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        println!("seed {seed}");
        rule(&mut MemoryRig(MemoryLog::new(seed, faults))).await;
    });
}

pub fn on_jetstream(rule: impl AsyncFnOnce(&mut JetStreamRig)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let mut rig = JetStreamRig(NatsServer::start().expect("nats-server starts"));
        tokio::time::timeout(DEADLINE, rule(&mut rig))
            .await
            .expect("the rule takes no longer than the deadline");
    });
}

pub fn pod(name: &str) -> Key {
    Key::object("", "pods", "default", name)
}

/// An object as it is written.
pub fn value(name: &str, number: u64) -> Bytes {
    Bytes::from(format!(r#"{{"kind":"Pod","metadata":{{"name":"{name}"}},"number":{number}}}"#))
}

/// An object as it is read.
pub fn read_as(name: &str, number: u64, revision: Revision) -> Bytes {
    with_resource_version(&value(name, number), revision)
}

/// The number in an object made by [`value`].
pub fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("JSON is text");
    let (_, tail) = text.rsplit_once(':').expect("the number is last");
    tail.trim_end_matches('}').parse().expect("a number")
}

pub fn put(key: Key, expect: Expect, value: Bytes) -> Txn {
    Txn::of(key, expect, Action::Put(value))
}

/// Commits until the answer is known. A write that may have happened is not repeated blindly: `expect` tells.
pub async fn commit(store: &Store, txn: Txn) -> Committed {
    store.commit(txn).await.expect("the log answers in time")
}

/// Writes whatever was there, however often it takes.
pub async fn write(store: &Store, name: &str, number: u64) -> Revision {
    loop {
        let txn = put(pod(name), Expect::Any, value(name, number));
        match store.commit(txn).await.map(|committed| committed.outcomes) {
            Ok(outcomes) => match outcomes[..] {
                [OpOutcome::Done(revision)] => return revision,
                ref other => panic!("a write without condition was refused: {other:?}"),
            },
            Err(store::CommitError::Unavailable(_) | store::CommitError::Stale) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub async fn barrier(store: &Store) -> Revision {
    loop {
        if let Ok(revision) = store.barrier().await {
            return revision;
        }
    }
}

pub fn only(class: Class) -> Options {
    Options { classes: vec![class], ..Options::default() }
}
