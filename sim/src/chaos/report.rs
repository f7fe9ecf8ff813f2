//! What a run came to, as values: the JSON, from which the page (`html`) and the table are made.

pub(super) mod html;
pub(super) mod table;
mod timeline;

use super::fault::Kind;
use super::incident::{Incident, OfKind};
use super::laws::{self, Broken};
use super::locate::{Look, Served};
use super::pulse::Second;
use crate::bench::machine::Machine;
use crate::report::Report;
use crate::stats::Spread;
use crate::tally::Tally;
use serde::Serialize;
use std::collections::BTreeMap;

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// The command that repeats it.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// `release`, or `debug` for a build that is optimised little.
    pub build: &'static str,
    /// How links were cut.
    pub net: &'static str,
    /// Node processes.
    pub nodes: usize,
    /// Partitions.
    pub partitions: u16,
    /// Requests a second that were aimed at.
    pub rate: f64,
    /// What chance came from.
    pub seed: u64,
    /// For how long faults were done, in minutes.
    pub minutes: f64,
    /// The kinds of faults that were chosen.
    pub kinds: Vec<Kind>,
    /// Those that are not permitted here.
    pub left_out: Vec<Kind>,
    /// The planted mistake.
    pub planted: Option<String>,
}

/// Whether the cluster kept its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It did, and the run proves something.
    Green,
    /// It did not.
    Red,
    /// Nothing was wrong, but too little was tried.
    Invalid,
}

impl Verdict {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Green => "GREEN",
            Self::Red => "RED",
            Self::Invalid => "INVALID",
        }
    }
}

/// The figures of the whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// From the first request to the last fault's end, in seconds.
    pub wall_s: f64,
    /// Faults that were done.
    pub faults: usize,
    /// Requests begun.
    pub asked: u64,
    /// Requests that got a final answer.
    pub settled: u64,
    /// Those a second, while faults were done.
    pub settled_per_s: f64,
    /// Requests that eight tries or five seconds did not settle, of those that never met a time in
    /// which a majority was away.
    pub late: u64,
    /// The share of the others, in percent.
    pub success_pct: f64,
    /// Requests that met such a time.
    pub asked_apart: u64,
    /// Of these, those that were not settled soon.
    pub late_apart: u64,
    /// Share of the seconds in which no request was given up, in percent; without those times.
    pub available_pct: f64,
    /// SIGKILL to the first acknowledged write, over all partitions that the victims led.
    pub takeover_ms: Spread,
    /// The same for pauses and isolated nodes.
    pub takeover_other_ms: Spread,
    /// From the last start to the first acknowledged write, over all partitions, after many nodes
    /// were killed at once.
    pub restart_ms: Spread,
    /// From the end of a fault until all replicas were in step, where no disk was copied.
    pub whole_ms: Spread,
    /// How much too late ready tasks ran on this machine.
    pub stall_ms: Spread,
    /// Locations, all the time.
    pub located: Served,
    /// Locations while links were cut.
    pub located_in_cuts: Served,
    /// What 0 broken laws say of one fault: the chance that it breaks one is below this, in percent,
    /// with 95 % confidence (rule of three).
    pub bound_pct: f64,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChaosReport {
    /// Whether the cluster kept its word.
    pub verdict: Verdict,
    /// Why not, or why the run proves nothing.
    pub why: Vec<String>,
    /// What was run.
    pub setup: Setup,
    /// The figures of the whole run.
    pub figures: Figures,
    /// The figures of each kind of fault.
    pub by_kind: BTreeMap<Kind, OfKind>,
    /// Broken laws.
    pub broken: Vec<Broken>,
    /// The first of the requests that were not settled soon, try by try.
    pub late_stories: Vec<String>,
    /// Everything that was done.
    pub incidents: Vec<Incident>,
    /// The run, second by second.
    pub seconds: Vec<Second>,
    /// How the city fared.
    pub city: Report,
}

/// Everything that a report is made of.
pub(super) struct Sources<'a> {
    pub(super) setup: Setup,
    pub(super) incidents: Vec<Incident>,
    pub(super) seconds: Vec<Second>,
    pub(super) looks: Vec<Look>,
    pub(super) stall_ms: Spread,
    /// When the last fault had ended, in milliseconds of the run.
    pub(super) ended_ms: u64,
    /// Requests begun and settled until then.
    pub(super) asked: u64,
    pub(super) settled: u64,
    pub(super) tally: &'a Tally,
    pub(super) fallen: Vec<String>,
    pub(super) panics: Vec<String>,
    pub(super) hopeless: bool,
    pub(super) city: Report,
}

impl ChaosReport {
    /// Computes the figures and the verdict.
    pub(super) fn of(sources: Sources<'_>) -> Self {
        let Sources { setup, incidents, seconds, looks, tally, city, .. } = sources;
        let done = || incidents.iter().filter(|incident| incident.skipped.is_none());
        let mut by_kind: BTreeMap<Kind, OfKind> = BTreeMap::new();
        for kind in &setup.kinds {
            by_kind.insert(*kind, OfKind::of(done().filter(|one| one.kind == *kind)));
        }
        let mut broken: Vec<Broken> = Vec::new();
        let judged = city.violations.iter();
        broken.extend(judged.map(|one| Broken::new(one.law(), one.to_string())));
        broken.extend(city.harm.wrongs().into_iter().map(|what| Broken::new("converges", what)));
        if city.ended.stuck_riders > 0 {
            let what = format!("{} riders still waited at the end", city.ended.stuck_riders);
            broken.push(Broken::new("not ended", what));
        }
        broken.extend(laws::recovers(&incidents));
        broken.extend(laws::answers(&tally.outcomes()));
        broken.extend(laws::locations(&incidents, &looks, setup.nodes));
        broken.extend(sources.fallen.into_iter().map(|what| Broken::new("stands", what)));
        broken.extend(sources.panics.into_iter().map(|what| Broken::new("no panic", what)));
        let asked = (sources.asked, sources.settled);
        let mut void = laws::void(&setup.kinds, &by_kind, asked, sources.hopeless);
        void.extend(city.void.clone());
        let (verdict, why) = match (broken.len(), void.is_empty()) {
            (0, true) => (Verdict::Green, Vec::new()),
            (0, false) => (Verdict::Invalid, void),
            (n, _) => (Verdict::Red, [vec![format!("{n} laws broken")], void].concat()),
        };
        let spread = |kinds: &[Kind]| takeovers(done(), kinds);
        let apart = tally.asked_apart.get().min(asked.0);
        let late = tally.late.get();
        let faults = done().count();
        let wall_s = sources.ended_ms as f64 / 1000.0;
        let whole = done().filter(|one| !matches!(one.kind, Kind::Wipe | Kind::JoinDrain));
        let whole = whole.filter_map(|one| Some(one.whole_after_ms? as f64)).collect();
        let figures = Figures {
            wall_s,
            faults,
            asked: asked.0,
            settled: asked.1,
            settled_per_s: asked.1 as f64 / wall_s.max(1.0),
            late,
            success_pct: 100.0 - percent(late, asked.0 - apart),
            asked_apart: apart,
            late_apart: tally.late_apart.get(),
            available_pct: available_pct(&seconds),
            takeover_ms: spread(&[Kind::Kill]),
            takeover_other_ms: spread(&[Kind::Pause, Kind::Isolate]),
            restart_ms: spread(&[Kind::KillMajority, Kind::KillAll]),
            whole_ms: Spread::of(whole),
            stall_ms: sources.stall_ms,
            located: Served::of(looks.iter()),
            located_in_cuts: laws::served_in_cuts(&incidents, &looks),
            bound_pct: 300.0 / faults.max(1) as f64,
        };
        let late_stories = tally.late_stories();
        Self {
            verdict,
            why,
            setup,
            figures,
            by_kind,
            broken,
            late_stories,
            incidents,
            seconds,
            city,
        }
    }
}

/// The takeover times of these kinds.
fn takeovers<'a>(incidents: impl Iterator<Item = &'a Incident>, kinds: &[Kind]) -> Spread {
    let of_kinds = incidents.filter(|incident| kinds.contains(&incident.kind));
    let times = of_kinds.flat_map(|incident| &incident.takeover);
    Spread::of(times.filter_map(|first| Some(first.after_ms? as f64)).collect())
}

fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of.max(1) as f64
}

fn available_pct(seconds: &[Second]) -> f64 {
    let judged = seconds.iter().filter(|second| !second.apart);
    let (mut all, mut good) = (0, 0);
    for second in judged {
        all += 1;
        good += u64::from(second.late == 0);
    }
    percent(good, all)
}
