//! The policy that the city asks of its nodes, as their flags: the product's usual durations,
//! shortened by the city's speed. Protocol timers are no policy and are not touched; neither is
//! the claim's reservation, which has to outlast a round trip between nodes.

use crate::roads::Assumption;
use crate::whole::whole32;
use crate::workload::Habits;
use h3o::CellIndex;

/// How long a driver has to answer, in city milliseconds.
const OFFER_TTL_MS: u64 = 15_000;
/// How long his phone shows the offer.
const OFFER_SHOWN_MS: u64 = 10_000;
/// How long one search radius is tried.
const ATTEMPT_MS: u64 = 20_000;
/// How long claims on a contended driver are collected.
const CLAIM_WINDOW_MS: u64 = 150;
/// The longest drive to a pickup.
const PICKUP_CAP_MS: u64 = 300_000;

/// The flags for `hansom node`.
pub(crate) fn flags(habits: &Habits, roads: Assumption, split: &[CellIndex]) -> Vec<String> {
    let scaled = |city_ms: u64| whole32(city_ms as f64 / habits.speed).max(1).to_string();
    let pairs = [
        ("--offer-ttl-ms", scaled(OFFER_TTL_MS)),
        ("--offer-shown-ms", scaled(OFFER_SHOWN_MS)),
        // The rider's patience is the booking's: it looks for a driver as long as he waits.
        ("--booking-ttl-ms", scaled(habits.patience_ms)),
        ("--attempt-ms", scaled(ATTEMPT_MS)),
        ("--claim-window-ms", scaled(CLAIM_WINDOW_MS)),
        ("--pickup-cap-ms", scaled(PICKUP_CAP_MS)),
        // The nodes estimate in wall time, where the cars are as much faster.
        ("--speed-cms", whole32(f64::from(roads.speed_cms) * habits.speed).max(1).to_string()),
        ("--detour-pct", roads.detour_pct.max(100).to_string()),
    ];
    let mut flags: Vec<String> =
        pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    if !split.is_empty() {
        let cells: Vec<String> = split.iter().map(ToString::to_string).collect();
        flags.extend(["--split-cells".to_owned(), cells.join(",")]);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_shrink_and_speeds_grow_with_the_city() {
        let roads = Assumption { speed_cms: 450, detour_pct: 140 };
        let text = flags(&Habits::usual(30.0), roads, &[]).join(" ");
        assert_eq!(
            text,
            "--offer-ttl-ms 500 --offer-shown-ms 333 --booking-ttl-ms 10000 --attempt-ms 667 \
             --claim-window-ms 5 --pickup-cap-ms 10000 --speed-cms 13500 --detour-pct 140"
        );
    }
}
