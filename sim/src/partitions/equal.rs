//! Whether replicas that have applied the same are the same, by the digests of their states.

use super::Partitions;
use std::collections::{BTreeMap, BTreeSet};

/// Compared over several looks: a heartbeat's entry may be on one replica and not yet on another.
#[derive(Debug, Default)]
pub(crate) struct Equality {
    /// The first digest seen of each partition at each command, and whose.
    first: BTreeMap<(u16, u64), (String, String)>,
    all: BTreeSet<u16>,
    /// The partitions whose replicas were all seen at one command.
    compared: BTreeSet<u16>,
    differing: BTreeSet<String>,
}

impl Equality {
    /// Takes what the nodes say now.
    pub(crate) fn look(&mut self, partitions: &Partitions) {
        let mut at: BTreeMap<u16, BTreeSet<u64>> = BTreeMap::new();
        for (node, said) in &partitions.said {
            for (group, partition) in said {
                // A replica without members was called into being by a late word, and holds nothing.
                let holds = partition.voters.as_ref().is_some_and(|voters| !voters.is_empty());
                let state = partition.applied.zip(partition.digest.as_ref());
                let Some((applied, digest)) = state.filter(|_| holds) else { continue };
                at.entry(*group).or_default().insert(applied);
                let first = self.first.entry((*group, applied));
                let (theirs, other) = first.or_insert_with(|| (digest.clone(), node.clone()));
                if theirs != digest {
                    let differ = format!("group {group} at {applied}: {other} and {node} differ");
                    self.differing.insert(differ);
                }
            }
        }
        self.all.extend(at.keys());
        let at_one = at.into_iter().filter(|(_, applied)| applied.len() == 1);
        self.compared.extend(at_one.map(|(group, _)| group));
    }

    /// Whether there is nothing left to compare.
    pub(crate) fn is_complete(&self) -> bool {
        !self.all.is_empty() && self.compared == self.all
    }

    /// How many partitions were seen with all replicas at one command.
    pub(crate) fn compared(&self) -> usize {
        self.compared.len()
    }

    /// Replicas that have applied the same and are not the same.
    pub(crate) fn differing(self) -> Vec<String> {
        self.differing.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Partition;
    use super::*;

    fn said(states: [(u64, &str); 3]) -> Partitions {
        let one = |(node, (applied, digest)): (usize, (u64, &str))| {
            let partition = Partition {
                group: 7,
                leader: None,
                wanted: vec![],
                term: None,
                voters: Some(vec!["n1".to_owned()]),
                applied: Some(applied),
                digest: Some(digest.to_owned()),
            };
            (format!("n{}", node + 1), vec![partition])
        };
        Partitions::of(states.into_iter().enumerate().map(one))
    }

    #[test]
    fn replicas_are_compared_at_the_same_command_only() {
        let mut equality = Equality::default();
        equality.look(&said([(5, "a"), (6, "b"), (6, "b")]));
        assert!(!equality.is_complete(), "one is behind");
        equality.look(&said([(6, "b"), (6, "b"), (6, "b")]));
        assert!(equality.is_complete());
        assert_eq!((equality.compared(), equality.differing()), (1, vec![]));
    }

    #[test]
    fn a_replica_that_differs_is_named_though_it_came_late() {
        let mut equality = Equality::default();
        equality.look(&said([(5, "a"), (6, "b"), (6, "b")]));
        equality.look(&said([(6, "c"), (7, "d"), (7, "d")]));
        assert_eq!(equality.differing(), ["group 7 at 6: n2 and n1 differ"]);
    }
}
