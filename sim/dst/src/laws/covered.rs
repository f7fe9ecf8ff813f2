//! A run proves nothing if nothing happened: each fault of the plan must have happened and, where it
//! was aimed at a leader, have hit one; and people must have got something done meanwhile. A run that
//! falls short is invalid, neither good nor bad; and over a search every kind must have hit a leader.

use crate::fault::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of a hundred faults of a plan so many must have happened: some wait for a moment that does not
/// come, as a wipe does while a partition lacks a replica.
const HAPPENED_MIN: usize = 60;
/// Of a hundred requests so many must have got a final answer.
const SETTLED_MIN: u64 = 90;
/// Bookings that must have been made.
const BOOKINGS_MIN: usize = 10;

/// What became of one fault of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// What it was.
    pub kind: Kind,
    /// When it began, in milliseconds; nothing if it did not.
    pub at_ms: Option<u64>,
    /// Whom it hit.
    pub whom: String,
    /// Partitions whose leader it hit.
    pub led: usize,
    /// Whether it was aimed at a leader.
    pub aimed: bool,
    /// What it did, or why it did not happen.
    pub note: String,
}

/// What people got done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Requests answered with yes.
    pub ok: u64,
    /// Requests answered with no, for good.
    pub rejected: u64,
    /// Tries that were answered with "ask again", or not at all.
    pub retry: u64,
    /// Requests without an answer to the end.
    pub unsettled: u64,
    /// Bookings made.
    pub bookings: usize,
    /// Bookings carried.
    pub carried: usize,
    /// Trips that a better driver took over before the pickup.
    pub changed: usize,
    /// Trips that their drivers had taken as their next while on another.
    pub nexts: usize,
}

/// Why a run is invalid; nothing if it isn't.
pub fn judge(faults: &[Happened], done: Done) -> Vec<String> {
    let mut invalid = Vec::new();
    let happened = faults.iter().filter(|fault| fault.at_ms.is_some()).count();
    if happened * 100 < faults.len() * HAPPENED_MIN {
        invalid.push(format!("only {happened} of {} faults happened", faults.len()));
    }
    let missed = faults.iter().filter(|f| f.at_ms.is_some() && f.aimed && f.led == 0);
    invalid.extend(missed.map(|f| format!("{} was to hit a leader, and hit {}", f.kind, f.whom)));
    let settled = done.ok + done.rejected;
    if settled * 100 < (settled + done.unsettled) * SETTLED_MIN || settled == 0 {
        invalid.push(format!("{settled} requests were settled, {} were not", done.unsettled));
    }
    if done.bookings < BOOKINGS_MIN {
        invalid.push(format!("only {} bookings were made", done.bookings));
    }
    invalid
}

/// The kinds that hit no leader in a whole search, though they could have.
pub fn uncovered(faults: &[Happened]) -> Vec<Kind> {
    let mut hit: BTreeMap<Kind, bool> = BTreeMap::new();
    for fault in faults {
        *hit.entry(fault.kind).or_default() |= fault.led > 0;
    }
    hit.into_iter().filter(|(kind, hit)| kind.hits() && !hit).map(|(kind, _)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(at_ms: Option<u64>, led: usize, aimed: bool) -> Happened {
        let (whom, note) = ("n1".into(), String::new());
        Happened { kind: Kind::Crash, at_ms, whom, led, aimed, note }
    }

    const BUSY: Done = Done {
        ok: 100,
        rejected: 5,
        retry: 30,
        unsettled: 1,
        bookings: 20,
        carried: 12,
        changed: 0,
        nexts: 0,
    };

    #[test]
    fn a_run_in_which_nothing_happened_or_nobody_got_anything_is_invalid() {
        let good = [fault(Some(5), 2, true), fault(Some(6), 0, false)];
        assert_eq!(judge(&good, BUSY), [""; 0]);
        assert_eq!(judge(&[fault(None, 0, true)], BUSY).len(), 1);
        assert_eq!(judge(&[fault(Some(5), 0, true)], BUSY).len(), 1);
        assert_eq!(judge(&good, Done { unsettled: 50, ..BUSY }).len(), 1);
        assert_eq!(judge(&good, Done::default()).len(), 2);
    }

    #[test]
    fn a_kind_that_never_hit_a_leader_is_named() {
        assert_eq!(uncovered(&[fault(Some(5), 0, false)]), [Kind::Crash]);
        assert_eq!(uncovered(&[fault(Some(5), 0, false), fault(Some(5), 1, false)]), []);
    }
}
