//! Chance: uids, generated names and free addresses, all from one seeded source.

use std::sync::Mutex;

use model::spelling::LETTERS;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Letters that are appended to `generateName`.
const SUFFIX: usize = 5;
/// Bytes of `generateName` that are kept, so that the whole stays a label (63 bytes).
const BASE_MAX: usize = 63 - SUFFIX;

/// A source of chance; the same seed gives the same names.
#[derive(Debug)]
pub struct Entropy(Mutex<StdRng>);

// === impl Entropy ===

impl Entropy {
    /// Different in every process.
    pub fn from_os() -> Entropy {
        Entropy(Mutex::new(StdRng::from_os_rng()))
    }

    /// For tests and simulations.
    pub fn from_seed(seed: u64) -> Entropy {
        Entropy(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A random uid (UUID version 4).
    pub fn uid(&self) -> String {
        let mut bytes = [0; 16];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// A name that begins with `base`.
    pub fn name(&self, base: &str) -> String {
        let end = (0..=BASE_MAX.min(base.len())).rev().find(|at| base.is_char_boundary(*at)).unwrap_or(0);
        let letter = |rng: &mut StdRng| char::from(LETTERS[rng.random_range(0..LETTERS.len())]);
        let suffix: String = self.with(|rng| (0..SUFFIX).map(|_| letter(rng)).collect());
        format!("{}{suffix}", &base[..end])
    }

    /// A number to make further choices from.
    pub fn seed(&self) -> u64 {
        self.with(StdRng::next_u64)
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().expect("nobody panics while drawing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_fits_into_a_label_and_follows_the_seed() {
        let (a, b) = (Entropy::from_seed(7), Entropy::from_seed(7));
        let name = a.name(&"x".repeat(80));
        assert_eq!(name.len(), 63);
        assert_eq!(name, b.name(&"x".repeat(80)));
        assert_eq!(a.uid(), b.uid());
        assert_ne!(a.name("web-"), a.name("web-"));
    }
}
