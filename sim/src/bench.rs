//! `hansom bench ingest` and `nearby`: real node processes, asked through their doors as fast as they
//! answer; and what every bench shares: medians of runs, a table, JSON, a picture, the machine.
//!
//! The generators are cheap on purpose, for they share the machine with what they measure: bytes
//! are written by hand (`edge` and `line`), one loop (`converse`) serves every protocol, and cars
//! (`traffic`) only add.
//!
//! * [`mod@ingest`], [`mod@nearby`]: the benches. [`output`]: what they show.
//! * `stage`: nodes, and drivers who are registered. `load`, `converse`: connections under load.
//! * `verify`: is every driver where his last ping said? `redis`, `line`, `helper`: the others.
//! * [`machine`], [`series`], `median`, `plot`, [`progress`]: figures and how they look.

mod converse;
mod edge;
mod helper;
pub mod ingest;
mod line;
mod load;
pub mod machine;
mod median;
pub mod nearby;
pub mod output;
pub(crate) mod plot;
pub mod progress;
mod redis;
pub mod series;
mod stage;
mod traffic;
pub mod verify;

use crate::cluster::ClusterError;
use proto::units::Clock;
use std::sync::Arc;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The flags do not fit together. Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// The machine would not.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The nodes did not run.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A node, or whoever it is compared with, said what it should not.
    #[error("{0}")]
    Talk(String),
    /// A report can't be shown.
    #[error("cannot show the report: {0}")]
    Shape(String),
    /// While nodes ran.
    #[error("{source}\n{tails}")]
    Failed {
        /// Why.
        source: Box<BenchError>,
        /// The end of each log.
        tails: String,
    },
    /// Somebody pressed ctrl-c.
    #[error("interrupted; all nodes were stopped")]
    Interrupted,
}

/// Measures and shows how many positions a second nodes apply.
pub async fn ingest(
    args: ingest::IngestArgs,
    output: output::Output,
    clock: Arc<dyn Clock>,
) -> Result<(), BenchError> {
    let measured = unless_stopped(ingest::run(&args, output.runs, clock)).await?;
    measured.show(&output, ingest::Report::table)
}

/// Measures and shows how many searches a second nodes answer.
pub async fn nearby(
    args: nearby::NearbyArgs,
    output: output::Output,
    clock: Arc<dyn Clock>,
) -> Result<(), BenchError> {
    let measured = unless_stopped(nearby::run(&args, output.runs, clock)).await?;
    measured.show(&output, nearby::Report::table)
}

/// Ends with ctrl-c or a polite kill, and the nodes with it.
async fn unless_stopped<T>(
    bench: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    tokio::select! {
        done = bench => done,
        _stopped = crate::demo::stopped() => Err(BenchError::Interrupted),
    }
}
