//! The cluster: one log, one bus, processes in their seats, machines, and those who watch over them.
//!
//! ```text
//!  users, chaos ──> World ── seats ──> Process (services, agents) ──> MemoryLog, MemoryBus
//!                     │                                                    │
//!                     └── Floor (machines)                     watch ──> Checker, Trace
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::registry::Registry;
use bus::memory::MemoryBus;
use model::Revision;
use node_agent::act::hollow::Hollow;
use node_agent::node::facts::Facts;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::memory::{Faults, MemoryLog};
use store::{Options, Store, WatchEvent};
use tokio::sync::watch;

use crate::check::Checker;
use crate::check::ledger::Ledger;
use crate::check::view;
use crate::hermetic;
use crate::machine::{Floor, Iron, Slowness};
use crate::process::Process;
use crate::seat::Seat;
use crate::services::{self, Door};
use crate::trace::Trace;

/// A cluster and its surroundings.
pub struct World {
    /// What the run is made from.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
    /// Every machine.
    pub floor: Floor,
    /// What clients were told.
    pub ledger: Arc<Mutex<Ledger>>,
    /// What must hold.
    pub checker: Mutex<Checker>,
    log: MemoryLog,
    net: MemoryBus,
    seats: Mutex<BTreeMap<Seat, Arc<Seated>>>,
    irons: Mutex<BTreeMap<u16, Arc<Iron>>>,
    weather: Mutex<Weather>,
    random: Mutex<StdRng>,
    started: Mutex<u64>,
    panics: Mutex<Vec<String>>,
    /// Counts what the checker has taken in, and ends the run when something is broken.
    checked: watch::Sender<(Revision, bool)>,
}

/// How badly everything works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Between each process and the log.
    pub log: Faults,
    /// On the bus.
    pub bus: bus::memory::Faults,
    /// On the machines.
    pub machines: Slowness,
    /// The longest time until a process that ended is started again.
    pub restart: Duration,
}

/// A process in its seat.
pub struct Seated {
    /// The process.
    pub process: Process,
    /// Where it is asked, if it is an API server.
    pub door: Arc<Door>,
}

// === impl World ===

impl World {
    /// An empty world.
    pub fn new(seed: u64, shows: bool) -> Arc<World> {
        let mut random = StdRng::seed_from_u64(seed);
        let ledger = Arc::<Mutex<Ledger>>::default();
        let world = Arc::new(World {
            seed,
            trace: Trace::new(shows),
            floor: Floor::new(random.random()),
            checker: Mutex::new(Checker::new(ledger.clone())),
            ledger,
            log: MemoryLog::new(random.random(), Faults::default()),
            net: MemoryBus::new(random.random(), bus::memory::Faults::default()),
            seats: Mutex::default(),
            irons: Mutex::default(),
            weather: Mutex::default(),
            random: Mutex::new(random),
            started: Mutex::new(0),
            panics: Mutex::default(),
            checked: watch::Sender::new((Revision::ZERO, false)),
        });
        let onlooker = Arc::downgrade(&world);
        world.net.look_on(Box::new(move |passage| {
            if let Some(world) = onlooker.upgrade() {
                let (from, subject, bytes) = (passage.from, passage.subject, passage.payload.len());
                world.trace.say(format_args!("bus  {from} -> {subject} {bytes} B to {}", passage.listeners));
            }
        }));
        world
    }

    /// A source of chance of its own, for whoever is called that.
    pub fn chance(&self, name: &str) -> StdRng {
        let mixed = name.bytes().fold(self.seed ^ 0x5eed, |sum, byte| {
            sum.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(byte)
        });
        StdRng::seed_from_u64(mixed)
    }

    /// From now on everything works like this, also for those who are there.
    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
        self.net.set_faults(weather.bus);
        self.floor.set_slowness(weather.machines);
        for seated in self.seats.lock().values() {
            seated.process.way().set_faults(weather.log);
        }
    }

    /// How everything works.
    pub fn weather(&self) -> Weather {
        *self.weather.lock()
    }

    /// Puts a process in a seat, and another whenever it ends.
    pub fn occupy(self: &Arc<Self>, seat: Seat) {
        let world = Arc::clone(self);
        if let Seat::Agent(number) = seat {
            self.power_on(number);
        }
        let ended = self.start(seat);
        tokio::spawn(async move {
            let mut ended = ended;
            loop {
                let end = ended.await;
                let seated = world.seats.lock().get(&seat).cloned();
                if let Some(seated) = seated {
                    let by_itself =
                        !seated.process.fate().is_dead() && !seated.process.shutdown.is_cancelled();
                    if by_itself || end.is_err_and(|error| error.is_panic()) {
                        world.found(format!("{} has ended by itself", seated.process.name));
                    }
                    seated.process.kill();
                    world.trace.say(format_args!("end  {}", seated.process.name));
                }
                let pause = world.draw(world.weather().restart);
                tokio::time::sleep(pause).await;
                if let Seat::Agent(number) = seat {
                    world.until_powered(number).await;
                }
                ended = world.start(seat);
            }
        });
    }

    fn start(self: &Arc<Self>, seat: Seat) -> tokio::task::JoinHandle<()> {
        let number = {
            let mut started = self.started.lock();
            *started += 1;
            *started
        };
        let name = format!("{seat}#{number}");
        self.trace.say(format_args!("start {name}"));
        let way = self.log.with_faults(self.weather().log);
        let (process, place) = Process::new(&name, self.net.connect(&name), way);
        let door = Arc::new(Door::new(None));
        let iron = match seat {
            Seat::Agent(number) => self.irons.lock().get(&number).cloned(),
            _ => None,
        };
        let fate = process.fate().clone();
        let work = services::run(seat, place, door.clone(), iron);
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = fate.death() => {}
                () = work => {}
            }
        });
        process.runs(task.abort_handle());
        self.seats.lock().insert(seat, Arc::new(Seated { process, door }));
        task
    }

    /// The process in a seat.
    pub fn seated(&self, seat: Seat) -> Option<Arc<Seated>> {
        self.seats.lock().get(&seat).cloned()
    }

    /// Every seat.
    pub fn seats(&self) -> Vec<Seat> {
        self.seats.lock().keys().copied().collect()
    }

    /// The API servers that can be asked, with their objects.
    pub fn api_servers(&self) -> Vec<(Arc<Seated>, Arc<Registry>)> {
        let seats = self.seats.lock();
        let alive = seats.values().filter(|seated| !seated.process.fate().is_dead());
        alive.filter_map(|seated| Some((seated.clone(), seated.door.borrow().clone()?))).collect()
    }

    /// A machine gets its power; what ran there before the loss is gone.
    fn power_on(&self, number: u16) {
        let node = Seat::Agent(number).node();
        self.trace.say(format_args!("power {node}"));
        let iron = Iron::new(&node, Hollow::new(facts(), number), self.floor.clone());
        self.irons.lock().insert(number, Arc::new(iron));
    }

    /// A machine loses its power, for a while.
    pub fn lose_power(self: &Arc<Self>, number: u16, pause: Duration) {
        let Some(iron) = self.irons.lock().remove(&number) else { return };
        iron.lose_power();
        if let Some(seated) = self.seated(Seat::Agent(number)) {
            seated.process.kill();
        }
        let world = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.power_on(number);
        });
    }

    /// The machine, if it has power.
    pub fn iron(&self, number: u16) -> Option<Arc<Iron>> {
        self.irons.lock().get(&number).cloned()
    }

    async fn until_powered(&self, number: u16) {
        while self.iron(number).is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The server of the bus and the log goes away, and is back after a while.
    pub async fn lose_bus(&self, pause: Duration) {
        self.log.crash();
        let all = || self.seats.lock().values().cloned().collect::<Vec<_>>();
        all().iter().for_each(|seated| seated.process.notice());
        tokio::time::sleep(pause).await;
        self.log.restart();
        all().iter().for_each(|seated| seated.process.restore());
    }

    /// Something is broken.
    pub fn found(&self, what: String) {
        self.trace.say(format_args!("BROKEN {what}"));
        self.checker.lock().found(what);
        self.checked.send_modify(|(_, broken)| *broken = true);
    }

    /// Something has panicked; what it holds is not to be touched.
    pub fn note_panic(&self, what: String) {
        self.panics.lock().push(what);
        self.checked.send_modify(|(_, broken)| *broken = true);
    }

    /// What has panicked.
    pub fn panics(&self) -> Vec<String> {
        self.panics.lock().clone()
    }

    /// A time up to `longest`.
    pub fn draw(&self, longest: Duration) -> Duration {
        match longest {
            Duration::ZERO => Duration::ZERO,
            longest => self.random.lock().random_range(Duration::ZERO..=longest),
        }
    }

    /// Follows the log without faults, and checks every step.
    pub async fn check(self: Arc<Self>) {
        let store = Store::open(self.log.clone(), Options::default()).await.expect("the log can be read");
        let mut changes = store.watch("", Revision::ZERO).expect("nothing is older than the beginning");
        while let Some(event) = changes.next().await {
            self.take(&event);
        }
        self.found("the checker was cut off from the log".to_owned());
    }

    fn take(&self, event: &WatchEvent) {
        let twins = self.floor.take_twins();
        let (mut checker, now) = (self.checker.lock(), hermetic::elapsed());
        if let WatchEvent::Change(change) = event {
            let before = checker.broken().len();
            let step = checker.step(change, now);
            let what = step.after.as_deref().map_or("gone".to_owned(), view::gist);
            self.trace.say(format_args!("log  {} {} {what}", step.revision, step.key));
            twins.into_iter().for_each(|twin| checker.found(twin));
            for broken in &checker.broken()[before..] {
                self.trace.say(format_args!("BROKEN {broken}"));
            }
        }
        let state = (checker.view.revision, !checker.broken().is_empty());
        self.checked.send_replace(state);
    }

    /// Resolves as soon as something is broken.
    pub async fn until_broken(&self) {
        let mut checked = self.checked.subscribe();
        checked.wait_for(|(_, broken)| *broken).await.expect("the sender lives as long as the world");
    }

    /// The revision that the checker has taken in.
    pub fn checked(&self) -> Revision {
        self.checked.borrow().0
    }
}

/// A small machine, so that pods have to be told no.
fn facts() -> Facts {
    Facts {
        cpus: 6,
        memory: 64 << 30,
        memory_available: 60 << 30,
        disk: 1 << 40,
        disk_available: 900 << 30,
        pids: 4_194_304,
        pids_used: 500,
        architecture: "amd64".to_owned(),
        ..Default::default()
    }
}
