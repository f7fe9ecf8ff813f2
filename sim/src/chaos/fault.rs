//! What can be done to a cluster, as values: kinds with their facts, and faults drawn from a deck
//! that comes from the seed.

use crate::dice::Dice;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// SIGKILL, and a start on the same disk after 0 to 10 s.
    Kill,
    /// SIGSTOP for 0.1 to 30 s.
    Pause,
    /// No node hears a leader, and it hears none; clients reach all.
    Isolate,
    /// Two parts that do not hear each other.
    Split,
    /// One direction is lost: of one link, or all of a node's words, or all words to it.
    OneWay,
    /// Two parts and one node that hears both.
    Bridge,
    /// Each node hears its two neighbours alone.
    Ring,
    /// A node is cut off and back again every 200 ms.
    Flap,
    /// A link delays, repeats and reorders packets; where nothing else happens, it loses some, too.
    Slow,
    /// A node shares one core with busy others.
    Starve,
    /// A node's disk has no room left.
    FullDisk,
    /// More nodes than a majority may do without are killed at once and started again.
    KillMajority,
    /// All nodes are killed at once and started again.
    KillAll,
    /// A node is killed and its disk deleted; another one takes its place under a new number.
    Wipe,
    /// A new node joins, an old one is drained and stopped for good.
    JoinDrain,
}

/// What it takes to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Processes that can be killed.
    Nothing,
    /// Links that can be cut.
    Links,
    /// Links that can be slowed down.
    SlowLinks,
    /// A disk that can be filled.
    SmallDisk,
}

impl Kind {
    /// All of them, as they are listed.
    pub(super) const ALL: [Self; 15] = [
        Self::Kill,
        Self::Pause,
        Self::Isolate,
        Self::Split,
        Self::OneWay,
        Self::Bridge,
        Self::Ring,
        Self::Flap,
        Self::Slow,
        Self::Starve,
        Self::FullDisk,
        Self::KillMajority,
        Self::KillAll,
        Self::Wipe,
        Self::JoinDrain,
    ];

    /// As flags and reports name it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Isolate => "isolate",
            Self::Split => "split",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Ring => "ring",
            Self::Flap => "flap",
            Self::Slow => "slow",
            Self::Starve => "starve",
            Self::FullDisk => "full-disk",
            Self::KillMajority => "kill-majority",
            Self::KillAll => "kill-all",
            Self::Wipe => "wipe",
            Self::JoinDrain => "join-drain",
        }
    }

    /// In a sentence.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL; back on its disk after 0-10 s",
            Self::Pause => "SIGSTOP for 0.1-30 s",
            Self::Isolate => "no node hears it, it hears none; clients reach all",
            Self::Split => "two parts that do not hear each other",
            Self::OneWay => "one direction is lost, of a link or of all of a node's",
            Self::Bridge => "two parts, and one node that hears both",
            Self::Ring => "each node hears its two neighbours alone",
            Self::Flap => "cut off and back every 200 ms",
            Self::Slow => "a link delays, loses, repeats and reorders packets",
            Self::Starve => "shares one core with busy processes",
            Self::FullDisk => "no room left on its disk; it stops, and comes back when there is",
            Self::KillMajority => "a majority of the nodes killed at once, and started again",
            Self::KillAll => "all nodes killed at once, and started again",
            Self::Wipe => "killed, its disk deleted; a node with a new number in its place",
            Self::JoinDrain => "a new node joins, an old one is drained and stopped for good",
        }
    }

    /// How often it comes up beside the others.
    const fn weight(self) -> usize {
        match self {
            Self::Kill => 12,
            Self::Pause => 6,
            Self::Isolate | Self::Flap | Self::Slow => 3,
            Self::Split | Self::OneWay | Self::Starve => 2,
            Self::Bridge
            | Self::Ring
            | Self::FullDisk
            | Self::KillMajority
            | Self::KillAll
            | Self::Wipe
            | Self::JoinDrain => 1,
        }
    }

    /// Whether it may go on beside other faults: it takes no node away.
    pub(super) const fn may_be_beside(self) -> bool {
        matches!(self, Self::Slow | Self::Starve)
    }

    /// Whether it comes up with no other.
    pub(super) const fn may_be_alone(self) -> bool {
        !matches!(self, Self::Starve)
    }

    /// Whether it leaves some partition without a majority, so that nobody can serve it.
    pub(super) const fn is_grave(self) -> bool {
        matches!(self, Self::KillMajority | Self::KillAll)
    }

    /// What it takes.
    pub(super) const fn needs(self) -> Needs {
        match self {
            Self::Isolate | Self::Split | Self::OneWay | Self::Bridge | Self::Ring | Self::Flap => {
                Needs::Links
            }
            Self::Slow => Needs::SlowLinks,
            Self::FullDisk => Needs::SmallDisk,
            Self::Kill
            | Self::Pause
            | Self::Starve
            | Self::KillMajority
            | Self::KillAll
            | Self::Wipe
            | Self::JoinDrain => Needs::Nothing,
        }
    }

    /// The fewest nodes to which it can be done; a ring of three is no less than all links.
    pub(super) const fn nodes_min(self) -> usize {
        if matches!(self, Self::Ring) { 4 } else { 3 }
    }

    /// For how long, from and to, in seconds.
    const fn lasts_s(self) -> (f64, f64) {
        match self {
            Self::Kill => (0.0, 10.0),
            Self::Pause => (0.1, 30.0),
            Self::Isolate | Self::Split | Self::OneWay | Self::Bridge | Self::Ring => (2.0, 10.0),
            Self::Flap => (3.0, 8.0),
            Self::Slow => (5.0, 20.0),
            Self::Starve => (3.0, 10.0),
            Self::FullDisk => (1.0, 6.0),
            Self::KillMajority => (0.0, 5.0),
            Self::KillAll => (0.0, 3.0),
            Self::Wipe | Self::JoinDrain => (0.0, 0.0),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault to come. Whom exactly it meets depends on who leads then; the rest is from the seed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// How long the cluster is left alone before it.
    pub(super) after: Duration,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// Whether the node that leads most partitions is meant, or any.
    pub(super) at_leader: bool,
    /// Whether it goes on beside another.
    pub(super) beside: bool,
    /// For everything else that is left to chance.
    pub(super) dice: Dice,
}

/// How probably it is the node that leads most.
const AT_LEADER: f64 = 0.5;
/// The cluster is left alone for so long on average, between two faults of one deck.
const REST_S: f64 = 1.0;
const REST_BESIDE_S: f64 = 8.0;
/// And at most so many times that.
const REST_MAX: f64 = 3.0;

/// Faults to come: first one of each kind, then by weight, so that a short run has seen all and a
/// long one has them in proportion.
#[derive(Debug)]
pub(super) struct Deck {
    kinds: Vec<Kind>,
    beside: bool,
    left: Vec<Kind>,
    dice: Dice,
    rounds: usize,
}

impl Deck {
    /// A deck of those of these kinds that come up with no other, or of those that go on beside them;
    /// empty if there are none.
    pub(super) fn new(kinds: &[Kind], beside: bool, dice: Dice) -> Self {
        let of_deck = |kind: &Kind| if beside { kind.may_be_beside() } else { kind.may_be_alone() };
        let kinds = kinds.iter().copied().filter(of_deck).collect();
        Self { kinds, beside, left: Vec::new(), dice, rounds: 0 }
    }

    /// Whether each kind came up.
    pub(super) fn is_seen(&self) -> bool {
        self.kinds.is_empty() || self.rounds > 1 || self.rounds == 1 && self.left.is_empty()
    }

    /// The next fault.
    pub(super) fn draw(&mut self) -> Option<Fault> {
        if self.left.is_empty() {
            let times = |kind: &Kind| if self.rounds > 0 { kind.weight() } else { 1 };
            let cards = self.kinds.iter().flat_map(|kind| vec![*kind; times(kind)]);
            self.left = cards.collect();
            self.rounds += 1;
        }
        if self.left.is_empty() {
            return None;
        }
        let kind = self.left.swap_remove(self.dice.below(self.left.len()));
        let mut dice = self.dice.fork();
        let rest_s = if self.beside { REST_BESIDE_S } else { REST_S };
        let rest = (-dice.between(0.0, 1.0).max(f64::MIN_POSITIVE).ln()).min(REST_MAX) * rest_s;
        let (least, most) = kind.lasts_s();
        let lasts = if kind == Kind::Pause {
            // Most pauses are short, as those of a collector or a busy host are.
            least * (most / least).powf(dice.between(0.0, 1.0))
        } else {
            dice.between(least, most)
        };
        let (after, lasts) = (Duration::from_secs_f64(rest), Duration::from_secs_f64(lasts));
        // The first of each kind has to meet a leader, or a short run proves nothing.
        let at_leader = self.rounds == 1 || dice.chance(AT_LEADER);
        Some(Fault { kind, after, lasts, at_leader, beside: self.beside, dice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_first_round_has_each_kind_once_and_later_ones_mostly_kills() {
        let mut deck = Deck::new(&Kind::ALL, false, Dice::of(1, "deck"));
        let alone: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.may_be_alone()).collect();
        let mut draw = |n: usize| {
            let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
            for _ in 0..n {
                *counts.entry(deck.draw().unwrap().kind).or_default() += 1;
            }
            counts
        };
        let first = draw(alone.len());
        assert!(alone.iter().all(|kind| first[kind] == 1), "{first:?}");
        let round: usize = alone.iter().map(|kind| kind.weight()).sum();
        let second = draw(round);
        assert!(alone.iter().all(|kind| second[kind] == kind.weight()), "{second:?}");
        let mut none = Deck::new(&[Kind::Kill], true, Dice::of(1, "deck"));
        assert!(none.is_seen() && none.draw().is_none());
        let mut two = Deck::new(&[Kind::Kill, Kind::Pause], false, Dice::of(1, "deck"));
        let mut drawn = || (two.draw().unwrap().at_leader, two.is_seen());
        assert_eq!([drawn(), drawn()], [(true, false), (true, true)]);
    }

    #[test]
    fn the_same_seed_draws_the_same_faults_within_their_bounds() {
        let drawn = |seed| {
            let mut deck = Deck::new(&Kind::ALL, false, Dice::of(seed, "deck"));
            let one = |deck: &mut Deck| deck.draw().unwrap();
            (0..200)
                .map(|_| one(&mut deck))
                .map(|f| (f.kind, f.after, f.lasts, f.at_leader))
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        for (kind, after, lasts, _) in drawn(7) {
            let (least, most) = kind.lasts_s();
            let lasts = lasts.as_secs_f64();
            assert!(lasts >= least - 1e-6 && lasts <= most + 1e-6, "{kind} {lasts}");
            assert!(after.as_secs_f64() <= REST_MAX * REST_S);
        }
    }

    #[test]
    fn a_kind_is_named_as_its_flag() {
        for kind in Kind::ALL {
            let named = clap::ValueEnum::from_str(kind.as_str(), false);
            assert_eq!(named, Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
