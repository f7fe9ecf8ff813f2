//! City time and wall time. The city lives `speed` times as fast as the wall clock: cars drive,
//! riders lose patience and policy durations run out in city time. Protocol timers, timeouts and
//! retries are never scaled: a network does not get faster because a city is compressed.

use crate::whole::whole;
use proto::units::{Clock, MonoMs, WallMs};
use std::sync::Arc;
use std::time::Duration;

/// Milliseconds of city time since the city's first moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CityMs(pub u64);

/// Converts between the two times, and knows what both are now.
#[derive(Debug, Clone)]
pub struct Pace {
    clock: Arc<dyn Clock>,
    speed: f64,
    started: MonoMs,
}

impl Pace {
    /// A city that starts now and runs `speed` times as fast as the clock.
    pub fn start(clock: Arc<dyn Clock>, speed: f64) -> Self {
        let started = clock.mono();
        Self { clock, speed, started }
    }

    /// What the city's own clock says.
    pub fn now(&self) -> CityMs {
        CityMs(self.city_ms(self.clock.mono().since(self.started)))
    }

    /// The process's clock.
    pub fn mono(&self) -> MonoMs {
        self.clock.mono()
    }

    /// The wall clock, for timestamps in requests.
    pub fn wall(&self) -> WallMs {
        self.clock.wall()
    }

    /// How much city time passes in so much wall time.
    pub fn city_ms(&self, wall_ms: u64) -> u64 {
        whole(wall_ms as f64 * self.speed)
    }

    /// How long so much city time takes.
    pub fn wall_of(&self, city_ms: u64) -> Duration {
        Duration::from_secs_f64(city_ms as f64 / self.speed / 1000.0)
    }

    /// Waits until the city's clock has reached `at`.
    pub async fn until(&self, at: CityMs) {
        loop {
            let left_ms = at.0.saturating_sub(self.now().0);
            if left_ms == 0 {
                return;
            }
            tokio::time::sleep(self.wall_of(left_ms)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn a_city_minute_takes_two_seconds_at_speed_30() {
        let pace = Pace::start(Arc::new(SystemClock::new()), 30.0);
        let before = pace.mono();
        pace.until(CityMs(60_000)).await;
        assert_eq!(pace.mono().since(before), 2_000);
        assert_eq!(pace.now(), CityMs(60_000));
    }
}
