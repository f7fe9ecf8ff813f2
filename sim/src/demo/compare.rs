//! `--policies`: the same city once for each policy, on live nodes, and one table at the end.
//!
//! The nodes' durations are the policy's, divided by the speed of the city; what is no policy is not
//! scaled (a claim's reservation, how old a position may be, when a booking that found nobody
//! searches again, round trips and disks). At speed 30 a decision of 100 ms costs the rider 3 s.

use super::output::print_both;
use super::{DemoError, Settings};
use crate::policy::Policy;
use crate::progress::say;
use crate::report::{Report, Service};
use crate::stats::Spread;
use comfy_table::{CellAlignment, Table, presets};
use proto::units::Clock;
use serde::Serialize;
use std::sync::Arc;

/// One policy's run.
#[derive(Debug, Serialize)]
struct Compared {
    policy: &'static str,
    report: Report,
}

/// Runs all policies, one after the other. True if the judge found nothing in any of them.
pub(super) async fn run(settings: Settings, clock: &Arc<dyn Clock>) -> Result<bool, DemoError> {
    let mut all: Vec<Compared> = Vec::new();
    let policies = settings.policies.clone();
    for (number, policy) in (1..).zip(&policies) {
        say(&format!("policy {number} of {}: {}", policies.len(), policy.as_str()));
        all.push(one(&settings, *policy, clock).await?);
    }
    print_both(&table(&all), &all, settings.json.as_deref())?;
    Ok(all.iter().all(|it| it.report.green))
}

async fn one(
    settings: &Settings,
    policy: Policy,
    clock: &Arc<dyn Clock>,
) -> Result<Compared, DemoError> {
    let report = settings.clone().run_once(Some(policy), clock).await?;
    if !report.green {
        say(&report.table());
    }
    Ok(Compared { policy: policy.as_str(), report })
}

/// The policies side by side, and what others reached with a fleet like this.
fn table(all: &[Compared]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "policy",
        "served, %",
        "wait, s",
        "median",
        "p95",
        "penalised, s",
        "decision, ms",
        "p95",
        "to next, ms",
        "p95",
        "judge",
    ]);
    for Compared { policy, report } in all {
        let Service { served_share, wait_s, penalised_s, decisions, .. } = &report.service;
        let verdict = if report.green { "green" } else { "RED" };
        let both = |spread: Spread| match spread.n {
            0 => ["-".to_owned(), "-".to_owned()],
            _ => [spread.p50, spread.p95].map(|ms| format!("{ms:.0}")),
        };
        let cells = [served_share * 100.0, wait_s.mean, wait_s.p50, wait_s.p95, *penalised_s];
        let mut row = vec![(*policy).to_owned()];
        row.extend(cells.map(|figure| format!("{figure:.1}")));
        row.extend(both(decisions.both_there));
        row.extend(both(decisions.next_offer));
        row.push(verdict.to_owned());
        table.add_row(row);
    }
    let fleet = all.first().map_or(0, |first| first.report.run.fleet);
    let others = all.first().map_or(&[][..], |first| &first.report.references);
    for other in others.iter().filter(|other| other.fleet as usize == fleet) {
        let name = format!("published: {}, {} cars", other.policy, other.fleet);
        let figures = [other.served_share * 100.0, other.wait_mean_s].map(|it| format!("{it:.1}"));
        let p95 = format!("{:.1}", other.wait_p95_s);
        let [served, mean] = figures;
        table.add_row([name, served, mean, String::new(), p95]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut order: Vec<&Compared> = all.iter().collect();
    order.sort_by(|a, b| a.report.service.penalised_s.total_cmp(&b.report.service.penalised_s));
    let order: Vec<&str> = order.into_iter().map(|it| it.policy).collect();
    format!(
        "{table}\nWaits are city seconds from the rider's POST to the car at the pickup; penalised counts the\n\
         unserved with all their patience. A decision is real time, from when the rider had asked and\n\
         that driver's last trip had ended until the offer is in the driver's hand.\n\
         By penalised wait, best first: {}\n",
        order.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_compared_is_still_a_table() {
        assert!(table(&[]).contains("penalised"));
    }
}
