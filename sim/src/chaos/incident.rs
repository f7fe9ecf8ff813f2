//! What came of a fault.

use super::fault::Kind;
use crate::stats::Spread;
use crate::takeover::FirstSuccess;
use serde::Serialize;

/// A fault that happened. Times are milliseconds of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incident {
    /// What kind.
    pub kind: Kind,
    /// Whom it met, in the cluster's names.
    pub nodes: Vec<String>,
    /// Their seats, for the picture.
    pub seats: Vec<usize>,
    /// What was done exactly.
    pub what: String,
    /// When it began.
    pub at_ms: u64,
    /// When it was undone: started again, resumed, mended.
    pub healed_ms: u64,
    /// How long after that all replicas of all partitions were in step; nothing if that took too
    /// long, or if it was not waited for.
    pub whole_after_ms: Option<u64>,
    /// Partitions that those nodes led when it began.
    pub led: usize,
    /// From its beginning to the first acknowledged write, for each partition that was led by whom
    /// it met. For many nodes at once: from the last start, for all partitions.
    pub takeover: Vec<FirstSuccess>,
    /// Requests that clients began meanwhile.
    pub asked: u64,
    /// Tries that had to be repeated, meanwhile.
    pub repeated: u64,
    /// Requests that eight tries or five seconds did not settle, meanwhile.
    pub late: u64,
    /// Whether it went on beside others.
    pub beside: bool,
    /// What was wrong, beside that.
    pub wrong: Vec<String>,
    /// Why it could not be done, if so; then nothing else counts.
    pub skipped: Option<String>,
}

impl Incident {
    /// Whether it met the leader of some partition.
    pub const fn hit_leader(&self) -> bool {
        self.led > 0
    }

    /// The slowest takeover, if there was one.
    pub fn slowest_ms(&self) -> Option<u64> {
        self.takeover.iter().filter_map(|first| first.after_ms).max()
    }
}

/// The figures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OfKind {
    /// How often it was done.
    pub times: usize,
    /// How often it met a leader.
    pub hit_leader: usize,
    /// Takeover times, over all partitions.
    pub takeover_ms: Spread,
    /// Partitions that did not answer within half a minute.
    pub never: usize,
    /// From the undoing until all replicas were in step.
    pub whole_ms: Spread,
    /// Requests begun meanwhile.
    pub asked: u64,
    /// Tries repeated meanwhile.
    pub repeated: u64,
    /// Requests not settled soon, meanwhile.
    pub late: u64,
}

impl OfKind {
    /// The figures of these incidents.
    pub(super) fn of<'a>(incidents: impl Iterator<Item = &'a Incident>) -> Self {
        let mut of = Self::default();
        let (mut takeover, mut whole) = (Vec::new(), Vec::new());
        for incident in incidents {
            of.times += 1;
            of.hit_leader += usize::from(incident.hit_leader());
            for first in &incident.takeover {
                match first.after_ms {
                    Some(ms) => takeover.push(ms as f64),
                    None => of.never += 1,
                }
            }
            whole.extend(incident.whole_after_ms.map(|ms| ms as f64));
            of.asked += incident.asked;
            of.repeated += incident.repeated;
            of.late += incident.late;
        }
        (of.takeover_ms, of.whole_ms) = (Spread::of(takeover), Spread::of(whole));
        of
    }
}
