//! Chance and time below everything: this binary's own `getrandom` and `clock_gettime`, which every
//! crate in it ends up calling. On a simulation's thread they answer from the seed and from virtual
//! time; on every other thread they are the operating system's.
//!
//! What goes through here: the keys of `RandomState` (chitchat keeps peers in hash maps), `rand`'s
//! thread generator (chitchat draws from it whom to gossip with), and `std::time::Instant` (tarpc's
//! deadlines, hyper's `Date` header).
#![expect(unsafe_code, reason = "libc's symbols can only be replaced by unsafe ones")]

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use std::cell::Cell;
use std::time::Duration;

/// 1970 plus this is when every simulation begins: 14 November 2023, late in the evening.
pub const EPOCH: Duration = Duration::from_secs(1_700_000_000);

thread_local! {
    /// The state of the generator; 0 outside of simulations.
    static CHANCE: Cell<u64> = const { Cell::new(0) };
    /// Time since the simulation began; nothing outside of simulations.
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Makes this thread a simulation's. It must be a fresh one: what the standard library and `rand`
/// have drawn for a thread they keep.
pub fn begin(seed: u64) {
    // Zero would mean that there is no simulation; an odd multiplier keeps seeds apart.
    CHANCE.set(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    set_now(Duration::ZERO);
}

/// Whether this thread is a simulation's.
pub fn is_simulated() -> bool {
    CHANCE.try_with(Cell::get).unwrap_or(0) != 0
}

/// Moves this thread's clocks.
pub fn set_now(since_began: Duration) {
    NOW.set(Some(since_began));
}

/// How far this thread's simulation has come.
pub fn now() -> Duration {
    NOW.try_with(Cell::get).ok().flatten().unwrap_or_default()
}

/// The layout of libc's `struct timespec` on 64-bit Linux.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

type GetRandom = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> isize;
type ClockGetTime = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;

const CLOCK_REALTIME: c_int = 0;
/// `RTLD_NEXT`: the symbol as the next library has it.
const NEXT: *mut c_void = usize::MAX as *mut c_void;

unsafe extern "C" {
    fn dlsym(library: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

/// xorshift64: one draw for each byte, as good as a hash key needs.
fn draw(state: u64) -> u64 {
    let state = state ^ (state << 13);
    let state = state ^ (state >> 7);
    state ^ (state << 17)
}

/// # Safety
/// As libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    // A thread that is being torn down has no locals any more, and no simulation.
    let mut state = CHANCE.try_with(Cell::get).unwrap_or(0);
    if state == 0 {
        // SAFETY: libc has this symbol with this signature, and the caller keeps its contract.
        return unsafe {
            let next = dlsym(NEXT, c"getrandom".as_ptr());
            core::mem::transmute::<*mut c_void, GetRandom>(next)(buffer, length, flags)
        };
    }
    for n in 0..length {
        state = draw(state);
        // SAFETY: n < length.
        unsafe { *buffer.cast::<u8>().add(n) = state.to_be_bytes()[0] };
    }
    CHANCE.set(state);
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// # Safety
/// As libc's: `to` points to a timespec.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, to: *mut Timespec) -> c_int {
    let Some(now) = NOW.try_with(Cell::get).ok().flatten() else {
        // SAFETY: libc has this symbol with this signature, and the caller keeps its contract.
        return unsafe {
            let next = dlsym(NEXT, c"clock_gettime".as_ptr());
            core::mem::transmute::<*mut c_void, ClockGetTime>(next)(clock, to)
        };
    };
    // A machine that was switched on an hour ago: some subtract an age from its clock.
    let at = now + if clock == CLOCK_REALTIME { EPOCH } else { Duration::from_secs(3_600) };
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    // SAFETY: the caller keeps its contract.
    unsafe {
        *to = Timespec { seconds, nanoseconds: c_long::from(at.subsec_nanos().cast_signed()) }
    };
    0
}
