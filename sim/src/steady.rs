//! A steady load: so many riders who each ask again as soon as their last booking is over, until
//! the city closes, and who look at their bookings as often as it takes to make so many requests a
//! second in all. Bookings and trips are what they are; looking fills the rest.

use crate::city::Request;
use crate::dice::Dice;
use crate::pace::Pace;
use crate::rider;
use crate::workload::World;
use proto::RiderId;
use proto::units::Clock;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steady {
    /// Riders who are about at any time.
    pub riders: usize,
    /// Requests a second, of all clients together; positions on sockets do not count.
    pub operations: f64,
}

/// First pause between two looks: five seconds of city time, but not more often than once a second
/// of wall time, for four thousand riders look at once.
const LOOK_CITY_MS: u64 = 5_000;
const LOOK_MIN: Duration = Duration::from_secs(1);
/// Longest pause; each is half as long again as the one before.
const LOOK_MAX: Duration = Duration::from_secs(6);
/// The pause of a steady load stays between these.
const PACED_MS: (f64, f64) = (50.0, 6_000.0);
/// How often it is corrected.
const CORRECT_EVERY: Duration = Duration::from_secs(1);
/// From the first rider of a steady load to the last.
const ARRIVE_WITHIN_S: f64 = 5.0;
/// A rider's rest between two rides, in wall time.
const REST: Duration = Duration::from_millis(200);

/// How often riders look how their bookings stand.
#[derive(Debug)]
pub(crate) enum Looks {
    /// Less and less often.
    Growing,
    /// At this pause, in milliseconds.
    Paced(AtomicU64),
}

impl Looks {
    /// For a city with this load.
    pub(crate) fn of(steady: Option<Steady>) -> Self {
        steady.map_or(Self::Growing, |_| Self::Paced(AtomicU64::new(1_000)))
    }

    /// The pause after a pause.
    pub(crate) fn next(&self, last: Option<Duration>, pace: &Pace, dice: &mut Dice) -> Duration {
        match self {
            Self::Growing => match last {
                None => pace.wall_of(LOOK_CITY_MS).clamp(LOOK_MIN, LOOK_MAX),
                Some(last) => last.mul_f64(1.5).min(LOOK_MAX),
            },
            // Apart, or those who booked together would always look together.
            Self::Paced(ms) => {
                Duration::from_millis(ms.load(Ordering::Relaxed)).mul_f64(dice.between(0.7, 1.3))
            }
        }
    }

    /// The pause after somebody gave up and wants to know what came of it.
    pub(crate) fn soon(last: Duration) -> Duration {
        last.min(LOOK_MIN)
    }
}

/// The pause at which `target` requests a second are made, after `measured` were at this one. What
/// is not looking does not depend on it, so this nears the right one by a part each time.
fn corrected(pause_ms: f64, measured: f64, target: f64) -> f64 {
    (pause_ms * (measured / target).clamp(0.5, 2.0)).clamp(PACED_MS.0, PACED_MS.1)
}

/// Keeps the load where it was asked to be, for ever.
pub(crate) async fn regulate(world: &World, steady: Steady, clock: &dyn Clock) -> Infallible {
    let Looks::Paced(pause) = &world.looks else { return std::future::pending().await };
    let mut exact_ms = pause.load(Ordering::Relaxed) as f64;
    let (mut asked, mut since) = (world.tally.asked.get(), clock.mono());
    loop {
        tokio::time::sleep(CORRECT_EVERY).await;
        let (asked_now, now) = (world.tally.asked.get(), clock.mono());
        let measured = (asked_now - asked) as f64 * 1000.0 / now.since(since).max(1) as f64;
        exact_ms = corrected(exact_ms, measured, steady.operations);
        pause.store(crate::whole::whole(exact_ms), Ordering::Relaxed);
        (asked, since) = (asked_now, now);
    }
}

/// One rider of so many, from his arrival until the city closes.
pub(crate) async fn stay(
    world: Arc<World>,
    rider: RiderId,
    pool: Arc<[Request]>,
    (number, riders): (usize, usize),
    mut closing: watch::Receiver<bool>,
    mut dice: Dice,
) {
    let arrives = ARRIVE_WITHIN_S * number as f64 / riders.max(1) as f64;
    tokio::time::sleep(Duration::from_secs_f64(arrives)).await;
    let wishes = (number..).step_by(riders.max(1)).map(|wish| pool[wish % pool.len()]);
    for wish in wishes {
        if *closing.borrow_and_update() {
            return;
        }
        world.tally.rides.up();
        rider::ride(Arc::clone(&world), rider, wish, dice.fork()).await;
        tokio::time::sleep(REST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_nears_its_target_and_stays() {
        let (riders, others, target) = (300.0, 100.0, 500.0);
        let measured = |pause_ms: f64| others + riders * 1000.0 / pause_ms;
        for mut pause_ms in [50.0, 1_000.0, 6_000.0] {
            for _ in 0..20 {
                pause_ms = corrected(pause_ms, measured(pause_ms), target);
            }
            assert!((measured(pause_ms) - target).abs() < 5.0, "{pause_ms}");
        }
        assert_eq!(corrected(4_000.0, 2_000.0, 500.0), 6_000.0, "too many others: look rarely");
    }
}
