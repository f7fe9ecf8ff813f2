//! What happens around a ride: who is found for it, who comes, who comes instead, and nodes that die.

use super::{Due, NODES, PING_MS, REFILL_MS, Run, TAKEOVER_MS, booking, car_of, driver};
use crate::street::{DWELL_MS, Does, Rider};
use actors::cell::index::Query;
use actors::dispatch::{self, CANDIDATES_MAX, Event, Findings, Prospect, Ranked, cost};
use actors::{geo, improve};
use proto::record::Offer;
use proto::record::ask::OfferNews;
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Demand, Ending, Seek};
use proto::record::driver::{Capabilities, VehicleType};
use proto::{DriverId, MonoMs, OfferId, Slot, WallMs};
use std::collections::BTreeSet;

/// Drivers that are looked at when a better one is looked for.
const BETTER_MAX: u16 = 8;

impl Run<'_, '_> {
    /// A search of the cells, with what the shell adds: driving times, and trips that end soon.
    pub(super) fn search(&mut self, now_ms: u64, rider: usize, radius_m: u32) -> Findings {
        let pickup = self.place(self.street.requests[rider].from);
        let age_ms = now_ms - self.street.requests[rider].at_ms;
        let age_ms = u32::try_from(age_ms).unwrap_or(u32::MAX);
        let dispatch = self.shells[rider].dispatch.as_ref();
        let favour_ms = dispatch.map_or(0, |dispatch| dispatch.favour_ms(MonoMs(now_ms), 0));
        let (booking, need) = (booking(rider), need());
        let demand = Demand { booking, pickup, need, age_ms, radius_m, favour_ms };
        let waiting = self.cells.post(demand, MonoMs(now_ms));
        let max = dispatch::candidates_max(&self.ours.policy, radius_m);
        let ending_m = cost::ending_m(&self.ours.policy);
        let (near, ending, partial) = self.near(now_ms, rider, radius_m, (max, ending_m));
        let mut candidates: Vec<Prospect> =
            near.into_iter().map(|candidate| self.prospect(now_ms, rider, candidate)).collect();
        candidates.extend(ending.into_iter().map(|it| self.ending(now_ms, rider, it)));
        Findings { candidates, waiting, partial, ..Findings::default() }
    }

    fn near(
        &mut self,
        now_ms: u64,
        rider: usize,
        radius_m: u32,
        (max, ending_m): (u16, u32),
    ) -> (Vec<Candidate>, Vec<Ending>, bool) {
        let center = self.place(self.street.requests[rider].from);
        let (need, seek, fresh_ms) = (Some(need()), Seek::Free, u32::MAX);
        let query = Query { center, radius_m, need, seek, fresh_ms, max, ending_m };
        self.cells.near(&query, MonoMs(now_ms))
    }

    /// A free driver with what the shell knows of him.
    fn prospect(&self, now_ms: u64, rider: usize, candidate: Candidate) -> Prospect {
        let car = car_of(candidate.driver);
        let policy = &self.ours.policy;
        let drive_ms = match self.ours.roads {
            true => self.street.eta_ms(car, rider),
            false => geo::eta_ms(candidate.distance_m, policy.speed_cms, policy.detour_pct),
        };
        let eta_ms = self.draws.estimate(rider, car, drive_ms);
        let idle_ms = now_ms.saturating_sub(self.street.cars[car].ready_ms);
        let eta_ms = eta_ms + self.street.ready_in_ms(car, now_ms);
        Prospect { idle_ms, ..Prospect::free(candidate, eta_ms, WallMs(0)) }
    }

    /// A driver whose ride ends soon, as the shell estimates it from his last ping.
    fn ending(&self, now_ms: u64, rider: usize, it: Ending) -> Prospect {
        let car = car_of(it.car.driver);
        // Phones do not ping all at once.
        let since_ms = (now_ms + driver(car).to_raw() * 1_237) % PING_MS;
        let pinged_ms = now_ms.saturating_sub(since_ms);
        let left_ms = self.street.ready_in_ms(car, pinged_ms).saturating_sub(DWELL_MS);
        let left_ms = self.draws.estimate(rider, car, left_ms);
        let eta_ms = self.draws.estimate(rider, car, self.street.eta_ms(car, rider));
        let candidate = Candidate { point: it.ends, ..it.car };
        // One millisecond at least: he is not free yet.
        Prospect { free_in_ms: left_ms.max(1), ..Prospect::free(candidate, eta_ms, WallMs(0)) }
    }

    /// A car with a rider is heard of.
    pub(super) fn ping(&mut self, now_ms: u64, car: usize) {
        let Some(at) = self.street.passes(car, now_ms) else { return };
        let (at, ends) = (self.place(at), self.place(self.street.cars[car].at));
        self.cells.pass(driver(car), at, ends, MonoMs(now_ms));
        self.queue.push(now_ms + PING_MS, Due::Ping(car));
    }

    /// A car comes free, or is seen: those who wait nearby hear of it.
    pub(super) fn appear(&mut self, now_ms: u64, car: usize) {
        let point = self.place(self.street.cars[car].at);
        let woken = self.cells.appear(driver(car), point, &self.ours.policy, MonoMs(now_ms));
        if !self.ours.boards {
            return;
        }
        for (id, candidate) in woken {
            let Some(rider) = self.numbers.get(&id).copied() else { continue };
            let prospect = self.prospect(now_ms, rider, candidate);
            let (life, delay_ms) = (self.shells[rider].life, self.delay_ms(rider));
            self.queue.push(now_ms + delay_ms, Due::Step(rider, life, Event::Woken(prospect)));
        }
    }

    pub(super) fn offer(&mut self, rider: usize, candidate: Ranked, attempt: u16) -> Offer {
        self.tickets += 1;
        let request = self.street.requests[rider];
        Offer {
            id: OfferId::mint(Slot(0), WallMs(0), self.tickets),
            booking: booking(rider),
            driver: candidate.driver,
            attempt,
            rank: candidate.rank,
            distance_m: candidate.distance_m,
            eta_s: candidate.eta_s,
            cost_ms: candidate.cost_ms,
            pickup: self.place(request.from),
            destination: self.place(request.to),
            created_at: WallMs(0),
            ttl_ms: self.ours.policy.offer_ttl_ms,
            shown_ms: self.ours.policy.offer_shown_ms,
        }
    }

    /// A driver answers an offer that is still before him.
    pub(super) fn answered(&mut self, now_ms: u64, rider: usize, car: usize, offer: OfferId) {
        if self.desks[car].held != Some(offer) {
            return;
        }
        self.desks[car].held = None;
        let (life, at_ms) = (self.shells[rider].life, now_ms + self.delay_ms(rider));
        let yes = self.draws.answer(rider, car).0;
        let patient = self.street.requests[rider].at_ms
            + u64::from(self.ours.policy.booking_ttl_ms)
            + u64::from(self.ours.policy.offer_ttl_ms)
            >= now_ms;
        if yes && !self.shells[rider].assigned && patient {
            self.shells[rider].assigned = true;
            self.send(now_ms, rider, car);
            let settled = Event::Settled(Some(offer));
            self.queue.push(at_ms, Due::Step(rider, life, settled));
        } else {
            self.appear(now_ms, car);
            let declined = Event::News(offer, OfferNews::Declined);
            self.queue.push(at_ms, Due::Step(rider, life, declined));
        }
    }

    fn send(&mut self, now_ms: u64, rider: usize, car: usize) {
        self.cells.vanish(driver(car));
        let (pickup_ms, leg) = self.street.send(car, rider, now_ms);
        self.queue.push(pickup_ms, Due::Arrive(rider, leg));
        let left_ms = pickup_ms - now_ms;
        let swaps = self.street.riders[rider].swaps;
        if let Some(in_ms) = improve::look_in_ms(&self.ours.policy, left_ms, swaps) {
            self.queue.push(now_ms + in_ms, Due::Improve(rider, leg));
        }
    }

    pub(super) fn arrive(&mut self, now_ms: u64, rider: usize, leg: u32) {
        let Some((car, over_ms)) = self.street.pick_up(rider, leg) else { return };
        self.queue.push(over_ms, Due::RideOver(car));
        let soon_ms = u64::from(self.ours.policy.soon_ms);
        if soon_ms > 0 {
            // Before that nobody would count on it.
            let heard_ms = soon_ms + DWELL_MS + 2 * PING_MS;
            self.queue.push(now_ms.max(over_ms.saturating_sub(heard_ms)), Due::Ping(car));
        }
    }

    /// Looks for a better driver for a rider whose car is on its way, and swaps. Stands for the
    /// commands that a cluster would need: claim the new one, take him, let the old one go.
    pub(super) fn improve(&mut self, now_ms: u64, rider: usize, leg: u32) {
        let known = self.street.riders[rider];
        let Some(old) = known.car else { return };
        if known.leg != leg || !matches!(self.street.cars[old].does, Does::Fetches(..)) {
            return;
        }
        let left_ms = known.pickup_ms.saturating_sub(now_ms);
        let policy = &self.ours.policy;
        let Some(in_ms) = improve::look_in_ms(policy, left_ms, known.swaps) else { return };
        let radius_m = self.ours.policy.search_radii_m[1];
        let (near, ..) = self.near(now_ms, rider, radius_m, (BETTER_MAX, 0));
        let free = near.into_iter().filter(|candidate| self.is_to_be_had(now_ms, candidate));
        let prospects: Vec<Prospect> =
            free.map(|candidate| self.prospect(now_ms, rider, candidate)).collect();
        let better = improve::better(policy, (left_ms, known.swaps), &prospects);
        let Some(new) = better.map(|prospect| car_of(prospect.candidate.driver)) else {
            self.queue.push(now_ms + in_ms, Due::Improve(rider, leg));
            return;
        };
        self.swap(now_ms, rider, (old, new));
    }

    /// A stranded booking has the driver of another yielded, if somebody free could come for that one.
    pub(super) fn appeal(
        &mut self,
        now_ms: u64,
        rider: usize,
        within_ms: u64,
        but_not: &BTreeSet<DriverId>,
    ) -> Option<DriverId> {
        let mut in_time: Vec<(usize, usize, u64)> = (0..self.street.cars.len())
            .filter_map(|car| {
                let (of, way_ms) = self.street.eta_from_way_ms(car, rider, now_ms)?;
                (way_ms <= within_ms).then_some((car, of, way_ms))
            })
            .collect();
        if in_time.len() > improve::FETCHING_MAX {
            return None;
        }
        in_time.retain(|(car, ..)| !but_not.contains(&driver(*car)));
        let policy = &self.ours.policy;
        let radius_m = policy.search_radii_m[2];
        let (near, ..) = self.near(now_ms, rider, radius_m, (CANDIDATES_MAX, 0));
        let free: Vec<Candidate> =
            near.into_iter().filter(|it| self.is_to_be_had(now_ms, it)).collect();
        let policy = &self.ours.policy;
        let losses = in_time.into_iter().filter_map(|(old, of, way_ms)| {
            let Rider { pickup_ms, swaps, .. } = self.street.riders[of];
            let others = free.iter().map(|it| self.prospect(now_ms, of, *it)).collect::<Vec<_>>();
            let soonest_ms = others.iter().map(|it| it.eta_ms).min()?;
            let left_ms = pickup_ms.saturating_sub(now_ms);
            let loss_ms = improve::loss_ms(policy, left_ms, soonest_ms, way_ms)?;
            let age_ms = now_ms - self.street.requests[of].at_ms;
            let age_ms = u32::try_from(age_ms).unwrap_or(u32::MAX);
            let left = (left_ms, cost::within_ms(policy, age_ms), swaps);
            let new = car_of(improve::instead(policy, left, &others)?.candidate.driver);
            Some((loss_ms, old, of, new))
        });
        let (_, old, of, new) = losses.min()?;
        self.swap(now_ms, of, (old, new));
        Some(driver(old))
    }

    /// Whether nobody has this driver, and no claim on him was granted.
    fn is_to_be_had(&self, now_ms: u64, candidate: &Candidate) -> bool {
        let car = car_of(candidate.driver);
        self.is_free(car) && self.desks[car].claims.holder(MonoMs(now_ms)).is_none()
    }

    /// Sends another car to a rider instead of the one that is on its way, which is free then.
    fn swap(&mut self, now_ms: u64, rider: usize, (old, new): (usize, usize)) {
        self.street.call_off(rider, now_ms);
        self.street.riders[rider].swaps += 1;
        self.send(now_ms, rider, new);
        self.appear(now_ms, old);
    }

    /// A node dies: its bookings' and drivers' shells are gone until others lead their partitions, its
    /// cells say nothing until cars were heard of again.
    pub(super) fn kill(&mut self, now_ms: u64, node: usize) {
        let back_ms = now_ms + TAKEOVER_MS;
        self.back_ms[node] = back_ms;
        self.cells.silence(node, now_ms + REFILL_MS);
        for rider in (node..self.shells.len()).step_by(NODES) {
            let shell = &mut self.shells[rider];
            if shell.dispatch.take().is_some() {
                (shell.life, shell.timer_ms) = (shell.life + 1, None);
                if !shell.assigned {
                    self.queue.push(back_ms, Due::TakeUp(rider));
                }
            }
        }
        for car in (node..self.desks.len()).step_by(NODES) {
            let desk = &mut self.desks[car];
            desk.claims = actors::claim::Claims::default();
            let lost = std::mem::take(&mut desk.waiting);
            for (rider, life) in lost.into_values() {
                let silent = Event::Claimed(driver(car), None);
                self.queue.push(back_ms, Due::Step(rider, life, silent));
            }
        }
        if self.to_come > 0 {
            let next_ms = now_ms + self.draws.realism.kill_every_ms;
            self.queue.push(next_ms, Due::Kill((node + 1) % NODES));
        }
    }
}

/// What every rider needs: a car.
fn need() -> Need {
    Need { kind: VehicleType::Sedan, seats: 1, capabilities: Capabilities::default() }
}
