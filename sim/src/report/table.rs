//! The table at the end: one, readable in a log, every row a figure with its unit.

use super::{Nodes, Report, Run, Service, Traffic};
use crate::checker::Violation;
use crate::stats::Spread;
use comfy_table::{ContentArrangement, Table, presets};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Violations of each law that are written out; the rest is a number. The JSON has all.
const SHOWN_PER_LAW: usize = 6;
/// Wide enough for every row; a log has no width to ask for.
const WIDTH: u16 = 110;

impl Report {
    /// The report for people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH);
        for [name, value] in self.rows() {
            table.add_row([name, value]);
        }
        let mut text = table.to_string();
        text.push('\n');
        let mut shown = 0;
        for (law, violations) in self.by_law() {
            for violation in violations.iter().take(SHOWN_PER_LAW) {
                // Writing to a string cannot fail.
                let _infallible = writeln!(text, "VIOLATION {law}: {violation}");
                shown += 1;
            }
        }
        if self.violations.len() > shown {
            let more = self.violations.len() - shown;
            let _infallible = writeln!(text, "... and {more} more; --json has all");
        }
        text
    }

    fn by_law(&self) -> BTreeMap<&'static str, Vec<&Violation>> {
        let mut by_law: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
        for violation in &self.violations {
            by_law.entry(violation.law()).or_default().push(violation);
        }
        by_law
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
        self.run_rows(&mut row);
        self.service.rows(&mut row);
        self.nodes.rows(&mut row);
        self.traffic.rows(&mut row);
        for reference in &self.references {
            row(
                &format!("reference: {}, {} cars", reference.policy, reference.fleet),
                format!(
                    "{:.1} % served; wait mean {:.1} s, p95 {:.1} s",
                    reference.served_share * 100.0,
                    reference.wait_mean_s,
                    reference.wait_p95_s
                ),
            );
        }
        row("verdict", self.verdict());
        rows
    }

    fn run_rows(&self, row: &mut impl FnMut(&str, String)) {
        let Run {
            city,
            seed,
            speed,
            nodes,
            fleet,
            requests,
            ping_period_ms,
            assumption,
            split_cells,
            planted,
        } = &self.run;
        row("city", format!("{city}: {requests} requests, {fleet} cars, seed {seed}"));
        let wall_s = self.ended.wall_ms as f64 / 1000.0;
        let ping_s = *ping_period_ms as f64 / 1000.0;
        row(
            "run",
            format!(
                "{nodes} nodes, {wall_s:.1} s at speed {speed}, a ping every {ping_s:.2} s, {} cells split",
                split_cells.len()
            ),
        );
        row(
            "nodes' estimate of driving",
            format!(
                "{:.2} m/s, detour {:.2}",
                f64::from(assumption.speed_cms) / 100.0,
                f64::from(assumption.detour_pct) / 100.0
            ),
        );
        let open_s = self.ended.open_ms.max(1) as f64 / 1000.0;
        row(
            "load while bookings were taken",
            format!(
                "{:.0} requests/s and {:.0} pings/s over {open_s:.0} s",
                self.ended.operations as f64 / open_s,
                self.ended.pings as f64 / open_s
            ),
        );
        self.harm.rows(row);
        if let Some(fault) = planted {
            row("planted fault", fault.clone());
        }
    }

    fn verdict(&self) -> String {
        if self.green {
            return "GREEN: nothing acked is missing, no driver had two trips, no booking two drivers, all ended".into();
        }
        let mut why = Vec::new();
        if !self.violations.is_empty() {
            let laws = self.by_law();
            let laws = laws.iter().map(|(law, violations)| format!("{law} {}", violations.len()));
            let laws = laws.collect::<Vec<_>>().join(", ");
            why.push(format!("{} violations ({laws})", self.violations.len()));
        }
        if self.ended.stuck_riders > 0 {
            why.push(format!(
                "{} riders still waited when the run was stopped",
                self.ended.stuck_riders
            ));
        }
        why.extend(self.void.clone());
        why.extend(self.harm.wrongs());
        format!("RED: {}", why.join("; "))
    }
}

impl Service {
    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let states: Vec<String> =
            self.by_state.iter().map(|(state, n)| format!("{state} {n}")).collect();
        row("bookings by final state", states.join(", "));
        row(
            "served",
            format!(
                "{:.2} % of requests; car there within the riders' patience {:.2} %",
                self.served_share * 100.0,
                self.in_time_share * 100.0
            ),
        );
        let Spread { n: _, mean: _, p50, p95, p99, max } = self.decision_ms;
        row(
            "decision, POST to first offer in hand",
            format!(
                "p50 {p50:.0} ms, p95 {p95:.0} ms, p99 {p99:.0} ms, max {max:.0} ms; {} never offered, as 60 s each",
                self.never_offered
            ),
        );
        self.decisions.rows(row);
        let Spread { n, mean, p50, p95, .. } = self.wait_s;
        row(
            "wait, POST to car at pickup",
            format!(
                "mean {mean:.1} s, median {p50:.1} s, p95 {p95:.1} s of city time; {n} cars came; {:.1} s with the unserved at all their patience",
                self.penalised_s
            ),
        );
    }
}

impl Nodes {
    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let count = |n: Option<f64>| n.map_or("not counted".into(), |n| format!("{n:.0}"));
        let share = self.refused_per_assignment();
        let share = share.map_or("not counted".into(), |share| format!("{share:.3}"));
        row(
            "refused Holds per assignment",
            format!("{share} ({} of {})", count(self.holds_refused), count(self.assignments)),
        );
        row(
            "claims lost, busy; searches cut short",
            format!(
                "{}, {}; {}",
                count(self.claims_lost),
                count(self.claims_busy),
                count(self.searches_partial)
            ),
        );
        row("forwards between nodes", count(self.forwards));
    }
}

impl Traffic {
    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let hops = |[none, one, two, more]: [u64; 4]| {
            let beyond = if more > 0 { format!(", MORE {more}") } else { String::new() };
            format!("none {none}, one {one}, two {two}{beyond}")
        };
        row("requests by forwards, ring at rest", hops(self.hops_stable));
        row("requests by forwards, ring changing", hops(self.hops_changing));
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, n)| format!("{outcome}: {n}")).collect();
        row("tries by outcome", outcomes.join(", "));
        let list = |shares: &[f64]| {
            let shares: Vec<String> =
                (1..).zip(shares).map(|(n, share)| format!("n{n} {share:.1}")).collect();
            shares.join(", ")
        };
        row("requests taken by node, %", list(&self.taken_pct));
        let served: Vec<String> =
            self.served_pct.iter().map(|(node, share)| format!("{node} {share:.1}")).collect();
        row("requests served by owner, %", served.join(", "));
        row("pings taken by node, %", list(&self.pings_pct));
        row("pings sent; sockets reopened", format!("{}; {}", self.pings, self.sockets_lost));
        row("latest a rider asked, behind plan", format!("{} ms", self.late_ms));
    }
}
