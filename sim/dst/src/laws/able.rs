//! Who could lead a partition, by the rules of consensus alone, so that nobody is blamed for a partition
//! that can't serve.
//!
//! A replica can be elected only by a majority of *each* set of voters that its own log names (two, amid
//! a change of members), by voices it can ask and hear, none of which has a log that ends later than its
//! own (Ongaro, "Consensus: Bridging Theory and Practice", 3.6.1 and 4.3). A leader that still has its quorum is such a
//! replica too, as far as its followers' logs are parts of its own. So where there is none, no write can be acknowledged,
//! whatever the product does.

use std::collections::{BTreeMap, BTreeSet};

/// How a replica stands in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it may ask to be elected.
    pub may_stand: bool,
    /// The sets of voters, by machine, as its log says.
    pub quorums: Vec<BTreeSet<usize>>,
    /// Term and index of the last entry of its log.
    pub last: (u64, u64),
}

/// Whether one of these replicas, by machine, could be elected by others of them, where only these pairs
/// can talk.
pub fn somebody_could_lead(
    standing: &BTreeMap<usize, Standing>,
    talk: impl Fn(usize, usize) -> bool,
) -> bool {
    standing.iter().filter(|(_, own)| own.may_stand).any(|(node, own)| {
        let votes = |voter: &usize| {
            let voice = standing.get(voter).filter(|voice| voice.last <= own.last);
            voice.is_some() && (voter == node || talk(*node, *voter))
        };
        let most = |voters: &BTreeSet<usize>| {
            voters.iter().filter(|voter| votes(voter)).count() > voters.len() / 2
        };
        !own.quorums.is_empty() && own.quorums.iter().all(most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(quorums: &[&[usize]], last: (u64, u64)) -> Standing {
        let quorums = quorums.iter().map(|voters| voters.iter().copied().collect()).collect();
        Standing { may_stand: true, quorums, last }
    }
    fn able(all: &[(usize, Standing)], cut: &[(usize, usize)]) -> bool {
        let talk = |a, b| !cut.contains(&(a, b)) && !cut.contains(&(b, a));
        somebody_could_lead(&all.iter().cloned().collect(), talk)
    }

    #[test]
    fn a_majority_that_talks_can_elect_and_a_minority_cannot() {
        let of = |node| (node, replica(&[&[1, 2, 3]], (1, 5)));
        assert!(able(&[of(1), of(2)], &[]));
        assert!(!able(&[of(1)], &[]));
        assert!(!able(&[of(1), of(2)], &[(1, 2)]));
        assert!(able(&[of(1), of(2), of(3)], &[(1, 2), (1, 3)]));
    }

    #[test]
    fn amid_a_change_of_members_both_sets_must_agree() {
        // Node 3 is lost; 4 comes in its place. Node 1 alone knows that the change is done, and is cut
        // off; by what the others know they need a majority of 1, 2 and 3 as well.
        let amid = |node| (node, replica(&[&[1, 2, 3], &[1, 2, 4]], (1, 7)));
        let done = (1, replica(&[&[1, 2, 4]], (1, 8)));
        assert!(!able(&[done.clone(), amid(2), amid(4)], &[(1, 2), (1, 4)]));
        assert!(able(&[done.clone(), amid(2), amid(4)], &[(1, 4)]));
        assert!(able(&[done, (2, replica(&[&[1, 2, 4]], (1, 8))), amid(4)], &[(1, 2), (1, 4)]));
    }

    #[test]
    fn nobody_votes_for_a_log_that_ends_before_his_own() {
        let of = |node, last| (node, replica(&[&[1, 2, 3]], last));
        assert!(able(&[of(1, (2, 1)), of(2, (1, 9))], &[]));
        // Node 1 has the later log and only node 3's ear, which does not run; 2 would need 1's voice.
        assert!(!able(&[of(1, (2, 1)), of(2, (1, 9))], &[(1, 2)]));
        assert!(!able(
            &[(1, Standing { may_stand: false, ..of(1, (2, 1)).1 }), of(2, (1, 9))],
            &[]
        ));
    }
}
