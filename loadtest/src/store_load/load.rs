//! Writers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use store::{Action, Expect, Op, OpOutcome, Txn};

use super::bench::Bench;
use crate::measure::Latencies;
use crate::objects::Objects;

/// Operations in one transaction that creates objects, and such transactions at once.
const CREATE_OPS: u64 = 100;
const CREATORS: u64 = 32;

/// Creates the objects 0 to `count`.
pub async fn create(bench: &Bench, count: u64) -> Result<()> {
    let creators = (0..CREATORS).map(|creator| {
        let (store, objects) = (bench.store().clone(), bench.objects.clone());
        tokio::spawn(async move {
            let mut first = creator * CREATE_OPS;
            while first < count {
                let op = |n| Op {
                    key: Objects::key(n),
                    expect: Expect::Any,
                    action: Action::Put(objects.value(n)),
                };
                let ops = (first..count.min(first + CREATE_OPS)).map(op).collect();
                let committed = store.commit(Txn { ops, ..Txn::default() }).await?;
                if !committed.outcomes.iter().all(|outcome| matches!(outcome, OpOutcome::Done(_))) {
                    bail!("a write without condition was refused");
                }
                first += CREATORS * CREATE_OPS;
            }
            Ok(())
        })
    });
    for creator in futures::future::join_all(creators).await {
        creator??;
    }
    Ok(())
}

/// Writers that replace objects for a while, each under the condition that nobody else did since it looked. `choose`
/// says which object, from the writer and its round. Only writes that were done count.
pub async fn replace(
    bench: &Bench,
    writers: u64,
    duration: Duration,
    choose: impl Fn(u64, u64) -> u64 + Copy + Send + 'static,
) -> Result<Latencies> {
    let deadline = Instant::now() + duration;
    let writing = (0..writers).map(|writer| {
        let (store, objects) = (bench.store().clone(), bench.objects.clone());
        tokio::spawn(async move {
            let mut latencies = Latencies::default();
            for round in 0.. {
                let started = Instant::now();
                if started >= deadline {
                    break;
                }
                let n = choose(writer, round);
                let key = Objects::key(n);
                let Some(item) = store.get(&key) else { bail!("{key} is gone") };
                let txn = Txn::of(key, Expect::At(item.revision), Action::Put(objects.value(n)));
                match store.commit(txn).await?.outcomes[..] {
                    [OpOutcome::Done(_)] => latencies.add(started.elapsed()),
                    // Two writers chose the same object.
                    [OpOutcome::Refused { .. }] => {}
                    ref other => bail!("one operation, {} outcomes", other.len()),
                }
            }
            Ok(latencies)
        })
    });
    let mut all = Latencies::default();
    for latencies in futures::future::join_all(writing).await {
        all.merge(latencies??);
    }
    Ok(all)
}
