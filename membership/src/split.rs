//! Which cell a place is owned by: its r6 cell, or where the split table says so its r7 or r8 cell.
//!
//! One r6 cell is 49 r8 cells, 36 km2: coarse enough that a search touches few owners, too coarse
//! for Manhattan, where one r6 cell has half of a city's pickups. The table names the cells that
//! are owned as their seven children: r6 cells, and r7 cells within those.

use h3o::{CellIndex, Resolution};
use proto::slot::frozen_hash;
use std::collections::BTreeSet;

pub mod plan;

/// The most cells that may be split: 4,096 r6 cells are 150,000 km2 of dense city.
pub const SPLITS_MAX: usize = 4_096;

/// Why a split table was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Only r6 and r7 cells are split.
    #[error("cell {0} is neither an r6 nor an r7 cell")]
    Unsplittable(CellIndex),
    /// An r7 cell is split only where its r6 cell is.
    #[error("cell {0} is split, but the r6 cell it is in is not")]
    Orphan(CellIndex),
    /// More than [`SPLITS_MAX`] cells.
    #[error("more than {SPLITS_MAX} cells are split")]
    TooMany,
}

/// The cells that are owned as their children. Every member has the same one, except for a moment
/// after a change, and gossips its version so that a difference is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitTable {
    version: u64,
    split: BTreeSet<CellIndex>,
}

impl SplitTable {
    /// A table that splits these cells, r6 or r7, in any order.
    pub fn new(cells: impl IntoIterator<Item = CellIndex>) -> Result<Self, SplitError> {
        let split: BTreeSet<CellIndex> = cells.into_iter().collect();
        if split.len() > SPLITS_MAX {
            return Err(SplitError::TooMany);
        }
        for cell in &split {
            match (cell.resolution(), cell.parent(Resolution::Six)) {
                (Resolution::Six, _) => {}
                (Resolution::Seven, Some(coarse)) if split.contains(&coarse) => {}
                (Resolution::Seven, _) => return Err(SplitError::Orphan(*cell)),
                _ => return Err(SplitError::Unsplittable(*cell)),
            }
        }
        let version = split
            .iter()
            .fold(0u64, |sum, c| sum.wrapping_add(frozen_hash(&u64::from(*c).to_be_bytes())));
        Ok(Self { version, split })
    }

    /// A checksum of the split cells; 0 if there is none.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The split cells, in H3's order: an r6 cell after the r7 cells in it.
    pub fn cells(&self) -> impl Iterator<Item = CellIndex> {
        self.split.iter().copied()
    }

    /// How many cells are split.
    pub fn len(&self) -> usize {
        self.split.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.split.is_empty()
    }

    /// Whether `cell` is owned as its children.
    pub fn splits(&self, cell: CellIndex) -> bool {
        self.split.contains(&cell)
    }

    /// The key that owns `cell`, which is r8 or finer: its r6 parent, or where that is split its
    /// r7 parent, or where that is split too its r8 parent. (A coarser cell is its own key where
    /// it has no such parent.)
    pub fn ring_key(&self, cell: CellIndex) -> u64 {
        u64::from(self.key_cell(cell))
    }

    /// The same as a cell.
    pub(crate) fn key_cell(&self, cell: CellIndex) -> CellIndex {
        let mut key = cell.parent(Resolution::Six).unwrap_or(cell);
        for finer in [Resolution::Seven, Resolution::Eight] {
            if !self.split.contains(&key) {
                break;
            }
            key = cell.parent(finer).unwrap_or(cell);
        }
        key
    }

    /// The ring keys that an r6 cell is owned as: itself, or its r7 and r8 cells.
    pub(crate) fn keys_in(&self, coarse: CellIndex) -> Vec<CellIndex> {
        if !self.split.contains(&coarse) {
            return vec![coarse];
        }
        let finer = coarse.children(Resolution::Seven);
        finer
            .flat_map(|fine| match self.split.contains(&fine) {
                true => fine.children(Resolution::Eight).collect(),
                false => vec![fine],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use h3o::LatLng;
    use std::collections::BTreeMap;

    fn midtown(resolution: Resolution) -> CellIndex {
        LatLng::new(40.7580, -73.9855).unwrap().to_cell(resolution)
    }

    #[test]
    fn a_place_is_owned_by_its_r6_cell_or_where_that_is_split_by_a_finer_one() {
        let (r6, r7) = (midtown(Resolution::Six), midtown(Resolution::Seven));
        let whole = SplitTable::default();
        let once = SplitTable::new([r6]).unwrap();
        let twice = SplitTable::new([r7, r6]).unwrap();
        for fine in [Resolution::Eight, Resolution::Nine, Resolution::Twelve] {
            assert_eq!(whole.ring_key(midtown(fine)), u64::from(r6));
            assert_eq!(once.ring_key(midtown(fine)), u64::from(r7));
            assert_eq!(twice.ring_key(midtown(fine)), u64::from(midtown(Resolution::Eight)));
        }
    }

    #[test]
    fn a_split_divides_one_cell_in_seven_and_touches_no_other() {
        let (r6, r7) = (midtown(Resolution::Six), midtown(Resolution::Seven));
        let once = (vec![r6], vec![7; 7]);
        let twice = (vec![r6, r7], vec![1, 1, 1, 1, 1, 1, 1, 7, 7, 7, 7, 7, 7]);
        for (split, expected) in [once, twice] {
            let split = SplitTable::new(split).unwrap();
            let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
            for cell in r6.children(Resolution::Eight) {
                *sizes.entry(split.ring_key(cell)).or_default() += 1;
            }
            let mut keys: Vec<u64> = split.keys_in(r6).into_iter().map(u64::from).collect();
            keys.sort_unstable();
            assert!(keys.iter().eq(sizes.keys()), "the keys of a cell are those of its places");
            let mut sizes: Vec<usize> = sizes.into_values().collect();
            sizes.sort_unstable();
            assert_eq!(sizes, expected);
            for other in r6.grid_disk::<Vec<_>>(2).into_iter().filter(|cell| *cell != r6) {
                assert_eq!(split.keys_in(other), [other]);
                for cell in other.children(Resolution::Eight) {
                    assert_eq!(split.ring_key(cell), u64::from(other));
                }
            }
        }
    }

    #[test]
    fn the_version_tells_tables_apart_whatever_the_order() {
        let cells: Vec<CellIndex> = midtown(Resolution::Six).grid_disk(1);
        let forwards = SplitTable::new(cells.clone()).unwrap();
        let backwards = SplitTable::new(cells.iter().rev().copied()).unwrap();
        let fewer = SplitTable::new(cells.iter().skip(1).copied()).unwrap();
        assert_eq!(forwards.version(), backwards.version());
        assert_ne!(forwards.version(), fewer.version());
        assert_eq!(SplitTable::default().version(), 0);
    }

    #[test]
    fn only_r6_cells_are_split_and_r7_cells_within_those() {
        let (r7, r8) = (midtown(Resolution::Seven), midtown(Resolution::Eight));
        assert_eq!(SplitTable::new([r7]), Err(SplitError::Orphan(r7)));
        let all = [midtown(Resolution::Six), r7, r8];
        assert_eq!(SplitTable::new(all), Err(SplitError::Unsplittable(r8)));
        let many: Vec<CellIndex> = midtown(Resolution::Six).grid_disk(37);
        assert_eq!(SplitTable::new(many), Err(SplitError::TooMany));
    }
}
