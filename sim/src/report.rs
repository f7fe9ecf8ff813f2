//! What the run came to, as values ([`Report`], the JSON) and as one table for people
//! ([`Report::table`]). Every figure says what it counts; the verdict stands last.

mod decisions;
pub(crate) mod harm;
mod table;

pub use decisions::Decisions;
pub use harm::Harm;

use crate::checker::Violation;
use crate::counters::Counters;
use crate::drives::Assumption;
use crate::history::{Seen, Step, What};
use crate::readback::{AtEnd, Read};
use crate::stats::Spread;
use crate::tally::{Count, HOPS, Tally};
use crate::workload::{Ended, Habits};
use proto::{BookingId, TripId};
use roads::demand::Published;
use serde::Serialize;
use std::collections::BTreeMap;

/// A booking for which no driver's client ever got an offer counts as decided after so long.
pub const NEVER_DECIDED_MS: u64 = 60_000;

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// The city's name.
    pub city: String,
    /// What chance came from.
    pub seed: u64,
    /// City seconds in a wall second.
    pub speed: f64,
    /// Node processes.
    pub nodes: usize,
    /// Cars.
    pub fleet: usize,
    /// Riders who were to ask.
    pub requests: usize,
    /// Wall milliseconds between two pings of a car.
    pub ping_period_ms: u64,
    /// What the nodes were told to assume about driving.
    pub assumption: Assumption,
    /// The cells that were split, as text.
    pub split_cells: Vec<String>,
    /// The planted fault.
    pub planted: Option<String>,
}

/// Decision latency, wait and share of riders served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Requests by the final state of their booking; `NEVER_ACKED` for those who have none.
    pub by_state: BTreeMap<String, usize>,
    /// From the rider's POST to the first offer in a driver's hand, in wall milliseconds.
    pub decision_ms: Spread,
    /// The parts of it.
    pub decisions: Decisions,
    /// Bookings that never had an offer; they are in `decision_ms` with a minute each.
    pub never_offered: usize,
    /// From the rider's POST to the car at the pickup, in city seconds, of those it reached.
    pub wait_s: Spread,
    /// Mean wait in city seconds over all requests, where who was not fetched within his patience
    /// counts with all of it.
    pub penalised_s: f64,
    /// Share of requests carried to the end.
    pub served_share: f64,
    /// Share of requests whose car came within the riders' patience.
    pub in_time_share: f64,
}

/// Where the work went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    /// Tries by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Tries to be asked again (503, 429).
    pub retries: u64,
    /// Tries without an answer.
    pub no_answer: u64,
    /// Requests by forwards (0, 1, 2, more) with the ring at rest.
    pub hops_stable: [u64; HOPS],
    /// The same from the kill until the node was back.
    pub hops_changing: [u64; HOPS],
    /// Share of the requests that each node took, in percent.
    pub taken_pct: Vec<f64>,
    /// Share of the requests that each node served as owner, in percent, by name.
    pub served_pct: BTreeMap<String, f64>,
    /// Share of the pings that each node took, in percent.
    pub pings_pct: Vec<f64>,
    /// Pings sent.
    pub pings: u64,
    /// Sockets that dropped and were opened elsewhere.
    pub sockets_lost: u64,
    /// How late a rider asked, at worst, in wall milliseconds.
    pub late_ms: u64,
}

/// Figures that the nodes alone know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Nodes {
    /// Holds that a driver's record refused.
    pub holds_refused: Option<f64>,
    /// Bookings that got a driver.
    pub assignments: Option<f64>,
    /// Claims that lost to a better one.
    pub claims_lost: Option<f64>,
    /// Claims on a driver who was not free.
    pub claims_busy: Option<f64>,
    /// Searches that some owner did not answer in time.
    pub searches_partial: Option<f64>,
    /// Requests sent on to another node.
    pub forwards: Option<f64>,
}

impl Nodes {
    /// Reads the figures from the sum of all nodes' counters.
    pub fn of(counters: &Counters) -> Self {
        let kind = |kind: &str| {
            let total = counters.sum(&format!("hansom_{kind}_total"));
            total.or_else(|| counters.labelled("hansom_runtime_count", "kind", kind))
        };
        Self {
            holds_refused: kind("holds_refused"),
            assignments: kind("assignments"),
            claims_lost: kind("claims_lost"),
            claims_busy: kind("claims_busy"),
            searches_partial: kind("searches_partial"),
            forwards: counters.sum("hansom_forwards_total"),
        }
    }

    /// Refused Holds for each assignment; nothing if the nodes do not count them.
    pub fn refused_per_assignment(&self) -> Option<f64> {
        let assignments = self.assignments.filter(|n| *n > 0.0)?;
        self.holds_refused.map(|refused| refused / assignments)
    }
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was run.
    pub run: Run,
    /// How long it took.
    pub ended: Ended,
    /// What was done to the nodes.
    pub harm: Harm,
    /// How riders fared.
    pub service: Service,
    /// Where the work went.
    pub traffic: Traffic,
    /// What the nodes counted.
    pub nodes: Nodes,
    /// Refused Holds for each assignment.
    pub refused_holds_per_assignment: Option<f64>,
    /// What others reached with this demand and a fleet of this size, or all if none is.
    pub references: Vec<Published>,
    /// Broken laws.
    pub violations: Vec<Violation>,
    /// Why the run proves nothing, if so.
    pub void: Option<String>,
    /// Whether all is well.
    pub green: bool,
}

/// Everything a report is made of.
#[derive(Debug)]
pub struct Sources<'a> {
    /// What was run.
    pub run: Run,
    /// How long it took.
    pub ended: Ended,
    /// What was done to the nodes.
    pub harm: Harm,
    /// How the city behaved.
    pub habits: Habits,
    /// The counters.
    pub tally: &'a Tally,
    /// What the clients saw.
    pub seen: &'a [Seen],
    /// What was read back.
    pub at_end: &'a AtEnd,
    /// The nodes' counters.
    pub counters: &'a Counters,
    /// Others' results.
    pub references: Vec<Published>,
    /// The verdict.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Computes the figures.
    pub fn of(sources: Sources<'_>) -> Self {
        let Sources { run, ended, harm, habits, tally, seen, at_end, counters, .. } = sources;
        let service = service(run.requests, &habits, seen, at_end);
        let nodes = Nodes::of(counters);
        let violations = sources.violations;
        let void = if run.requests == 0 || service.served_share == 0.0 {
            Some("no ride was carried to its end, so there was nothing to judge".into())
        } else {
            None
        };
        let acquitted = violations.is_empty() && void.is_none() && ended.stuck_riders == 0;
        let green = acquitted && harm.wrongs().is_empty();
        Self {
            service,
            traffic: traffic(tally),
            refused_holds_per_assignment: nodes.refused_per_assignment(),
            nodes,
            references: beside(sources.references, run.fleet),
            run,
            ended,
            harm,
            violations,
            void,
            green,
        }
    }
}

/// The references with the nearest fleet size.
fn beside(references: Vec<Published>, fleet: usize) -> Vec<Published> {
    let apart = |reference: &Published| (reference.fleet as usize).abs_diff(fleet);
    let nearest = references.iter().map(apart).min();
    references.into_iter().filter(|reference| Some(apart(reference)) == nearest).collect()
}

fn service(requests: usize, habits: &Habits, seen: &[Seen], at_end: &AtEnd) -> Service {
    let mut asked: BTreeMap<BookingId, u64> = BTreeMap::new();
    let mut offered: BTreeMap<BookingId, u64> = BTreeMap::new();
    let mut trips: BTreeMap<TripId, BookingId> = BTreeMap::new();
    let mut reached: BTreeMap<BookingId, u64> = BTreeMap::new();
    for Seen { at_ms, what } in seen {
        match what {
            What::BookingAcked { booking, asked_ms, .. } => {
                asked.insert(*booking, *asked_ms);
            }
            What::OfferSeen { booking, .. } => {
                offered.entry(*booking).or_insert(*at_ms);
            }
            What::AcceptAcked { booking, trip, .. } => {
                trips.insert(*trip, *booking);
            }
            // The car is there when its driver says so for the first time; how long the cluster
            // takes to write that down is not the rider's wait.
            What::StepAsked { trip, step: Step::Arrive, .. } => {
                if let Some(booking) = trips.get(trip) {
                    reached.entry(*booking).or_insert(*at_ms);
                }
            }
            What::DriverAcked { .. }
            | What::BookingUnsettled { .. }
            | What::Shown(_)
            | What::CancelAsked { .. }
            | What::CancelAcked { .. }
            | What::StepAsked { step: Step::Start | Step::End, .. }
            | What::StepAcked { .. }
            | What::Refused { .. }
            | What::Unsettled { .. } => {}
        }
    }
    let since = |times: &BTreeMap<BookingId, u64>| -> Vec<f64> {
        let both = times.iter().filter_map(|(booking, at)| Some((at, asked.get(booking)?)));
        both.map(|(at, from)| at.saturating_sub(*from) as f64).collect()
    };
    let mut decision_ms = since(&offered);
    let never_offered = requests.saturating_sub(decision_ms.len());
    decision_ms.extend(std::iter::repeat_n(NEVER_DECIDED_MS as f64, never_offered));
    let wait_s: Vec<f64> =
        since(&reached).into_iter().map(|ms| ms * habits.speed / 1000.0).collect();
    let patience_s = habits.patience_ms as f64 / 1000.0;
    let in_time = wait_s.iter().filter(|wait| **wait <= patience_s).count();
    let waited_s: f64 = wait_s.iter().map(|wait| wait.min(patience_s)).sum();
    let missed = requests.saturating_sub(wait_s.len());
    let penalised_s = (waited_s + patience_s * missed as f64) / requests.max(1) as f64;
    let share = |n: usize| n as f64 / requests.max(1) as f64;
    let by_state = by_state(requests, asked.keys(), at_end);
    let served = ["COMPLETED", "PAID"].iter().filter_map(|state| by_state.get(*state)).sum();
    Service {
        by_state,
        decision_ms: Spread::of(decision_ms),
        decisions: Decisions::of(seen),
        penalised_s,
        never_offered,
        wait_s: Spread::of(wait_s),
        served_share: share(served),
        in_time_share: share(in_time),
    }
}

fn by_state<'a>(
    requests: usize,
    acked: impl Iterator<Item = &'a BookingId>,
    at_end: &AtEnd,
) -> BTreeMap<String, usize> {
    let mut by_state: BTreeMap<String, usize> = BTreeMap::new();
    let mut counted = 0;
    for booking in acked {
        counted += 1;
        let state = match at_end.bookings.get(booking) {
            Some(Read::Is(record)) => match serde_json::to_value(record.status) {
                Ok(serde_json::Value::String(state)) => state,
                Ok(_) | Err(_) => format!("{:?}", record.status),
            },
            Some(Read::Missing(_)) => "LOST".into(),
            Some(Read::NoAnswer) | None => "UNREADABLE".into(),
        };
        *by_state.entry(state).or_default() += 1;
    }
    let never = requests.saturating_sub(counted);
    if never > 0 {
        by_state.insert("NEVER_ACKED".into(), never);
    }
    by_state
}

fn traffic(tally: &Tally) -> Traffic {
    let percent = |counts: &[Count]| -> Vec<f64> {
        let total = counts.iter().map(Count::get).sum::<u64>().max(1) as f64;
        counts.iter().map(|count| count.get() as f64 * 100.0 / total).collect()
    };
    let served = tally.served();
    let total = served.values().sum::<u64>().max(1) as f64;
    let served_pct = served.into_iter().map(|(node, n)| (node, n as f64 * 100.0 / total));
    let (hops_stable, hops_changing) = tally.hops();
    Traffic {
        outcomes: tally.outcomes(),
        retries: tally.retries.get(),
        no_answer: tally.no_answer.get(),
        hops_stable,
        hops_changing,
        taken_pct: percent(&tally.taken),
        served_pct: served_pct.collect(),
        pings_pct: percent(&tally.pings_to),
        pings: tally.pings.get(),
        sockets_lost: tally.sockets_lost.get(),
        late_ms: tally.late_ms.get(),
    }
}
