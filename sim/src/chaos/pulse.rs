//! How the run went second by second, for the picture and for the share of time in which all was
//! well: a reading of the counters once a second.

use crate::tally::Tally;
use proto::units::{Clock, MonoMs};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// What happened since the reading before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// When it was read, in milliseconds of the run.
    pub at_ms: u64,
    /// Requests that got a final answer.
    pub settled: u64,
    /// Tries that had to be repeated: RETRY, or no answer.
    pub repeated: u64,
    /// Requests that eight tries or five seconds did not settle.
    pub late: u64,
    /// Those of them that met a time that is counted apart.
    pub late_apart: u64,
    /// Whether now is such a time.
    pub apart: bool,
    /// Positions sent on sockets.
    pub pings: u64,
}

/// Reads counters.
#[derive(Debug)]
pub(super) struct Pulse {
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
    began: MonoMs,
    // One a second: a day has 86,400 of 56 bytes.
    seconds: Mutex<Vec<Second>>,
}

/// Sums of what [`Second`] has the differences of.
fn sums(tally: &Tally) -> [u64; 5] {
    let repeated = tally.retries.get() + tally.no_answer.get();
    [tally.settled.get(), repeated, tally.late.get(), tally.late_apart.get(), tally.pings.get()]
}

impl Pulse {
    pub(super) fn new(tally: Arc<Tally>, clock: Arc<dyn Clock>, began: MonoMs) -> Self {
        Self { tally, clock, began, seconds: Mutex::default() }
    }

    /// All seconds so far.
    pub(super) fn seconds(&self) -> Vec<Second> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads for ever.
    pub(super) async fn watch(&self) -> Infallible {
        let mut before = sums(&self.tally);
        loop {
            tokio::time::sleep(EVERY).await;
            let now = sums(&self.tally);
            let at_ms = self.clock.mono().since(self.began);
            let apart = self.tally.met_apart(self.tally.era());
            let [settled, repeated, late, late_apart, pings] =
                std::array::from_fn(|n| now[n] - before[n]);
            before = now;
            let second = Second { at_ms, settled, repeated, late, late_apart, apart, pings };
            self.seconds.lock().unwrap_or_else(PoisonError::into_inner).push(second);
        }
    }
}
