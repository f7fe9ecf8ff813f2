//! From single answers to a figure a second.

use crate::stats::Spread;
use serde::Serialize;
use std::collections::BTreeMap;

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it came, in milliseconds since the measurement began.
    pub at_ms: u32,
    /// How long it took, in microseconds.
    pub took_us: u32,
    /// How many things it was the answer for.
    pub count: u32,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Second {
    /// Which, from 0.
    pub second: u32,
    /// Things done in it.
    pub done: u64,
    /// The median of how long an answer took, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
}

/// One measurement over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// What was measured.
    pub label: String,
    /// Every full second of it.
    pub seconds: Vec<Second>,
}

impl Series {
    /// The seconds of these samples. The last one is left out unless it is the only one: it was
    /// hardly ever a full one.
    pub fn of(label: impl Into<String>, samples: &[Sample]) -> Self {
        let mut by_second: BTreeMap<u32, (u64, Vec<f64>)> = BTreeMap::new();
        for Sample { at_ms, took_us, count } in samples {
            let (done, took) = by_second.entry(at_ms / 1_000).or_default();
            *done += u64::from(*count);
            took.push(f64::from(*took_us) / 1_000.0);
        }
        if by_second.len() > 1 {
            by_second.pop_last();
        }
        let seconds = by_second.into_iter().map(|(second, (done, took))| {
            let Spread { p50, p99, .. } = Spread::of(took);
            Second { second, done, p50_ms: p50, p99_ms: p99 }
        });
        Self { label: label.into(), seconds: seconds.collect() }
    }
}

/// The spread of how long answers took, in milliseconds.
pub(crate) fn took_ms(samples: &[Sample]) -> Spread {
    Spread::of(samples.iter().map(|sample| f64::from(sample.took_us) / 1_000.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_own_sum_and_percentiles() {
        let sample = |at_ms, took_us, count| Sample { at_ms, took_us, count };
        let samples = [
            sample(10, 1_000, 64),
            sample(990, 3_000, 64),
            sample(1_500, 7_000, 1),
            sample(2_001, 1, 1),
        ];
        let series = Series::of("x", &samples);
        assert_eq!(series.seconds.len(), 2, "the last second is not full: {series:?}");
        assert_eq!(series.seconds[0], Second { second: 0, done: 128, p50_ms: 1.0, p99_ms: 3.0 });
        assert_eq!(series.seconds[1].done, 1);
        assert_eq!(Series::of("x", &samples[..1]).seconds.len(), 1);
        assert_eq!(Series::of("x", &[]).seconds, []);
        assert_eq!(took_ms(&samples).max, 7.0);
    }
}
