//! What a connection is for, and how it is treated for that.

use std::time::Duration;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Requests of clients and actors.
    Calls,
    /// The ledger's votes, heartbeats and entries.
    Consensus,
    /// Chunks of the ledger's snapshots.
    Snapshots,
}

/// How many calls to one peer may wait for their answers, on one lane. At a peer's usual 1 ms this
/// is a million calls a second; a peer with so many unanswered is stuck.
pub const IN_FLIGHT_MAX: usize = 1024;
/// The same for chunks of snapshots, which are large: two for each of 64 groups are 96 MiB.
const CHUNKS_IN_FLIGHT_MAX: usize = 128;
/// The pause after the first failed dial, in milliseconds; it doubles with each.
const PAUSE_MIN_MS: u64 = 50;

impl From<ledger::Lane> for Lane {
    fn from(lane: ledger::Lane) -> Self {
        match lane {
            ledger::Lane::Consensus => Self::Consensus,
            ledger::Lane::Snapshots => Self::Snapshots,
        }
    }
}

impl Lane {
    /// Its name, for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Consensus => "consensus",
            Self::Snapshots => "snapshots",
        }
    }

    /// How many calls to one peer may wait for their answers.
    pub(super) const fn in_flight_max(self) -> usize {
        match self {
            Self::Calls | Self::Consensus => IN_FLIGHT_MAX,
            Self::Snapshots => CHUNKS_IN_FLIGHT_MAX,
        }
    }

    /// How long one dial, with its handshake, may take. A dial into a network that swallows it
    /// comes to nothing even when the network is mended meanwhile, so consensus gives up sooner.
    pub(super) const fn dial_within(self) -> Duration {
        Duration::from_millis(match self {
            Self::Calls | Self::Snapshots => 1_000,
            Self::Consensus => 500,
        })
    }

    /// The longest pause between dials, in milliseconds: a peer that is back is found again within
    /// it, and a group whose leader can't reach a majority serves nobody.
    const fn pause_max_ms(self) -> u64 {
        match self {
            Self::Calls | Self::Snapshots => 1_000,
            Self::Consensus => 200,
        }
    }

    /// A connection on which calls were answered by nothing at all for so long, in milliseconds,
    /// is dropped: its network may have swallowed it without a word. A chunk may wait for a disk.
    pub(super) const fn silence_max_ms(self) -> u64 {
        match self {
            Self::Calls | Self::Consensus => 1_000,
            Self::Snapshots => 5_000,
        }
    }

    /// The pause before the next dial: doubling, with a random half so that peers of a node that
    /// comes back do not all knock at once.
    pub(super) fn pause(self, failures: u32, random: u64) -> Duration {
        let full = (PAUSE_MIN_MS << failures.min(10)).min(self.pause_max_ms());
        Duration::from_millis(full / 2 + random % (full / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_lanes_longest() {
        for (lane, longest_ms) in
            [(Lane::Calls, 1_000), (Lane::Consensus, 200), (Lane::Snapshots, 1_000)]
        {
            for failures in [0, 1, 2, 9, 10, 11, 63, 64, u32::MAX] {
                let (least, most) = (lane.pause(failures, 0), lane.pause(failures, longest_ms / 2));
                assert!(least >= Duration::from_millis(25), "{lane:?} {failures}: {least:?}");
                for random in [0, 1, 99, u64::MAX] {
                    let pause = lane.pause(failures, random);
                    assert!(pause <= Duration::from_millis(longest_ms), "{lane:?}: {pause:?}");
                }
                if failures >= 10 {
                    assert_eq!(least, Duration::from_millis(longest_ms / 2));
                    assert_eq!(most, Duration::from_millis(longest_ms));
                }
            }
        }
    }
}
