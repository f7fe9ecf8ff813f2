//! What a stranded booking does, whom no free driver could reach in time: it looks for one who is on his way
//! to another rider, could be here, and whose rider somebody free could fetch instead; and asks that booking
//! to yield him. The other decides by what it sees then, and changes its driver as for a better one: the
//! new one is taken before the old one is let go. Who is let go wakes those who wait, this one before others.
//!
//! Nothing here is bound to happen: after the next search another is asked for.

use super::search::Wanted;
use super::{Runtime, World};
use crate::cell::meets;
use crate::dispatch::CANDIDATES_MAX;
use crate::improve::{self, FETCHING_MAX};
use crate::policy::Policy;
use futures_util::future::join_all;
use proto::record::ask::{GetDriver, YieldDriver};
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Seek};
use proto::record::driver::Standing;
use proto::record::{Booking, Commitment};
use proto::{BookingId, DriverId, Point};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// Whom a search names of them: some who are near are far by road.
const NAMED_MAX: u16 = 64;
/// How long an appeal may take, in milliseconds: another is made after the next search.
const APPEAL_MS: u64 = 1_000;
/// How long a record may take, or the word to the other booking, in milliseconds.
const ASK_MS: u32 = 400;

impl Runtime {
    /// Asks the booking that loses least to yield its driver; says whom, if there is one.
    pub(super) async fn appeal(
        &self,
        booking: &Booking,
        within_ms: u64,
        but_not: &BTreeSet<DriverId>,
    ) -> Option<DriverId> {
        let found = self.who_could_yield(booking, within_ms, but_not);
        let ask = timeout(Duration::from_millis(APPEAL_MS), found).await.ok()??;
        let driver = ask.driver;
        let _lost = self.world().router.ask(ask, self.background().within_ms(ASK_MS)).await;
        Some(driver)
    }

    async fn who_could_yield(
        &self,
        booking: &Booking,
        within_ms: u64,
        but_not: &BTreeSet<DriverId>,
    ) -> Option<YieldDriver> {
        let World { policy, eta, .. } = self.world();
        let (policy, pickup) = (policy.load_full(), booking.pickup.point);
        let near = self.around(&policy, pickup, (Seek::Fetching, NAMED_MAX, None)).await;
        let places: Vec<Point> = near.iter().map(|car| car.point).collect();
        let etas_ms = eta.to_one(&policy, &places, pickup);
        let in_time = near.into_iter().zip(etas_ms).filter(|(_, eta_ms)| *eta_ms <= within_ms);
        let mut in_time: Vec<(Candidate, u64)> = in_time.collect();
        if in_time.len() > FETCHING_MAX {
            return None;
        }
        in_time.retain(|(car, _)| !but_not.contains(&car.driver));
        if in_time.is_empty() {
            return None;
        }
        let read = in_time.iter().map(|(car, _)| self.on_his_way_to(car.driver, booking.need));
        let riders = join_all(read).await;
        let seek = (Seek::Free, CANDIDATES_MAX, Some(booking.need));
        let free = self.around(&policy, pickup, seek).await;
        let free: Vec<Point> = free.into_iter().map(|car| car.point).collect();
        let losses = in_time.into_iter().zip(riders).filter_map(|((car, way_ms), rider)| {
            let (of, theirs) = rider?;
            let left_ms = eta.to_one(&policy, &[car.point], theirs)[0];
            let instead_ms = eta.to_one(&policy, &free, theirs).into_iter().min()?;
            let loss_ms = improve::loss_ms(&policy, left_ms, instead_ms, way_ms)?;
            Some((loss_ms, car.driver, of))
        });
        losses.min().map(|(_, driver, booking)| YieldDriver { booking, driver })
    }

    /// The drivers around a place, as far as a search looks.
    async fn around(
        &self,
        policy: &Policy,
        center: Point,
        (seek, max, need): (Seek, u16, Option<Need>),
    ) -> Vec<Candidate> {
        let radius_m = policy.search_radii_m.last().copied().unwrap_or_default();
        let wanted = Wanted { center, radius_m, need, seek, max, fresh_ms: None, within_ms: 0 };
        let mut near = self.nearby(wanted).await.candidates;
        // Who stands in a queue waits his turn there.
        near.retain(|car| policy.queue_zones.at(car.point).is_none());
        near
    }

    /// Which booking a driver is on his way to, and where it waits, if his car would do for another need.
    async fn on_his_way_to(&self, driver: DriverId, need: Need) -> Option<(BookingId, Point)> {
        let context = self.background().within_ms(ASK_MS);
        let record = self.world().router.ask(GetDriver { driver }, context).await.ok()?;
        let Some(Commitment::Taken { offer, trip: Some(_), .. }) = &record.current else {
            return None;
        };
        let (of, pickup) = (offer.booking, offer.pickup);
        // With nobody aboard all his seats are free.
        let there = Standing { seats_free: record.vehicle.seats, ..record.standing() };
        (record.next.is_none() && meets(&there, &need)).then_some((of, pickup))
    }
}
