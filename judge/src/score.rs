//! What a run came to, in figures.

use crate::bound::LATE_TWICE;
use crate::street::{DWELL_MS, Street};
use serde::Serialize;

/// One run's figures. A rider who was not served counts as having waited all his patience in the
/// penalised wait, so that a policy can't win by dropping the hard ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Score {
    /// Riders picked up.
    pub served: f64,
    /// The same as a share of all, 0 to 1.
    pub share: f64,
    /// Request to pickup of those served, in seconds.
    pub wait_mean_s: f64,
    /// Its median.
    pub wait_p50_s: f64,
    /// Its 95th percentile.
    pub wait_p95_s: f64,
    /// Mean wait over all riders, the unserved at their patience, in seconds.
    pub penalised_s: f64,
    /// Driven without a rider, in kilometres for each rider served.
    pub deadhead_km: f64,
    /// The same as a share of all kilometres.
    pub deadhead_share: f64,
    /// Share of the cars' time without anything to do.
    pub idle_share: f64,
    /// Gini coefficient of the time with riders aboard, over cars that were all online all the time.
    pub gini: f64,
    /// Cars sent instead of another, for each rider served.
    pub swaps: f64,
    /// Computing one decision, median, in microseconds.
    pub decision_p50_us: f64,
    /// Its 95th percentile.
    pub decision_p95_us: f64,
    /// Driving in all, in minutes.
    pub driving_min: f64,
    /// How much later than `soft_wait` riders were picked up, in minutes, summed; 0 without one.
    pub late_min: f64,
    /// What the published runs count, in minutes: driving, and each late pickup twice, since the rider
    /// gets out late as well.
    pub cost_min: f64,
}

impl Score {
    /// The figures of a street where everything is over. `decisions_us` is sorted here.
    pub fn of(
        street: &Street<'_>,
        patience_ms: u64,
        soft_ms: Option<u64>,
        mut decisions_us: Vec<u64>,
    ) -> Self {
        let served = || street.riders.iter().zip(street.requests).filter(|(rider, _)| rider.served);
        let mut waits: Vec<u64> =
            served().map(|(rider, request)| rider.pickup_ms - request.at_ms).collect();
        waits.sort_unstable();
        decisions_us.sort_unstable();
        let (n, all) = (waits.len() as f64, street.requests.len().max(1) as f64);
        let sum_s = waits.iter().sum::<u64>() as f64 / 1_000.0;
        let s = |ms: u64| ms as f64 / 1_000.0;
        let over_ms = served().map(|(rider, _)| rider.pickup_ms).max().unwrap_or(1);
        let busy_ms: u64 = street.cars.iter().map(|car| car.earning_ms + car.fetching_ms).sum();
        let busy_ms = busy_ms + 2 * DWELL_MS * waits.len() as u64;
        let late_ms: u64 = soft_ms
            .map_or(0, |soft_ms| waits.iter().map(|wait_ms| wait_ms.saturating_sub(soft_ms)).sum());
        let driving_ms: u64 = street.cars.iter().map(|car| car.earning_ms + car.fetching_ms).sum();
        let swaps: u64 = street.riders.iter().map(|rider| u64::from(rider.swaps)).sum();
        let online_ms = over_ms as f64 * street.cars.len().max(1) as f64;
        Self {
            served: n,
            share: n / all,
            wait_mean_s: sum_s / n.max(1.0),
            wait_p50_s: s(percentile(&waits, 50)),
            wait_p95_s: s(percentile(&waits, 95)),
            penalised_s: (sum_s + (all - n) * s(patience_ms)) / all,
            deadhead_km: street.deadhead_m as f64 / 1_000.0 / n.max(1.0),
            deadhead_share: street.deadhead_m as f64 / street.driven_m.max(1) as f64,
            idle_share: (1.0 - busy_ms as f64 / online_ms).max(0.0),
            gini: gini(street.cars.iter().map(|car| car.earning_ms).collect()),
            swaps: swaps as f64 / n.max(1.0),
            decision_p50_us: percentile(&decisions_us, 50) as f64,
            decision_p95_us: percentile(&decisions_us, 95) as f64,
            driving_min: driving_ms as f64 / 60_000.0,
            late_min: late_ms as f64 / 60_000.0,
            cost_min: (driving_ms + LATE_TWICE * late_ms) as f64 / 60_000.0,
        }
    }

    /// The mean of runs, figure by figure.
    pub fn mean(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            runs.iter().map(figure).sum::<f64>() / runs.len().max(1) as f64
        };
        Self {
            served: of(|it| it.served),
            share: of(|it| it.share),
            wait_mean_s: of(|it| it.wait_mean_s),
            wait_p50_s: of(|it| it.wait_p50_s),
            wait_p95_s: of(|it| it.wait_p95_s),
            penalised_s: of(|it| it.penalised_s),
            deadhead_km: of(|it| it.deadhead_km),
            deadhead_share: of(|it| it.deadhead_share),
            idle_share: of(|it| it.idle_share),
            gini: of(|it| it.gini),
            swaps: of(|it| it.swaps),
            decision_p50_us: of(|it| it.decision_p50_us),
            decision_p95_us: of(|it| it.decision_p95_us),
            driving_min: of(|it| it.driving_min),
            late_min: of(|it| it.late_min),
            cost_min: of(|it| it.cost_min),
        }
    }
}

/// The value that so many in a hundred do not exceed, by nearest rank; 0 of nothing.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

/// The Gini coefficient: 0 if all have the same, near 1 if one has all.
fn gini(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    let (n, sum) = (values.len() as f64, values.iter().sum::<u64>() as f64);
    let ranked: f64 = (1..).zip(&values).map(|(rank, value)| f64::from(rank) * *value as f64).sum();
    if sum == 0.0 { 0.0 } else { (2.0 * ranked / sum - n - 1.0) / n }
}

/// A mean of paired differences with the half width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The mean.
    pub mean: f64,
    /// It lies within this of the truth, 95 times in a hundred; nothing for fewer than two pairs.
    pub half: Option<f64>,
}

impl Difference {
    /// Of pairs `(this, that)`: this less that.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let off: Vec<f64> = pairs.into_iter().map(|(this, that)| this - that).collect();
        let n = off.len() as f64;
        let mean = off.iter().sum::<f64>() / n.max(1.0);
        if off.len() < 2 {
            return Self { mean, half: None };
        }
        let variance = off.iter().map(|off| (off - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { mean, half: Some(t95(off.len() - 1) * (variance / n).sqrt()) }
    }
}

/// The 97.5 % quantile of Student's t with so many degrees of freedom, from the table in NIST's
/// e-Handbook of Statistical Methods, 1.3.6.7.2; between its entries that of fewer degrees, which is
/// wider.
fn t95(degrees: usize) -> f64 {
    const FIRST: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    match degrees {
        0 => f64::INFINITY,
        1..=30 => FIRST[degrees - 1],
        31..=39 => 2.042,
        40..=59 => 2.021,
        60..=99 => 2.000,
        100.. => 1.984,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_known_pairs_is_the_textbooks() {
        let difference = Difference::of([(3.0, 1.0), (5.0, 1.0), (7.0, 1.0)]);
        // Differences 2, 4, 6: sd 2, t(2) = 4.303, so 4.303 * 2 / sqrt(3).
        assert!((difference.mean - 4.0).abs() < 1e-12);
        assert!((difference.half.unwrap() - 4.9687).abs() < 1e-3);
        assert_eq!(Difference::of([(1.0, 0.0)]).half, None);
    }

    #[test]
    fn gini_is_nought_among_equals_and_high_where_one_has_all() {
        assert!(gini(vec![5; 10]).abs() < 1e-12);
        assert!((gini(vec![0, 0, 0, 8]) - 0.75).abs() < 1e-12);
        assert_eq!(gini(vec![]), 0.0);
    }
}
