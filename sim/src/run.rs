//! One run: a cluster from a seed, a busy while with trouble, and a rest at the end of which all must be well.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use crate::check::rest;
use crate::seat::Seat;
use crate::world::World;
use crate::{chaos, hermetic, work};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was broken; nothing if all went well.
    pub broken: Vec<String>,
    /// Steps of the trace, and the number that sums them up.
    pub trace: (u64, u64),
    /// Virtual time that it took.
    pub took: Duration,
    /// Acknowledged writes that were found in the log.
    pub writes: u64,
}

/// The busy part takes up to this long.
const BUSY: Duration = Duration::from_secs(90);
/// After this long without trouble everything must be as it is wanted: the longest wait of a controller (a minute, after
/// many failures), and of a pod that fails (five minutes), have passed by then.
const PATIENCE: Duration = Duration::from_secs(600);
/// And must stay so.
const STEADY: Duration = Duration::from_secs(20);

/// Runs a cluster from `seed`; the trace is printed if it `shows`. Every run has a thread of its own.
pub fn run(seed: u64, shows: bool) -> Report {
    let simulated = move || {
        hermetic::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime can be made").block_on(live(seed, shows))
    };
    let thread = std::thread::Builder::new().name(format!("seed-{seed}")).spawn(simulated);
    thread.expect("a thread can be made").join().unwrap_or_else(|_| Report {
        broken: vec!["the simulation itself has panicked".to_owned()],
        trace: (0, 0),
        took: Duration::ZERO,
        writes: 0,
    })
}

async fn live(seed: u64, shows: bool) -> Report {
    hermetic::begin();
    let world = World::new(seed, shows);
    report_panics(&world);
    let mut random = world.chance("run");
    let checking = tokio::spawn(world.clone().check());
    tokio::select! {
        biased;
        () = world.until_broken() => {}
        () = story(&world, &mut random) => {}
    }
    checking.abort();
    let mut checker = world.checker.lock();
    if checker.broken().is_empty() {
        checker.close();
    }
    Report {
        broken: world.panics().into_iter().chain(checker.broken().iter().cloned()).collect(),
        trace: world.trace.sum(),
        took: hermetic::elapsed(),
        writes: checker.writes(),
    }
}

async fn story(world: &Arc<World>, random: &mut StdRng) {
    world.set_weather(chaos::calm());
    for (seat, most) in SEATS {
        for number in 0..random.random_range(1..=most) {
            world.occupy(seat(number));
        }
    }
    let over = CancellationToken::new();
    let people = work::start(world, &over);
    let reign = tokio::spawn(chaos::reign(world.clone(), over.clone()));
    let busy = random.random_range(BUSY / 3..=BUSY);
    tokio::time::sleep(busy).await;
    world.trace.say(format_args!("rest"));
    over.cancel();
    reign.await.expect("chaos does not panic");
    people.join_all().await;
    settle(world).await;
}

type Seats = fn(u16) -> Seat;

/// A kind of seat, and how many of it there may be at first.
const SEATS: [(Seats, u16); 7] = [
    (Seat::ApiServer, 3),
    (Seat::Scheduler, 3),
    (Seat::Replica, 2),
    (Seat::Stateful, 2),
    (Seat::Batch, 2),
    (Seat::Cluster, 2),
    (Seat::Agent, 5),
];

/// Waits until all is well for a while.
async fn settle(world: &World) {
    let (begun, mut well_since) = (hermetic::elapsed(), None);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = hermetic::elapsed();
        let why_not = {
            let checker = world.checker.lock();
            rest::why_not(&checker.view, &world.floor.running())
        };
        match why_not {
            None if now >= *well_since.get_or_insert(now) + STEADY => break,
            None => {}
            Some(why) if now >= begun + PATIENCE => {
                return world.found(format!("{PATIENCE:?} after the last trouble {why}"));
            }
            Some(why) if well_since.take().is_some() => {
                world.trace.say(format_args!("rest  not any more: {why}"));
            }
            Some(_) => {}
        }
    }
    compare_replicas(world);
}

/// Every API server has the objects that the log says.
fn compare_replicas(world: &World) {
    let wanted: Vec<(String, model::Revision)> = {
        let checker = world.checker.lock();
        checker.view.all().map(|(key, revision, _)| (key.to_owned(), revision)).collect()
    };
    for (seated, registry) in world.api_servers() {
        let listed = registry.store().list("").items;
        let found: Vec<(String, model::Revision)> =
            listed.iter().map(|item| (item.key.as_str().to_owned(), item.revision)).collect();
        if found != wanted {
            let odd = found
                .iter()
                .find(|one| !wanted.contains(one))
                .or_else(|| wanted.iter().find(|one| !found.contains(one)));
            world.found(format!("{} does not have the objects of the log: {odd:?}", seated.process.name));
        }
    }
}

/// A panic anywhere in the simulated services is a finding.
fn report_panics(world: &Arc<World>) {
    let (thread, watched) = (std::thread::current().id(), Arc::downgrade(world));
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| match watched.upgrade() {
        Some(world) if std::thread::current().id() == thread => world.note_panic(info.to_string()),
        _ => before(info),
    }));
}
