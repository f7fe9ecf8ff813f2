//! Figures of many runs: what was done to the clusters, what they got done, and what was found.

use crate::fault::Kind;
use crate::laws::covered;
use crate::run::{Outcome, replay};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Seeds whose broken laws are written out.
const SHOWN: usize = 5;
/// Broken laws of one seed that are written out.
const SHOWN_OF_SEED: usize = 4;
/// Of fewer the rule of three tells nothing.
const BOUND_FROM: usize = 10;
/// Wide enough for every row; a log has no width to ask for.
const WIDTH: u16 = 120;

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// Half took no longer, in milliseconds.
    pub p50_ms: u64,
    /// Of a hundred 99 took no longer.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl Spread {
    fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| all.get((all.len() * percent).div_ceil(100).max(1) - 1).copied();
        Self {
            count: all.len(),
            p50_ms: at(50).unwrap_or(0),
            p99_ms: at(99).unwrap_or(0),
            max_ms: all.last().copied().unwrap_or(0),
        }
    }
}

/// What happened of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OfKind {
    /// How often it happened.
    pub happened: usize,
    /// How often its moment did not come.
    pub skipped: usize,
    /// How often it hit a leader.
    pub hit_leader: usize,
    /// Takeovers after it that nothing else fell into.
    pub takeover: Spread,
}

/// The figures of a search.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Runs.
    pub seeds: usize,
    /// Runs that proved nothing, with why.
    pub invalid: BTreeMap<u64, Vec<String>>,
    /// Runs in which a law was broken, with what was seen.
    pub broken: BTreeMap<u64, Vec<String>>,
    /// How often each law was broken.
    pub laws: BTreeMap<String, usize>,
    /// Simulated time, in seconds.
    pub simulated_s: u64,
    /// Time of one core, in seconds.
    pub wall_s: u64,
    /// Runs by the number of founders.
    pub founders: BTreeMap<usize, usize>,
    /// Faults by kind.
    pub faults: BTreeMap<Kind, OfKind>,
    /// Faults in all.
    pub happened: usize,
    /// Kinds that never hit a leader.
    pub uncovered: Vec<Kind>,
    /// Machines switched on again.
    pub restarts: usize,
    /// Unsynced writes that crashes undid.
    pub forgotten: usize,
    /// Requests answered with yes, refused for good, tried again, never answered.
    pub ok: u64,
    /// See `ok`.
    pub rejected: u64,
    /// See `ok`.
    pub retry: u64,
    /// See `ok`.
    pub unsettled: u64,
    /// Bookings made, and carried.
    pub bookings: usize,
    /// See `bookings`.
    pub carried: usize,
    /// Trips that a better driver took over before the pickup.
    pub changed: usize,
    /// Trips that their drivers had taken as their next while on another.
    pub nexts: usize,
    /// How often two replicas were compared.
    pub compared: u64,
    /// Takeovers of leaders of which nothing else happened meanwhile, over all kinds.
    pub takeover: Spread,
    /// The others.
    pub disturbed: Spread,
    /// From the heal to rest.
    pub rest: Spread,
    /// With so many faults and no broken law, fewer than this part of faults break one, at 95 %
    /// confidence (the rule of three). Nothing if one was.
    pub bound_per_fault: Option<f64>,
    /// The same of seeds.
    pub bound_per_seed: Option<f64>,
}

impl Figures {
    /// The figures of these runs.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut figures = Self::default();
        let mut faults = Vec::new();
        let (mut clean, mut disturbed, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut by_kind: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for outcome in outcomes {
            figures.add(outcome);
            faults.extend(outcome.faults.iter().cloned());
            rest.extend(outcome.rested_ms);
            for takeover in &outcome.takeovers {
                if takeover.clean {
                    clean.push(takeover.took_ms);
                    by_kind.entry(takeover.kind).or_default().push(takeover.took_ms);
                } else {
                    disturbed.push(takeover.took_ms);
                }
            }
        }
        for (kind, took) in by_kind {
            figures.faults.entry(kind).or_default().takeover = Spread::of(took);
        }
        figures.uncovered = covered::uncovered(&faults);
        (figures.takeover, figures.disturbed) = (Spread::of(clean), Spread::of(disturbed));
        figures.rest = Spread::of(rest);
        figures.simulated_s /= 1_000;
        figures.wall_s /= 1_000;
        #[expect(clippy::cast_precision_loss, reason = "a probability of six digits")]
        let bound = |n: usize| (n >= BOUND_FROM).then(|| 3.0 / n as f64);
        if figures.broken.is_empty() {
            figures.bound_per_fault = bound(figures.happened);
            figures.bound_per_seed = bound(figures.seeds - figures.invalid.len());
        }
        figures
    }

    fn add(&mut self, outcome: &Outcome) {
        let Outcome { seed, done, .. } = outcome;
        self.seeds += 1;
        *self.founders.entry(outcome.founders).or_default() += 1;
        if outcome.is_bad() {
            let broken = outcome.broken.iter().map(ToString::to_string).collect();
            self.broken.insert(*seed, broken);
            for broken in &outcome.broken {
                *self.laws.entry(broken.law.clone()).or_default() += 1;
            }
        } else if !outcome.invalid.is_empty() {
            self.invalid.insert(*seed, outcome.invalid.clone());
        }
        for fault in &outcome.faults {
            let of = self.faults.entry(fault.kind).or_default();
            let happened = usize::from(fault.at_ms.is_some());
            of.happened += happened;
            of.skipped += 1 - happened;
            of.hit_leader += usize::from(fault.led > 0);
            self.happened += happened;
        }
        self.simulated_s += outcome.took_ms;
        self.wall_s += outcome.wall_ms;
        self.restarts += outcome.restarts;
        self.forgotten += outcome.forgotten;
        self.ok += done.ok;
        self.rejected += done.rejected;
        self.retry += done.retry;
        self.unsettled += done.unsettled;
        self.bookings += done.bookings;
        self.carried += done.carried;
        self.changed += done.changed;
        self.nexts += done.nexts;
        self.compared += outcome.compared;
    }

    /// The table for people, with the first broken laws and how to see them again.
    pub fn table(&self, flags: &str) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH);
        for [name, value] in self.rows() {
            table.add_row([name, value]);
        }
        let mut text = format!("{table}\n");
        for (seed, broken) in self.broken.iter().take(SHOWN) {
            let again = replay(*seed);
            let _infallible = writeln!(text, "\nseed {seed}, to replay: {again}{flags}");
            for what in broken.iter().take(SHOWN_OF_SEED) {
                let _infallible = writeln!(text, "  {what}");
            }
            if broken.len() > SHOWN_OF_SEED {
                let _infallible = writeln!(text, "  ... and {} more", broken.len() - SHOWN_OF_SEED);
            }
        }
        if self.broken.len() > SHOWN {
            let rest: Vec<String> = self.broken.keys().skip(SHOWN).map(u64::to_string).collect();
            let _infallible = writeln!(text, "\nand of seeds {}", rest.join(" "));
        }
        for (seed, why) in self.invalid.iter().take(SHOWN) {
            let _infallible = writeln!(text, "seed {seed} is invalid: {}", why.join("; "));
        }
        text
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
        let sizes: Vec<String> =
            self.founders.iter().map(|(nodes, runs)| format!("{runs} of {nodes} nodes")).collect();
        row(
            "seeds",
            format!("{} ({}), {} invalid", self.seeds, sizes.join(", "), self.invalid.len()),
        );
        row("time", format!("{} s simulated, {} s of one core", self.simulated_s, self.wall_s));
        row(
            "faults",
            format!(
                "{}, {} restarts, {} unsynced writes undone",
                self.happened, self.restarts, self.forgotten
            ),
        );
        for (kind, of) in &self.faults {
            let OfKind { happened, skipped, hit_leader, takeover } = of;
            let took =
                if takeover.count == 0 { String::new() } else { format!("; {}", text(*takeover)) };
            let value =
                format!("{happened}, hit a leader {hit_leader} times, {skipped} skipped{took}");
            row(&format!("  {kind}"), value);
        }
        if !self.uncovered.is_empty() {
            let kinds: Vec<&str> = self.uncovered.iter().map(|kind| kind.as_str()).collect();
            row("never hit a leader", kinds.join(", "));
        }
        row(
            "requests",
            format!(
                "{} ok, {} rejected; asked again {} times; {} never answered",
                self.ok, self.rejected, self.retry, self.unsettled
            ),
        );
        row(
            "bookings",
            format!(
                "{}, {} carried, {} by a better driver, {} as a next ride",
                self.bookings, self.carried, self.changed, self.nexts
            ),
        );
        row("replicas compared", format!("{} times", self.compared));
        row("takeover, alone", text(self.takeover));
        row("takeover, not alone, or nobody could", text(self.disturbed));
        row("at rest after the heal", text(self.rest));
        for (law, count) in &self.laws {
            row(&format!("BROKEN {law}"), format!("{count} times"));
        }
        let verdict = match (self.bound_per_fault, self.bound_per_seed) {
            (Some(fault), Some(seed)) => format!(
                "no law broken: at 95 % confidence fewer than {:.3} % of faults, {:.2} % of such minutes, break one",
                fault * 100.0,
                seed * 100.0
            ),
            _ if !self.broken.is_empty() => {
                format!("laws broken in {} of {} runs", self.broken.len(), self.seeds)
            }
            _ if self.seeds > self.invalid.len() => {
                "no law broken, in runs too few for a bound".into()
            }
            _ => "nothing was proved".into(),
        };
        row("verdict", verdict);
        rows
    }
}

fn text(spread: Spread) -> String {
    let Spread { count, p50_ms, p99_ms, max_ms } = spread;
    format!("{count}: p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::Broken;

    #[test]
    fn a_bound_is_stated_only_where_nothing_was_found() {
        let good = Outcome { seed: 1, ..Outcome::default() };
        let bad = Outcome { seed: 2, broken: vec![Broken::new("x", "y")], ..Outcome::default() };
        let figures = Figures::of(&vec![good.clone(); 300]);
        assert_eq!(figures.bound_per_seed, Some(0.01));
        let figures = Figures::of(&[good, bad]);
        assert_eq!((figures.bound_per_seed, figures.broken.len()), (None, 1));
        assert!(figures.table("").contains("cargo sim --seed 2"), "{}", figures.table(""));
    }

    #[test]
    fn percentiles_are_of_what_there_is() {
        assert_eq!(Spread::of(vec![]), Spread::default());
        let spread = Spread::of((1..=100).rev().collect());
        assert_eq!(spread, Spread { count: 100, p50_ms: 50, p99_ms: 99, max_ms: 100 });
    }
}
