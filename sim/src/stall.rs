//! How long the machine lets a ready task wait: a task sleeps for a moment and notes how much too
//! late it wakes. Where this is large, every other time of the run is the machine's, not the
//! cluster's.

use crate::stats::Spread;
use proto::units::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long it sleeps.
const NAP_MS: u64 = 5;
/// A run whose 99th percentile is above this says nothing about takeover times.
pub(crate) const STALL_MAX_MS: f64 = 50.0;

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Stall {
    // 200 values a second: a run of an hour holds 6 MB.
    late_ms: Arc<Mutex<Vec<f64>>>,
    _watch: JoinSet<()>,
}

impl Stall {
    pub(crate) fn watch(clock: Arc<dyn Clock>) -> Self {
        let late_ms: Arc<Mutex<Vec<f64>>> = Arc::default();
        let mut watch = JoinSet::new();
        let notes = Arc::clone(&late_ms);
        watch.spawn(async move {
            loop {
                let before = clock.mono();
                tokio::time::sleep(Duration::from_millis(NAP_MS)).await;
                let late = clock.mono().since(before).saturating_sub(NAP_MS);
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(late as f64);
            }
        });
        Self { late_ms, _watch: watch }
    }

    /// The spread of all stalls so far.
    pub(crate) fn so_far(&self) -> Spread {
        Spread::of(self.late_ms.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
