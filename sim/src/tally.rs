//! Counters of the run, for the progress line and the report. They judge nothing: the verdict
//! comes from [`crate::history`] alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A forward and another one is all there may be; the last counter is for what must not happen.
pub const HOPS: usize = 4;

/// A number that many clients raise.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    /// One less, for what comes and goes.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    /// At least so many.
    pub fn at_least(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }
}

/// What is counted for each answer.
#[derive(Debug, Default)]
struct Answers {
    /// By `201`, `409 DRIVER_BUSY`, `no connection`, ...
    outcomes: BTreeMap<String, u64>,
    /// By the node that served, as it names itself.
    served: BTreeMap<String, u64>,
    /// The first of the requests that were late, and how they fared.
    late: Vec<String>,
}

/// So many late requests are described; of a cluster that is away all of them would be.
const LATE_SHOWN: usize = 200;

/// All counters.
#[derive(Debug)]
pub struct Tally {
    /// Drivers registered.
    pub drivers: Count,
    /// Riders registered.
    pub riders: Count,
    /// Sockets open now.
    pub sockets: Count,
    /// Sockets that dropped.
    pub sockets_lost: Count,
    /// Pings sent.
    pub pings: Count,
    /// Bookings acked.
    pub booked: Count,
    /// Bookings that ended, as their riders saw.
    pub ended: Count,
    /// Accepts acked.
    pub assigned: Count,
    /// Trips under way now, as their drivers see them.
    pub on_trip: Count,
    /// Trips ended by their driver.
    pub completed: Count,
    /// Offers received by drivers.
    pub offers: Count,
    /// Riders who asked for a ride.
    pub rides: Count,
    /// Requests begun, however many tries they took.
    pub asked: Count,
    /// Requests that got a final answer.
    pub settled: Count,
    /// Requests that eight tries or five seconds did not settle.
    pub late: Count,
    /// Of those begun, the ones that met a time that is [counted apart](Tally::set_apart).
    pub asked_apart: Count,
    /// Of those that would be late, the same; they are not in `late`.
    pub late_apart: Count,
    /// Tries answered with something to be asked again.
    pub retries: Count,
    /// Tries that got no answer: refused, reset, timed out.
    pub no_answer: Count,
    /// How much later than planned a rider asked, at worst, in wall milliseconds: the load
    /// generator's own slowness.
    pub late_ms: Count,
    /// Requests taken, and pings sent, by node.
    pub taken: Vec<Count>,
    /// Pings sent, by node.
    pub pings_to: Vec<Count>,
    stable: AtomicBool,
    /// Odd while requests are counted apart; so a request knows whether it met such a time.
    era: AtomicU64,
    hops_stable: [Count; HOPS],
    hops_changing: [Count; HOPS],
    answers: Mutex<Answers>,
}

impl Tally {
    /// Zeros, for a cluster of so many nodes.
    pub fn new(nodes: usize) -> Self {
        let per_node = || (0..nodes).map(|_| Count::default()).collect();
        Self {
            drivers: Count::default(),
            riders: Count::default(),
            sockets: Count::default(),
            sockets_lost: Count::default(),
            pings: Count::default(),
            booked: Count::default(),
            ended: Count::default(),
            assigned: Count::default(),
            on_trip: Count::default(),
            completed: Count::default(),
            offers: Count::default(),
            rides: Count::default(),
            asked: Count::default(),
            settled: Count::default(),
            late: Count::default(),
            asked_apart: Count::default(),
            late_apart: Count::default(),
            retries: Count::default(),
            no_answer: Count::default(),
            late_ms: Count::default(),
            taken: per_node(),
            pings_to: per_node(),
            stable: AtomicBool::new(true),
            era: AtomicU64::new(0),
            hops_stable: Default::default(),
            hops_changing: Default::default(),
            answers: Mutex::default(),
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever anything happens that moves the city, or might: for telling a quiet city
    /// from a dead one. Looking and pinging do not count.
    pub fn signs_of_life(&self) -> [u64; 6] {
        let Self { booked, ended, assigned, completed, retries, no_answer, .. } = self;
        [booked, ended, assigned, completed, retries, no_answer].map(Count::get)
    }

    /// Says whether the ring is at rest: hops are counted apart while it changes.
    pub fn set_stable(&self, stable: bool) {
        self.stable.store(stable, Ordering::Relaxed);
    }

    /// Whether the ring is at rest.
    pub fn is_stable(&self) -> bool {
        self.stable.load(Ordering::Relaxed)
    }

    /// Says whether requests are counted apart from now on, because nobody could serve them all:
    /// more nodes than a majority may do without are away.
    pub fn set_apart(&self, apart: bool) {
        if (self.era() % 2 == 1) != apart {
            self.era.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The time that a request begins in, for [`Self::met_apart`].
    pub fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }

    /// Whether a request that began in this time has met one that is counted apart.
    pub fn met_apart(&self, era: u64) -> bool {
        era % 2 == 1 || self.era() != era
    }

    /// Counts one answer's way. `stable` is how the ring was when the request left.
    pub fn way(&self, hops: usize, served: &str, stable: bool) {
        let hops = hops.min(HOPS - 1);
        let at_rest = stable && self.is_stable();
        let counts = if at_rest { &self.hops_stable } else { &self.hops_changing };
        counts[hops].up();
        let mut answers = self.answers();
        match answers.served.get_mut(served) {
            Some(n) => *n += 1,
            None => {
                answers.served.insert(served.into(), 1);
            }
        }
    }

    /// Counts one answer, or the lack of one, by what it said.
    pub fn outcome(&self, outcome: &str) {
        let mut answers = self.answers();
        match answers.outcomes.get_mut(outcome) {
            Some(n) => *n += 1,
            None => {
                answers.outcomes.insert(outcome.into(), 1);
            }
        }
    }

    /// Counts a request of this time that was not settled soon, and says how it fared.
    pub fn late(&self, story: String, era: u64) {
        if self.met_apart(era) {
            self.late_apart.up();
            return;
        }
        self.late.up();
        let mut answers = self.answers();
        if answers.late.len() < LATE_SHOWN {
            answers.late.push(story);
        }
    }

    /// How the first of the late requests fared.
    pub fn late_stories(&self) -> Vec<String> {
        self.answers().late.clone()
    }

    /// Requests by outcome.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        self.answers().outcomes.clone()
    }

    /// Requests by the node that served them.
    pub fn served(&self) -> BTreeMap<String, u64> {
        self.answers().served.clone()
    }

    /// Requests by forwards: with the ring at rest, and while it changed.
    pub fn hops(&self) -> ([u64; HOPS], [u64; HOPS]) {
        let read = |counts: &[Count; HOPS]| [0, 1, 2, 3].map(|i| counts[i].get());
        (read(&self.hops_stable), read(&self.hops_changing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_meets_a_time_apart_counts_apart() {
        let tally = Tally::new(3);
        let before = tally.era();
        assert!(!tally.met_apart(before));
        tally.set_apart(true);
        tally.set_apart(true);
        let within = tally.era();
        assert!(tally.met_apart(before) && tally.met_apart(within));
        tally.set_apart(false);
        assert!(tally.met_apart(before) && tally.met_apart(within));
        assert!(!tally.met_apart(tally.era()));
        tally.late("after".into(), tally.era());
        tally.late("within".into(), within);
        assert_eq!((tally.late.get(), tally.late_apart.get()), (1, 1));
        assert_eq!(tally.late_stories(), ["after"]);
    }

    #[test]
    fn hops_are_counted_apart_while_the_ring_changes() {
        let tally = Tally::new(3);
        tally.way(0, "n1", true);
        tally.way(1, "n2", true);
        tally.set_stable(false);
        tally.way(2, "n2", true);
        tally.set_stable(true);
        // It left while the ring changed.
        tally.way(9, "n1", false);
        assert_eq!(tally.hops(), ([1, 1, 0, 0], [0, 0, 1, 1]));
        assert_eq!(tally.served().into_values().collect::<Vec<_>>(), [2, 2]);
    }
}
