//! The command line.

/// What the API server is told at start.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {}
