//! Places on streets, drawn from a seed.

use crate::geometry::metres;
use crate::network::WHOLE;
use crate::roads::Roads;
use proto::Point;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// So many places are drawn to find one nearby: enough where one street in a thousand is.
const NEAR_TRIES: u32 = 10_000;

/// Draws places on streets, every edge as likely as any other.
#[derive(Debug)]
pub struct Places<'a> {
    roads: &'a Roads,
    dice: ChaCha8Rng,
}

impl<'a> Places<'a> {
    /// The same seed draws the same places.
    pub fn new(roads: &'a Roads, seed: u64) -> Self {
        Self { roads, dice: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A place.
    pub fn draw(&mut self) -> Point {
        let network = self.roads.network();
        let edge = self.dice.random_range(0..network.edges());
        let at = self.dice.random_range(0..=WHOLE);
        network.part(edge, at, at)[0]
    }

    /// A place within so many metres of another; nothing if there are hardly any streets.
    pub fn near(&mut self, center: Point, within_m: f64) -> Option<Point> {
        (0..NEAR_TRIES).map(|_| self.draw()).find(|place| metres(center, *place) <= within_m)
    }
}
