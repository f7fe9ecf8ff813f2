//! The frozen hash, hash slots and groups. A slot never changes for a key; which group holds a
//! slot may (ranges can be split), so nothing stores a group number beside an id.

use serde::{Deserialize, Serialize};
use std::fmt;

/// XXH3-64 with seed 0. Frozen: ring positions, slots and party ids all come from it, and the
/// vectors in the tests keep it so.
pub fn frozen_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// One of 65,536 equal parts of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of a route key: the top 16 bits of its frozen hash.
    pub fn of(route_key: &[u8]) -> Self {
        Self((frozen_hash(route_key) >> 48) as u16)
    }
}

/// A partition of durable state: one log, one owner at a time. Group 0 is the cluster's own
/// metadata and holds no slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u16);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}
impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which group holds which slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMap {
    groups: u16,
}

impl SlotMap {
    /// Splits the slots evenly over groups 1 to `groups`.
    ///
    /// # Panics
    /// If `groups` is zero: a cluster without partitions can hold nothing.
    pub fn even(groups: u16) -> Self {
        assert!(groups > 0, "a cluster needs at least one partition");
        Self { groups }
    }
    /// The group that holds `slot`.
    pub fn group(&self, slot: Slot) -> GroupId {
        let index = (u32::from(slot.0) * u32::from(self.groups)) >> 16;
        GroupId(1 + index as u16)
    }
    /// All groups that hold slots, in order.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (1..=self.groups).map(GroupId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(frozen_hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(frozen_hash(b"hansom"), 2_225_382_939_670_032_891);
    }

    #[test]
    fn an_even_split_gives_every_group_its_share() {
        for groups in [1, 3, 64, 256] {
            let map = SlotMap::even(groups);
            let mut counts = vec![0u32; usize::from(groups) + 1];
            for slot in 0..=u16::MAX {
                counts[usize::from(map.group(Slot(slot)).0)] += 1;
            }
            assert_eq!(counts[0], 0);
            let (low, high) = (counts[1..].iter().min(), counts[1..].iter().max());
            assert!(high.zip(low).is_some_and(|(h, l)| h - l <= 1), "{groups}: {counts:?}");
        }
    }
}
