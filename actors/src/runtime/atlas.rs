//! Which ring key a point lies in, without asking H3, nearly always.
//!
//! The globe is cut into tiles of 8,192e-7 degrees (91 m from north to south). What was worked out
//! for a tile is kept in a table shared by all tasks: the ring key that the whole tile lies in, or
//! that it lies in more than one. Only pings from such tiles, one in fifteen for keys of resolution
//! 6, cost the 400 ns of a cell.
//!
//! The table is lock-free, in the way of chess programs (Hyatt and Mann, "A lock-less transposition
//! table implementation for parallel search", 2002): an entry is two words, the key and the key
//! XOR the tile, so that halves of two different writes fit no tile.

use super::Runtime;
use crate::geo::cell_of;
use membership::View;
use proto::Point;
use std::sync::atomic::{AtomicU64, Ordering};

/// A tile is two to this many ten-millionths of a degree.
const TILE_BITS: u32 = 13;
/// Entries, 16 bytes each: 4 MiB hold 2,000 square kilometres at the equator, a metropolis.
const ENTRIES: usize = 1 << 18;
/// Around a tile so much is looked at as well, in ten-millionths of a degree of latitude (55 m): the
/// border between two keys runs along edges of r8 cells, whose corners stick out by less.
const MARGIN_E7: i32 = 5_000;
/// Beyond this latitude a margin as wide is many tiles long; H3 is always asked.
const LAT_MAX_E7: u32 = 700_000_000;
/// In place of a key: the tile lies in several.
const SEVERAL: u64 = 1;

/// What is known of tiles.
pub(super) struct Atlas {
    entries: Box<[[AtomicU64; 2]]>,
}

impl Atlas {
    pub(super) fn new() -> Self {
        Self { entries: (0..ENTRIES).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect() }
    }

    /// The ring key of a point, as `view` has it.
    fn ring_key(&self, view: &View, point: Point) -> u64 {
        let (lat_e7, lng_e7) = point.to_e7();
        let exactly = || view.ring_key(cell_of(point));
        if lat_e7.unsigned_abs() > LAT_MAX_E7 {
            return exactly();
        }
        let (row, column) = (lat_e7 >> TILE_BITS, lng_e7 >> TILE_BITS);
        // Where splits are others, so are keys: what was kept then fits no tile now.
        let tile = mix(u64::from(row.cast_unsigned()) << 32 | u64::from(column.cast_unsigned()))
            ^ view.split_version();
        #[expect(clippy::cast_possible_truncation, reason = "any bits do; they are masked")]
        let [key, check] = &self.entries[tile as usize % ENTRIES];
        let known = key.load(Ordering::Relaxed);
        // No key is 0, which an entry holds that was never written.
        let known = if known != 0 && known ^ check.load(Ordering::Relaxed) == tile {
            known
        } else {
            let found = survey(view, row << TILE_BITS, column << TILE_BITS);
            key.store(found, Ordering::Relaxed);
            check.store(found ^ tile, Ordering::Relaxed);
            found
        };
        if known == SEVERAL { exactly() } else { known }
    }
}

/// The key that a tile and its margin lie in. A corner of an r8 cell is 100 degrees or wider, so
/// one that reaches into the tile from any side is 130 m wide where it crosses the margin's rim,
/// where somebody stands every 101 m.
fn survey(view: &View, south_e7: i32, west_e7: i32) -> u64 {
    // A degree of longitude is shorter: the margin has as many metres, so more of them.
    let shrinks = (f64::from(south_e7.unsigned_abs().max(1)) / 1e7 + 0.001).to_radians().cos();
    #[expect(clippy::cast_possible_truncation, reason = "three times MARGIN_E7 at most")]
    let margin_east = (f64::from(MARGIN_E7) / shrinks) as i32;
    let (tall, wide) = ((1 << TILE_BITS) + 2 * MARGIN_E7, (1 << TILE_BITS) + 2 * margin_east);
    let mut key = None;
    for (north, east) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)] {
        let (lat, lng) = (
            south_e7 - MARGIN_E7 + north * tall / 2,
            west_e7.saturating_sub(margin_east).saturating_add(east * wide / 2),
        );
        // Beside the antimeridian nothing is certain.
        let Ok(point) = Point::from_e7(lat, lng) else { return SEVERAL };
        let here = view.ring_key(cell_of(point));
        if *key.get_or_insert(here) != here {
            return SEVERAL;
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
                        let corner = |e7: i32| e7 >> TILE_BITS << TILE_BITS;
                        several += i32::from(survey(&view, corner(south), corner(west)) == SEVERAL);
                    }
                }
                assert!(several <= asked / 5, "{several} of {asked} tiles lie in several keys");
            }
        }
    }
}
