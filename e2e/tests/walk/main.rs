//! The walk through a whole cluster with the real kubectl: what the tutorial and the issues promise, in order.

mod bad_input;
mod chaos;
mod cluster;
mod custom;
mod daemons;
mod identity;
mod objects;
mod pods;
mod replicas;
mod rust_client;
mod services;
mod volumes;
mod workloads;

use std::process::ExitCode;

use e2e::{Cluster, Step, walk};

const STEPS: &[&[Step]] = &[
    cluster::STEPS,
    pods::STEPS,
    workloads::STEPS,
    daemons::STEPS,
    services::STEPS,
    volumes::STEPS,
    objects::STEPS,
    custom::STEPS,
    identity::STEPS,
    rust_client::STEPS,
    bad_input::STEPS,
    replicas::STEPS,
    chaos::STEPS,
];

fn main() -> ExitCode {
    match Cluster::up() {
        Ok(cluster) => walk(&cluster, &STEPS.concat()),
        Err(error) => {
            eprintln!("no cluster to walk through: {error:#}");
            ExitCode::FAILURE
        }
    }
}
