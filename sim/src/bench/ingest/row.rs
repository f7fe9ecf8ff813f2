//! The figures of an ingest bench and how people see them.

use super::super::load::Span;
use super::super::output::table;
use super::super::series::{Sample, took_ms};
use super::super::verify::Verified;
use super::Killed;
use crate::stats::Spread;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One measurement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    /// Who did what.
    pub what: String,
    /// Drivers.
    pub drivers: usize,
    /// Pings in a frame, batch or request.
    pub batch: usize,
    /// Pings applied a second; stale, refused and lost ones don't count.
    pub per_s: f64,
    /// How long the answer to a frame took: the median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// CPU of this process per applied ping, in microseconds.
    pub cpu_us_client: f64,
    /// CPU of the servers.
    pub cpu_us_server: f64,
    /// Both.
    pub cpu_us: f64,
    /// Pings applied per CPU second of the servers.
    pub per_server_cpu_s: f64,
    /// Memory that the servers held when the measurement began, in MiB.
    pub rss_mib_start: f64,
    /// When it ended.
    pub rss_mib_end: f64,
    /// Pings that were not newer than what was known.
    pub stale: u64,
    /// Pings that were not taken.
    pub refused: u64,
    /// Pings whose owner did not answer.
    pub lost: u64,
    /// Of a hundred pings, how many found the driver in another cell of resolution 8.
    pub changes_pct: f64,
    /// Which part of the pings each node's cells applied, in percent.
    pub node_shares_pct: Vec<f64>,
    /// Whether every driver was found where his last ping said, if that was asked.
    pub verified: Option<Verified>,
}

/// How ours compares with another's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ratio {
    /// What.
    pub what: String,
    /// Ours divided by the other's.
    pub times: f64,
}

impl Ratio {
    pub(super) fn of(what: String, ours: f64, theirs: f64) -> Self {
        Self { what, times: if theirs > 0.0 { ours / theirs } else { 0.0 } }
    }
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Where the cars drove.
    pub city: String,
    /// Nodes.
    pub nodes: u8,
    /// Connections.
    pub connections: u16,
    /// Frames unanswered on each.
    pub window: u16,
    /// Drivers that were registered and put on duty before.
    pub registered: usize,
    /// How long that took, in seconds.
    pub registering_s: f64,
    /// What was measured.
    pub rows: Vec<Row>,
    /// How the rows compare.
    pub ratios: Vec<Ratio>,
    /// What came of killing a node, if that was asked.
    pub killed: Option<Killed>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
}

/// What a row cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs(Span);

impl Costs {
    pub(super) const fn of(span: Span) -> Self {
        Self(span)
    }
}

const MIB: f64 = 1_048_576.0;

impl Row {
    /// The figures that every row has.
    pub(super) fn of(
        what: String,
        batch: usize,
        drivers: usize,
        samples: &[Sample],
        Costs(span): Costs,
    ) -> Self {
        let applied: u64 = samples.iter().map(|sample| u64::from(sample.count)).sum();
        let each = |cpu_us: u64| cpu_us as f64 / applied.max(1) as f64;
        let Spread { p50, p99, .. } = took_ms(samples);
        let (client, server) = (each(span.client_cpu_us), each(span.server_cpu_us));
        Self {
            what,
            drivers,
            batch,
            per_s: applied as f64 * 1e6 / span.lasted_us.max(1) as f64,
            p50_ms: p50,
            p99_ms: p99,
            cpu_us_client: client,
            cpu_us_server: server,
            cpu_us: client + server,
            per_server_cpu_s: applied as f64 * 1e6 / span.server_cpu_us.max(1) as f64,
            rss_mib_start: span.rss_start as f64 / MIB,
            rss_mib_end: span.rss_end as f64 / MIB,
            ..Self::default()
        }
    }

    fn line(&self) -> [String; 10] {
        [
            self.what.clone(),
            format!("{:.0}", self.per_s),
            format!("{:.2}", self.p50_ms),
            format!("{:.2}", self.p99_ms),
            format!("{:.2}", self.cpu_us_client),
            format!("{:.2}", self.cpu_us_server),
            format!("{:.2}", self.cpu_us),
            format!("{:.0}", self.per_server_cpu_s),
            format!("{:.0} -> {:.0}", self.rss_mib_start, self.rss_mib_end),
            format!("{}, {}, {}", self.stale, self.refused, self.lost),
        ]
    }
}

/// Parts in percent of their sum.
pub(super) fn shares(parts: &[f64]) -> Vec<f64> {
    let sum: f64 = parts.iter().sum();
    parts.iter().map(|part| if sum > 0.0 { 100.0 * part / sum } else { 0.0 }).collect()
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let header = [
            "",
            "applied/s",
            "p50 ms",
            "p99 ms",
            "CPU us client",
            "server",
            "sum",
            "per server CPU s",
            "server MiB",
            "stale, refused, lost",
        ];
        let Self { city, nodes, connections, window, registered, registering_s, .. } = self;
        // Writing to a string cannot fail.
        let mut text = format!(
            "{city}; {nodes} node(s), {connections} connections, {window} frames unanswered; \
             {registered} drivers registered and on duty in {registering_s:.1} s\n{}\n",
            table(header, self.rows.iter().map(Row::line))
        );
        for row in self.rows.iter().filter(|row| row.changes_pct > 0.0) {
            let shares: Vec<String> =
                row.node_shares_pct.iter().map(|share| format!("{share:.1}")).collect();
            let _infallible = write!(
                text,
                "{}: {:.1} % of the pings change their r8 cell; applied by node, %: {}",
                row.what,
                row.changes_pct,
                shares.join(" ")
            );
            if let Some(Verified { drivers, misplaced }) = row.verified {
                let _infallible =
                    write!(text, "; {drivers} drivers searched for, {misplaced} misplaced");
            }
            text.push('\n');
        }
        for Ratio { what, times } in &self.ratios {
            let _infallible = writeln!(text, "{times:.2} x {what}");
        }
        if let Some(killed) = &self.killed {
            let _infallible = writeln!(text, "{}", killed.line());
        }
        self.notes.iter().for_each(|note| {
            let _infallible = writeln!(text, "{note}");
        });
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_what_was_applied() {
        let span = Span {
            lasted_us: 2_000_000,
            client_cpu_us: 200,
            server_cpu_us: 400,
            rss_start: 1 << 20,
            rss_end: 3 << 20,
        };
        let sample = |took_us, count| Sample { at_ms: 0, took_us, count };
        let samples = [sample(1_000, 60), sample(3_000, 40)];
        let row = Row::of("x".into(), 64, 5, &samples, Costs::of(span));
        assert_eq!((row.per_s, row.p50_ms, row.p99_ms), (50.0, 1.0, 3.0));
        assert_eq!((row.cpu_us_client, row.cpu_us_server, row.cpu_us), (2.0, 4.0, 6.0));
        assert_eq!((row.per_server_cpu_s, row.rss_mib_end), (250_000.0, 3.0));
        assert_eq!(shares(&[1.0, 3.0]), [25.0, 75.0]);
        assert_eq!(shares(&[0.0]), [0.0]);
    }

    #[test]
    fn people_see_every_row_ratio_and_note() {
        let verified = Some(Verified { drivers: 9, misplaced: 1 });
        let row = Row { what: "a row".into(), changes_pct: 5.0, verified, ..Row::default() };
        let report = Report {
            city: "a city".into(),
            nodes: 1,
            connections: 8,
            window: 32,
            registered: 9,
            registering_s: 0.5,
            rows: vec![row],
            ratios: vec![Ratio::of("something".into(), 9.0, 2.0)],
            killed: None,
            notes: vec!["a note".into()],
        };
        let text = report.table();
        for part in ["a city", "a row", "9 drivers searched for, 1 misplaced", "4.50 x", "a note"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(Ratio::of(String::new(), 1.0, 0.0).times, 0.0);
    }
}
