//! Supply and demand by area, as this node's cells count them.

use super::Runtime;
use super::serve::BATCH_MAX;
use h3o::{CellIndex, Resolution};
use proto::code::{Code, Refusal};
use proto::record::ask::{AreaCount, Areas};
use proto::record::driver::VehicleType;
use std::collections::{BTreeMap, BTreeSet};

impl Runtime {
    /// What the cells held here count in some r7 cells. An area may be shared by several ring keys,
    /// and so by several nodes; the sums add up.
    pub(super) fn areas(&self, ask: &Areas) -> Result<Vec<AreaCount>, Refusal> {
        if ask.areas.len() > BATCH_MAX {
            return Err(Code::TooLarge.into());
        }
        let view = self.world().membership.view();
        let now = self.world().clock.mono();
        let areas: BTreeSet<CellIndex> =
            ask.areas.iter().filter_map(|area| CellIndex::try_from(*area).ok()).collect();
        let inside = areas.iter().flat_map(|area| area.children(Resolution::Eight));
        let ring_keys: BTreeSet<u64> = inside.map(|cell| view.ring_key(cell)).collect();
        // Copies are counted by whoever owns them.
        let owned = |key: &u64| view.cell_owner(*key) == Some(self.world().node);
        let mut sums: BTreeMap<(CellIndex, VehicleType), AreaCount> = BTreeMap::new();
        for cell in ring_keys.into_iter().filter(owned).filter_map(|key| self.0.cells.living(key)) {
            cell.count_areas(now, |area, kind, count| {
                if areas.contains(&area) {
                    let empty = AreaCount { area: area.into(), kind, ..AreaCount::default() };
                    sums.entry((area, kind)).or_insert(empty).add(&count);
                }
            });
        }
        Ok(sums.into_values().collect())
    }
}
