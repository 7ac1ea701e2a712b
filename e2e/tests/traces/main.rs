//! How one sees what the cluster does: a trace from kubectl's request to the container's start, `sampan trace`, and
//! `sampan status`. A cluster of its own, since its services send their traces to this process.

mod collector;
mod hops;
mod status;
mod trace;

use std::process::ExitCode;

use anyhow::Result;
use collector::Collector;
use e2e::{Cluster, Step, walk};

const STEPS: &[&[Step]] = &[hops::STEPS, status::STEPS];

fn main() -> ExitCode {
    match set_up().and_then(|(cluster, collector)| {
        trace::one_deployment(&cluster, &collector)?;
        println!("ok      one trace leads from kubectl's request to the container's start");
        Ok(cluster)
    }) {
        Ok(cluster) => walk(&cluster, &STEPS.concat()),
        Err(error) => {
            eprintln!("FAILED  {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every write is traced: kubectl itself names no trace, so its requests begin one.
fn set_up() -> Result<(Cluster, Collector)> {
    let (collector, address) = Collector::start()?;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    Ok((Cluster::up_with(&[], &environment)?, collector))
}
