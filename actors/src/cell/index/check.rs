//! What must always hold of a [`Supply`].

use super::{Area, Bucket, NOWHERE, Supply};
use crate::geo::{CellShape, cell_of};
use h3o::Resolution;
use proto::record::driver::DriverStatus;
use std::cmp::Reverse;

impl Supply {
    /// Panics if the parts disagree. Asks H3 about every driver: for tests and simulation.
    pub fn check_invariants(&self) {
        let Self { slot_of, entries, vacant, bucket_of, buckets, areas, by_seen, ends, .. } = self;
        assert_eq!(slot_of.len() + vacant.len(), entries.len(), "a slot is used or vacant");
        assert_eq!(slot_of.len(), by_seen.len(), "every slot in use awaits the sweep once");
        assert_eq!(bucket_of.len(), buckets.len(), "every bucket has its own cell");
        for Reverse((seen_once, slot)) in by_seen {
            let entry = &entries[*slot as usize];
            assert_eq!(slot_of.get(&entry.driver), Some(slot), "the sweep knows {entry:?}");
            assert!(*seen_once <= entry.seen, "the sweep would come late for {entry:?}");
        }
        let mut housed = 0;
        let mut recount: Vec<Area> = Vec::new();
        for area in areas {
            recount.push(Area { cell: area.cell, by_kind: Default::default() });
        }
        for (cell, bucket) in bucket_of {
            let Bucket { cell: own, shape, slots, area, .. } = &buckets[*bucket as usize];
            assert_eq!(Some(areas[*area as usize].cell), own.parent(Resolution::Seven));
            assert_eq!(cell, own, "a bucket knows its cell");
            assert_eq!(*shape, CellShape::of(*cell), "a bucket knows its shape");
            for (place, slot) in slots.iter().enumerate() {
                let entry = &entries[*slot as usize];
                assert_eq!(slot_of.get(&entry.driver), Some(slot), "{entry:?} is in use");
                assert_eq!(entry.bucket, *bucket, "{entry:?} is in one bucket");
                assert_eq!(entry.place as usize, place, "{entry:?} knows his place");
                assert_eq!(cell_of(entry.point), *cell, "{entry:?} is in his cell");
                if let Some(known) = entry.known {
                    recount[*area as usize].came(known, entry.seen);
                }
            }
            housed += slots.len();
        }
        assert_eq!(housed, self.len, "drivers are counted");
        assert_eq!(&recount, areas, "what is counted is what there is");
        for entry in slot_of.values().map(|slot| &entries[*slot as usize]) {
            let ghost = entry.bucket == NOWHERE;
            assert!(!ghost || entry.known.is_none(), "{entry:?} is a ghost with a standing");
        }
        for slot in ends.keys() {
            let entry = &entries[*slot as usize];
            let taken = entry.known.is_some_and(|known| known.status == DriverStatus::Taken);
            assert!(taken && entry.bucket != NOWHERE, "{entry:?} has nobody aboard");
        }
        let ghosts = slot_of.values().filter(|slot| entries[**slot as usize].bucket == NOWHERE);
        assert_eq!(ghosts.count() + housed, slot_of.len(), "a driver is housed or a ghost");
    }
}
