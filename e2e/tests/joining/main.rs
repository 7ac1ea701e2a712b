//! A second machine joins a cluster with a token: a network namespace of its own, with one link to the first machine.

mod machine;
mod refusals;
mod welcome;

use std::process::ExitCode;

use e2e::{Cluster, Step, walk};

const STEPS: &[&[Step]] = &[welcome::STEPS, refusals::STEPS];

fn main() -> ExitCode {
    let link = match machine::Link::new() {
        Ok(link) => link,
        Err(error) => {
            eprintln!("no second machine: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match Cluster::up_with(&["--address", machine::FIRST], &[]) {
        Ok(cluster) => {
            let outcome = walk(&cluster, &STEPS.concat());
            if let Err(error) = machine::leave(&cluster) {
                eprintln!("the second machine does not go: {error:#}");
            }
            outcome
        }
        Err(error) => {
            eprintln!("no cluster to join: {error:#}");
            ExitCode::FAILURE
        }
    };
    drop(link);
    outcome
}
