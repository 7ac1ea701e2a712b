//! Chores of the tree that no build needs: what they make is committed.
//!
//! ```text
//!   cargo run -p xtask -- schemas            writes shared/schema/data
//!   cargo run -p xtask -- schemas --check    says whether it is what the pinned inputs give
//! ```

use clap::Parser;

mod schemas;

/// Chores of the Sampan tree.
#[derive(Parser)]
#[command(name = "xtask")]
enum Chore {
    /// Derives the API's types from two pinned packages and writes them into the tree.
    Schemas(schemas::Args),
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Schemas(args) => schemas::run(&args),
    }
}
