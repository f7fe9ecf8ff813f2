//! What a comparison says: tables on stdout, and a page with a plot.

mod plot;

use crate::compare::{Role, Row, Swept, Table};
use crate::contest::FAMILIES;
use crate::score::{Difference, Score};
use comfy_table::presets::ASCII_MARKDOWN;
use roads::demand::Published;
use serde::Serialize;
use std::collections::BTreeMap;
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
    pub references: Vec<Published>,
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
            "vs tuned",
            "vs tuned, serving",
            "empty km a trip",
            "empty %",
            "idle %",
            "Gini",
            "swaps",
            "decision us p50/p95",
        ]);
        for row in &table.rows {
            let Row { policy, mean, share, .. } = row;
            let Score { wait_mean_s, wait_p50_s, wait_p95_s, deadhead_km, swaps, gini, .. } = mean;
            let against = |than: Role| {
                let known = row.penalised.get(&than).zip(table.row(than));
                known.map_or_else(String::new, |(difference, other)| {
                    let pct = difference.mean * 100.0 / other.mean.penalised_s;
                    format!("{} ({pct:+.1} %)", points(difference, 1.0))
                })
            };
            grid.add_row([
                policy.clone(),
                format!("{:.2}", mean.share * 100.0),
                share.as_ref().map_or_else(String::new, |it| points(it, 100.0)),
                format!("{wait_mean_s:.1}"),
                format!("{wait_p50_s:.1}"),
                format!("{wait_p95_s:.1}"),
                format!("{:.1}", mean.penalised_s),
                against(Role::Batch),
                against(Role::Tuned),
                against(Role::Serving),
                format!("{deadhead_km:.3}"),
                format!("{:.2}", mean.deadhead_share * 100.0),
                format!("{:.1}", mean.idle_share * 100.0),
                format!("{gini:.3}"),
                format!("{swaps:.3}"),
                format!("{:.0}/{:.0}", mean.decision_p50_us, mean.decision_p95_us),
            ]);
        }
        let _infallible = writeln!(out, "{grid}\n");
        if let Some(ours) = table.row(Role::Ours) {
            against(table, ours, out);
        }
        for other in self.references.iter().filter(|it| it.fleet as usize == table.cars) {
            let Published { policy, served_share, wait_mean_s, .. } = other;
            let share = served_share * 100.0;
            let _infallible =
                writeln!(out, "* elsewhere, {policy}: {share:.2} % served, wait {wait_mean_s} s");
        }
        if let Some((bound_min, plain)) = table.bound_min.zip(table.row(Role::Plain)) {
            costs(table, bound_min, plain.mean.cost_min, out);
        }
        if !table.swept.is_empty() {
            sweep(table, out);
        }
    }
}

/// Ours against those that it is judged by, in words.
fn against(table: &Table, ours: &Row, out: &mut String) {
    for than in [Role::Batch, Role::Tuned, Role::Serving] {
        let Some((against, other)) = ours.penalised.get(&than).zip(table.row(than)) else {
            continue;
        };
        let verdict = verdict(against, other.mean.penalised_s);
        let less = (ours.mean.share - other.mean.share) * 100.0;
        let name = &other.policy;
        let _infallible = writeln!(
            out,
            "* ours against {name}: penalised wait {verdict}; {less:+.1} points of riders served."
        );
    }
    if let Some(share) = &ours.share {
        let _infallible = writeln!(out, "* ours against batch: {}.", served(share));
    }
}

/// The published runs' cost of each policy, beside what no policy can beat.
fn costs(table: &Table, bound_min: f64, plain: f64, out: &mut String) {
    let mut grid = comfy_table::Table::new();
    grid.load_preset(ASCII_MARKDOWN).set_header([
        "policy",
        "served %",
        "driving min",
        "late min",
        "cost min",
        "vs plain nearest",
    ]);
    for Row { policy, mean, cost, .. } in &table.rows {
        grid.add_row([
            policy.clone(),
            format!("{:.2}", mean.share * 100.0),
            format!("{:.0}", mean.driving_min),
            format!("{:.0}", mean.late_min),
            format!("{:.0}", mean.cost_min),
            cost.as_ref().map_or_else(String::new, |cost| {
                format!("{} ({:+.2} %)", points(cost, 1.0), cost.mean * 100.0 / plain)
            }),
        ]);
    }
    let least = (bound_min / plain - 1.0) * 100.0;
    let _infallible = writeln!(
        out,
        "\nCost: driving, and each late pickup twice. No policy that serves all can come below \
         {bound_min:.0} min, {least:+.2} % of plain nearest.\n\n{grid}\n"
    );
}

/// Every policy with every cap: what an operator chooses from.
fn sweep(table: &Table, out: &mut String) {
    let mut grid = comfy_table::Table::new();
    let header = ["cap"].into_iter().chain(FAMILIES);
    grid.load_preset(ASCII_MARKDOWN).set_header(header);
    let mut caps: Vec<(&str, BTreeMap<&str, String>)> = Vec::new();
    for Swept { family, name, share, penalised_s } in &table.swept {
        let cap = name.rsplit_once("cap ").map_or("none", |(_, cap)| cap);
        let at = caps.iter().position(|(known, _)| *known == cap).unwrap_or_else(|| {
            caps.push((cap, BTreeMap::new()));
            caps.len() - 1
        });
        caps[at].1.insert(family, format!("{:.2} %, {penalised_s:.1} s", share * 100.0));
    }
    for (cap, cells) in &caps {
        let cell = |family| cells.get(family).cloned().unwrap_or_default();
        grid.add_row([(*cap).to_owned()].into_iter().chain(FAMILIES.map(cell)));
    }
    let _infallible = writeln!(
        out,
        "\nEvery policy with every cap, on the seeds for tuning (served, penalised wait):\n\n{grid}"
    );
}

/// A penalised wait against another's: better, worse, or a tie.
fn verdict(difference: &Difference, other: f64) -> String {
    let Difference { mean, half } = *difference;
    let half = half.unwrap_or(f64::INFINITY);
    let pct = mean * 100.0 / other;
    let how = match mean {
        _ if mean + half <= -0.05 * other => "surely 5 % lower or more",
        _ if mean <= -0.05 * other => "5 % lower or more, though the interval does not say so",
        _ if mean + half < 0.0 => "surely lower, by less than 5 %",
        _ if mean - half > 0.0 => "surely higher",
        _ => "a tie",
    };
    format!("{pct:+.1} %: {how}")
}

/// A share served against that of batch.
fn served(share: &Difference) -> &'static str {
    let half = share.half.unwrap_or(f64::INFINITY);
    match share.mean {
        it if it - half > 0.0 => "surely more riders served",
        it if it + half < 0.0 => "surely fewer riders served",
        it if it >= 0.0 => "as many riders served or more, within the interval",
        _ => "fewer riders served, within the interval",
    }
}

fn points(difference: &Difference, times: f64) -> String {
    let mean = difference.mean * times;
    match difference.half {
        Some(half) => format!("{mean:+.2} +- {:.2}", half * times),
        None => format!("{mean:+.2}"),
    }
}
