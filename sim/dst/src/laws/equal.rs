//! Replicas that have applied the same are the same: the digests of their states are equal at equal
//! indexes, at every look of a whole run.

use super::Broken;
use crate::cluster::{Replicas, name};
use proto::GroupId;
use std::collections::{BTreeMap, BTreeSet};

/// The law's name.
pub const LAW: &str = "equal replicas";
/// Digests of each group that are remembered: replicas further apart than so many looks at a moving
/// state are not compared.
const REMEMBERED_MAX: usize = 256;

/// What was seen of all groups.
#[derive(Debug, Default)]
pub struct Equality {
    seen: BTreeMap<GroupId, BTreeMap<u64, (u64, usize)>>,
    differing: BTreeSet<Broken>,
    compared: u64,
}

impl Equality {
    /// Takes what the replicas are now.
    pub fn look(&mut self, replicas: &Replicas) {
        for (machine, all) in &replicas.0 {
            for (group, status) in all {
                // A replica without members was called into being by a late word, and holds nothing.
                if !status.voters.is_empty() {
                    self.add(*group, status.applied, status.fingerprint.1, *machine);
                }
            }
        }
    }

    fn add(&mut self, group: GroupId, applied: u64, digest: u64, machine: usize) {
        let seen = self.seen.entry(group).or_default();
        let (first, of) = *seen.entry(applied).or_insert((digest, machine));
        self.compared += u64::from(of != machine);
        if first != digest {
            let (a, b) = (name(of), name(machine));
            let what =
                format!("{group} at entry {applied}: {a} has {first:016x}, {b} {digest:016x}");
            self.differing.insert(Broken::new(LAW, what));
        }
        while seen.len() > REMEMBERED_MAX {
            seen.pop_first();
        }
    }

    /// How often two replicas were compared.
    pub const fn compared(&self) -> u64 {
        self.compared
    }

    /// Where they differ.
    pub fn broken(&self) -> Vec<Broken> {
        self.differing.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_compared_at_one_entry_and_a_difference_is_named() {
        let mut equality = Equality::default();
        equality.add(GroupId(7), 5, 0xa, 0);
        equality.add(GroupId(7), 6, 0xb, 1);
        equality.add(GroupId(8), 5, 0xc, 1);
        assert_eq!((equality.compared(), equality.broken()), (0, vec![]));
        equality.add(GroupId(7), 5, 0xa, 1);
        equality.add(GroupId(7), 6, 0xd, 2);
        assert_eq!(equality.compared(), 2);
        let [broken] = &equality.broken()[..] else { panic!("one differs") };
        assert!(broken.what.contains("g7 at entry 6: n2 has"), "{broken}");
    }
}
