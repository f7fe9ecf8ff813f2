//! Who competes, and one run of one of them.

use crate::city::Request;
use crate::draws::Draws;
use crate::network::Eta;
use crate::ours::{self, Ours};
use crate::reference::{self, Reference, Rule};
use crate::score::Score;
use crate::street::Street;
use actors::policy::Policy;
use proto::units::Clock;

/// A policy with a name.
#[derive(Debug, Clone)]
pub struct Contender {
    /// For people.
    pub name: String,
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
}

/// Pickup caps that greedy is tried with, in seconds.
pub const CAPS_S: [u64; 7] = [60, 90, 120, 150, 200, 250, 300];

/// How long before a trip's end a driver is counted on where that is tried, in milliseconds: half a
/// minute. Longer was tried on the Manhattan hour: less driving, and fewer riders served.
const SOON_MS: u32 = 30_000;

impl Contender {
    /// Greedy in all its variants, for tuning.
    pub fn greedy(terms: Terms) -> Vec<Self> {
        let caps = CAPS_S.into_iter().map(|cap_s| cap_s * 1_000);
        let caps: Vec<u64> = caps.filter(|cap_ms| *cap_ms <= terms.patience_ms).collect();
        let rules = [(Rule::AtOnce, "at once"), (Rule::Fifo, "in order")];
        let variant = |(rule, how): (Rule, &str), cap_ms: u64| Self {
            name: format!("nearest, {how}, cap {} s", cap_ms / 1_000),
            does: Does::Reference(Reference { rule, cap_ms }),
        };
        rules
            .into_iter()
            .flat_map(|rule| caps.iter().map(move |cap_ms| variant(rule, *cap_ms)))
            .collect()
    }

    /// The nearest within all patience, at once or never: the simplest there is.
    pub fn plain(terms: Terms) -> Self {
        let policy = Reference { rule: Rule::AtOnce, cap_ms: terms.patience_ms };
        Self { name: "nearest, plain".into(), does: Does::Reference(policy) }
    }

    /// The optimum every so often.
    pub fn batch(terms: Terms, every_ms: u64) -> Self {
        let policy = Reference { rule: Rule::Batch(every_ms), cap_ms: terms.patience_ms };
        let name = format!("batch {} s", every_ms / 1_000);
        Self { name, does: Does::Reference(policy) }
    }

    /// Ours in the variants that are tuned.
    pub fn ours(terms: Terms) -> Vec<Self> {
        let mut all = Vec::new();
        for soon_ms in [0, SOON_MS] {
            for age_weight_pct in [5, 25, 50, 100] {
                let policy = Policy { soon_ms, age_weight_pct, ..best(terms) };
                let does = Does::Ours(Box::new(Ours { policy, boards: true, roads: true }));
                let name = format!("ours, soon {} s, age {age_weight_pct} %", soon_ms / 1_000);
                all.push(Self { name, does });
            }
        }
        all
    }

    /// This one with one part left out, or added, at a time.
    pub fn ablations(&self) -> Vec<Self> {
        let Does::Ours(ours) = &self.does else { return Vec::new() };
        let of = |name: &str, change: &dyn Fn(&mut Ours)| {
            let mut changed = (**ours).clone();
            change(&mut changed);
            Self { name: format!("ours, {name}"), does: Does::Ours(Box::new(changed)) }
        };
        vec![
            of("cap 120 s", &|it| it.policy.pickup_cap_ms = 120_000),
            of("first come", &|it| it.policy.claim_window_ms = 0),
            of("no boards", &|it| it.boards = false),
            of("nobody counted on", &|it| it.policy.soon_ms = 0),
            of("no improving", &|it| it.policy.improve_max = 0),
            of("fairness 10 %", &|it| it.policy.fairness_pct = 10),
            of("straight lines", &|it| it.roads = false),
        ]
    }

    /// One run.
    pub fn run(
        &self,
        (roads, requests, stands): (&dyn Eta, &[Request], &[u32]),
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

/// The policy's defaults, with the patience of these riders and with improvement before pickup on.
fn best(terms: Terms) -> Policy {
    let patience_ms = u32::try_from(terms.patience_ms).unwrap_or(u32::MAX);
    Policy {
        booking_ttl_ms: patience_ms,
        pickup_within_ms: patience_ms,
        pickup_cap_ms: patience_ms,
        improve_max: 2,
        improve_gain_ms: 20_000,
        improve_left_ms: 20_000,
        ..Policy::default()
    }
}
