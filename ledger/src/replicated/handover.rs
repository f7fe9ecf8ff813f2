//! How long a group has no leader that this node knows of when its leadership goes back to the node
//! that should have it.

use super::Replicated;
use proto::{GroupId, MonoMs, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A hand-over that took longer did not succeed: the group stayed, and went elsewhere much later.
const FAILED_MS: u64 = 10_000;
/// Gaps that nobody has asked for: each of 64 groups went back and forth several times.
const GAPS_MAX: usize = 1_024;

/// The hand-overs of one node.
#[derive(Default)]
pub(super) struct HandOvers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    begun: BTreeMap<GroupId, MonoMs>,
    /// In milliseconds, the oldest first.
    gaps: VecDeque<u64>,
}

impl HandOvers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asked once more, the group is without a leader since the first time.
    pub(super) fn begin(&self, group: GroupId, now: MonoMs) {
        let mut inner = self.inner();
        let begun = inner.begun.entry(group).or_insert(now);
        if now.since(*begun) > FAILED_MS {
            *begun = now;
        }
    }

    /// Another node leads the group. Says how long ago it was handed over, if it was.
    fn end(&self, group: GroupId, now: MonoMs) -> Option<u64> {
        let mut inner = self.inner();
        let gap = now.since(inner.begun.remove(&group)?);
        if gap > FAILED_MS {
            return None;
        }
        if inner.gaps.len() == GAPS_MAX {
            inner.gaps.pop_front();
        }
        inner.gaps.push_back(gap);
        Some(gap)
    }
}

impl Replicated {
    /// A replica here has heard who leads its group.
    pub(super) fn led_by(&self, group: GroupId, leader: NodeId) {
        if leader == self.0.me() {
            return;
        }
        if let Some(gap_ms) = self.0.hand_overs.end(group, self.0.clock.mono()) {
            tracing::info!(%group, %leader, gap_ms, "leadership handed over");
        }
    }

    /// For each group handed over since the last call, how long no leader of it was known here, in
    /// milliseconds.
    pub fn take_gaps(&self) -> Vec<u64> {
        self.0.hand_overs.inner().gaps.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lasts_from_the_hand_over_to_the_next_leader() {
        let (hand_overs, group) = (HandOvers::default(), GroupId(1));
        assert_eq!(hand_overs.end(group, MonoMs(5)), None, "nothing was handed over");
        hand_overs.begin(group, MonoMs(10));
        hand_overs.begin(group, MonoMs(12));
        assert_eq!(hand_overs.end(group, MonoMs(17)), Some(7));
        assert_eq!(hand_overs.end(group, MonoMs(20)), None, "once");
        hand_overs.begin(group, MonoMs(30));
        assert_eq!(hand_overs.end(group, MonoMs(31 + FAILED_MS)), None, "it had failed");
        hand_overs.begin(group, MonoMs(50));
        hand_overs.begin(group, MonoMs(60 + FAILED_MS));
        assert_eq!(hand_overs.end(group, MonoMs(63 + FAILED_MS)), Some(3), "the first had failed");
        assert_eq!(hand_overs.inner().gaps, [7, 3]);
    }
}
