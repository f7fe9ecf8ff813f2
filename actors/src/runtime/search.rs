//! Searches over several owners: one message each, in parallel, with a deadline; whoever answers
//! in time counts.

use super::{Runtime, count};
use crate::dispatch::{self, Findings};
use futures_util::future::join_all;
use proto::code::Refusal;
use proto::record::ask::{Found, Search};
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Demand};
use proto::record::explain::{Asked, DROPPED_MAX, Dropped};
use proto::{NodeId, Point};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

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
    /// Where a booking searched: whom the owners left out, of those they looked at.
    pub dropped: Vec<Dropped>,
}

/// An owner, which of its cells were asked, and its answer if it came in time.
type Answered = (NodeId, Vec<u64>, Option<Result<Found, Refusal>>);

impl Runtime {
    /// The nearest drivers, over all owners of the cells within the circle.
    pub async fn nearby(&self, wanted: Wanted) -> Nearby {
        let answers = self.ask_owners(wanted).await;
        self.merged(answers.into_iter().map(|(.., answer)| answer), wanted.max)
    }

    /// Candidates for a booking, which from now on stands on the boards it searched.
    pub(super) async fn candidates(&self, demand: Demand) -> Findings {
        let Demand { pickup: center, radius_m, need, .. } = demand;
        let max = dispatch::candidates_max(&self.world().policy);
        let (need, post) = (Some(need), Some(demand));
        let answers =
            self.ask_owners(Wanted { center, radius_m, need, free_only: true, max, post }).await;
        let me = self.world().node;
        let asked = answers.iter().map(|(node, ring_keys, answer)| Asked {
            node: *node,
            ring_keys: ring_keys.clone(),
            hops: u8::from(*node != me),
            found: answer.as_ref().and_then(|answer| answer.as_ref().ok()).map(named),
        });
        let asked = asked.collect();
        let Nearby { candidates, waiting, partial, dropped } =
            self.merged(answers.into_iter().map(|(.., answer)| answer), max);
        Findings { candidates, waiting, partial, asked, dropped }
    }

    async fn ask_owners(&self, wanted: Wanted) -> Vec<Answered> {
        let world = self.world();
        let view = world.membership.view();
        let owners = view.owners_within(wanted.center, wanted.radius_m);
        let Wanted { center, radius_m, need, free_only, max, post } = wanted;
        let fresh_ms = world.policy.fresh_ms;
        let asks = owners.into_iter().map(|(node, ring_keys)| {
            let ask = Search { node, center, radius_m, need, free_only, max, fresh_ms, post };
            let context = self.background().within_ms(SEARCH_MS);
            async move {
                let answer = world.router.ask(ask, context);
                let answer = timeout(Duration::from_millis(SEARCH_MS.into()), answer).await.ok();
                (node, ring_keys.into_iter().collect(), answer)
            }
        });
        join_all(asks).await
    }

    fn merged(
        &self,
        answers: impl IntoIterator<Item = Option<Result<Found, Refusal>>>,
        max: u16,
    ) -> Nearby {
        let nearby = merge(answers, max);
        if nearby.partial {
            count(&self.0.tally.searches_partial);
        }
        nearby
    }
}

/// How many an owner named.
fn named(found: &Found) -> u16 {
    u16::try_from(found.candidates.len()).unwrap_or(u16::MAX)
}

/// Joins the owners' answers. A driver seen by two owners is where his newest ping says.
pub(super) fn merge(
    answers: impl IntoIterator<Item = Option<Result<Found, Refusal>>>,
    max: u16,
) -> Nearby {
    let mut newest: BTreeMap<proto::DriverId, Candidate> = BTreeMap::new();
    let (mut waiting, mut partial, mut dropped) = (0, false, Vec::new());
    for answer in answers {
        let Some(Ok(found)) = answer else {
            partial = true;
            continue;
        };
        waiting = waiting.max(found.waiting);
        dropped.extend(found.dropped);
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
    dropped.sort_by_key(|dropped: &Dropped| (dropped.distance_m, dropped.driver));
    dropped.truncate(DROPPED_MAX);
    Nearby { candidates, waiting, partial, dropped }
}
