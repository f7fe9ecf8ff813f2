//! Who is near. A search goes through the buckets by how near they can be at best and stops when no
//! bucket left can better the answer. That is "ring by ring", without walking cells that hold
//! nobody or belong to another ring key. Within a bucket, whoever is too far even on a flat map
//! ([`Flat`]) costs a few multiplications and no trigonometry.

use super::standing::at_second;
use super::{Entry, Known, SEARCH_LOAD, Supply};
use crate::cell::{spare_of, unmet};
use crate::geo::{Flat, SEARCH_RADIUS_MAX_M, distance_m, distance_within};
use h3o::CellIndex;
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Ending, Seek};
use proto::record::driver::{DriverStatus, Standing};
use proto::record::explain::{DROPPED_MAX, Dropped, Filter};
use proto::{MonoMs, Point, WallMs};

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Centre of the circle; need not lie in this ring key.
    pub center: Point,
    /// Radius in metres, the rim included; [`SEARCH_RADIUS_MAX_M`] at most.
    pub radius_m: u32,
    /// What the drivers must be able to do; nothing to see all.
    pub need: Option<Need>,
    /// Whom.
    pub seek: Seek,
    /// Drivers not heard of for longer than this are left out, in milliseconds.
    pub fresh_ms: u32,
    /// At most so many.
    pub max: u16,
    /// Drivers are named too whose rides end in the circle and within so many straight metres of
    /// where they are now; 0 for none.
    pub ending_m: u32,
}

/// Drivers whose rides end soon that one search names: as many as are worth comparing with the free.
pub const ENDING_MAX: usize = 8;

/// What a search finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hits {
    /// Nearest first, then by id.
    pub candidates: Vec<Candidate>,
    /// The least way to the centre by where the ride ends first, in straight lines; at most
    /// [`ENDING_MAX`].
    pub ending: Vec<Ending>,
    /// Whom it left out of those it looked at, if that was wanted; at most [`DROPPED_MAX`].
    pub dropped: Vec<Dropped>,
}

impl Supply {
    /// The drivers in a circle, nearest first, then by id. Those without a standing are left out.
    pub fn search(&mut self, query: &Query, now: MonoMs) -> Vec<Candidate> {
        self.find(query, now, false).candidates
    }

    /// The same with those whose rides end soon, and with whom it left out.
    pub fn search_and_tell(&mut self, query: &Query, now: MonoMs) -> Hits {
        self.find(query, now, true)
    }

    /// The same; whom it left out only if that is wanted.
    pub fn find(&mut self, query: &Query, now: MonoMs, tell: bool) -> Hits {
        self.counts.searches += 1;
        let max = usize::from(query.max);
        let radius_m = query.radius_m.min(SEARCH_RADIUS_MAX_M);
        if max == 0 {
            return Hits::default();
        }
        let flat = Flat::around(query.center);
        let mut order: Vec<(u32, CellIndex, usize)> = self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, bucket)| !bucket.slots.is_empty())
            .map(|(at, bucket)| (bucket.shape.nearest_on(&flat), bucket.cell, at))
            .filter(|(nearest_m, ..)| *nearest_m <= radius_m)
            .collect();
        order.sort_unstable();
        let (mut found, mut dropped) = (Vec::<Candidate>::new(), Vec::new());
        let mut ending: Vec<Ending> = Vec::new();
        let mut ending_within_m = radius_m;
        // Whoever is farther than this is no answer: the rim, or the worst of a full answer.
        let mut within_m = radius_m;
        for (nearest_m, _, at) in order {
            let full = found.len() >= max;
            if full && within_m < nearest_m {
                break;
            }
            self.counts.cells_touched += 1;
            let bucket = &mut self.buckets[at];
            bucket.load += SEARCH_LOAD;
            for slot in &bucket.slots {
                let entry = &self.entries[*slot as usize];
                if full && flat.surely_beyond(entry.point, within_m) {
                    continue;
                }
                if query.seek == Seek::Fetching && self.ends.contains_key(slot) {
                    continue; // somebody is aboard
                }
                let filter = match entry.candidate(query, radius_m, now) {
                    Ok(candidate) => {
                        let idle_since = at_second(self.idle_since_s[*slot as usize]);
                        found.push(Candidate { idle_since, ..candidate });
                        continue;
                    }
                    Err(filter) => filter,
                };
                if filter == Filter::Busy
                    && query.ending_m > 0
                    && let Some(ends) = self.ends.get(slot)
                    && !flat.surely_beyond(*ends, ending_within_m)
                    && let Some(soon) = entry.ending(query, *ends, radius_m, now)
                {
                    ending.push(soon);
                    if ending.len() > ENDING_MAX {
                        least_way_first(&mut ending);
                        let worst_m = ending.last().map_or(0, Ending::way_m);
                        ending_within_m = ending_within_m.min(worst_m);
                    }
                } else if tell && dropped.len() < DROPPED_MAX {
                    dropped.push(entry.dropped(query, filter));
                }
            }
            found.sort_unstable_by_key(|candidate| (candidate.distance_m, candidate.driver));
            found.truncate(max);
            if found.len() >= max {
                within_m = found.last().map_or(0, |worst| worst.distance_m);
            }
        }
        least_way_first(&mut ending);
        Hits { candidates: found, ending, dropped }
    }
}

/// Keeps those who have the least way to the centre.
fn least_way_first(ending: &mut Vec<Ending>) {
    ending.sort_unstable_by_key(|it| (it.way_m(), it.car.driver));
    ending.truncate(ENDING_MAX);
}

impl Entry {
    /// Somebody with a rider aboard as a search's answer; nothing if he has far to go, or could not
    /// serve it.
    fn ending(&self, query: &Query, ends: Point, radius_m: u32, now: MonoMs) -> Option<Ending> {
        let left_m = distance_within(self.point, ends, query.ending_m)?;
        let seek = Seek::All;
        // He is asked for as from where his ride ends.
        let there = Self { point: ends, ..*self };
        let car = there.candidate(&Query { seek, ..*query }, radius_m, now).ok()?;
        Some(Ending { car: Candidate { point: self.point, ..car }, ends, left_m })
    }

    /// The entry as a search's answer, or what keeps it from being one.
    fn candidate(&self, query: &Query, radius_m: u32, now: MonoMs) -> Result<Candidate, Filter> {
        let known = self.known.ok_or(Filter::Unknown)?;
        let Known { version, capabilities, kind, status, seats_free, accepts_pct } = known;
        let Self { driver, point, at, seen, .. } = *self;
        let sought = match query.seek {
            Seek::Free => status == DriverStatus::Free,
            Seek::Fetching => status == DriverStatus::Taken,
            Seek::All => true,
        };
        if !sought {
            return Err(match status {
                DriverStatus::Offline => Filter::Offline,
                DriverStatus::Free | DriverStatus::Held | DriverStatus::Taken => Filter::Busy,
            });
        }
        if now.since(seen) > u64::from(query.fresh_ms) {
            return Err(Filter::Stale);
        }
        // Whoever names him knows it.
        let (idle_since, ends) = (WallMs(0), None);
        let mut spare = 0;
        if let Some(need) = query.need {
            spare = spare_of(capabilities, need.capabilities);
            let standing = Standing {
                driver,
                status,
                kind,
                capabilities,
                seats_free,
                version,
                accepts_pct,
                idle_since,
                ends,
            };
            unmet(&standing, &need).map_or(Ok(()), Err)?;
        }
        let distance_m = distance_within(query.center, point, radius_m).ok_or(Filter::TooFar)?;
        Ok(Candidate { driver, point, at, distance_m, status, version, spare, idle_since })
    }

    fn dropped(&self, query: &Query, filter: Filter) -> Dropped {
        let distance_m = distance_m(query.center, self.point);
        Dropped { driver: self.driver, filter, distance_m }
    }
}
