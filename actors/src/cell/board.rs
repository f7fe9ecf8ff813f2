//! The demand board of one ring key: bookings that wait for a car nearby. A booking posts itself
//! on the boards of its circle every [`REPOST_MS`]; a post not renewed dies after [`POST_TTL_MS`],
//! so that nothing has to be taken down when a booking's node dies. When a driver comes free, the
//! best few of those who could use him are woken and claim him; who gets him is decided at his
//! shell.
//!
//! # Not done
//! * No order of posts and withdrawals: a post that arrives after its withdrawal stands for up to
//!   [`POST_TTL_MS`] and may wake a booking that is served already. The booking ignores it.

use super::{meets, spare_of};
use crate::geo::distance_within;
use proto::record::cell::{Candidate, Demand};
use proto::record::driver::{DriverStatus, Standing};
use proto::{BookingId, MonoMs, Point};
use std::collections::{BTreeMap, BTreeSet};

/// How often a waiting booking posts itself, in milliseconds.
pub const REPOST_MS: u64 = 1_000;

/// How long a post stands, in milliseconds: two posts may be lost in a row.
pub const POST_TTL_MS: u64 = 3_000;

/// Bookings on one board. The Manhattan hour asks 4.4 times a second; sped up 30 times, with
/// nobody served for a patience of 5 minutes (10 s then), 1,334 wait. Three times that, at about
/// 130 bytes each, is half a megabyte.
pub const POSTS_MAX: usize = 4_096;

/// Counting those who wait nearby ends here: a crowd is a crowd, and counting all of a full board
/// took most of a search.
pub const WAITING_MAX: usize = 256;

/// Bookings that one freed car wakes: enough that a few served meanwhile leave somebody, few
/// enough that a busy cell sends no storm of claims.
pub const WAKE_MAX: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Post {
    demand: Demand,
    posted_at: MonoMs,
}

/// The bookings that wait. See the module's text.
#[derive(Debug, Default)]
pub struct Board {
    posts: BTreeMap<BookingId, Post>,
    /// The same by when they were posted, which is the order they die in.
    dying: BTreeSet<(MonoMs, BookingId)>,
    /// Living posts taken down because the board was full.
    crowded_out: u64,
}

impl Board {
    /// An empty board.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a booking up, or renews it; says whether it was not up. On a full board the one that
    /// would die first makes room.
    pub fn post(&mut self, demand: Demand, now: MonoMs) -> bool {
        self.expire(now);
        let is_new = !self.withdraw(demand.booking);
        if self.posts.len() >= POSTS_MAX
            && let Some((_, first)) = self.dying.first().copied()
        {
            self.withdraw(first);
            self.crowded_out += 1;
        }
        self.dying.insert((now, demand.booking));
        self.posts.insert(demand.booking, Post { demand, posted_at: now });
        is_new
    }

    /// Takes a booking down; false if it was not up.
    pub fn withdraw(&mut self, booking: BookingId) -> bool {
        let Some(post) = self.posts.remove(&booking) else { return false };
        self.dying.remove(&(post.posted_at, booking));
        true
    }

    /// Takes the dead down. Posting does it too; without it they only cost memory.
    pub fn expire(&mut self, now: MonoMs) {
        while let Some((posted_at, booking)) = self.dying.first().copied()
            && now.since(posted_at) >= POST_TTL_MS
        {
            self.withdraw(booking);
        }
    }

    /// How many other bookings than `booking` wait within `radius_m` of `center`, at most
    /// [`WAITING_MAX`].
    pub fn waiting_near(
        &self,
        center: Point,
        radius_m: u32,
        booking: BookingId,
        now: MonoMs,
    ) -> u32 {
        let others = self.living(now).filter(|post| post.demand.booking != booking);
        let near = others
            .filter(|post| distance_within(center, post.demand.pickup, radius_m).is_some())
            .take(WAITING_MAX)
            .count();
        u32::try_from(near).expect("at most POSTS_MAX")
    }

    /// Who should hear of a car that came free: the bookings whose circle it is in and whose need
    /// it meets, by least (estimate - what speaks for them), then by id, at most `max` of them. With
    /// each comes the car as it looks from that booking's pickup. `eta_ms` turns straight metres into
    /// milliseconds. A driver who can't be matched wakes nobody.
    pub fn wake(
        &self,
        car: &Candidate,
        standing: &Standing,
        eta_ms: impl Fn(u32) -> u64,
        max: usize,
        now: MonoMs,
    ) -> Vec<(BookingId, Candidate)> {
        if standing.status != DriverStatus::Free {
            return Vec::new();
        }
        let mut woken: Vec<(i64, BookingId, u32, u8)> = self
            .living(now)
            .filter(|post| meets(standing, &post.demand.need))
            .filter_map(|post| {
                let Demand { booking, pickup, radius_m, need, favour_ms, .. } = post.demand;
                let distance_m = distance_within(pickup, car.point, radius_m)?;
                let eta_ms = i64::try_from(eta_ms(distance_m)).unwrap_or(i64::MAX);
                let cost_ms = eta_ms.saturating_sub(favour_ms);
                let spare = spare_of(standing.capabilities, need.capabilities);
                Some((cost_ms, booking, distance_m, spare))
            })
            .collect();
        woken.sort_unstable();
        woken.truncate(max);
        woken
            .into_iter()
            .map(|(_, booking, distance_m, spare)| {
                (booking, Candidate { distance_m, spare, ..*car })
            })
            .collect()
    }

    /// How many posts are up, the dead that were not yet taken down among them.
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// Whether no post is up.
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Living posts that a full board has taken down so far.
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    /// Panics if the parts disagree. For tests and simulation.
    pub fn check_invariants(&self) {
        assert!(self.posts.len() <= POSTS_MAX, "{} posts", self.posts.len());
        assert_eq!(self.posts.len(), self.dying.len(), "every post dies once");
        for (booking, post) in &self.posts {
            assert_eq!(*booking, post.demand.booking, "a post is under its own id");
            assert!(self.dying.contains(&(post.posted_at, *booking)), "{booking} dies on time");
        }
    }

    /// All that wait, whoever they wait near.
    pub fn waiting(&self, now: MonoMs) -> impl Iterator<Item = &Demand> {
        self.living(now).map(|post| &post.demand)
    }

    fn living(&self, now: MonoMs) -> impl Iterator<Item = &Post> {
        self.posts.values().filter(move |post| now.since(post.posted_at) < POST_TTL_MS)
    }
}

#[cfg(test)]
mod tests;
