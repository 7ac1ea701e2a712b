//! Chance from a seed, so that a decision can be taken again.

/// A small generator of numbers (SplitMix64); good enough to break ties, and as fast as that must be.
#[derive(Clone, Debug)]
pub struct Dice(u64);

// === impl Dice ===

impl Dice {
    /// Dice that fall the same way each time for the same seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u64::from(mixed as u32) * u64::from(bound)) >> 32) as u32
    }
}
