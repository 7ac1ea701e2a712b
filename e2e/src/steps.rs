//! Steps that follow each other.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::Cluster;

/// One step: what it shows, and how.
pub type Step = (&'static str, fn(&Cluster) -> Result<()>);

/// Takes every step, also those after one that failed, and says how many did. `SAMPAN_STEPS=word` takes only the
/// steps with that word in their title.
pub fn walk(cluster: &Cluster, steps: &[Step]) -> ExitCode {
    let only = std::env::var("SAMPAN_STEPS").unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    for (title, step) in steps.iter().filter(|(title, _)| title.contains(&only)) {
        let began = Instant::now();
        match step(cluster) {
            Ok(()) => {
                passed += 1;
                println!("ok      {title} ({:.1} s)", began.elapsed().as_secs_f32());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {title} ({:.1} s)\n        {error:#}", began.elapsed().as_secs_f32());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
