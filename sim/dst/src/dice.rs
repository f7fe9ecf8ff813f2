//! Chance of the simulation itself: each user has dice of his own, made from the seed and his name.

use proto::slot::frozen_hash;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::time::Duration;

/// Somebody's source of chance.
#[derive(Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of `who` in the run with this seed.
    pub fn of(seed: u64, who: &str) -> Self {
        Self(ChaCha8Rng::seed_from_u64(frozen_hash(format!("{seed} {who}").as_bytes())))
    }
    /// One of a range.
    pub fn one_of(&mut self, range: Range<usize>) -> usize {
        self.0.random_range(range)
    }
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.random()
    }
    /// Milliseconds out of a range.
    pub fn ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }
    /// True in so many of a hundred cases.
    pub fn percent(&mut self, of_hundred: u32) -> bool {
        self.0.random_range(0..100) < of_hundred
    }
}
