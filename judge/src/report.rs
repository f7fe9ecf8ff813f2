//! What a comparison says: tables on stdout, and a page with a plot.

mod plot;

use crate::compare::{Row, Table};
use crate::files::Reference;
use crate::score::{Difference, Score};
use comfy_table::presets::ASCII_MARKDOWN;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which city.
    pub city: String,
    /// Riders.
    pub requests: usize,
    /// Draws of fleet and chance, the same for every policy.
    pub seeds: u64,
    /// How long riders wait, in seconds.
    pub patience_s: u64,
    /// The command that repeats it.
    pub command: String,
    /// One for each fleet and world.
    pub tables: Vec<Table>,
    /// What others reached.
    pub references: Vec<Reference>,
}

impl Report {
    /// Says it on stdout.
    #[expect(clippy::print_stdout, reason = "the command's data")]
    pub fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string_pretty(self).unwrap_or_default());
        } else {
            println!("{}", self.markdown());
        }
    }

    /// Writes page, plot and figures.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("report.svg"), plot::svg(self))?;
        let page = format!("{}\n![waits and shares](report.svg)\n", self.markdown());
        std::fs::write(directory.join("report.md"), page)?;
        let figures = serde_json::to_string_pretty(self).unwrap_or_default();
        std::fs::write(directory.join("report.json"), figures)
    }

    /// The page.
    pub fn markdown(&self) -> String {
        let Self { city, requests, seeds, patience_s, command, .. } = self;
        let mut out = format!(
            "# {city}\n\n{requests} riders, patience {patience_s} s, {seeds} paired seeds.\n\n\
             `{command}`\n"
        );
        for table in &self.tables {
            self.section(table, &mut out);
        }
        out
    }

    fn section(&self, table: &Table, out: &mut String) {
        // Writing to a string can't fail.
        let _infallible = writeln!(out, "\n## {} cars, {}\n", table.cars, table.world);
        let mut grid = comfy_table::Table::new();
        grid.load_preset(ASCII_MARKDOWN).set_header([
            "policy",
            "served %",
            "vs batch, points",
            "wait mean s",
            "median",
            "p95",
            "penalised s",
            "vs batch",
            "vs tuned nearest",
            "empty km a trip",
            "empty %",
            "idle %",
            "Gini",
            "swaps",
            "decision us p50/p95",
            "driving min",
            "late min",
        ]);
        let of = |row: usize| table.rows[row].mean.penalised_s;
        let share_of = |difference: &Difference, row: usize| {
            format!("{} ({:+.1} %)", points(difference, 1.0), difference.mean * 100.0 / of(row))
        };
        for row in &table.rows {
            let Row { policy, mean, against_nearest, against_batch, share, .. } = row;
            let Score { wait_mean_s, wait_p50_s, wait_p95_s, deadhead_km, swaps, gini, .. } = mean;
            grid.add_row([
                policy.clone(),
                format!("{:.2}", mean.share * 100.0),
                points(share, 100.0),
                format!("{wait_mean_s:.1}"),
                format!("{wait_p50_s:.1}"),
                format!("{wait_p95_s:.1}"),
                format!("{:.1}", mean.penalised_s),
                share_of(against_batch, 1),
                share_of(against_nearest, 0),
                format!("{deadhead_km:.3}"),
                format!("{:.2}", mean.deadhead_share * 100.0),
                format!("{:.1}", mean.idle_share * 100.0),
                format!("{gini:.3}"),
                format!("{swaps:.3}"),
                format!("{:.0}/{:.0}", mean.decision_p50_us, mean.decision_p95_us),
                format!("{:.0}", mean.driving_min),
                format!("{:.0}", mean.late_min),
            ]);
        }
        let _infallible = writeln!(out, "{grid}\n");
        if let Some(ours) = table.rows.get(3) {
            let batch = verdict(&ours.against_batch, of(1), "batch");
            let nearest = verdict(&ours.against_nearest, of(0), "tuned nearest");
            let _infallible = writeln!(out, "Ours: {batch}; {nearest}; {}.\n", served(&ours.share));
        }
        for other in self.references.iter().filter(|it| it.fleet == table.cars) {
            let Reference { policy, rate, wait_mean, .. } = other;
            let share = rate * 100.0;
            let _infallible =
                writeln!(out, "* elsewhere, {policy}: {share:.2} % served, wait {wait_mean} s");
        }
        let tuned = table.tuned.iter();
        let tuned = tuned.map(|(name, share, penalised_s)| {
            format!("{name}: {:.2} %, {penalised_s:.1} s", share * 100.0)
        });
        let tuned: Vec<String> = tuned.collect();
        let _infallible = writeln!(
            out,
            "\nTuned on other seeds (served, penalised wait; least penalised is taken, ours only \
             if it serves as many as batch): {}",
            tuned.join("; ")
        );
    }
}

/// A penalised wait against another's: better, worse, or a tie.
fn verdict(difference: &Difference, other: f64, name: &str) -> String {
    let Difference { mean, half } = *difference;
    let half = half.unwrap_or(f64::INFINITY);
    let how = match mean {
        _ if mean + half < -0.05 * other => "surely more than 5 % below that of",
        _ if mean + half < 0.0 => "surely below that of",
        _ if mean - half > 0.0 => "surely above that of",
        _ => "a tie with that of",
    };
    format!("penalised wait {how} {name}")
}

/// A share served against that of batch.
fn served(share: &Difference) -> &'static str {
    let half = share.half.unwrap_or(f64::INFINITY);
    match share.mean {
        it if it - half > 0.0 => "surely more riders served than by batch",
        it if it + half < 0.0 => "surely fewer riders served than by batch",
        _ => "as many riders served as by batch, as far as the interval says",
    }
}

fn points(difference: &Difference, times: f64) -> String {
    let mean = difference.mean * times;
    match difference.half {
        Some(half) => format!("{mean:+.2} +- {:.2}", half * times),
        None => format!("{mean:+.2}"),
    }
}
