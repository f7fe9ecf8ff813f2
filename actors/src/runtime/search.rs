//! Searches over several owners: one message each, in parallel, with a deadline; whoever answers
//! in time counts.

use super::{Runtime, count};
use futures_util::future::join_all;
use proto::Point;
use proto::code::Refusal;
use proto::record::ask::{Found, Search};
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Demand};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an owner may take to answer, in milliseconds. The design's 15 ms hold on a quiet
/// machine; with city, clients and three nodes on two cores an owner may wait that long for a
/// core, and an answer lost is a worse match. A healthy owner answers in under one.
const SEARCH_MS: u32 = 60;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Centre.
    pub center: Point,
    /// Radius in metres.
    pub radius_m: u32,
    /// What the drivers must be able to do; nothing to see all.
    pub need: Option<Need>,
    /// Only drivers that can be matched now.
    pub free_only: bool,
    /// At most so many.
    pub max: u16,
    /// The booking that searches, to be told of cars that come free.
    pub post: Option<Demand>,
}

/// What was found, by all owners together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearby {
    /// Nearest first.
    pub candidates: Vec<Candidate>,
    /// Other bookings waiting there, as the owner with the most of them sees it.
    pub waiting: u32,
    /// Some owner did not answer in time, so there may be more.
    pub partial: bool,
}

impl Runtime {
    /// The nearest drivers, over all owners of the cells within the circle.
    pub async fn nearby(&self, wanted: Wanted) -> Nearby {
        let world = self.world();
        let view = world.membership.view();
        let owners = view.owners_within(wanted.center, wanted.radius_m);
        let Wanted { center, radius_m, need, free_only, max, post } = wanted;
        let fresh_ms = world.policy.fresh_ms;
        let asks = owners.into_keys().map(|node| {
            let ask = Search { node, center, radius_m, need, free_only, max, fresh_ms, post };
            let context = self.background().within_ms(SEARCH_MS);
            async move {
                let answer = world.router.ask(ask, context);
                tokio::time::timeout(Duration::from_millis(SEARCH_MS.into()), answer).await.ok()
            }
        });
        let nearby = merge(join_all(asks).await, max);
        if nearby.partial {
            count(&self.0.tally.searches_partial);
        }
        nearby
    }

    /// Candidates for a booking, which from now on stands on the boards it searched.
    pub(super) async fn candidates(&self, demand: Demand) -> Nearby {
        let Demand { pickup: center, radius_m, need, .. } = demand;
        let max = crate::dispatch::CANDIDATES_MAX;
        let need = Some(need);
        self.nearby(Wanted { center, radius_m, need, free_only: true, max, post: Some(demand) })
            .await
    }
}

/// Joins the owners' answers. A driver seen by two owners is where his newest ping says.
pub(super) fn merge(
    answers: impl IntoIterator<Item = Option<Result<Found, Refusal>>>,
    max: u16,
) -> Nearby {
    let mut newest: BTreeMap<proto::DriverId, Candidate> = BTreeMap::new();
    let (mut waiting, mut partial) = (0, false);
    for answer in answers {
        let Some(Ok(found)) = answer else {
            partial = true;
            continue;
        };
        waiting = waiting.max(found.waiting);
        for candidate in found.candidates {
            let known = newest.entry(candidate.driver).or_insert(candidate);
            if (known.at, known.version) < (candidate.at, candidate.version) {
                *known = candidate;
            }
        }
    }
    let mut candidates: Vec<Candidate> = newest.into_values().collect();
    candidates.sort_by_key(|candidate| (candidate.distance_m, candidate.driver));
    candidates.truncate(max.into());
    Nearby { candidates, waiting, partial }
}
