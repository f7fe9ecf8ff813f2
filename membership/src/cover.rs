//! The ring keys of a circle, nearest first.
//!
//! The circle is met with the r6 cells around its centre, each taken as the ring keys it is owned
//! by. Where a key's places are is known from its children's centres; what those are is kept, so
//! that a search costs one H3 cell and a few dozen products. Everything is measured from above:
//! a key may be named that holds no place of the circle, none that does is left out.

use crate::split::SplitTable;
use h3o::{CellIndex, LatLng, Resolution};
use proto::{NodeId, Point};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The largest circle that is covered, in metres; a larger radius counts as this one. It bounds
/// the disk to 7 rings, 169 r6 cells.
pub const RADIUS_MAX_M: u32 = 25_000;

/// A ring key near a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyNear {
    /// The key.
    pub ring_key: u64,
    /// Who owns it.
    pub owner: NodeId,
    /// No place of the key is nearer than this, in metres over the globe; 0 if one may be here.
    pub nearest_m: u32,
}

/// The mean radius of the earth in metres, as H3 has it.
const EARTH_M: f64 = 6_371_007.180_918_475;
/// The shortest r6 edge to reckon with, in metres. The mean is 3,725; of 72,000 cells over the
/// globe, a sixth of them around pentagons, the shortest was 2,771.
const EDGE_MIN_M: f64 = 2_700.0;
/// How far an r8 cell may stand out of the r6 cell it belongs to, in metres.
const PROTRUDES_M: f64 = 700.0;
/// Distances of different formulas for a circle's rim differ by less than one part in this many.
const RIM_SLACK: f64 = 100.0;
/// Rings of r6 cells that are kept around a cell: circles up to 10 km.
const KEPT_RINGS: u32 = 3;
/// Ring keys that are kept at most, each at some 250 bytes. A city of 40 x 40 km asks for the
/// surroundings of 45 cells, 1,665 keys if none is split.
const KEPT_MAX: usize = 65_536;

/// The farthest a place may be from the centre of the r6, r7 or r8 cell that its r8 cell belongs
/// to, in metres. Of the same cells 4,220, 1,548 and 585.
fn reach_m(cell: CellIndex) -> f64 {
    if cell.resolution() == Resolution::Eight {
        600.0
    } else if cell.resolution() == Resolution::Seven {
        1_580.0
    } else {
        4_300.0
    }
}

/// Where a ring key's places are: within `reach_m` of `at`, and of one of `parts` as far as
/// `part_reach_m`. Centres are points of the unit sphere.
#[derive(Debug, Clone)]
struct Spot {
    key: u64,
    owner: NodeId,
    at: [f64; 3],
    reach_m: f64,
    parts: Box<[[f64; 3]]>,
    part_reach_m: f64,
}

impl Spot {
    fn new(cell: CellIndex, owner: NodeId) -> Self {
        let finer = cell.resolution().succ().filter(|finer| *finer <= Resolution::Eight);
        let children: Vec<CellIndex> =
            finer.map_or_else(|| vec![cell], |finer| cell.children(finer).collect());
        Self {
            key: cell.into(),
            owner,
            at: unit(cell.into()),
            reach_m: reach_m(cell),
            part_reach_m: children.first().map_or(0.0, |child| reach_m(*child)),
            parts: children.into_iter().map(|child| unit(child.into())).collect(),
        }
    }

    /// No place of the key is nearer to `from` than this; nothing if all are beyond `touches_m`.
    fn nearest_m(&self, from: [f64; 3], touches_m: f64) -> Option<f64> {
        if chord_m(self.at, from) > touches_m + self.reach_m {
            return None;
        }
        let nearest = self.parts.iter().map(|part| chord_m(*part, from)).fold(f64::MAX, f64::min);
        Some(nearest - self.part_reach_m).filter(|nearest_m| *nearest_m <= touches_m)
    }
}

/// The surroundings that were asked for, for as long as the ring and the split table stay.
#[derive(Debug, Default)]
pub(crate) struct Surroundings(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    around: BTreeMap<CellIndex, Arc<[Spot]>>,
    keys: usize,
}

impl Surroundings {
    /// The ring keys that may hold a place within `radius_m` of `center`, nearest first, then in
    /// order of key. `table` and `owner` must be the same every time.
    pub(crate) fn keys(
        &self,
        center: Point,
        radius_m: u32,
        table: &SplitTable,
        owner: impl Fn(u64) -> Option<NodeId>,
    ) -> Vec<KeyNear> {
        let Ok(center) = LatLng::new(center.lat(), center.lng()) else {
            return Vec::new(); // cannot be: a Point is on the globe
        };
        let radius_m = radius_m.min(RADIUS_MAX_M);
        let middle = center.to_cell(Resolution::Six);
        let spots = match rings(radius_m) {
            0..=KEPT_RINGS => self.around(middle, table, owner),
            wide => look_around(middle, wide, table, owner),
        };
        let from = unit(center);
        let touches_m = f64::from(radius_m) * (1.0 + 1.0 / RIM_SLACK);
        let near = |spot: &Spot| {
            let nearest_m = whole_m(spot.nearest_m(from, touches_m)?);
            Some(KeyNear { ring_key: spot.key, owner: spot.owner, nearest_m })
        };
        let mut keys: Vec<KeyNear> = spots.iter().filter_map(near).collect();
        keys.sort_unstable_by_key(|near| (near.nearest_m, near.ring_key));
        keys
    }

    fn around(
        &self,
        middle: CellIndex,
        table: &SplitTable,
        owner: impl Fn(u64) -> Option<NodeId>,
    ) -> Arc<[Spot]> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(spots) = kept.around.get(&middle) {
            return Arc::clone(spots);
        }
        drop(kept);
        let spots = look_around(middle, KEPT_RINGS, table, owner);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.keys + spots.len() > KEPT_MAX {
            *kept = Kept::default(); // what is in use comes back at 30 us a cell
        }
        if kept.around.insert(middle, Arc::clone(&spots)).is_none() {
            kept.keys += spots.len();
        }
        spots
    }
}

fn look_around(
    middle: CellIndex,
    rings: u32,
    table: &SplitTable,
    owner: impl Fn(u64) -> Option<NodeId>,
) -> Arc<[Spot]> {
    let disk = middle.grid_disk::<Vec<_>>(rings).into_iter();
    let cells = disk.flat_map(|coarse| table.keys_in(coarse));
    cells.filter_map(|cell| Some(Spot::new(cell, owner(cell.into())?))).collect()
}

/// How many rings of r6 cells hold all keys of the circle.
///
/// In a grid of regular hexagons with edge `e`, `k` rings hold every point within
/// `(1.5 k + 0.5) e` of the middle cell's centre (the notch between two outer cells), and the
/// circle's centre is at most `e` off it: `radius <= (1.5 k - 0.5) e`. A place may stand out of
/// its key's hexagon.
fn rings(radius_m: u32) -> u32 {
    let farthest_m = f64::from(radius_m) * (1.0 + 1.0 / RIM_SLACK) + PROTRUDES_M;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to 7, because the radius is at most RADIUS_MAX_M"
    )]
    let rings = ((farthest_m / EDGE_MIN_M + 0.5) / 1.5).ceil() as u32;
    rings
}

fn unit(at: LatLng) -> [f64; 3] {
    let (lat, lng) = (at.lat_radians(), at.lng_radians());
    [lat.cos() * lng.cos(), lat.cos() * lng.sin(), lat.sin()]
}

/// The distance straight through the globe, which is never more than that over it, and 2 cm less
/// at 25 km.
fn chord_m([ax, ay, az]: [f64; 3], [bx, by, bz]: [f64; 3]) -> f64 {
    let (x, y, z) = (ax - bx, ay - by, az - bz);
    (x * x + y * y + z * z).sqrt() * EARTH_M
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at least zero, and no chord is longer than the earth's diameter"
)]
fn whole_m(metres: f64) -> u32 {
    metres.max(0.0).floor() as u32
}

#[cfg(test)]
mod tests;
