//! Time and chance of this process, as a simulated thread finds them.
//!
//! ```text
//!  SystemTime::now, Instant::now, Timestamp::now ──> clock_gettime ─┐ on a simulated thread: tokio's paused clock
//!  RandomState, rand, uuid ──> getrandom ───────────────────────────┘ and a sequence of numbers from the seed
//! ```
//! Decisions take time and chance as arguments, so what asks for them are only the loops around the decisions, and the
//! libraries: the order in which a `HashMap` is walked, which branch of a `select!` is looked at first, how long an
//! agent waits before it tries again. Every one of these ends in one of two functions of libc. This program has its own
//! two, which the linker puts in their place. A service need not know that it is simulated, and what somebody writes
//! tomorrow is simulated as well.
//!
//! On every other thread, and before a simulation begins, both ask the kernel as ever.
#![allow(unsafe_code)] // Two functions of libc can only be replaced by functions with C's types.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::time::Duration;

use tokio::time::Instant;

thread_local! {
    /// The state of the sequence that random bytes are taken from.
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
    /// When the simulation began, by tokio's clock.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Tokio's clock asks the kernel where there is no runtime; it must not be asked in turn.
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
}

/// From now on chance on this thread comes from `seed`. To be called on a thread on which nothing has asked for chance
/// yet: what was drawn before is kept by whoever drew it.
pub fn seed(seed: u64) {
    CHANCE.set(Some(seed));
}

/// From now on the time on this thread is the runtime's, beginning at the log's epoch. To be called within a runtime
/// whose clock is paused.
pub fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// Virtual time since [`begin`].
pub fn elapsed() -> Duration {
    IS_ASKING.set(true);
    let elapsed = BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed());
    IS_ASKING.set(false);
    elapsed
}

/// The next number of the sequence (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn simulated_time(clock: libc::clockid_t) -> Option<Duration> {
    // A thread that ends has no cells any more.
    let began = BEGAN.try_with(Cell::get).ok().flatten();
    if began.is_none() || IS_ASKING.get() {
        return None;
    }
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            Some(Duration::from_millis(store::memory::EPOCH) + elapsed())
        }
        // Any beginning will do that leaves room for what was before.
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE => {
            Some(Duration::from_secs(1 << 20) + elapsed())
        }
        _ => None,
    }
}

/// In the place of libc's.
///
/// # Safety
/// As libc's: `time` is where a `timespec` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let Some(now) = simulated_time(clock) else {
        // SAFETY: the caller's promise about `time` is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, c_long::from(clock), time) } as c_int;
    };
    let seconds = libc::time_t::try_from(now.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: the caller's promise.
    unsafe { time.write(libc::timespec { tv_sec: seconds, tv_nsec: c_long::from(now.subsec_nanos()) }) };
    0
}

/// In the place of libc's.
///
/// # Safety
/// As libc's: `length` bytes may be written at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Some(mut state) = CHANCE.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the caller's promise about `buffer` is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    };
    let mut word = [0; 8];
    for index in 0..length {
        if index % 8 == 0 {
            word = draw(&mut state).to_le_bytes();
        }
        // SAFETY: `index` is below `length`.
        unsafe { buffer.cast::<u8>().add(index).write(word[index % 8]) };
    }
    CHANCE.set(Some(state));
    length as isize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// What a thread sees of chance and time when it is simulated from this seed.
    fn look(number: u64) -> (Vec<u32>, u64, String, Duration) {
        let simulated = move || {
            seed(number);
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.expect("a runtime can be made").block_on(async {
                begin();
                let map: HashMap<u32, ()> = (0..100).map(|key| (key, ())).collect();
                let before = std::time::Instant::now();
                tokio::time::sleep(Duration::from_secs(3600)).await;
                let slept = before.elapsed();
                (map.into_keys().collect(), rand::random(), jiff::Timestamp::now().to_string(), slept)
            })
        };
        std::thread::spawn(simulated).join().expect("it does not panic")
    }

    #[test]
    fn one_seed_gives_one_order_one_chance_and_one_time() {
        let (first, again, other) = (look(1), look(1), look(2));
        assert_eq!(first, again);
        assert_ne!((&first.0, first.1), (&other.0, other.1));
        assert_eq!((first.2.as_str(), first.3), ("2024-01-01T01:00:00Z", Duration::from_secs(3600)));
    }

    #[test]
    fn other_threads_ask_the_kernel() {
        let year = jiff::Timestamp::now().to_string();
        assert!(year.as_str() > "2024-06", "{year}");
        assert_ne!(rand::random::<u64>(), rand::random::<u64>());
    }
}
