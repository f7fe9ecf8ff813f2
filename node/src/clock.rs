//! The one file that reads a clock. Everything else is handed [`Clock`].
//!
//! Both times come from tokio's clock, which a simulation can stop and turn; the wall clock is
//! read once, at the start. A wall clock that is set while the process runs therefore does not
//! make times jump; the process takes the new time at its next start.

use proto::units::{Clock, MonoMs, WallMs};

/// The clocks of this process.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: tokio::time::Instant,
    wall_at_start: WallMs,
}

impl SystemClock {
    /// Clocks that start now, with the machine's wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn new() -> Self {
        let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self::starting_at(WallMs(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)))
    }
    /// Clocks that start now and call this moment `wall`; for simulations, where the machine's
    /// wall clock would differ from run to run.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn starting_at(wall: WallMs) -> Self {
        Self { started: tokio::time::Instant::now(), wall_at_start: wall }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn mono(&self) -> MonoMs {
        MonoMs(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
    fn wall(&self) -> WallMs {
        self.wall_at_start.plus_ms(self.mono().0)
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn precise_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_moves_with_the_monotonic_one() {
        let clock = SystemClock::starting_at(WallMs(1_000));
        let (mono, wall) = (clock.mono(), clock.wall());
        assert!(wall.0 >= 1_000 + mono.0 && wall.0 < 11_000, "{mono:?} {wall:?}");
    }
}
