//! Whose turn it is: what the keeper answers, and what a booking's search makes of it.

use super::{Shell, State};
use crate::geo::distance_m;
use crate::policy::Policy;
use crate::queue::watch::{Pick, Wanted};
use crate::runtime::Runtime;
use crate::runtime::search::Nearby;
use proto::record::ask::{NextInQueue, Turn};
use proto::record::cell::{Candidate, Demand};
use proto::record::driver::DriverStatus;
use proto::record::explain::{DROPPED_MAX, Dropped, Filter};
use proto::record::queue::QUEUE_MAX;
use proto::{DriverId, MonoMs, WallMs};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Records that one answer may read. Whoever is known to have an offer before him is not read, so
/// that the first is nearly always the one.
const READS_MAX: usize = 16;
/// How long a booking's search waits for a keeper's answer, in milliseconds: two records that take
/// their time, or a look in its way.
pub(super) const TURN_MS: u32 = 1_000;

impl Shell {
    /// Whose turn it is. Only what records say now counts, so he is asked anew before he is named.
    /// Nothing is read after `until`: questions must not pile up behind a partition that does not answer.
    pub(super) async fn next(&self, state: &mut State, ask: &NextInQueue, until: MonoMs) -> Turn {
        if self.now() >= until || !self.load(None, state).await || !state.watch.has_looked() {
            return Turn::Wait;
        }
        let policy = self.runtime.world().policy.load_full();
        // Whoever asks knows the zone: one of both has not heard yet what is in force.
        let Some((_, rules)) = self.zone(&policy) else { return Turn::Wait };
        let mut not: BTreeSet<DriverId> = ask.passed_over.iter().copied().collect();
        let (mut read, mut next) = (BTreeSet::new(), Vec::new());
        while next.len() < usize::from(ask.max) {
            let Some(queue) = &state.queue else { return Turn::Wait };
            let (booking, need, now) = (ask.booking, &ask.need, self.now());
            let wanted = Wanted { booking, need, not: &not, read: &read };
            match state.watch.pick(now, queue, &rules, wanted) {
                Pick::Take(driver) => {
                    not.insert(driver);
                    next.push(self.candidate(state, &policy, ask, driver));
                }
                Pick::Read(_) if read.len() >= READS_MAX || now >= until => break,
                Pick::Read(driver) => {
                    read.insert(driver);
                    let word = self.runtime.word(driver).await;
                    state.watch.read(self.now(), driver, word);
                    // He may have refused, or left, since he was looked at.
                    self.move_on(state).await;
                }
                Pick::Wait => break,
                Pick::Nobody if next.is_empty() => return Turn::Nobody,
                Pick::Nobody => break,
            }
        }
        let named = next.len() as u64;
        self.runtime.0.tally.queue_offers.fetch_add(named, Ordering::Relaxed);
        if next.is_empty() { Turn::Wait } else { Turn::Next(next) }
    }

    /// A driver as a search would have named him. One who was not seen since this keeper began is
    /// taken to be in the middle of the zone.
    fn candidate(
        &self,
        state: &mut State,
        policy: &Policy,
        ask: &NextInQueue,
        driver: DriverId,
    ) -> Candidate {
        let seen = state.watch.name(self.now(), driver, ask.booking);
        let middle = policy.queue_zones.circle(self.zone).map_or(ask.pickup, |(middle, _)| middle);
        let (point, at) = seen.unwrap_or((middle, WallMs(0)));
        let version = state.watch.status(driver).map_or(0, |(version, _)| version);
        let (distance_m, status) = (distance_m(ask.pickup, point), DriverStatus::Free);
        // Nobody is credited with anything here: it is his turn or not.
        let (spare, idle_since) = (0, WallMs(u64::MAX));
        Candidate { driver, point, at, distance_m, status, version, spare, idle_since }
    }
}

impl Runtime {
    /// Whose turn it is at a booking's pickup; nothing where that lies in no queue zone.
    pub(in crate::runtime) async fn turn(
        &self,
        policy: &Policy,
        demand: &Demand,
        passed_over: Vec<DriverId>,
    ) -> Option<Turn> {
        let Demand { booking, pickup, need, .. } = *demand;
        let zone = policy.queue_zones.at(pickup)?.id();
        let max = policy.max_offers_per_attempt;
        let ask = NextInQueue { zone, booking, pickup, need, passed_over, max };
        let context = self.background().within_ms(TURN_MS);
        // While nobody keeps the queue its bookings wait: a second, when a node has died.
        Some(self.world().router.ask(ask, context).await.unwrap_or(Turn::Wait))
    }
}

/// How many drivers a search asks for, so that enough are left without those who wait in queues.
pub(in crate::runtime) fn more_than_wait(policy: &Policy, demand: &Demand, max: u16) -> u16 {
    let near = policy.queue_zones.near(demand.pickup, demand.radius_m);
    let waiting = if near.is_empty() { 0 } else { QUEUE_MAX };
    max.saturating_add(u16::try_from(waiting).unwrap_or(u16::MAX))
}

/// Leaves those out of a search who wait in queues; and everybody, where it is somebody's turn. Says
/// whether a queue has answered.
pub(in crate::runtime) fn keep_order(
    policy: &Policy,
    turn: Option<Turn>,
    nearby: &mut Nearby,
) -> bool {
    let zones = &policy.queue_zones;
    let found = std::mem::take(&mut nearby.candidates);
    let by_turn = matches!(turn, Some(Turn::Next(_) | Turn::Wait));
    let kept = |car: &Candidate| !by_turn && zones.at(car.point).is_none();
    let (kept, left): (Vec<Candidate>, Vec<Candidate>) = found.into_iter().partition(kept);
    nearby.candidates = match turn {
        Some(Turn::Next(next)) => next,
        Some(Turn::Wait) => {
            nearby.partial = true;
            Vec::new()
        }
        Some(Turn::Nobody) | None => kept,
    };
    if by_turn {
        nearby.waiting = 0; // nobody else is told of them
    }
    let named: BTreeSet<DriverId> = nearby.candidates.iter().map(|car| car.driver).collect();
    let left = left.into_iter().filter(|car| !named.contains(&car.driver));
    let filter = Filter::Queue;
    let dropped =
        left.map(|Candidate { driver, distance_m, .. }| Dropped { driver, filter, distance_m });
    nearby.dropped.extend(dropped);
    nearby.dropped.sort_by_key(|dropped| (dropped.distance_m, dropped.driver));
    nearby.dropped.truncate(DROPPED_MAX);
    by_turn
}
