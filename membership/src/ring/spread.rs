//! Keys that belong together, shared out evenly: consistent hashing with bounded loads.

use super::Ring;
use proto::NodeId;
use std::collections::BTreeMap;

impl Ring {
    /// The owners of `keys`, in their order; none if nobody has weight. Each key goes to the first
    /// member clockwise that does not yet have its part of them by weight, rounded up, so a join
    /// or leave moves few of them.
    pub fn spread(&self, keys: &[u64]) -> Vec<Option<NodeId>> {
        let total: u64 = self.seats.iter().map(|seat| u64::from(seat.weight)).sum();
        let mut owned: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut place = |key: u64| {
            let has_room =
                |weight: u32, owned: u64| owned * total < u64::from(weight) * keys.len() as u64;
            let room = |id| owned.get(&id).copied().unwrap_or(0);
            let seat = self.clockwise(key).find(|seat| has_room(seat.weight, room(seat.id)))?;
            *owned.entry(seat.id).or_default() += 1;
            Some(seat.id)
        };
        keys.iter().map(|key| place(*key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(weights: &[u32]) -> Ring {
        Ring::new((1..).map(NodeId).zip(weights).map(|(id, weight)| (id, *weight, "")))
    }

    fn counts(owners: &[Option<NodeId>]) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for owner in owners.iter().flatten() {
            *counts.entry(*owner).or_default() += 1;
        }
        counts
    }

    #[test]
    fn nobody_has_more_than_his_part_rounded_up() {
        for first in 0..200u64 {
            let keys: Vec<u64> = (first * 7..first * 7 + 7).collect();
            let even = counts(&ring(&[1, 1, 1]).spread(&keys));
            assert!(even.values().sum::<usize>() == 7 && even.values().all(|n| *n <= 3));
            let many = counts(&ring(&[1; 9]).spread(&keys));
            assert!(many.len() == 7, "{many:?}");
            let heavy = counts(&ring(&[4, 1, 0]).spread(&keys));
            assert!(heavy[&NodeId(1)] <= 6 && heavy[&NodeId(2)] <= 2, "{heavy:?}");
            assert!(!heavy.contains_key(&NodeId(3)), "weight 0 owns nothing");
        }
        assert_eq!(ring(&[0]).spread(&[1, 2]), [None, None]);
    }

    #[test]
    fn a_join_moves_few_of_them() {
        let (mut moved, mut all) = (0, 0);
        for first in 0..200u64 {
            let keys: Vec<u64> = (first * 7..first * 7 + 7).collect();
            let (before, after) = (ring(&[1; 3]).spread(&keys), ring(&[1; 4]).spread(&keys));
            moved += before.iter().zip(&after).filter(|(a, b)| a != b).count();
            all += keys.len();
        }
        // A quarter must; twice that would be a shuffle.
        assert!(moved * 100 <= all * 45, "{moved} of {all}");
    }
}
