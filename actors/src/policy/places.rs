//! Pickup caps of places, by H3 cell: how far a driver may be depends on where the rider stands. A
//! suburb with few cars may want more than the city, a centre with many less.

use crate::geo::{MATCH_RESOLUTION, cell_of};
use h3o::{CellIndex, Resolution};
use proto::Point;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cells at most: as JSON some 14 KB of the 64 that a policy may take.
pub const PLACES_MAX: usize = 512;
/// The longest cap, in milliseconds: two hours.
const CAP_MAX_MS: u32 = 7_200_000;

/// The caps in force, in milliseconds of estimated driving. As JSON an object, its keys cells in hex.
/// Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u32>", into = "BTreeMap<String, u32>")]
pub struct PlaceCaps(Arc<BTreeMap<CellIndex, u32>>);

impl PlaceCaps {
    /// The cap where a rider stands, in milliseconds: of the smallest cell around him; nothing if none
    /// is.
    pub fn at(&self, point: Point) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        let cell = cell_of(point);
        let upwards = Resolution::range(Resolution::Zero, MATCH_RESOLUTION).rev();
        upwards.filter_map(|wide| cell.parent(wide)).find_map(|cell| self.0.get(&cell).copied())
    }

    /// What is wrong with them, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        if self.0.len() > PLACES_MAX {
            return Some(format!("must be at most {PLACES_MAX} cells"));
        }
        if let Some(cell) = self.0.keys().find(|cell| cell.resolution() > MATCH_RESOLUTION) {
            return Some(format!("{cell} is smaller than resolution {MATCH_RESOLUTION}"));
        }
        let (cell, _) = self.0.iter().find(|(_, cap)| !(1..=CAP_MAX_MS).contains(*cap))?;
        Some(format!("{cell} must have a cap of 1 to {CAP_MAX_MS} ms"))
    }
}

impl TryFrom<BTreeMap<String, u32>> for PlaceCaps {
    type Error = String;

    fn try_from(caps: BTreeMap<String, u32>) -> Result<Self, String> {
        let caps = caps.into_iter().map(|(cell, cap)| {
            let known = cell.parse::<CellIndex>();
            known.map(|known| (known, cap)).map_err(|_| format!("`{cell}` is no H3 cell in hex"))
        });
        caps.collect::<Result<_, _>>().map(|caps| Self(Arc::new(caps)))
    }
}

impl From<PlaceCaps> for BTreeMap<String, u32> {
    fn from(PlaceCaps(caps): PlaceCaps) -> Self {
        caps.iter().map(|(cell, cap)| (cell.to_string(), *cap)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(caps: &[(String, u32)]) -> Result<PlaceCaps, String> {
        caps.iter().cloned().collect::<BTreeMap<String, u32>>().try_into()
    }

    #[test]
    fn the_smallest_cell_around_a_rider_counts() {
        let here = Point::from_e7(407_580_000, -739_855_000).unwrap();
        let there = Point::from_e7(417_580_000, -739_855_000).unwrap();
        let cell = |wide| cell_of(here).parent(wide).unwrap().to_string();
        let (city, block) = (cell(Resolution::Five), cell(Resolution::Eight));
        let both = caps(&[(city.clone(), 240_000), (block, 90_000)]).unwrap();
        assert_eq!((both.at(here), both.at(there)), (Some(90_000), None));
        assert_eq!(caps(&[(city, 240_000)]).unwrap().at(here), Some(240_000));
        assert_eq!(PlaceCaps::default().at(here), None);
        assert_eq!(BTreeMap::from(both.clone()).try_into(), Ok(both));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        assert!(caps(&[("midtown".into(), 1)]).unwrap_err().contains("midtown"));
        let block = cell_of(Point::from_e7(0, 0).unwrap());
        let small = block.children(Resolution::Nine).next().unwrap();
        for (cell, cap, says) in [
            (block, 0, "1 to 7200000"),
            (block, 7_200_001, "1 to 7200000"),
            (small, 60_000, "resolution 8"),
        ] {
            let caps = caps(&[(cell.to_string(), cap)]).unwrap();
            assert!(caps.problem().unwrap_or_default().contains(says), "{says}");
        }
        let around = block.grid_disk::<Vec<_>>(13);
        let many: Vec<_> = around.into_iter().map(|cell| (cell.to_string(), 1)).collect();
        assert!(caps(&many).unwrap().problem().unwrap_or_default().contains("at most 512"));
    }
}
