//! A machine's wall clock, which may be wrong. Its monotonic clock never is.

use node::clock::SystemClock;
use proto::units::{Clock, MonoMs, WallMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// By how many milliseconds a machine's wall clock is off. It survives the machine's crashes.
pub type Off = Arc<AtomicI64>;

/// A right clock, and how far off the wall clock is.
#[derive(Debug)]
pub struct WrongClock {
    right: SystemClock,
    off: Off,
}

impl WrongClock {
    /// A clock that starts now, at this time plus what the machine is off.
    pub fn starting_at(wall: WallMs, off: Off) -> Self {
        Self { right: SystemClock::starting_at(wall), off }
    }
}

impl Clock for WrongClock {
    fn mono(&self) -> MonoMs {
        self.right.mono()
    }
    fn wall(&self) -> WallMs {
        WallMs(self.right.wall().0.saturating_add_signed(self.off.load(Ordering::Relaxed)))
    }
    fn precise_us(&self) -> u64 {
        self.right.precise_us()
    }
}
