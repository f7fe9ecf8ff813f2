//! The report for a terminal.

use super::super::incident::OfKind;
use super::ChaosReport;
use crate::stats::Spread;
use comfy_table::{ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// Wide enough for every row; a log has no width to ask for.
const WIDTH: u16 = 130;
/// Broken laws that are written out; the JSON has all.
const SHOWN: usize = 12;

/// The figures in a sentence or two each: what the terminal and the page both show.
pub(super) fn rows(report: &ChaosReport) -> Vec<[String; 2]> {
    let ChaosReport { setup, figures, city, .. } = report;
    let row = |name: &str, value: String| [name.to_owned(), value];
    let s = |ms: f64| ms / 1000.0;
    let spread = |spread: &Spread| {
        let Spread { n, p50, p99, max, .. } = spread;
        if *n == 0 {
            return "none".to_owned();
        }
        format!("p50 {:.2} s, p99 {:.2} s, max {:.2} s ({n} partitions)", s(*p50), s(*p99), s(*max))
    };
    let located = |of: &super::Served| {
        let share = |n: usize| n as f64 * 100.0 / of.looks.max(1) as f64;
        format!(
            "{:.2} % taken, {:.2} % of searches answered, {:.2} % found their car ({} looks)",
            share(of.wrote),
            share(of.read),
            share(of.found),
            of.looks
        )
    };
    let states: Vec<String> =
        city.service.by_state.iter().map(|(state, n)| format!("{state} {n}")).collect();
    let mut rows = vec![
        row(
            "run",
            format!(
                "{} nodes, {} partitions, links by {}, seed {}, {} build; faults for {:.1} min",
                setup.nodes,
                setup.partitions,
                setup.net,
                setup.seed,
                setup.build,
                figures.wall_s / 60.0
            ),
        ),
        row("machine", setup.machine.line()),
        row(
            "requests",
            format!(
                "{} asked, {} got a final answer: {:.0} a second",
                figures.asked, figures.settled, figures.settled_per_s
            ),
        ),
        row("faults", format!("{}; broken laws {}", figures.faults, report.broken.len())),
        row(
            "settled within 8 tries and 5 s",
            format!(
                "{:.4} % ({} of {} were not), while every partition had a majority",
                figures.success_pct,
                figures.late,
                figures.asked - figures.asked_apart
            ),
        ),
        row(
            "counted apart",
            format!(
                "{} of {} were not, while a majority was away",
                figures.late_apart, figures.asked_apart
            ),
        ),
        row(
            "available",
            format!("{:.3} % of seconds in which nobody gave up", figures.available_pct),
        ),
        row("SIGKILL to first acked write", spread(&figures.takeover_ms)),
        row("pause, isolation to the same", spread(&figures.takeover_other_ms)),
        row("after many killed: start to the same", spread(&figures.restart_ms)),
        row(
            "end of a fault to all in step",
            format!(
                "p50 {:.1} s, p99 {:.1} s, max {:.1} s",
                s(figures.whole_ms.p50),
                s(figures.whole_ms.p99),
                s(figures.whole_ms.max)
            ),
        ),
        row("positions", located(&figures.located)),
        row("positions in two parts", located(&figures.located_in_cuts)),
        row("bookings by final state", states.join(", ")),
        row(
            "scheduling stall of this machine",
            format!("p99 {:.0} ms, max {:.0} ms", figures.stall_ms.p99, figures.stall_ms.max),
        ),
    ];
    if !setup.left_out.is_empty() {
        let names: Vec<&str> = setup.left_out.iter().map(|kind| kind.as_str()).collect();
        rows.push(row("not permitted here", names.join(", ")));
    }
    if let Some(planted) = &setup.planted {
        rows.push(row("planted fault", planted.clone()));
    }
    rows
}

/// What a line of the table by kind says; the header is [`KINDS`].
pub(super) fn of_kind(of: &OfKind) -> [String; 8] {
    let s = |ms: f64| format!("{:.2}", ms / 1000.0);
    let takeover = |ms: f64| if of.takeover_ms.n == 0 { String::new() } else { s(ms) };
    let whole = |ms: f64| if of.whole_ms.n == 0 { String::new() } else { s(ms) };
    [
        of.times.to_string(),
        of.hit_leader.to_string(),
        takeover(of.takeover_ms.p50),
        takeover(of.takeover_ms.p99),
        takeover(of.takeover_ms.max),
        whole(of.whole_ms.p50),
        of.repeated.to_string(),
        of.late.to_string(),
    ]
}

/// The columns after the kind.
pub(super) const KINDS: [&str; 8] = [
    "times",
    "met a leader",
    "takeover p50, s",
    "p99",
    "max",
    "in step p50, s",
    "tries repeated",
    "late",
];

impl ChaosReport {
    /// The report for people.
    pub(in super::super) fn table(&self) -> String {
        let mut text = plain(rows(self));
        let lines = self.by_kind.iter().map(|(kind, of)| {
            std::iter::once(kind.to_string()).chain(of_kind(of)).collect::<Vec<_>>()
        });
        let mut kinds = Table::new();
        kinds.load_preset(presets::UTF8_FULL_CONDENSED);
        kinds.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        kinds.set_header(std::iter::once("fault").chain(KINDS));
        kinds.add_rows(lines);
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{kinds}");
        for broken in self.broken.iter().take(SHOWN) {
            let _infallible = writeln!(text, "BROKEN {}: {}", broken.law, broken.what);
        }
        if self.broken.len() > SHOWN {
            let more = self.broken.len() - SHOWN;
            let _infallible = writeln!(text, "... and {more} more; report.json has all");
        }
        let why =
            if self.why.is_empty() { String::new() } else { format!(": {}", self.why.join("; ")) };
        let _infallible = writeln!(text, "{}{why}", self.verdict.as_str());
        text
    }
}

fn plain(rows: Vec<[String; 2]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.add_rows(rows);
    format!("{table}\n")
}
