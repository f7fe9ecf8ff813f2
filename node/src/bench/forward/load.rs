//! So many askers, each with one request under way, for so long.

use super::Way;
use crate::clock::SystemClock;
use proto::units::Clock as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Before anything is counted.
const WARM: Duration = Duration::from_millis(300);
/// How far a measurement has come.
const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// What is measured, and with what.
pub(super) struct Load<'a> {
    pub(super) in_flight: usize,
    pub(super) lasts: Duration,
    pub(super) clock: &'a Arc<SystemClock>,
    pub(super) cpu_us: &'a (dyn Fn() -> u64 + Sync),
}

/// What came of it.
pub(super) struct Measured {
    samples: Vec<(u32, u32)>,
    failed: u64,
    cpu_us: u64,
    lasted_us: u64,
}

impl Load<'_> {
    /// Asks again and again. `ask` says whether there was an answer.
    pub(super) async fn run<F, A>(&self, ask: F) -> Measured
    where
        F: Fn() -> A + Clone + Send + 'static,
        A: Future<Output = bool> + Send,
    {
        let stage = Arc::new(AtomicU8::new(WARMING));
        let began = self.clock.precise_us();
        let mut askers = JoinSet::new();
        for _ in 0..self.in_flight {
            let (ask, stage, clock) = (ask.clone(), Arc::clone(&stage), Arc::clone(self.clock));
            askers.spawn(async move {
                let (mut samples, mut failed) = (Vec::new(), 0u64);
                while stage.load(Ordering::Relaxed) != OVER {
                    let sent = clock.precise_us();
                    let answered = ask().await;
                    let now = clock.precise_us();
                    if stage.load(Ordering::Relaxed) == COUNTING {
                        if answered {
                            samples.push((small((now - began) / 1_000), small(now - sent)));
                        } else {
                            failed += 1;
                        }
                    }
                    // An answer that was there at once must not keep the others from their turn.
                    tokio::task::consume_budget().await;
                }
                (samples, failed)
            });
        }
        tokio::time::sleep(WARM).await;
        let (cpu_before, counted_from) = ((self.cpu_us)(), self.clock.precise_us());
        stage.store(COUNTING, Ordering::Relaxed);
        tokio::time::sleep(self.lasts).await;
        stage.store(OVER, Ordering::Relaxed);
        let lasted_us = self.clock.precise_us() - counted_from;
        let cpu_us = (self.cpu_us)().saturating_sub(cpu_before);
        let (mut samples, mut failed) = (Vec::new(), 0);
        for (one, lost) in askers.join_all().await {
            samples.extend(one);
            failed += lost;
        }
        let from_ms = small((counted_from - began) / 1_000);
        for (at_ms, _) in &mut samples {
            *at_ms = at_ms.saturating_sub(from_ms);
        }
        Measured { samples, failed, cpu_us, lasted_us }
    }
}

impl Measured {
    pub(super) fn figures(self) -> Way {
        let Self { samples, failed, cpu_us, lasted_us } = self;
        let mut took: Vec<u32> = samples.iter().map(|(_, us)| *us).collect();
        took.sort_unstable();
        let rank = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100).max(1) - 1;
            took.get(rank).copied().map_or(0.0, f64::from)
        };
        let answers = samples.len().max(1) as f64;
        Way {
            per_s: samples.len() as f64 * 1e6 / lasted_us.max(1) as f64,
            p50_us: rank(50),
            p99_us: rank(99),
            cpu_us: cpu_us as f64 / answers,
            failed,
            samples,
        }
    }
}

/// Microseconds or milliseconds of a measurement: an hour of the former fits.
fn small(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}
