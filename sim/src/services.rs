//! What each process runs: the services' own code, from the point at which they have a bus and a log.

use std::sync::Arc;
use std::time::Duration;

use apiserver::registry::{Entropy, Registry};
use apiserver::service::{Place as Address, serve};
use kinds::Table;
use model::Class;
use runtime::Readiness;
use schema::Schemas;
use store::{Options, Store};
use tokio::sync::watch;

use crate::machine::{Iron, Machine};
use crate::process::Place;
use crate::seat::Seat;

/// How long a node may be silent: shorter than in production, so that a run sees more of what follows.
const NODE_GRACE_SECONDS: u64 = 20;
/// Where the API servers would listen.
const PORT: u16 = 6443;

/// What an API server is asked by, once it has read the log.
pub type Door = watch::Sender<Option<Arc<Registry>>>;

/// Runs what belongs in `seat`, until it ends by itself. Every process begins with an empty memory.
pub async fn run(seat: Seat, place: Place, door: Arc<Door>, iron: Option<Arc<Iron>>) {
    let (bus, shutdown) = (place.bus.clone(), place.shutdown.clone());
    let leads = Readiness::new().condition("leader");
    let ended = match seat {
        Seat::ApiServer(_) => {
            api_server(place, &door).await;
            Ok(())
        }
        Seat::Scheduler(_) => {
            let store = open(&place, scheduler::CLASSES).await;
            scheduler::schedule(scheduler_options(), bus, store, leads, shutdown).await
        }
        Seat::Replica(_) => {
            let store = open(&place, replica_controller::CLASSES).await;
            replica_controller::control(bus, store, leads, shutdown).await
        }
        Seat::Stateful(_) => {
            let store = open(&place, stateful_controller::CLASSES).await;
            stateful_controller::control(bus, store, leads, shutdown).await
        }
        Seat::Batch(_) => {
            let store = open(&place, batch_controller::CLASSES).await;
            batch_controller::control(bus, store, leads, shutdown).await
        }
        Seat::Cluster(_) => {
            let store = open(&place, &cluster_controller::CLASSES).await;
            cluster_controller::control(&cluster_config(), bus, store, leads, shutdown).await
        }
        Seat::Agent(number) => {
            let machine = Machine::new(iron.expect("an agent has a machine"), place.fate.clone());
            let agent = node_agent::hollow_on(machine, bus, &seat.node(), number, Readiness::new());
            agent.run(shutdown).await;
            Ok(())
        }
    };
    ended.expect("the bus in memory refuses nobody");
}

async fn open(place: &Place, classes: &[Class]) -> Store {
    let options = Options { classes: classes.to_vec(), ..Options::default() };
    Store::open(place.log.clone(), options).await.expect("every version of the log is ours")
}

async fn api_server(place: Place, door: &Door) {
    let options = Options { checkpoints: true, ..Options::default() };
    let store = Store::open(place.log.clone(), options).await.expect("every version of the log is ours");
    let registry = Registry::new(store, Table::builtin(), Schemas::builtin(), Entropy::from_os());
    let registry = Arc::new(registry);
    door.send_replace(Some(registry.clone()));
    let objects = Readiness::new().condition("objects");
    let address = Address { port: PORT, advertised: None };
    serve(&registry, &place.bus, address, &objects, &place.shutdown).await;
    door.send_replace(None);
}

fn scheduler_options() -> scheduler::Options {
    scheduler::Options {
        name: "default-scheduler".to_owned(),
        seed: rand::random(),
        ..scheduler::Options::default()
    }
}

fn cluster_config() -> cluster_controller::Config {
    cluster_controller::Config {
        bus: runtime::BusArguments::default(),
        admin: runtime::AdminArguments::default(),
        ca_file: None,
        node_grace_seconds: NODE_GRACE_SECONDS,
        cluster_cidr: None,
    }
}

/// For how long a drained process may go on before it is killed.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
