//! What goes wrong, and when.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use store::memory::Faults;
use tokio_util::sync::CancellationToken;

use crate::machine::Slowness;
use crate::seat::Seat;
use crate::services::DRAIN_PATIENCE;
use crate::world::{Weather, World};

/// Nodes that there may be in the end.
const NODES_MAX: u16 = 7;

/// What kinds of trouble a run has. Some seeds have few, so that rules which allow for some of them are strict there.
struct Moods {
    /// Longest time between two troubles.
    between: Duration,
    processes: bool,
    cuts: bool,
    slowness: bool,
    machines: bool,
    bus: bool,
}

/// How everything works in the busy part of a run.
pub fn weather(random: &mut StdRng) -> Weather {
    let some = |random: &mut StdRng, most: f64| {
        if random.random_bool(0.5) { random.random_range(0.0..most) } else { 0.0 }
    };
    Weather {
        log: Faults {
            delay: Duration::from_millis(random.random_range(0..10)),
            lost_ack: some(random, 0.05),
            lost_append: some(random, 0.03),
            duplicate: some(random, 0.1),
            late: Duration::from_secs(5),
            broken_tail: some(random, 0.005),
            lost_request: some(random, 0.02),
        },
        bus: bus::memory::Faults {
            delay: Duration::from_millis(random.random_range(0..10)),
            lost: some(random, 0.01),
        },
        machines: Slowness {
            delay: Duration::from_millis(random.random_range(0..1500)),
            failure: some(random, 0.05),
        },
        restart: Duration::from_millis(random.random_range(50..6000)),
    }
}

/// How everything works when nothing goes wrong any more.
pub fn calm() -> Weather {
    Weather {
        log: Faults { delay: Duration::from_millis(1), ..Faults::default() },
        bus: bus::memory::Faults { delay: Duration::from_millis(1), lost: 0.0 },
        machines: Slowness { delay: Duration::from_millis(50), failure: 0.0 },
        restart: Duration::from_millis(100),
    }
}

/// Makes trouble until `over`, and then lets all be well again.
pub async fn reign(world: Arc<World>, over: CancellationToken) {
    let mut random = world.chance("chaos");
    let moods = Moods {
        between: Duration::from_millis(random.random_range(500..8_000)),
        processes: random.random_bool(0.8),
        cuts: random.random_bool(0.6),
        slowness: random.random_bool(0.5),
        machines: random.random_bool(0.5),
        bus: random.random_bool(0.4),
    };
    world.set_weather(weather(&mut random));
    while !over.is_cancelled() {
        let pause = random.random_range(Duration::ZERO..=moods.between);
        tokio::time::sleep(pause).await;
        trouble(&world, &moods, &mut random, &over).await;
    }
    world.set_weather(calm());
    // So that there is room for whatever was asked for, and what waited for room is seen to get it.
    for _ in 0..NODES_MAX {
        add_node(&world);
    }
}

async fn trouble(world: &Arc<World>, moods: &Moods, random: &mut StdRng, over: &CancellationToken) {
    let seats = world.seats();
    let seat = seats[random.random_range(0..seats.len())];
    match random.random_range(0..20) {
        0..4 if moods.processes => kill(world, seat),
        4..7 if moods.processes => doom(world, seat, random.random_range(0..20)),
        7..9 if moods.processes => drain(world, seat),
        9..12 if moods.cuts => cut(world, seat, random, over),
        12..14 if moods.slowness => slow_down(world, seat, random),
        14 if moods.machines => lose_power(world, random),
        15 if moods.machines => crash_container(world, random),
        16 if moods.machines => add_node(world),
        17 if moods.bus => {
            let pause = random.random_range(Duration::ZERO..Duration::from_secs(6));
            world.trace.say(format_args!("chaos the bus is away for {pause:?}"));
            world.lose_bus(pause).await;
        }
        18..20 => checkpoint(world, random).await,
        _ => {}
    }
}

fn kill(world: &Arc<World>, seat: Seat) {
    if let Some(seated) = world.seated(seat) {
        world.trace.say(format_args!("chaos kill {}", seated.process.name));
        seated.process.kill();
    }
}

/// It dies while it writes.
fn doom(world: &Arc<World>, seat: Seat, steps: u32) {
    if let Some(seated) = world.seated(seat) {
        world.trace.say(format_args!("chaos {} dies at its write {steps} from here", seated.process.name));
        seated.process.doom(steps);
    }
}

/// It is asked to end, and killed if it does not.
fn drain(world: &Arc<World>, seat: Seat) {
    let Some(seated) = world.seated(seat) else { return };
    world.trace.say(format_args!("chaos drain {}", seated.process.name));
    seated.process.shutdown.cancel();
    tokio::spawn(async move {
        tokio::time::sleep(DRAIN_PATIENCE).await;
        seated.process.kill();
    });
}

/// It is cut off from everybody; after a while that is noticed, and after another it is over.
fn cut(world: &Arc<World>, seat: Seat, random: &mut StdRng, over: &CancellationToken) {
    let Some(seated) = world.seated(seat).filter(|seated| seated.process.is_whole()) else { return };
    let longest = if matches!(seat, Seat::Agent(_)) { 60_000 } else { 20_000 };
    let (unnoticed, noticed) = (random.random_range(0..longest / 2), random.random_range(0..longest));
    world.trace.say(format_args!("chaos {} is cut off for {unnoticed} + {noticed} ms", seated.process.name));
    let over = over.clone();
    tokio::spawn(async move {
        let course = async {
            seated.process.cut();
            tokio::time::sleep(Duration::from_millis(unnoticed)).await;
            seated.process.notice();
            tokio::time::sleep(Duration::from_millis(noticed)).await;
        };
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            () = course => {}
        }
        seated.process.restore();
    });
}

/// What it does with the log takes long, for a while: its view is late.
fn slow_down(world: &Arc<World>, seat: Seat, random: &mut StdRng) {
    let Some(seated) = world.seated(seat) else { return };
    let usual = world.weather().log;
    let delay = Duration::from_millis(random.random_range(50..1_000));
    let pause = Duration::from_millis(random.random_range(500..20_000));
    world.trace.say(format_args!("chaos {} is slow by {delay:?} for {pause:?}", seated.process.name));
    seated.process.way().set_faults(Faults { delay, ..usual });
    let world = Arc::clone(world);
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        seated.process.way().set_faults(world.weather().log);
    });
}

fn agents(world: &World) -> Vec<u16> {
    let seats = world.seats().into_iter();
    seats.filter_map(|seat| if let Seat::Agent(number) = seat { Some(number) } else { None }).collect()
}

fn lose_power(world: &Arc<World>, random: &mut StdRng) {
    let agents = agents(world);
    let number = agents[random.random_range(0..agents.len())];
    let pause = Duration::from_millis(random.random_range(1_000..60_000));
    world.trace.say(format_args!("chaos {} loses its power for {pause:?}", Seat::Agent(number).node()));
    world.lose_power(number, pause);
}

fn crash_container(world: &Arc<World>, random: &mut StdRng) {
    let agents = agents(world);
    let number = agents[random.random_range(0..agents.len())];
    let Some(iron) = world.iron(number) else { return };
    if let Some(pod) = iron.crash(|count| random.random_range(0..count)) {
        world.trace.say(format_args!("chaos a container of {}/{} crashes", pod.namespace, pod.name));
    }
}

fn add_node(world: &Arc<World>) {
    let next = agents(world).into_iter().max().map_or(0, |last| last + 1);
    if next < NODES_MAX {
        world.occupy(Seat::Agent(next));
    }
}

/// An API server writes a checkpoint and purges the log.
async fn checkpoint(world: &Arc<World>, random: &mut StdRng) {
    let servers = world.api_servers();
    if servers.is_empty() {
        return;
    }
    let (seated, registry) = servers[random.random_range(0..servers.len())].clone();
    tokio::select! {
        biased;
        () = seated.process.fate().death() => {}
        () = tokio::time::sleep(Duration::from_secs(5)) => {}
        written = registry.store().checkpoint() => {
            world.trace.say(format_args!("chaos {} writes a checkpoint: {written:?}", seated.process.name));
        }
    }
}
