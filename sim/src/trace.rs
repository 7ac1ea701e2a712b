//! What happened, line by line: shown on request, and always summed up in a number by which two runs are compared.

use std::fmt;

use parking_lot::Mutex;

use crate::hermetic;

/// The trace of a run.
pub struct Trace(Mutex<Told>);

struct Told {
    shows: bool,
    steps: u64,
    digest: u64,
}

/// FNV-1a: two traces that differ have different sums, and nobody tries to deceive us.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

// === impl Trace ===

impl Trace {
    /// An empty trace, which is printed as it grows if it `shows`.
    pub fn new(shows: bool) -> Trace {
        Trace(Mutex::new(Told { shows, steps: 0, digest: BASIS }))
    }

    /// The next step.
    pub fn say(&self, step: fmt::Arguments<'_>) {
        let line = format!("{:>11.3} {step}", hermetic::elapsed().as_secs_f64());
        let mut told = self.0.lock();
        told.steps += 1;
        for byte in line.bytes() {
            told.digest = (told.digest ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        if told.shows {
            println!("{line}");
        }
    }

    /// How many steps there were, and the number that sums them up.
    pub fn sum(&self) -> (u64, u64) {
        let told = self.0.lock();
        (told.steps, told.digest)
    }
}
