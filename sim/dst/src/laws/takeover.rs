//! How long it takes others to serve what a leader led that is gone: from the fault to the first
//! write answered that was asked after it. A figure more than a law, [`super::served`] is the bound;
//! takeovers that another fault fell into are counted apart.

use crate::fault::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A partition that lost its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// By what.
    pub kind: Kind,
    /// How long its writes were not answered, in milliseconds.
    pub took_ms: u64,
    /// Whether nothing else happened meanwhile, and somebody could lead all the time.
    pub clean: bool,
}

#[derive(Debug)]
struct Open {
    fault: usize,
    kind: Kind,
    at: Duration,
    clean: bool,
}

/// All takeovers of a run.
#[derive(Debug, Default)]
pub struct Takeovers {
    open: BTreeMap<u16, Open>,
    done: Vec<Takeover>,
}

impl Takeovers {
    /// A fault took the leader of these partitions.
    pub fn begin(&mut self, now: Duration, fault: usize, kind: Kind, groups: &[u16], clean: bool) {
        for group in groups {
            self.open.insert(*group, Open { fault, kind, at: now, clean });
        }
    }

    /// Something happened, as part of this fault: takeovers after others are no longer clean.
    pub fn disturbed(&mut self, by: usize) {
        self.open.values_mut().filter(|open| open.fault != by).for_each(|open| open.clean = false);
    }

    /// Nobody could lead this partition now, whatever he did: that a takeover waits for it is not its own
    /// slowness.
    pub fn unable(&mut self, group: u16) {
        self.open.entry(group).and_modify(|open| open.clean = false);
    }

    /// A write that was asked then is answered now.
    pub fn acked(&mut self, asked: Duration, now: Duration, group: u16) {
        if let Some(open) = self.open.get(&group)
            && asked >= open.at
        {
            let took_ms = u64::try_from((now - open.at).as_millis()).unwrap_or(u64::MAX);
            self.done.push(Takeover { kind: open.kind, took_ms, clean: open.clean });
            self.open.remove(&group);
        }
    }

    /// Those that came to an end.
    pub fn done(&self) -> Vec<Takeover> {
        self.done.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_ends_with_a_write_that_was_asked_after_the_fault() {
        let ms = Duration::from_millis;
        let mut takeovers = Takeovers::default();
        takeovers.begin(ms(100), 1, Kind::Crash, &[1, 2], true);
        takeovers.acked(ms(90), ms(110), 1);
        assert_eq!(takeovers.done(), []);
        takeovers.acked(ms(120), ms(900), 1);
        takeovers.disturbed(1);
        takeovers.disturbed(2);
        takeovers.acked(ms(950), ms(1_100), 2);
        let crash = |took_ms, clean| Takeover { kind: Kind::Crash, took_ms, clean };
        assert_eq!(takeovers.done(), [crash(800, true), crash(1_000, false)]);
    }
}
