//! Which cell a place is owned by: its r6 parent, or the r7 parent where the r6 cell is split.
//!
//! One r6 cell is 49 r8 cells, 36 km2: coarse enough that a search touches few owners, too coarse
//! for Manhattan, where one r6 cell has half of a city's pickups. The table names those.

use h3o::{CellIndex, Resolution};
use proto::slot::frozen_hash;
use std::collections::BTreeSet;

/// The most r6 cells that may be split: 4,096 of them are 150,000 km2 of dense city.
pub const SPLITS_MAX: usize = 4_096;

/// Why a split table was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Only r6 cells are split.
    #[error("cell {0} is no r6 cell")]
    NotR6(CellIndex),
    /// More than [`SPLITS_MAX`] cells.
    #[error("more than {SPLITS_MAX} cells are split")]
    TooMany,
}

/// The r6 cells that are owned as their r7 children. Static: every member is configured with the
/// same one, and gossips its version so that a difference is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitTable {
    version: u64,
    split: BTreeSet<CellIndex>,
}

impl SplitTable {
    /// A table that splits these r6 cells.
    pub fn new(cells: impl IntoIterator<Item = CellIndex>) -> Result<Self, SplitError> {
        let split: BTreeSet<CellIndex> = cells.into_iter().collect();
        if split.len() > SPLITS_MAX {
            return Err(SplitError::TooMany);
        }
        if let Some(cell) = split.iter().find(|cell| cell.resolution() != Resolution::Six) {
            return Err(SplitError::NotR6(*cell));
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

    /// The split r6 cells.
    pub fn cells(&self) -> impl Iterator<Item = CellIndex> {
        self.split.iter().copied()
    }

    /// The key that owns `cell`, which is r8 or finer: its r6 parent, or its r7 parent if that r6
    /// cell is split. (A coarser cell has no such parent and is its own key.)
    pub fn ring_key(&self, cell: CellIndex) -> u64 {
        let coarse = cell.parent(Resolution::Six).unwrap_or(cell);
        let key = if self.split.contains(&coarse) {
            cell.parent(Resolution::Seven).unwrap_or(cell)
        } else {
            coarse
        };
        u64::from(key)
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
    fn a_place_is_owned_by_its_r6_cell_or_by_its_r7_cell_where_that_is_split() {
        let whole = SplitTable::default();
        let split = SplitTable::new([midtown(Resolution::Six)]).unwrap();
        for fine in [Resolution::Eight, Resolution::Nine, Resolution::Twelve] {
            assert_eq!(whole.ring_key(midtown(fine)), u64::from(midtown(Resolution::Six)));
            assert_eq!(split.ring_key(midtown(fine)), u64::from(midtown(Resolution::Seven)));
        }
    }

    #[test]
    fn a_split_divides_one_cell_in_seven_and_touches_no_other() {
        let r6 = midtown(Resolution::Six);
        let split = SplitTable::new([r6]).unwrap();
        let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
        for cell in r6.children(Resolution::Eight) {
            *sizes.entry(split.ring_key(cell)).or_default() += 1;
        }
        assert_eq!(sizes.into_values().collect::<Vec<_>>(), [7; 7]);
        for other in r6.grid_disk::<Vec<_>>(2).into_iter().filter(|cell| *cell != r6) {
            for cell in other.children(Resolution::Eight) {
                assert_eq!(split.ring_key(cell), u64::from(other));
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
    fn only_r6_cells_are_split() {
        let wrong = midtown(Resolution::Seven);
        assert_eq!(SplitTable::new([wrong]), Err(SplitError::NotR6(wrong)));
    }
}
