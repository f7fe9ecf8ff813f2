//! Who competes, and one run of one of them.

use crate::city::Request;
use crate::draws::Draws;
use crate::ours::{self, Ours};
use crate::reference::{self, Reference, Rule};
use crate::score::Score;
use crate::street::Street;
use proto::units::Clock;
use roads::Matrix;

/// A policy with a name.
#[derive(Debug, Clone)]
pub struct Contender {
    /// For people.
    pub name: String,
    /// Which family it is of, where its cap is one of several: for the sweep.
    pub family: &'static str,
    /// What it does.
    pub does: Does,
}

/// What a contender does.
#[derive(Debug, Clone)]
pub enum Does {
    /// It sees all and sends at once.
    Reference(Reference),
    /// It is the cores that ship.
    Ours(Box<Ours>),
}

/// What all contenders have in common.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long riders wait for a car to arrive, in milliseconds.
    pub patience_ms: u64,
    /// Pickups later than this are late, in milliseconds.
    pub soft_ms: Option<u64>,
    /// How often `batch` assigns, in milliseconds.
    pub batch_ms: u64,
}

/// Pickup caps of the sweep, in seconds, beside all patience.
pub const CAPS_S: [u64; 6] = [60, 90, 120, 150, 200, 250];

/// The families of the sweep: nearest at once or never, nearest in the order of asking, the optimum of a
/// batch, and what ships.
pub const FAMILIES: [&str; 4] = ["nearest, at once", "nearest, in order", "batch", "ours"];

impl Terms {
    /// The caps of the sweep that are below the patience, and it; in milliseconds.
    pub fn caps_ms(self) -> Vec<u64> {
        let caps = CAPS_S.into_iter().map(|cap_s| cap_s * 1_000);
        caps.filter(|cap_ms| *cap_ms < self.patience_ms).chain([self.patience_ms]).collect()
    }
}

impl Contender {
    fn reference(family: usize, rule: Rule, cap_ms: u64) -> Self {
        let family = FAMILIES[family];
        let does = Does::Reference(Reference { rule, cap_ms });
        Self { name: format!("{family}, cap {} s", cap_ms / 1_000), family, does }
    }

    /// Greedy in all its variants, for tuning.
    pub fn greedy(terms: Terms) -> Vec<Self> {
        let rules = [(0, Rule::AtOnce), (1, Rule::Fifo)];
        let of = |cap_ms| move |(family, rule)| Self::reference(family, rule, cap_ms);
        terms.caps_ms().into_iter().flat_map(|cap_ms| rules.map(of(cap_ms))).collect()
    }

    /// The batch with each cap; the last has none but patience.
    pub fn batches(terms: Terms) -> Vec<Self> {
        let rule = Rule::Batch(terms.batch_ms);
        let of = |cap_ms| Self::reference(2, rule, cap_ms);
        terms.caps_ms().into_iter().map(of).collect()
    }

    /// The nearest within all patience, at once or never: the simplest there is.
    pub fn plain(terms: Terms) -> Self {
        let name = "nearest, plain".into();
        Self { name, ..Self::reference(0, Rule::AtOnce, terms.patience_ms) }
    }

    /// The optimum every so often.
    pub fn batch(terms: Terms) -> Self {
        let name = format!("batch {} s", terms.batch_ms / 1_000);
        Self { name, ..Self::reference(2, Rule::Batch(terms.batch_ms), terms.patience_ms) }
    }

    /// What ships.
    pub fn ours(ours: &Ours) -> Self {
        Self { name: "ours".into(), family: FAMILIES[3], does: Does::Ours(Box::new(ours.clone())) }
    }

    /// The same with each cap.
    pub fn capped(terms: Terms, ours: &Ours) -> Vec<Self> {
        let of = |cap_ms: u64| {
            let mut capped = ours.clone();
            capped.policy.pickup_cap_ms = u32::try_from(cap_ms).unwrap_or(u32::MAX);
            Self { name: format!("ours, cap {} s", cap_ms / 1_000), ..Self::ours(&capped) }
        };
        terms.caps_ms().into_iter().map(of).collect()
    }

    /// This one with one part left out, or added, at a time.
    pub fn ablations(&self) -> Vec<Self> {
        let Does::Ours(ours) = &self.does else { return Vec::new() };
        let of = |name: &str, change: &dyn Fn(&mut Ours)| {
            let mut changed = (**ours).clone();
            change(&mut changed);
            let does = Does::Ours(Box::new(changed));
            Self { name: format!("ours, {name}"), family: self.family, does }
        };
        vec![
            of("first come", &|it| it.policy.claim_window_ms = 0),
            of("no boards", &|it| it.boards = false),
            of("nobody counted on", &|it| it.policy.soon_ms = 0),
            of("oldest first", &|it| it.policy.age_weight_pct = 100),
            of("age is nothing", &|it| it.policy.age_weight_pct = 0),
            of("improving", &|it| {
                it.policy.reassign_max = 2;
                (it.policy.reassign_gain_ms, it.policy.reassign_left_ms) = (20_000, 20_000);
            }),
            of("fairness 10 %", &|it| it.policy.fairness_pct = 10),
            of("straight lines", &|it| it.roads = false),
        ]
    }

    /// One run.
    pub fn run(
        &self,
        (roads, requests, stands): (&Matrix, &[Request], &[u32]),
        terms: Terms,
        draws: Draws,
        clock: &dyn Clock,
    ) -> Score {
        let mut street = Street::new(roads, requests, stands);
        let took_us = match &self.does {
            Does::Reference(policy) => {
                reference::run(&mut street, *policy, terms.patience_ms, draws, clock)
            }
            Does::Ours(ours) => ours::run(&mut street, ours, draws, clock),
        };
        Score::of(&street, terms.patience_ms, terms.soft_ms, took_us)
    }
}
