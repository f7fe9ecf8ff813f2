//! What this node's cells carry, as whoever plans the split cells is told.

use super::Runtime;
use std::cmp::Reverse;

/// Cells in one answer, at most: some 80 KiB, 6,000 km2.
const CELLS_MAX: usize = 8_192;

impl Runtime {
    /// The loads of the heaviest r8 cells here, each in weight a second.
    pub(super) fn heaviest(&self) -> Vec<(u64, u64)> {
        heaviest(self.loads(), CELLS_MAX)
    }
}

fn heaviest(mut loads: Vec<(u64, u64)>, max: usize) -> Vec<(u64, u64)> {
    loads.retain(|(_, load)| *load > 0);
    if loads.len() > max {
        loads.select_nth_unstable_by_key(max, |(cell, load)| (Reverse(*load), *cell));
        loads.truncate(max);
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_are_told_and_no_idle_ones() {
        let loads: Vec<(u64, u64)> = (0..100).map(|cell| (cell, cell % 50)).collect();
        let mut told = heaviest(loads.clone(), 4);
        told.sort_unstable();
        assert_eq!(told, [(48, 48), (49, 49), (98, 48), (99, 49)]);
        assert_eq!(heaviest(loads, 1_000).len(), 98);
    }
}
