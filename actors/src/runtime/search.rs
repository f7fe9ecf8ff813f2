//! Searches over several owners: one message each, in parallel, with a deadline; whoever answers
//! in time counts.

use super::{Runtime, World, count, queue};
use crate::cell::index::{ENDING_MAX, Query};
use crate::dispatch::{self, Findings, Prospect, cost};
use crate::hedge::Hedge;
use crate::policy::Policy;
use futures_util::future::{join as join2, join_all};
use membership::KeyNear;
use proto::code::Refusal;
use proto::record::ask::{Found, Search};
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Demand, Ending, Seek};
use proto::record::explain::{Asked, DROPPED_MAX, Dropped};
use proto::{DriverId, NodeId, Point};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
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
    /// Whom.
    pub seek: Seek,
    /// At most so many.
    pub max: u16,
    /// Positions older than this are left out, in milliseconds; nothing for the policy's own.
    pub fresh_ms: Option<u32>,
    /// Those are named too whose rides end there within so many milliseconds; 0 for none.
    pub within_ms: u32,
}

/// What was found, by all owners together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearby {
    /// Nearest first.
    pub candidates: Vec<Candidate>,
    /// Where a booking searched: those whose rides end soon, the least way to the pickup first.
    pub ending: Vec<Ending>,
    /// Where that was wanted: those whose rides end there soon, as they will stand.
    pub expected: Vec<Prospect>,
    /// Other bookings waiting there, as the owner with the most of them sees it.
    pub waiting: u32,
    /// Some owner did not answer in time, so there may be more.
    pub partial: bool,
    /// Where a booking searched: whom the owners left out, of those they looked at.
    pub dropped: Vec<Dropped>,
}

/// An owner, which of its cells were asked, and its answer if it came in time.
pub(super) type Answered = (NodeId, Vec<u64>, Option<Result<Found, Refusal>>);

impl Runtime {
    /// The nearest drivers, over all owners of the cells within the circle. This node's own cells
    /// first, nearest first and no more of them than can better the answer; then, at once, the
    /// other owners that still can.
    pub async fn nearby(&self, wanted: Wanted) -> Nearby {
        let world = self.world();
        let Wanted { center, radius_m, need, seek, max, fresh_ms, within_ms } = wanted;
        let fresh_ms = fresh_ms.unwrap_or(world.policy.load().fresh_ms);
        let ending_m = 0;
        let mut query = Query { center, radius_m, need, seek, fresh_ms, max, ending_m };
        let near = world.membership.view().keys_within(center, radius_m);
        let (mine, others): (Vec<KeyNear>, _) =
            near.into_iter().partition(|key| key.owner == world.node);
        let now = world.clock.mono();
        let mut found: Vec<Candidate> = Vec::new();
        for KeyNear { ring_key, nearest_m, .. } in mine {
            if nearest_m > query.radius_m {
                break;
            }
            let Some(cell) = self.0.cells.living(ring_key) else { continue };
            let more = cell.search(&query, None, now).candidates;
            join(&mut found, more, &mut query);
        }
        let mut owners: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for key in others.iter().filter(|key| key.nearest_m <= query.radius_m) {
            owners.entry(key.owner).or_default().push(key.ring_key);
        }
        let mut partial = false;
        let (node, radius_m, ring_keys) = (world.node, query.radius_m, Vec::new());
        let (post, copies) = (None, false);
        let ask = Search {
            node,
            center,
            radius_m,
            need,
            seek,
            max,
            fresh_ms,
            ending_m,
            post,
            ring_keys,
            copies,
        };
        for (.., answer) in self.ask_owners(ask, owners).await {
            match answer {
                Some(Ok(answer)) => join(&mut found, answer.candidates, &mut query),
                Some(Err(_)) | None => partial = true,
            }
        }
        if partial {
            count(&self.0.tally.searches_partial);
        }
        let (expected, missed) = match within_ms {
            0 => (Vec::new(), false),
            _ => self.expected(wanted, within_ms).await,
        };
        let (ending, dropped, partial) = (Vec::new(), Vec::new(), partial || missed);
        Nearby { candidates: found, ending, expected, waiting: 0, partial, dropped }
    }

    /// Candidates for a booking, which from now on stands on the boards it searched.
    pub(super) async fn candidates(&self, demand: Demand, passed_over: Vec<DriverId>) -> Findings {
        let world = self.world();
        let policy = world.policy.load_full();
        let (me, max) = (world.node, dispatch::candidates_max(&policy, demand.radius_m));
        // Those who wait in a queue nearby are left out of what comes back.
        let asked_max = queue::more_than_wait(&policy, &demand, max);
        let Demand { pickup, radius_m, need, .. } = demand;
        let ask = Search {
            node: me,
            center: pickup,
            radius_m,
            need: Some(need),
            seek: Seek::Free,
            max: asked_max,
            fresh_ms: policy.fresh_ms,
            ending_m: cost::ending_m(&policy),
            post: Some(demand),
            ring_keys: Vec::new(),
            copies: false,
        };
        let owners = world.membership.view().owners_within(pickup, radius_m);
        let turn = self.turn(&policy, &demand, passed_over);
        let (answers, turn) = join2(self.ask_owners(ask, owners), turn).await;
        let asked = answers.iter().map(|(node, ring_keys, answer)| Asked {
            node: *node,
            ring_keys: ring_keys.clone(),
            hops: u8::from(*node != me),
            found: answer.as_ref().and_then(|answer| answer.as_ref().ok()).map(named),
        });
        let asked = asked.collect();
        let mut nearby = self.merged(answers.into_iter().map(|(.., answer)| answer), asked_max);
        let queued = queue::keep_order(&policy, turn, &mut nearby);
        let Nearby { mut candidates, mut ending, waiting, partial, dropped, .. } = nearby;
        candidates.truncate(max.into());
        let places: Vec<Point> = candidates.iter().map(|candidate| candidate.point).collect();
        let (etas_ms, now) = (world.eta.to_one(&policy, &places, pickup), world.clock.wall());
        let prospects = candidates.into_iter().zip(etas_ms);
        let mut candidates: Vec<Prospect> =
            prospects.map(|(car, eta_ms)| Prospect::free(car, eta_ms, now)).collect();
        if !queued {
            // Who will then stand in a queue waits his turn there.
            ending.retain(|it| policy.queue_zones.at(it.ends).is_none());
            candidates.extend(self.riding(&policy, ending, pickup));
        }
        Findings { candidates, waiting, partial, asked, dropped, queued }
    }

    /// Those whose rides end soon, with how long they still need as the roads say.
    pub(super) fn riding(
        &self,
        policy: &Policy,
        ending: Vec<Ending>,
        pickup: Point,
    ) -> Vec<Prospect> {
        let World { eta, clock, .. } = self.world();
        let now = clock.wall();
        let ends: Vec<Point> = ending.iter().map(|it| it.ends).collect();
        let prospect = |(it, eta_ms): (Ending, u64)| {
            // One millisecond at least: he is not free yet.
            let free_in_ms = eta.to_one(policy, &[it.car.point], it.ends)[0].max(1);
            let car = Candidate { point: it.ends, ..it.car };
            Prospect { free_in_ms, ..Prospect::free(car, eta_ms, now) }
        };
        ending.into_iter().zip(eta.to_one(policy, &ends, pickup)).map(prospect).collect()
    }

    /// Asks each owner about those of his ring keys, all at once.
    pub(super) async fn ask_owners(
        &self,
        ask: Search,
        owners: BTreeMap<NodeId, Vec<u64>>,
    ) -> Vec<Answered> {
        let asks = owners.into_iter().map(|(node, ring_keys)| {
            let ask = Search { node, ring_keys: ring_keys.clone(), ..ask.clone() };
            async move { (node, ring_keys, self.ask_owner(ask).await) }
        });
        join_all(asks).await
    }

    /// One owner's answer, if it comes in time; or, where its cells have copies and it takes longer
    /// than nearly all do, the answer of those who have them, if that comes first. Who comes second
    /// is dropped, and with it what it still does.
    async fn ask_owner(&self, ask: Search) -> Option<Result<Found, Refusal>> {
        let world = self.world();
        if world.cell_replicas <= 1 || ask.node == world.node {
            return self.ask_one(ask).await;
        }
        let begun_us = world.clock.precise_us();
        let wait_us = self.hedge().asked();
        let owner = self.ask_one(ask.clone());
        tokio::pin!(owner);
        let first = tokio::time::timeout(Duration::from_micros(wait_us), &mut owner).await;
        let answer = match first {
            Ok(Some(Ok(found))) => Some(Ok(found)),
            // It can't be reached, or does not serve: nothing is lost by asking another.
            Ok(refused) => match self.ask_copies(&ask).await {
                Some(found) => Some(Ok(found)),
                None => refused,
            },
            Err(_) if !self.hedge().spend() => owner.await,
            Err(_) => {
                count(&self.0.tally.searches_hedged);
                let copies = self.ask_copies(&ask);
                tokio::pin!(copies);
                tokio::select! {
                    Some(Ok(found)) = &mut owner => Some(Ok(found)),
                    Some(found) = &mut copies => {
                        count(&self.0.tally.hedges_won);
                        Some(Ok(found))
                    }
                    else => None,
                }
            }
        };
        self.hedge().answered(world.clock.precise_us().saturating_sub(begun_us));
        answer
    }

    /// What those find who have copies of an owner's cells; nothing if one of them does not answer.
    async fn ask_copies(&self, ask: &Search) -> Option<Found> {
        let world = self.world();
        let view = world.membership.view();
        let mut by_node: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for ring_key in &ask.ring_keys {
            let keepers = view.cell_owners(*ring_key, world.cell_replicas);
            by_node
                .entry(keepers.into_iter().find(|node| *node != ask.node)?)
                .or_default()
                .push(*ring_key);
        }
        // No post: a copy's board would wake nobody.
        let asks = by_node.into_iter().map(|(node, ring_keys)| {
            self.ask_one(Search { node, post: None, ring_keys, copies: true, ..ask.clone() })
        });
        let answers = join_all(asks).await;
        let Nearby { candidates, ending, waiting, partial, dropped, .. } = merge(answers, ask.max);
        (!partial).then_some(Found { candidates, ending, waiting, dropped })
    }

    async fn ask_one(&self, ask: Search) -> Option<Result<Found, Refusal>> {
        let answer = self.world().router.ask(ask, self.background().within_ms(SEARCH_MS));
        timeout(Duration::from_millis(SEARCH_MS.into()), answer).await.ok()
    }

    fn hedge(&self) -> MutexGuard<'_, Hedge> {
        self.0.hedge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn merged(
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

/// Adds an answer to what was found. Once there is enough, nothing farther than the worst of it is
/// worth looking for.
fn join(found: &mut Vec<Candidate>, more: Vec<Candidate>, query: &mut Query) {
    if !found.is_empty() {
        // A driver on his way from one ring key to another may be in both; his newest ping counts.
        found.retain(|known| !more.iter().any(|other| supersedes(other, known)));
        let more =
            more.into_iter().filter(|other| found.iter().all(|known| known.driver != other.driver));
        let more: Vec<Candidate> = more.collect();
        found.extend(more);
        found.sort_unstable_by_key(|candidate| (candidate.distance_m, candidate.driver));
        found.truncate(query.max.into());
    } else {
        *found = more;
    }
    if let Some(worst) = found.last()
        && found.len() >= query.max.into()
    {
        query.radius_m = worst.distance_m;
    }
}

/// Whether this is a newer sight of the same driver.
fn supersedes(newer: &Candidate, older: &Candidate) -> bool {
    newer.driver == older.driver && (newer.at, newer.version) > (older.at, older.version)
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
    let mut riding: BTreeMap<proto::DriverId, Ending> = BTreeMap::new();
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
        for it in found.ending {
            let known = riding.entry(it.car.driver).or_insert(it);
            if supersedes(&it.car, &known.car) {
                *known = it;
            }
        }
    }
    // Who is free by now is no longer on his way.
    riding.retain(|driver, it| newest.get(driver).is_none_or(|free| !supersedes(free, &it.car)));
    let mut ending: Vec<Ending> = riding.into_values().collect();
    ending.sort_by_key(|it| (it.way_m(), it.car.driver));
    ending.truncate(ENDING_MAX);
    let mut candidates: Vec<Candidate> = newest.into_values().collect();
    candidates.sort_by_key(|candidate| (candidate.distance_m, candidate.driver));
    candidates.truncate(max.into());
    dropped.sort_by_key(|dropped: &Dropped| (dropped.distance_m, dropped.driver));
    dropped.truncate(DROPPED_MAX);
    Nearby { candidates, ending, expected: Vec::new(), waiting, partial, dropped }
}
