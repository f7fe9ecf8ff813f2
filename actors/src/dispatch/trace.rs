//! What is remembered of each search, to explain it later. Bounded like the record it becomes: some
//! 6 KB a search at the widest fan-out, a few hundred bytes in a search that finds nobody.

use super::{Findings, Ranked};
use proto::record::explain::{
    CONSIDERED_MAX, Considered, DROPPED_MAX, Dropped, Fate, SEARCHES_MAX, Searched,
};
use proto::{DriverId, OfferId};
use std::collections::VecDeque;

/// The searches, oldest first.
#[derive(Debug, Default)]
pub(super) struct Trace {
    searches: VecDeque<Searched>,
    forgotten: u32,
}

impl Trace {
    pub(super) fn searches(&self) -> (Vec<Searched>, u32) {
        (self.searches.iter().cloned().collect(), self.forgotten)
    }

    /// A search came back: who of it can be offered the booking, and who of the others could not.
    pub(super) fn searched(
        &mut self,
        (attempt, radius_m, age_ms): (u16, u32, u32),
        findings: &mut Findings,
        ranked: &[Ranked],
        unfit: Vec<Dropped>,
    ) {
        if self.searches.len() == SEARCHES_MAX {
            self.searches.pop_front();
            self.forgotten += 1;
        }
        // A full list of the owners' has been cut already.
        let cut = findings.dropped.len() >= DROPPED_MAX;
        let mut dropped = unfit;
        dropped.append(&mut findings.dropped);
        dropped.sort_by_key(|dropped| (dropped.distance_m, dropped.driver));
        let more_dropped = cut || dropped.len() > DROPPED_MAX;
        dropped.truncate(DROPPED_MAX);
        self.searches.push_back(Searched {
            attempt,
            radius_m,
            age_ms,
            waiting: findings.waiting,
            partial: findings.partial,
            asked: std::mem::take(&mut findings.asked),
            considered: ranked.iter().take(CONSIDERED_MAX).map(|one| told(one, false)).collect(),
            dropped,
            more_dropped,
        });
    }

    /// A car came free after the last search.
    pub(super) fn woken(&mut self, candidate: &Ranked) {
        if let Some(search) = self.searches.back_mut()
            && search.considered.len() < CONSIDERED_MAX
        {
            search.considered.push(told(candidate, true));
        }
    }

    /// What became of a driver whom the last search, or a board, named.
    pub(super) fn fate(&mut self, driver: DriverId, fate: Fate) {
        if let Some(considered) = self.find(driver) {
            considered.fate = fate;
        }
    }

    /// An offer was made to him.
    pub(super) fn offered(&mut self, driver: DriverId, offer: OfferId) {
        if let Some(considered) = self.find(driver) {
            considered.offer = Some(offer);
        }
    }

    fn find(&mut self, driver: DriverId) -> Option<&mut Considered> {
        let mut newest = self.searches.iter_mut().rev();
        newest.find_map(|search| search.considered.iter_mut().rev().find(|it| it.driver == driver))
    }
}

const fn told(ranked: &Ranked, woken: bool) -> Considered {
    let Ranked { driver, rank, distance_m, eta_s, cost_ms, .. } = *ranked;
    let (fate, offer) = (Fate::NotAsked, None);
    Considered { driver, rank, distance_m, eta_s, cost_ms, woken, fate, offer }
}
