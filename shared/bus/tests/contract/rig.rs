//! The two buses as the rules use them.

use std::time::Duration;

use bus::memory::{Faults, MemoryBus, Plug};
use bus::{Bus, BusError, Config, Incoming, Requests};
use testkit::nats::NatsServer;
use tokio::time::{sleep, timeout};

/// Seeds under which each rule runs in memory.
pub const SEEDS: u64 = 8;
/// Longest time for one rule on a server; in memory it is the clock's, not ours.
const DEADLINE: Duration = Duration::from_secs(120);
/// For what must come.
const SOON: Duration = Duration::from_secs(20);
/// For what must not come; on a server it cannot be waited for as long as one would like.
const QUIET: Duration = Duration::from_millis(100);

/// A bus that can go away.
pub trait Rig {
    /// Another process on it.
    async fn connect(&mut self) -> Bus;

    /// Away it goes, and everybody knows.
    async fn leave(&mut self);

    /// It is back.
    async fn come_back(&mut self);
}

pub struct MemoryRig {
    bus: MemoryBus,
    plugs: Vec<Plug>,
}

pub struct NatsRig {
    server: NatsServer,
    connections: Vec<Bus>,
}

impl Rig for MemoryRig {
    async fn connect(&mut self) -> Bus {
        let (bus, plug) = self.bus.connect("test");
        self.plugs.push(plug);
        bus
    }

    async fn leave(&mut self) {
        self.plugs.iter().for_each(Plug::notice);
    }

    async fn come_back(&mut self) {
        self.plugs.iter().for_each(Plug::restore);
    }
}

impl Rig for NatsRig {
    async fn connect(&mut self) -> Bus {
        let bus = Bus::connect(&Config::new(&self.server.url(), "test")).await;
        let bus = bus.expect("the address is good");
        until(&bus, true).await;
        self.connections.push(bus.clone());
        bus
    }

    async fn leave(&mut self) {
        self.server.kill();
        for bus in &self.connections {
            until(bus, false).await;
        }
    }

    async fn come_back(&mut self) {
        self.server.restart().expect("the server starts again");
        for bus in &self.connections {
            until(bus, true).await;
        }
    }
}

async fn until(bus: &Bus, connected: bool) {
    while bus.is_connected() != connected {
        sleep(Duration::from_millis(5)).await;
    }
}

pub fn in_memory(seed: u64, rule: impl AsyncFnOnce(&mut MemoryRig)) {
    let faults = Faults { delay: Duration::from_millis(seed % 5), lost: 0.0 };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        println!("seed {seed}");
        rule(&mut MemoryRig { bus: MemoryBus::new(seed, faults), plugs: Vec::new() }).await;
    });
}

pub fn on_nats(rule: impl AsyncFnOnce(&mut NatsRig)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let server = NatsServer::start().expect("nats-server starts");
        let mut rig = NatsRig { server, connections: Vec::new() };
        timeout(DEADLINE, rule(&mut rig)).await.expect("the rule takes no longer than the deadline");
    });
}

/// A subscription that the bus knows of.
pub async fn listen(bus: &Bus, subject: &str) -> Requests {
    let heard = bus.subscribe(subject).await.expect("the bus takes it");
    there_and_back(bus).await;
    heard
}

/// A member of a group that the bus knows of.
pub async fn join(bus: &Bus, subject: &str, group: &str) -> Requests {
    let heard = bus.serve(subject, group).await.expect("the bus takes it");
    there_and_back(bus).await;
    heard
}

/// Waits until the bus has taken in everything that this connection said before.
pub async fn there_and_back(bus: &Bus) {
    let asked = bus.request::<_, ()>("nobody.listens.here", &(), SOON).await;
    assert!(matches!(asked, Err(BusError::NoResponders(_))), "{asked:?}");
}

pub async fn tell(bus: &Bus, subject: &str, number: u64) {
    bus.publish(subject, &number).await.expect("the bus takes it");
}

/// What must come next.
pub async fn heard(requests: &mut Requests) -> Incoming {
    let next = timeout(SOON, requests.next()).await.expect("it comes soon");
    next.expect("the connection is not closed")
}

pub async fn number(requests: &mut Requests) -> u64 {
    heard(requests).await.decode().expect("a number")
}

pub async fn numbers(requests: &mut Requests, count: u64) -> Vec<u64> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(number(requests).await);
    }
    all
}

pub async fn hears_nothing(requests: &mut Requests) {
    let next = timeout(QUIET, requests.next()).await;
    assert!(
        next.is_err(),
        "nothing was to be heard: {:?}",
        next.map(|one| one.map(|one| one.subject().to_owned()))
    );
}
