use super::*;
use proptest::prelude::*;
use proto::record::fare::Currency;

fn tariff() -> Tariff {
    Tariff {
        currency: "EUR".parse::<Currency>().unwrap(),
        base_minor: 250,
        per_km_minor: 120,
        per_minute_minor: 30,
        per_paused_minute_minor: 50,
        minimum_minor: 600,
        tax_bp: 700,
        platform_bp: 2_000,
        cancel_free_ms: 120_000,
        cancel_fee_minor: 400,
    }
}

#[test]
fn the_golden_table() {
    // distance mm, moving ms, paused ms, surge bp, tax bp =>
    // distance, time, paused, surge, to the minimum, subtotal, tax, total, platform
    let rows = [
        ((0, 0, 0, 10_000, 700), [0, 0, 0, 0, 350, 600, 42, 642, 120]),
        ((8_500_000, 1_200_000, 0, 10_000, 700), [1_020, 600, 0, 0, 0, 1_870, 131, 2_001, 374]),
        (
            (8_500_000, 1_200_000, 90_000, 10_000, 700),
            [1_020, 600, 75, 0, 0, 1_945, 136, 2_081, 389],
        ),
        ((8_500_000, 1_200_000, 0, 12_000, 700), [1_020, 600, 0, 374, 0, 2_244, 157, 2_401, 449]),
        ((8_500_000, 1_200_000, 0, 12_345, 0), [1_020, 600, 0, 439, 0, 2_309, 0, 2_309, 462]),
        // Half a cent is rounded up: 4.166.. km are 500, 4.1625 km are 499.5.
        ((4_162_500, 0, 0, 10_000, 0), [500, 0, 0, 0, 0, 750, 0, 750, 150]),
        ((4_162_499, 0, 0, 10_000, 0), [499, 0, 0, 0, 0, 749, 0, 749, 150]),
        // Surge counts towards the minimum, and is no reason to go below it.
        ((1_000_000, 60_000, 0, 13_000, 700), [120, 30, 0, 120, 80, 600, 42, 642, 120]),
        ((1_000_000, 60_000, 0, 9_000, 700), [120, 30, 0, 0, 200, 600, 42, 642, 120]),
    ];
    for ((distance_mm, moving_ms, paused_ms, surge_bp, tax_bp), lines) in rows {
        let tariff = Tariff { tax_bp, ..tariff() };
        let fare = fare(&tariff, surge_bp, distance_mm, moving_ms, paused_ms);
        let got = [
            fare.distance_minor,
            fare.time_minor,
            fare.paused_minor,
            fare.surge_minor,
            fare.minimum_minor,
            fare.subtotal_minor,
            fare.tax_minor,
            fare.total_minor,
            fare.platform_minor,
        ];
        assert_eq!(got, lines, "{distance_mm} mm, {moving_ms} ms, {paused_ms} ms, {surge_bp}");
    }
}

#[test]
fn a_quote_is_the_fare_of_its_estimate() {
    let quoted = quote(tariff(), 12_000, 8_500, 1_200);
    assert_eq!((quoted.total_minor, quoted.surge_bp), (2_401, 12_000));
}

proptest! {
    #[test]
    fn the_lines_add_up_and_nobody_keeps_more_than_there_is(
        prices in prop::array::uniform5(0..1_000_000_u32),
        bps in (0..30_000_u32, 0..=20_000_u32, 0..50_000_u32),
        distance_mm in 0..10_000_000_000_u64,
        times in (0..100_000_000_u64, 0..100_000_000_u64),
    ) {
        let [base, km, minute, paused, minimum] = prices;
        let (tax_bp, platform_bp, surge_bp) = bps;
        let tariff = Tariff {
            base_minor: base,
            per_km_minor: km,
            per_minute_minor: minute,
            per_paused_minute_minor: paused,
            minimum_minor: minimum,
            tax_bp,
            platform_bp,
            ..tariff()
        };
        let it = fare(&tariff, surge_bp, distance_mm, times.0, times.1);
        let lines = it.base_minor + it.distance_minor + it.time_minor + it.paused_minor
            + it.surge_minor + it.minimum_minor;
        prop_assert_eq!(lines, it.subtotal_minor);
        prop_assert_eq!(it.subtotal_minor + it.tax_minor, it.total_minor);
        prop_assert!(it.platform_minor <= it.subtotal_minor);
        prop_assert!(it.subtotal_minor >= u64::from(minimum));
    }
}
