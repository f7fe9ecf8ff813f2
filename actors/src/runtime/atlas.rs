//! Which ring key a point lies in, without asking H3, nearly always.
//!
//! The globe is cut into tiles of 365 m from north to south, and these into sixteen of 91 m. What was
//! worked out for a tile is kept in a table shared by all tasks: the ring key that the whole tile
//! lies in, or that it lies in more than one; then the smaller tile is looked at. Only pings from
//! small tiles in more than one key, one in fifteen for keys of resolution 6, cost the 400 ns of a
//! cell.
//!
//! The table is lock-free, in the way of chess programs (Hyatt and Mann, "A lock-less transposition
//! table implementation for parallel search", 2002): an entry is two words, the key and the key
//! XOR the tile, so that halves of two different writes fit no tile.

use super::Runtime;
use crate::geo::cell_of;
use membership::View;
use proto::Point;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tiles are two to this many ten-millionths of a degree wide and tall, the large ones first. A tile
/// and its margin are smaller than any r8 cell, so no cell hides inside one.
const TILE_BITS: [u32; 2] = [15, 13];
/// Entries that a tile may be in: a line of the processor's cache.
const WAYS: usize = 4;
/// Sets of entries, 4 MiB in all. 1,600 square kilometres need a quarter of them.
const SETS: usize = 1 << 16;
/// Somebody stands at least every so many ten-millionths of a degree of latitude (101 m) around a
/// tile's margin.
const STEP_E7: i32 = 9_100;
/// Around a tile so much is looked at as well, in ten-millionths of a degree of latitude (55 m): the
/// border between two keys runs along edges of r8 cells, whose corners stick out by less.
const MARGIN_E7: i32 = 5_000;
/// Beyond this latitude a margin as wide is many tiles long; H3 is always asked.
const LAT_MAX_E7: u32 = 700_000_000;
/// In place of a key: the tile lies in several.
const SEVERAL: u64 = 1;

/// Aligned to a line of the processor's cache.
#[derive(Default)]
#[repr(align(64))]
struct Set([[AtomicU64; 2]; WAYS]);

/// What is known of tiles.
pub(super) struct Atlas {
    sets: Box<[Set]>,
}

impl Atlas {
    pub(super) fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Set::default()).collect() }
    }

    /// The ring key of a point, as `view` has it.
    fn ring_key(&self, view: &View, point: Point) -> u64 {
        let (lat_e7, lng_e7) = point.to_e7();
        if lat_e7.unsigned_abs() <= LAT_MAX_E7 {
            for bits in TILE_BITS {
                let key = self.tile(view, bits, lat_e7 >> bits, lng_e7 >> bits);
                if key != SEVERAL {
                    return key;
                }
            }
        }
        view.ring_key(cell_of(point))
    }

    /// Has the memory brought near that [`ring_key`](Self::ring_key) reads first for a point.
    fn bring_near(&self, view: &View, point: Point) {
        let (lat_e7, lng_e7) = point.to_e7();
        let [bits, _] = TILE_BITS;
        let (_, set) = self.set(view, bits, lat_e7 >> bits, lng_e7 >> bits);
        black_box(set.0[0][0].load(Ordering::Relaxed));
    }

    /// The number of a tile, and where it is if it is known.
    fn set(&self, view: &View, bits: u32, row: i32, column: i32) -> (u64, &Set) {
        let place = u64::from(row.cast_unsigned()) << 32 | u64::from(column.cast_unsigned());
        // Rows have 18 bits and a sign; the size goes above them. Where splits are others, so
        // are keys: what was kept then fits no tile now.
        let tile = mix(place ^ u64::from(bits) << 58) ^ view.split_version();
        #[expect(clippy::cast_possible_truncation, reason = "any bits do; they are masked")]
        let set = &self.sets[tile as usize % SETS];
        (tile, set)
    }

    /// What is known of a tile; worked out if nothing is.
    fn tile(&self, view: &View, bits: u32, row: i32, column: i32) -> u64 {
        let (tile, set) = self.set(view, bits, row, column);
        let mut free = None;
        for way in &set.0 {
            let [key, check] = way;
            let known = key.load(Ordering::Relaxed);
            if known == 0 {
                free = free.or(Some(way)); // no key is 0, which an unwritten entry holds
            } else if known ^ check.load(Ordering::Relaxed) == tile {
                return known;
            }
        }
        let found = survey(view, bits, row << bits, column << bits);
        let [key, check] = free.unwrap_or(&set.0[(tile >> 32) as usize % WAYS]);
        key.store(found, Ordering::Relaxed);
        check.store(found ^ tile, Ordering::Relaxed);
        found
    }
}

/// The key that a tile and its margin lie in. A corner of an r8 cell is 100 degrees or wider, so
/// one that reaches into the tile from any side is 130 m wide where it crosses the margin's rim,
/// where somebody stands every 101 m.
fn survey(view: &View, bits: u32, south_e7: i32, west_e7: i32) -> u64 {
    // A degree of longitude is shorter: the margin has as many metres, so more of them.
    let shrinks = (f64::from(south_e7.unsigned_abs().max(1)) / 1e7 + 0.01).to_radians().cos();
    #[expect(clippy::cast_possible_truncation, reason = "three times MARGIN_E7 at most")]
    let margin_east = (f64::from(MARGIN_E7) / shrinks) as i32;
    let (tall, wide) = ((1 << bits) + 2 * MARGIN_E7, (1 << bits) + 2 * margin_east);
    let steps = tall.max(wide) / STEP_E7 + 1;
    let mut key = None;
    for step in 0..steps {
        let (north, east) = (tall * step / steps, wide * step / steps);
        for (north, east) in [(0, east), (north, wide), (tall, wide - east), (tall - north, 0)] {
            let lat = south_e7 - MARGIN_E7 + north;
            let lng = west_e7.saturating_sub(margin_east).saturating_add(east);
            // Beside the antimeridian nothing is certain.
            let Ok(point) = Point::from_e7(lat, lng) else { return SEVERAL };
            let here = view.ring_key(cell_of(point));
            if *key.get_or_insert(here) != here {
                return SEVERAL;
            }
        }
    }
    key.unwrap_or(SEVERAL)
}

/// Spreads the bits of a tile's number; no two numbers give the same (the finisher of splitmix64).
const fn mix(number: u64) -> u64 {
    let a = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ a >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ b >> 31
}

impl Runtime {
    /// Has the memory brought near that [`ring_key`](Self::ring_key) reads first for a point.
    pub(super) fn bring_near(&self, view: &View, point: Point) {
        self.0.atlas.bring_near(view, point);
    }

    /// The ring key of the cell that a point lies in.
    pub fn ring_key(&self, view: &View, point: Point) -> u64 {
        self.0.atlas.ring_key(view, point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use membership::{Expect, Member, Parts, SplitTable};
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
    use std::sync::Arc;

    fn view(splits: SplitTable) -> View {
        let address = "127.0.0.1:1".parse().unwrap();
        let me = Member {
            id: proto::NodeId(1),
            generation: 1,
            peer: address,
            http: address,
            zone: String::new(),
            weight: 1,
            version: String::new(),
            split_version: 0,
        };
        View::new(Parts {
            me: me.id,
            members: vec![me],
            expect: Expect::Itself,
            foundation: None,
            splits: Arc::new(splits),
            fault: None,
        })
    }

    /// Where borders stick out: around the corners of r8 cells, at all latitudes.
    #[test]
    fn the_atlas_says_what_h3_says_at_every_corner() {
        let (atlas, view) = (Atlas::new(), view(SplitTable::default()));
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for (lat, lng) in [(64.5, 40.5), (69.6, 18.9), (52.5, 13.4), (1.3, 103.8), (-54.8, -68.3)] {
            let middle = cell_of(Point::from_degrees(lat, lng).unwrap());
            for cell in middle.grid_disk::<Vec<_>>(30) {
                for corner in cell.boundary().iter() {
                    for _ in 0..6 {
                        let off = |rng: &mut ChaCha8Rng| rng.random_range(-3e-4..3e-4_f64);
                        let (lat, lng) =
                            (corner.lat() + off(&mut rng), corner.lng() + off(&mut rng));
                        let point = Point::from_degrees(lat, lng).unwrap();
                        let said = atlas.ring_key(&view, point);
                        assert_eq!(said, view.ring_key(cell_of(point)), "{point:?}");
                    }
                }
            }
        }
        let slipped = Point::from_degrees(64.429_283_7, 40.466_021_8).unwrap();
        assert_eq!(atlas.ring_key(&view, slipped), view.ring_key(cell_of(slipped)));
    }

    #[test]
    fn the_atlas_says_what_h3_says_everywhere() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let places = [
            (40.75, -73.98),
            (12.97, 77.59),
            (0.0, 0.0),
            (-33.87, 151.2),
            (64.1, -21.9),
            (-16.8, 179.99),
            (85.0, 3.0),
        ];
        for (lat, lng) in places {
            let center = Point::from_degrees(lat, lng).unwrap();
            let r6 = cell_of(center).parent(h3o::Resolution::Six).unwrap();
            for splits in [SplitTable::default(), SplitTable::new([r6]).unwrap()] {
                let (atlas, view) = (Atlas::new(), view(splits));
                let (mut asked, mut several) = (0, 0);
                for _ in 0..60_000 {
                    let lat = lat + rng.random_range(-0.1..0.1);
                    let lng = lng + rng.random_range(-0.1..0.1);
                    let lng = (lng + 540.0).rem_euclid(360.0) - 180.0;
                    let point = Point::from_degrees(lat, lng).unwrap();
                    assert_eq!(
                        atlas.ring_key(&view, point),
                        view.ring_key(cell_of(point)),
                        "{point:?}"
                    );
                    let (south, west) = point.to_e7();
                    if asked < 2_000 && lat.abs() < 70.0 {
                        asked += 1;
                        let bits = TILE_BITS[1];
                        let corner = |e7: i32| e7 >> bits << bits;
                        several +=
                            i32::from(survey(&view, bits, corner(south), corner(west)) == SEVERAL);
                    }
                }
                assert!(several <= asked / 5, "{several} of {asked} tiles lie in several keys");
            }
        }
    }
}
