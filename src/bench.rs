//! `hansom bench`: what measures a node's machinery in this process is `node`'s, what measures whole
//! nodes through their doors is `sim`'s, and neither knows the other. Here they meet.

use node::bench::forward;
use serde::{Deserialize, Serialize};
use sim::bench::machine::Usage;
use sim::bench::output::{Measured, Output, table};
use sim::bench::progress::Steps;
use sim::bench::series::{Sample, Series};
use sim::bench::{BenchError, ingest, nearby};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What can be measured.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Bench {
    /// Transitions that three ledgers make durable, at 1, 64 and 1,024 in flight.
    Ledger(node::bench::ledger::LedgerArgs),
    /// Positions that nodes apply, through the door of edge gateways; beside Redis, or a bare handler.
    Ingest {
        /// How.
        #[command(flatten)]
        args: ingest::IngestArgs,
        /// How often, and how it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// Searches for the nearest drivers that nodes answer, alone and while positions go in.
    Nearby {
        /// How.
        #[command(flatten)]
        args: nearby::NearbyArgs,
        /// How often, and how it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// What it costs to have a request served by another node, beside bare tarpc.
    Forward {
        /// For how long each of the twelve measurements of a run lasts.
        #[arg(long, default_value_t = 3, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// How often, and how it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// The bare handler that `ingest --compare axum` drives.
    #[command(hide = true)]
    Bare(node::bench::bare::BareArgs),
}

/// Runs a bench: 0 if there are figures, 1 if not, 2 if what was asked makes no sense.
pub(crate) async fn run(bench: Bench) -> ExitCode {
    let clock = || Arc::new(node::clock::SystemClock::new());
    let shown = match bench {
        Bench::Ledger(args) => return node::bench::ledger::run(args).await,
        Bench::Bare(args) => return node::bench::bare::run(args).await,
        Bench::Ingest { args, output } => sim::bench::ingest(args, output, clock()).await,
        Bench::Nearby { args, output } => sim::bench::nearby(args, output, clock()).await,
        Bench::Forward { seconds, output } => measure_forward(seconds, &output).await,
    };
    shown.map_or_else(|error| complain(&error), |()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the front door's talk")]
fn complain(error: &BenchError) -> ExitCode {
    eprintln!("hansom bench: {error}");
    ExitCode::from(if matches!(error, BenchError::Usage(_)) { 2 } else { 1 })
}

/// A run of the forward bench.
#[derive(Debug, Serialize, Deserialize)]
struct Forwarded {
    rows: Vec<forward::Row>,
}

async fn measure_forward(seconds: u64, output: &Output) -> Result<(), BenchError> {
    let steps = Steps::new(forward::MEASUREMENTS * u64::from(output.runs), "asking another node");
    let mut runs = Vec::new();
    for _ in 0..output.runs {
        let lasts = Duration::from_secs(seconds);
        let measured = forward::measure(lasts, &|| Usage::mine().cpu_us, &|| steps.up()).await;
        let rows = measured.map_err(|error| BenchError::Talk(error.to_string()))?;
        runs.push(Forwarded { rows });
    }
    drop(steps);
    let series = runs.last().map(over_time).unwrap_or_default();
    let measured = Measured { bench: "forward", runs, series };
    measured.show(output, |report: &Forwarded| {
        table(forward::HEADER, report.rows.iter().map(forward::Row::line))
    })
}

fn over_time(run: &Forwarded) -> Vec<Series> {
    let series = |row: &forward::Row, way: &forward::Way, name: &str| {
        let sample = |&(at_ms, took_us): &(u32, u32)| Sample { at_ms, took_us, count: 1 };
        let samples: Vec<Sample> = way.samples.iter().map(sample).collect();
        Series::of(format!("{name}, {} in flight", row.in_flight), &samples)
    };
    let of = |row: &forward::Row| {
        [series(row, &row.forwarded, "forwarded"), series(row, &row.tarpc, "bare tarpc")]
    };
    run.rows.iter().flat_map(of).collect()
}
