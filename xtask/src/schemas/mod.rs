//! The API's types as one file: definitions joined with the numbers that protobuf gives their fields.
//!
//! ```text
//!   kubernetes-validate (PyPI) ── definitions.rs: undo its edits ──┐
//!                                                                   ├─ wire.rs: join ─> output.rs: one line a type
//!   k8s-pb (a crate) ──────────── prost.rs: read the tags ──────────┘
//! ```
//! Both inputs are pinned by version and checksum, so a run gives the same types everywhere.

use std::path::PathBuf;

use anyhow::Context;

mod definitions;
mod output;
mod prost;
mod sources;
mod wire;

/// Where the inputs are; whatever is not given is downloaded.
#[derive(clap::Args)]
pub struct Args {
    /// The wheel of kubernetes-validate.
    #[arg(long)]
    wheel: Option<PathBuf>,
    /// The unpacked source of k8s-pb.
    #[arg(long)]
    k8s_pb: Option<PathBuf>,
    /// Compare with the committed file instead of writing it.
    #[arg(long)]
    check: bool,
}

/// Reads the inputs, joins them, and writes or compares the result.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("a temporary folder for the inputs")?;
    let raw = sources::definitions(args.wheel.as_deref(), scratch.path())?;
    let crate_source = sources::k8s_pb(args.k8s_pb.as_deref(), scratch.path())?;

    let definitions = definitions::restore(&raw)?;
    let messages = prost::read_crate(&crate_source)?;
    let joined = wire::join(&definitions, &messages);
    for remark in &joined.remarks {
        eprintln!("{remark}");
    }
    let text = output::lines(&definitions, &joined.wires);
    eprintln!("{} types, {} of them with protobuf numbers", definitions.len(), joined.wires.len());

    if args.check { output::compare(&text) } else { output::write(&text) }
}
