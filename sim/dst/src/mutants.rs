//! The mistakes that a simulation must notice, each with the storm that it is looked for in: a checker
//! that has never found anything proves nothing. Only builds with the feature `plant` can make them.

use crate::fault::Kind;
use crate::schedule::{Diet, of_kinds, usual};

/// A mistake.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The name it is planted by.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Faults that bring it out, besides crashes; all of them, if it says none.
    pub kinds: &'static [Kind],
}

/// All of them.
pub const ALL: [Mutant; 12] = [
    mutant("ack-before-quorum", "a leader takes its followers' word before they were asked", &[]),
    mutant("ack-before-sync", "a write is durable before the sync", POWER),
    mutant("vote-not-written", "a vote is given and not written", POWER),
    mutant("vote-overtakes", "a vote overtakes entries, whose sync is not waited for", SYNCS),
    mutant("wiped-is-known", "a blank disk comes back under its old id", &[Kind::Blank]),
    mutant("purge-above-snapshot", "the log is purged above the last snapshot", &[Kind::Crash]),
    mutant("ttl-frees-taken", "the offer's timer frees a driver who has accepted", &[]),
    mutant("release-frees-all", "a release frees the driver of whatever he has", &[]),
    mutant("assign-again-refused", "a booking that is asked to assign again says no", &[]),
    mutant("accept-again-refused", "a driver who says yes again is refused", &[]),
    mutant("read-without-barrier", "whoever believes to lead answers reads", CUTS),
    mutant("hash-order", "a booking's offers are kept in the order of a hash", &[]),
];

/// Elections while disks write slowly, and power that fails before they have.
const SYNCS: &[Kind] = &[Kind::SlowDisk, Kind::CrashUnsynced, Kind::Isolate];
const POWER: &[Kind] = &[Kind::PowerLoss, Kind::MajorityLoss, Kind::SlowDisk];
const CUTS: &[Kind] = &[Kind::Isolate, Kind::Halves, Kind::Mute, Kind::Pause];

const fn mutant(name: &'static str, what: &'static str, kinds: &'static [Kind]) -> Mutant {
    Mutant { name, what, kinds }
}

impl Mutant {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|mutant| mutant.name == name)
    }
    /// The flags of that storm over nodes that do not make it.
    pub fn sound(&self) -> Vec<String> {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        if names.is_empty() { Vec::new() } else { vec!["--only".into(), names.join(",")] }
    }
    /// The storm it is looked for in.
    pub fn diet(&self) -> Diet {
        if self.kinds.is_empty() { usual() } else { of_kinds(self.kinds) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<&str> =
            ALL.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|mutant| Mutant::named(mutant.name).is_some()));
    }
}
