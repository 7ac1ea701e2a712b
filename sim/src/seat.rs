//! The places of a cluster in which a process sits.

use std::fmt;

/// A place in which there is a process, or soon will be again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seat {
    /// An API server.
    ApiServer(u16),
    /// A scheduler.
    Scheduler(u16),
    /// A replica controller.
    Replica(u16),
    /// A stateful controller.
    Stateful(u16),
    /// A batch controller.
    Batch(u16),
    /// A cluster controller.
    Cluster(u16),
    /// The agent of a node.
    Agent(u16),
}

// === impl Seat ===

impl Seat {
    /// The node of an agent.
    pub fn node(self) -> String {
        match self {
            Seat::Agent(number) => format!("node-{number}"),
            other => unreachable!("{other} has no node"),
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, number) = match self {
            Seat::ApiServer(number) => ("apiserver", number),
            Seat::Scheduler(number) => ("scheduler", number),
            Seat::Replica(number) => ("replica-controller", number),
            Seat::Stateful(number) => ("stateful-controller", number),
            Seat::Batch(number) => ("batch-controller", number),
            Seat::Cluster(number) => ("cluster-controller", number),
            Seat::Agent(number) => ("node-agent", number),
        };
        write!(f, "{name}-{number}")
    }
}
