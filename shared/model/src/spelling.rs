//! Hashes and numbers spelled as parts of names.

/// Letters of generated names: no vowels and nothing that looks like another, so that no words come out.
pub const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a over 64 bits: the same in every build and on every machine, unlike the standard library's hashers.
#[derive(Clone, Copy, Debug)]
pub struct Fnv(pub u64);

// === impl Fnv ===

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// The hash of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> u64 {
        let mut hash = Fnv::default();
        hash.write(bytes.as_ref());
        hash.0
    }

    /// Takes in further bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The last `count` digits of `number` in [`LETTERS`], the lowest first. Ten of them hold 47 bits.
pub fn letters(number: u64, count: usize) -> String {
    let digits = std::iter::successors(Some(number), |rest| Some(rest / 27));
    digits.take(count).map(|rest| char::from(LETTERS[(rest % 27) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_stay_the_same_for_ever() {
        assert_eq!(Fnv::of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(letters(0, 3), "bbb");
        assert_eq!(letters(28, 3), "ccb");
    }
}
