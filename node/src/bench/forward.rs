//! `hansom bench forward`: what it costs to have a request served by another node. Two nodes'
//! routers in this process, with everything that stands between them in production: connection pool,
//! handshake, envelope, TCP over loopback. What they serve is nothing: the answer is a constant, so
//! that the way is measured and not the work. Beside it bare tarpc with the same codec and the same
//! bytes, and the same request served at home.

mod load;
mod plain;
mod two;

use crate::clock::SystemClock;
use load::{Load, Measured};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Requests under way in each row.
const IN_FLIGHT: [usize; 4] = [1, 16, 64, 256];
/// Bytes of a request and of its answer: a booking's, near enough.
const REQUEST_BYTES: usize = 150;
const ANSWER_BYTES: usize = 70;
/// So many measurements make a report; see [`measure`].
pub const MEASUREMENTS: u64 = 3 * IN_FLIGHT.len() as u64;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Loopback can't be used.
    #[error("cannot use loopback: {0}")]
    Loopback(#[from] std::io::Error),
    /// The nodes did not reach each other.
    #[error("the two nodes did not come together: {0}")]
    Apart(String),
}

/// One way to ask, at one load.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Way {
    /// Answers a second.
    pub per_s: f64,
    /// The median of how long an answer took, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile, in microseconds.
    pub p99_us: f64,
    /// CPU of this process, which is both nodes and whoever asks, per answer, in microseconds.
    pub cpu_us: f64,
    /// Requests that were refused or lost.
    pub failed: u64,
    /// Each answer: when it came, in milliseconds since the measurement began, and how long it took,
    /// in microseconds.
    #[serde(skip)]
    pub samples: Vec<(u32, u32)>,
}

/// The three ways at one load.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    /// Requests under way.
    pub in_flight: usize,
    /// Served where it was asked.
    pub local: Way,
    /// Served by the other node.
    pub forwarded: Way,
    /// Bare tarpc.
    pub tarpc: Way,
    /// Forwarded requests a second, as a share of bare tarpc's, in percent.
    pub of_tarpc_pct: f64,
    /// How much later the median forwarded answer comes than the local one, in microseconds.
    pub p50_above_local_us: f64,
}

/// Measures every row for so long, three times: local, forwarded, tarpc. `cpu_us` is this process's
/// CPU time so far, in microseconds; `done` is told when one measurement of [`MEASUREMENTS`] is over.
pub async fn measure(
    lasts: Duration,
    cpu_us: &(dyn Fn() -> u64 + Sync),
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Row>, ForwardError> {
    let clock = Arc::new(SystemClock::new());
    let two = two::start(Arc::clone(&clock)).await?;
    let plain = plain::start().await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let load = Load { in_flight, lasts, clock: &clock, cpu_us };
        let router = Arc::clone(&two.router);
        let local = load.run(move || two::ask(Arc::clone(&router), two.at_home)).await;
        done();
        let router = Arc::clone(&two.router);
        let forwarded = load.run(move || two::ask(Arc::clone(&router), two.elsewhere)).await;
        done();
        let client = plain.client.clone();
        let tarpc = load.run(move || plain::ask(client.clone())).await;
        done();
        rows.push(row(in_flight, local, forwarded, tarpc));
    }
    Ok(rows)
}

fn row(in_flight: usize, local: Measured, forwarded: Measured, tarpc: Measured) -> Row {
    let [local, forwarded, tarpc] = [local, forwarded, tarpc].map(Measured::figures);
    Row {
        in_flight,
        of_tarpc_pct: 100.0 * forwarded.per_s / tarpc.per_s.max(f64::MIN_POSITIVE),
        p50_above_local_us: forwarded.p50_us - local.p50_us,
        local,
        forwarded,
        tarpc,
    }
}

/// The columns of a table of rows.
pub const HEADER: [&str; 11] = [
    "in flight",
    "local/s",
    "forwarded/s",
    "tarpc/s",
    "of tarpc %",
    "CPU us forwarded",
    "CPU us tarpc",
    "p50 us local",
    "p50 us forwarded",
    "p99 us forwarded",
    "p50 above local us",
];

impl Row {
    /// Its line under [`HEADER`].
    pub fn line(&self) -> [String; 11] {
        let Self { in_flight, local, forwarded, tarpc, of_tarpc_pct, p50_above_local_us } = self;
        let whole = |value: f64| format!("{value:.0}");
        let tenth = |value: f64| format!("{value:.1}");
        [
            in_flight.to_string(),
            whole(local.per_s),
            whole(forwarded.per_s),
            whole(tarpc.per_s),
            tenth(*of_tarpc_pct),
            tenth(forwarded.cpu_us),
            tenth(tarpc.cpu_us),
            whole(local.p50_us),
            whole(forwarded.p50_us),
            whole(forwarded.p99_us),
            whole(*p50_above_local_us),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_row_has_answers_and_a_share() {
        let rows = measure(Duration::from_millis(30), &|| 0, &|| {}).await.unwrap();
        assert_eq!(rows.len(), IN_FLIGHT.len());
        for Row { local, forwarded, tarpc, of_tarpc_pct, .. } in rows {
            for way in [local, forwarded, tarpc] {
                assert!(way.per_s > 0.0 && way.failed == 0, "{way:?}");
            }
            assert!(of_tarpc_pct > 0.0);
        }
    }
}
