//! `sampan`: the one binary. Each service is a subcommand, and `up` runs all of them as a local cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod api;
mod bus_keys;
mod join;
mod kubeconfig;
mod local;
mod node;
mod ready;
mod status;
mod token;
mod trace;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A cluster manager that speaks the Kubernetes API, held together by NATS JetStream.
#[derive(Parser)]
#[command(name = "sampan", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a local cluster (or what is not running of it) and wait until it is ready
    Up(local::UpArguments),
    /// Stop the local cluster; its data stays
    Down(local::ClusterArguments),
    /// Stop the local cluster and remove its data
    Clean(local::ClusterArguments),
    /// Show how the cluster is: its parts, nodes, pods, leaders, and the log
    Status(status::StatusArguments),
    /// Show the way of a pod from the request that asked for it until it was ready
    Trace(trace::TraceArguments),
    /// Images on the local nodes
    #[command(subcommand)]
    Image(ImageCommand),
    /// Keys, credentials and configuration of the bus
    #[command(subcommand)]
    Bus(BusCommand),
    /// Bootstrap tokens, with which machines join
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Make this machine a node of a cluster, and run as one
    Join(Box<join::Arguments>),
    /// Run the children of a local cluster in the foreground and restart those that end
    #[command(hide = true)]
    Supervise(local::ClusterArguments),
    /// The API server: HTTPS for clients, commands and node gateway on the bus
    Apiserver(Box<apiserver::Config>),
    /// The scheduler: chooses a node for each pod; several share the work
    Scheduler(Box<scheduler::Config>),
    /// Our filters and scores for a stock kube-scheduler, as an extender over HTTP
    SchedulerExtender(Box<scheduler::extend::serve::Config>),
    /// The controller of Deployments and ReplicaSets
    ReplicaController(Box<replica_controller::Config>),
    /// The controller of StatefulSets
    StatefulController(Box<stateful_controller::Config>),
    /// The controller of Jobs and CronJobs
    BatchController(Box<batch_controller::Config>),
    /// Garbage collection, namespaces, node lifecycle, endpoints
    ClusterController(Box<cluster_controller::Config>),
    /// The name server of Services and pods
    Dns(Box<dns::Config>),
    /// The agent of a node: runs its pods on containerd
    NodeAgent(Box<node_agent::Config>),
    /// A whole node, in a container or as a service unit: the agent and a containerd of its own
    Node(Box<node::NodeArguments>),
    /// Print a kubeconfig for the administrator, beside the API server's data
    Kubeconfig(kubeconfig::KubeconfigArguments),
    /// Ask a service whether it is ready, for health checks
    Ready(ready::ReadyArguments),
}

impl Command {
    /// A service logs; a command that a person waits for prints.
    fn is_service(&self) -> bool {
        !matches!(
            self,
            Command::Up(_)
                | Command::Down(_)
                | Command::Clean(_)
                | Command::Status(_)
                | Command::Trace(_)
                | Command::Image(_)
                | Command::Bus(_)
                | Command::Token(_)
                | Command::Ready(_)
                | Command::Kubeconfig(_)
        )
    }
}

#[derive(Subcommand)]
enum BusCommand {
    /// Make the keys and credentials that are missing, and write nats-server's configuration
    Config(bus_keys::ConfigArguments),
    /// Make new keys for roles, so that what the old ones have signed ends
    Rotate(bus_keys::RotateArguments),
}

#[derive(Subcommand)]
enum ImageCommand {
    /// Load docker or OCI archives into containerd on every local node
    Load {
        #[command(flatten)]
        cluster: local::ClusterArguments,
        /// Archives as `docker save` or `skopeo copy … oci-archive:` write them
        #[arg(required = true, value_name = "ARCHIVE")]
        archives: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    keep_pages_small(&arguments.command);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // A control plane's processes mostly wait; more threads than this only cost memory.
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 8))
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments.command)),
        Err(error) => Err(error.into()),
    };
    runtime::log::end_traces();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sampan: {error:#}");
            error.downcast_ref::<join::Refused>().map_or(ExitCode::FAILURE, |refused| refused.code().into())
        }
    }
}

/// A service uses a few megabytes here and there. Where the kernel hands out pages of two megabytes to whoever does
/// not refuse, each would hold several times that; the allocator does not ask for them either (its feature `no_thp`).
/// Not the supervisor: what it starts would inherit this, and containers may want such pages.
fn keep_pages_small(command: &Command) {
    let starts_others = matches!(command, Command::Supervise(_) | Command::Node(_) | Command::Join(_));
    if command.is_service() && !starts_others {
        // A kernel without such pages refuses, and there is nothing to keep small.
        let _ = nix::sys::prctl::set_thp_disable(true);
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    if command.is_service() {
        // Each service is the subcommand of its name.
        let service = std::env::args().nth(1).unwrap_or_default();
        // The name server's library writes lines about every question.
        runtime::init_logging(&service, "info,hickory_server=warn")?;
    }
    let shutdown = runtime::shutdown::on_signal;
    match command {
        Command::Up(arguments) => local::up(arguments).await,
        Command::Down(arguments) => local::down(&arguments).await,
        Command::Clean(arguments) => local::clean(&arguments).await,
        Command::Status(arguments) => status::run(&arguments).await,
        Command::Trace(arguments) => trace::run(&arguments).await,
        Command::Image(ImageCommand::Load { cluster, archives }) => {
            local::image_load(&cluster, &archives).await
        }
        Command::Bus(BusCommand::Config(arguments)) => bus_keys::config(arguments),
        Command::Bus(BusCommand::Rotate(arguments)) => bus_keys::rotate(&arguments),
        Command::Token(command) => token::run(command).await,
        Command::Join(arguments) => join::run(*arguments, shutdown()).await,
        Command::Supervise(arguments) => local::supervise(&arguments).await,
        Command::Apiserver(config) => apiserver::run(*config, shutdown()).await,
        Command::Scheduler(config) => scheduler::run(*config, shutdown()).await,
        Command::SchedulerExtender(config) => scheduler::extend::serve::run(*config, shutdown()).await,
        Command::ReplicaController(config) => replica_controller::run(*config, shutdown()).await,
        Command::StatefulController(config) => stateful_controller::run(*config, shutdown()).await,
        Command::BatchController(config) => batch_controller::run(*config, shutdown()).await,
        Command::ClusterController(config) => cluster_controller::run(*config, shutdown()).await,
        Command::Dns(config) => dns::run(*config, shutdown()).await,
        Command::NodeAgent(config) => node_agent::run(*config, shutdown()).await,
        Command::Node(config) => node::run(*config, shutdown()).await,
        Command::Kubeconfig(arguments) => kubeconfig::run(&arguments),
        Command::Ready(arguments) => ready::run(&arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
