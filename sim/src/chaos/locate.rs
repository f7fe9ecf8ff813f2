//! Whether positions go in and come out, at every node and all the time: for each seat a driver of
//! its own says where he is, there, and is looked for, there. Locations are served on both sides of
//! every partition, so no node may refuse for long, whatever it can't hear.

use crate::client::{Client, client_of};
use crate::dice::Dice;
use crate::doors::{Door, Doors};
use crate::takeover::{must, sedan};
use crate::workload::WorkloadError;
use proto::client::{Around, Fix, Patience};
use proto::units::{Clock, MonoMs};
use proto::{DriverId, Point};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often each seat is asked.
const EVERY: Duration = Duration::from_millis(500);
/// One try each, for that is the question.
const ONE_TRY: Patience = Patience { tries: 1, within_ms: 1_000, try_ms: 1_000 };
/// How far around his place a driver is looked for, and how many cars are listed: more than stand
/// there.
const RADIUS_M: u32 = 300;
const LISTED: u16 = 200;
/// The seats' places: a row of them, so far apart that they are different cells, beyond the edge of
/// the town.
const FIRST: (f64, f64) = (13.06, 77.59);
const APART_DEGREES: f64 = 0.05;

/// What one look at one seat saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Look {
    /// When it began, in milliseconds of the run.
    pub at_ms: u64,
    /// Which seat.
    pub seat: usize,
    /// Whether the position was taken.
    pub wrote: bool,
    /// Whether the search was answered.
    pub read: bool,
    /// Whether it named the driver.
    pub found: bool,
}

/// Looks at every seat that can be asked.
#[derive(Debug)]
pub(super) struct Locator {
    seats: Vec<(proto::client::Client, DriverId, Point)>,
    clock: Arc<dyn Clock>,
    began: MonoMs,
    // Two a second and seat: a run of an hour has 36,000 of 24 bytes for five seats.
    looks: Mutex<Vec<Look>>,
    /// How often a seat was found dead or paused, or so; odd while it is not to be asked.
    away: Vec<AtomicU64>,
}

impl Locator {
    /// Registers a driver for each seat.
    pub(super) async fn place(
        client: &Client,
        doors: &Doors,
        clock: Arc<dyn Clock>,
        began: MonoMs,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let mut seats = Vec::new();
        for seat in 0..doors.seats() {
            let name = format!("locator {seat}");
            let mut dice = Dice::of(seed, &name);
            let call = client.api.register_driver(&sedan(&name));
            let driver = must(client, call, &mut dice).await?.driver_id;
            let _on_duty = must(client, client.api.go_online(driver), &mut dice).await?;
            let api = client_of(Door(doors.clone(), seat), ONE_TRY, Arc::clone(&clock))?;
            let lng = FIRST.1 + APART_DEGREES * seat as f64;
            let Ok(at) = Point::from_degrees(FIRST.0, lng) else { continue };
            seats.push((api, driver, at));
        }
        let away = seats.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Self { seats, clock, began, looks: Mutex::default(), away })
    }

    /// Says that a node can't be asked from now on, or can be again.
    pub(super) fn set_away(&self, seat: usize, away: bool) {
        let era = self.away[seat].load(Ordering::Relaxed);
        if (era % 2 == 1) != away {
            self.away[seat].store(era + 1, Ordering::Relaxed);
        }
    }

    /// Everything that was seen so far, each seat's looks in order.
    pub(super) fn looks(&self) -> Vec<Look> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at all seats for ever.
    pub(super) async fn watch(&self) -> Infallible {
        let all = (0..self.seats.len()).map(|seat| self.watch_one(seat));
        futures_util::future::select_all(all.map(Box::pin)).await.0
    }

    async fn watch_one(&self, seat: usize) -> Infallible {
        let (api, driver, at) = &self.seats[seat];
        loop {
            tokio::time::sleep(EVERY).await;
            let era = self.away[seat].load(Ordering::Relaxed);
            if era % 2 == 1 {
                continue;
            }
            let at_ms = self.clock.mono().since(self.began);
            let fix = Fix::at(*at, self.clock.wall());
            let wrote = api.ping(*driver, fix).await.is_ok_and(|counts| counts.applied > 0);
            let around =
                Around { radius_m: Some(RADIUS_M), limit: Some(LISTED), ..Around::point(*at) };
            let nearby = api.nearby(&around).await;
            let read = nearby.is_ok();
            let found =
                nearby.is_ok_and(|near| near.drivers.iter().any(|d| d.driver_id == *driver));
            // Killed while it was asked: that says nothing.
            if self.away[seat].load(Ordering::Relaxed) == era {
                let look = Look { at_ms, seat, wrote, read, found };
                self.looks.lock().unwrap_or_else(PoisonError::into_inner).push(look);
            }
        }
    }
}

/// How locations were served in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Looks.
    pub looks: usize,
    /// Positions taken.
    pub wrote: usize,
    /// Searches answered.
    pub read: usize,
    /// Searches that named the driver.
    pub found: usize,
}

impl Served {
    /// The sum of these looks.
    pub(super) fn of<'a>(looks: impl Iterator<Item = &'a Look>) -> Self {
        looks.fold(Self::default(), |sum, look| Self {
            looks: sum.looks + 1,
            wrote: sum.wrote + usize::from(look.wrote),
            read: sum.read + usize::from(look.read),
            found: sum.found + usize::from(look.found),
        })
    }
}
