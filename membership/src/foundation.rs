//! What a cluster was founded with: the initial nodes and the number of partitions. Both decide
//! where durable state lives, so members that differ in them are not members of one cluster.

use proto::NodeId;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The most initial nodes: 3 or 5 is usual, and the list must fit a gossip fact.
pub const INITIAL_NODES_MAX: usize = 64;

/// The initial nodes and the number of partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foundation {
    /// The nodes that hold partitions, dead or alive.
    pub initial: BTreeSet<NodeId>,
    /// How many partitions there are.
    pub partitions: u16,
}

/// The text is no foundation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must read `partitions:id,id,...`, with 1 to {INITIAL_NODES_MAX} ids")]
pub struct BadFoundation;

impl fmt::Display for Foundation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.partitions)?;
        for (at, id) in self.initial.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "," }, id.0)?;
        }
        Ok(())
    }
}

impl FromStr for Foundation {
    type Err = BadFoundation;
    fn from_str(text: &str) -> Result<Self, BadFoundation> {
        let (partitions, ids) = text.split_once(':').ok_or(BadFoundation)?;
        let partitions = partitions.parse().map_err(|_| BadFoundation)?;
        let initial: BTreeSet<NodeId> = ids
            .split(',')
            .take(INITIAL_NODES_MAX + 1)
            .map(|id| id.parse().map(NodeId).map_err(|_| BadFoundation))
            .collect::<Result<_, _>>()?;
        if partitions == 0 || initial.len() > INITIAL_NODES_MAX {
            return Err(BadFoundation);
        }
        Ok(Self { initial, partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foundation_is_read_as_it_is_written() {
        let foundation = Foundation {
            initial: BTreeSet::from([NodeId(3), NodeId(1), NodeId(u64::MAX)]),
            partitions: 64,
        };
        assert_eq!(foundation.to_string(), "64:1,3,18446744073709551615");
        assert_eq!(foundation.to_string().parse(), Ok(foundation));
    }

    #[test]
    fn what_is_no_foundation_is_refused() {
        let many: String = (0..=INITIAL_NODES_MAX).map(|id| format!("{id},")).collect();
        let many = format!("4:{}", many.trim_end_matches(','));
        for text in ["", "64", "64:", "0:1", "65536:1", "64:1,", "64:a", "-1:1", &many] {
            assert_eq!(text.parse::<Foundation>(), Err(BadFoundation), "{text}");
        }
    }
}
