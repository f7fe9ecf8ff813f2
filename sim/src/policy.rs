//! The policy that the city asks of its nodes, as their flags: the product's usual durations,
//! shortened by the city's speed. Protocol timers are no policy and are not touched; neither is
//! the claim's reservation, which has to outlast a round trip between nodes.

use crate::drives::Assumption;
use crate::whole::whole32;
use crate::workload::Habits;
use h3o::CellIndex;
use std::collections::BTreeMap;

/// How long a driver has to answer, in city milliseconds.
const OFFER_TTL_MS: u64 = 15_000;
/// How long his phone shows the offer.
const OFFER_SHOWN_MS: u64 = 10_000;
/// How long one search radius is tried.
const ATTEMPT_MS: u64 = 20_000;
/// How long claims on a contended driver are collected.
const CLAIM_WINDOW_MS: u64 = 300;
/// The longest drive to a pickup.
const PICKUP_CAP_MS: u64 = 300_000;
/// Whoever has so little left to drive with his rider is counted on ...
const SOON_MS: u64 = 5_000;
/// ... who takes so long to get out.
const SOON_MARGIN_MS: u64 = 30_000;
/// What speaks for a booking that nobody free could reach in time.
const STRANDED_MS: u64 = 300_000;

/// A policy of dispatch, as far as flags of a node can say it. Durations are city time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// The nearest idle car at once or never: nobody's claim waits for another one's, neither waiting
    /// nor the ride nor a last chance counts, no busy car is counted on, and a booking that found nobody ends.
    Nearest,
    /// What ships, without a claim window: a driver goes to who asks first.
    FirstCome,
    /// What ships, with nodes that know no roads.
    Straight,
    /// What ships.
    Ours,
}

/// How long a booking looks for a driver under [`Policy::Nearest`]: as long as one has to answer.
const AT_ONCE_MS: u64 = OFFER_TTL_MS;
/// How far it looks: as far as what ships looks at last, which is farther than a car comes within anybody's patience.
const AT_ONCE_RADII_M: &str = "8000,8000,8000";

impl Policy {
    /// Its name on the command line and in tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::FirstCome => "first-come",
            Self::Straight => "straight",
            Self::Ours => "ours",
        }
    }

    /// Whether its nodes know the roads.
    pub(crate) const fn knows_roads(self) -> bool {
        match self {
            Self::Straight => false,
            Self::Nearest | Self::FirstCome | Self::Ours => true,
        }
    }

    /// The flags for `hansom node`. No policy sends anybody who would come after the riders' patience: that
    /// is what they are judged by.
    pub(crate) fn flags(
        self,
        habits: &Habits,
        roads: Assumption,
        split: &[CellIndex],
    ) -> Vec<String> {
        let scaled = |city_ms: u64| whole32(city_ms as f64 / habits.speed).max(1).to_string();
        let mut pairs = usual(habits, roads);
        pairs.insert("--pickup-cap-ms", scaled(habits.patience_ms));
        pairs.insert("--pickup-within-ms", scaled(habits.patience_ms));
        match self {
            Self::Ours | Self::Straight => {}
            Self::FirstCome => {
                pairs.insert("--claim-window-ms", "0".into());
            }
            Self::Nearest => {
                pairs.insert("--claim-window-ms", "0".into());
                pairs.insert("--age-weight-pct", "0".into());
                pairs.insert("--ride-weight-pct", "0".into());
                pairs.insert("--last-chance-pct", "0".into());
                pairs.insert("--stranded-ms", "0".into());
                pairs.insert("--crowded-from", "0".into());
                pairs.insert("--soon-ms", "0".into());
                pairs.insert("--search-radii-m", AT_ONCE_RADII_M.into());
                pairs.insert("--booking-ttl-ms", scaled(AT_ONCE_MS));
            }
        }
        line(pairs, split)
    }
}

type Pairs = BTreeMap<&'static str, String>;

/// The flags for `hansom node` where no policies are compared.
pub(crate) fn flags(habits: &Habits, roads: Assumption, split: &[CellIndex]) -> Vec<String> {
    line(usual(habits, roads), split)
}

fn usual(habits: &Habits, roads: Assumption) -> Pairs {
    let scaled = |city_ms: u64| whole32(city_ms as f64 / habits.speed).max(1).to_string();
    Pairs::from([
        ("--offer-ttl-ms", scaled(OFFER_TTL_MS)),
        ("--offer-shown-ms", scaled(OFFER_SHOWN_MS)),
        // The rider's patience is the booking's: it looks for a driver as long as he waits.
        ("--booking-ttl-ms", scaled(habits.patience_ms)),
        ("--attempt-ms", scaled(ATTEMPT_MS)),
        ("--claim-window-ms", scaled(CLAIM_WINDOW_MS)),
        ("--pickup-cap-ms", scaled(PICKUP_CAP_MS)),
        ("--soon-ms", scaled(SOON_MS)),
        ("--soon-margin-ms", scaled(SOON_MARGIN_MS)),
        ("--stranded-ms", scaled(STRANDED_MS)),
        // The nodes estimate in wall time, where the cars are as much faster.
        ("--speed-cms", whole32(f64::from(roads.speed_cms) * habits.speed).max(1).to_string()),
        ("--detour-pct", roads.detour_pct.max(100).to_string()),
    ])
}

fn line(pairs: Pairs, split: &[CellIndex]) -> Vec<String> {
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
            "--attempt-ms 667 --booking-ttl-ms 10000 --claim-window-ms 10 --detour-pct 140 \
             --offer-shown-ms 333 --offer-ttl-ms 500 --pickup-cap-ms 10000 --soon-margin-ms 1000 \
             --soon-ms 167 --speed-cms 13500 --stranded-ms 10000"
        );
    }

    #[test]
    fn nobody_is_sent_after_the_patience_and_the_nearest_is_sent_at_once() {
        let roads = Assumption { speed_cms: 450, detour_pct: 150 };
        let text = |policy: Policy| policy.flags(&Habits::usual(30.0), roads, &[]).join(" ");
        for policy in [Policy::Nearest, Policy::FirstCome, Policy::Straight, Policy::Ours] {
            assert!(text(policy).contains("--pickup-within-ms 10000"), "{policy:?}");
        }
        let nearest = text(Policy::Nearest);
        for flag in
            ["--booking-ttl-ms 500", "--claim-window-ms 0", "--search-radii-m 8000,8000,8000"]
        {
            assert!(nearest.contains(flag), "{flag}");
        }
        let ours = text(Policy::Ours);
        assert!(ours.contains("--booking-ttl-ms 10000") && !ours.contains("--search-radii-m"));
    }
}
