//! How fast it really goes, learned from drives that were timed: a factor for the whole city, since a
//! rush hour is everywhere, and one for each edge beside it.

use crate::network::{EdgeId, WHOLE};
use std::sync::{Mutex, PoisonError};

/// The source's own time, in thousandths of itself.
const AS_BUILT: u16 = 1_000;
/// No edge is believed to take less or more than this of its time: a car that stood at a kiosk says
/// nothing about the street.
const FACTOR: std::ops::RangeInclusive<u64> = 250..=4_000;
/// How much of what was believed of an edge one drive over all of it takes away: an eighth.
const GAIN: i64 = 8;
/// The city's factor is kept this much finer, so that small steps count ...
const FINE: i64 = 1_000;
/// ... and one drive takes away so much of it.
const CITY_GAIN: i64 = 64;

/// A drive that teaches nothing. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Too short a way or too short a time for a speed.
    #[error("a drive of {ms} ms by the map, timed at {took_ms} ms, is too short to learn from")]
    TooShort {
        /// What the map says.
        ms: u64,
        /// What the car took.
        took_ms: u64,
    },
    /// So long that nobody knows which streets the car took.
    #[error("a drive of {ms} ms by the map, timed at {took_ms} ms, is too long to know its way")]
    TooLong {
        /// What the map says.
        ms: u64,
        /// What the car took.
        took_ms: u64,
    },
    /// Off the roads.
    #[error(transparent)]
    OffRoad(#[from] crate::index::SnapError),
}

/// A timed drive lies within these bounds, in milliseconds, by the map and by the clock.
pub(crate) const DRIVE_MS: std::ops::RangeInclusive<u64> = 2_000..=300_000;

/// What has been learned: its size is the network's.
#[derive(Debug)]
pub(crate) struct Observed(Mutex<Factors>);

#[derive(Debug)]
struct Factors {
    /// In thousandths of a thousandth.
    city: i64,
    /// Of each edge beside the city's, in thousandths.
    edges: Vec<u16>,
}

impl Observed {
    pub(crate) fn new(edges: u32) -> Self {
        let edges = vec![AS_BUILT; edges as usize];
        Self(Mutex::new(Factors { city: i64::from(AS_BUILT) * FINE, edges }))
    }

    fn factors(&self) -> std::sync::MutexGuard<'_, Factors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a drive over these edges (with the parts of each in 65,536ths) that took `took_ms`
    /// where the source says `built_ms`.
    pub(crate) fn learn(&self, edges: &[(EdgeId, u32)], built_ms: u64, took_ms: u64) {
        let seen = (took_ms * 1_000 / built_ms.max(1)).clamp(*FACTOR.start(), *FACTOR.end());
        let seen = i64::try_from(seen).unwrap_or(i64::MAX / FINE);
        let mut factors = self.factors();
        factors.city += (seen * FINE - factors.city) / CITY_GAIN;
        let beside = seen * FINE * i64::from(AS_BUILT) / factors.city.max(1);
        for (edge, parts) in edges {
            let factor = &mut factors.edges[*edge as usize];
            let step = (beside - i64::from(*factor)) * i64::from(*parts) / i64::from(WHOLE);
            let next = i64::from(*factor) + step / GAIN;
            *factor = u16::try_from(next).unwrap_or(*factor);
        }
    }

    /// The times of all edges, by what has been learned.
    pub(crate) fn applied(&self, edge_ms: &[u32]) -> Vec<u32> {
        let factors = self.factors();
        let city = u64::try_from(factors.city / FINE).unwrap_or(u64::from(AS_BUILT));
        let times = edge_ms.iter().zip(&factors.edges);
        let scaled = times.map(|(ms, factor)| {
            let both = city * u64::from(*factor) / u64::from(AS_BUILT);
            u64::from(*ms) * both.clamp(*FACTOR.start(), *FACTOR.end()) / u64::from(AS_BUILT)
        });
        scaled.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX).max(1)).collect()
    }
}
