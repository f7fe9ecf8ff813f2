use super::*;
use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

fn ring(ids: impl IntoIterator<Item = u64>) -> Ring {
    Ring::new(ids.into_iter().map(|id| (NodeId(id), 1, "")))
}

fn keys() -> impl Iterator<Item = u64> {
    // Neighbouring numbers, as cells are.
    (0..20_000).map(|n| 0x0862_a107_0000_0000 + n)
}

#[test]
fn positions_owners_and_versions_are_frozen() {
    // Members of two builds share one ring: these never change.
    assert_eq!(token_position(NodeId(1), 0), 0xaf8a_366c_0b48_c68b);
    assert_eq!(token_position(NodeId(u64::MAX), 1_023), 0x7718_4f8a_6e14_f708);
    assert_eq!(key_position(0), 0xc77b_3abb_6f87_acd9);
    assert_eq!(key_position(0x0862_a107_27ff_ffff), 0x477e_3167_dce6_0f9a);
    let three = Ring::new([(NodeId(1), 1, "a"), (NodeId(2), 1, "b"), (NodeId(3), 2, "a")]);
    assert_eq!(three.version(), 0xd701_0999_2357_7945);
    let owners: Vec<u64> = (0..16).filter_map(|key| three.lookup(key)).map(|id| id.0).collect();
    assert_eq!(owners, [3, 3, 3, 1, 3, 3, 3, 1, 1, 3, 3, 3, 1, 1, 3, 3]);
}

#[test]
fn the_version_says_who_is_here_with_which_weight_and_zone_and_not_in_which_order() {
    let base = [(NodeId(1), 1, "a"), (NodeId(2), 1, "b")];
    let version = |members: &[(NodeId, u32, &'static str)]| Ring::new(members.to_vec()).version();
    assert_eq!(version(&base), version(&[base[1], base[0]]));
    for other in [
        &[base[0]][..],
        &[base[0], base[1], (NodeId(3), 1, "a")],
        &[base[0], (NodeId(3), 1, "b")],
        &[base[0], (NodeId(2), 2, "b")],
        &[base[0], (NodeId(2), 1, "a")],
    ] {
        assert_ne!(version(&base), version(other), "{other:?}");
    }
}

#[test]
fn nobody_owns_the_keys_of_an_empty_ring() {
    assert_eq!(ring([]).lookup(7), None);
    assert_eq!(ring([]).lookup_n(7, 3), []);
    let idle = Ring::new([(NodeId(1), 0, "")]);
    assert_eq!((idle.lookup(7), idle.lookup_n(7, 1)), (None, vec![]));
    assert_eq!(idle.shares(), BTreeMap::from([(NodeId(1), 0.0)]));
}

#[test]
fn a_join_moves_keys_only_to_the_joiner_and_a_leave_only_from_the_leaver() {
    for members in [1u64, 2, 3, 10] {
        let (without, with) = (ring(1..=members), ring(1..=members + 1));
        let joiner = NodeId(members + 1);
        let mut moved = 0usize;
        for key in keys() {
            let (before, after) = (without.lookup(key), with.lookup(key));
            if before != after {
                assert_eq!(after, Some(joiner), "key {key} moved from {before:?}");
                moved += 1;
            }
        }
        let share = moved as f64 / keys().count() as f64;
        let fair = 1.0 / (members + 1) as f64;
        assert!((0.8 * fair..1.2 * fair).contains(&share), "{members}: {share} moved");
    }
}

#[test]
fn a_weight_takes_its_part() {
    let ring = Ring::new([(NodeId(1), 1, ""), (NodeId(2), 3, ""), (NodeId(3), 0, "")]);
    let shares = ring.shares();
    assert!((0.70..0.80).contains(&shares[&NodeId(2)]), "{shares:?}");
    assert_eq!(shares[&NodeId(3)], 0.0);
    assert!((shares.values().sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn shares_are_what_lookups_find() {
    let ring = ring(1..=5);
    for (id, share) in ring.shares() {
        let owned = keys().filter(|key| ring.lookup(*key) == Some(id)).count();
        let found = owned as f64 / keys().count() as f64;
        assert!((found - share).abs() < 0.015, "{id} has {share} and was found at {found}");
    }
}

/// The acceptance of the ring: over 1,000 random member sets of each size, the coefficient of
/// variation of load is at most 8 % and the 99th percentile of max/mean at most 1.30. Load is the
/// exact length of arcs.
fn load_is_even_over_1000_random_sets(members: usize) {
    const SETS: usize = 1_000;
    let mut rng = ChaCha8Rng::seed_from_u64(members as u64);
    let mut variations = Vec::with_capacity(SETS);
    let mut peaks = Vec::with_capacity(SETS);
    for _ in 0..SETS {
        let ids: BTreeSet<u64> = std::iter::repeat_with(|| rng.random()).take(members).collect();
        let shares = ring(ids).shares();
        let mean = 1.0 / members as f64;
        let variance =
            shares.values().map(|share| (share - mean).powi(2)).sum::<f64>() / members as f64;
        variations.push(variance.sqrt() / mean);
        peaks.push(shares.values().copied().fold(0.0, f64::max) / mean);
    }
    variations.sort_by(f64::total_cmp);
    peaks.sort_by(f64::total_cmp);
    let (worst, peak_p99) = (variations[SETS - 1], peaks[SETS * 99 / 100]);
    println!(
        "{members} members: variation median {:.4} worst {worst:.4}; max/mean median {:.3} p99 {peak_p99:.3} worst {:.3}",
        variations[SETS / 2],
        peaks[SETS / 2],
        peaks[SETS - 1]
    );
    assert!(worst <= 0.08, "{members} members: variation of {worst:.4} in the worst set");
    assert!(peak_p99 <= 1.30, "{members} members: max/mean {peak_p99:.3} at the 99th percentile");
}

#[test]
fn load_is_even_over_1000_random_sets_of_3() {
    load_is_even_over_1000_random_sets(3);
}

#[test]
fn load_is_even_over_1000_random_sets_of_10() {
    load_is_even_over_1000_random_sets(10);
}

#[test]
fn load_is_even_over_1000_random_sets_of_50() {
    load_is_even_over_1000_random_sets(50);
}

/// What `lookup` should say, by trying every token of every member.
fn naive_order(members: &[(NodeId, u32, String)], key: u64) -> Vec<(NodeId, String)> {
    let place = key_position(key);
    let mut tokens: Vec<(u64, NodeId, &String)> = members
        .iter()
        .flat_map(|(id, weight, zone)| {
            (0..weight * TOKENS_PER_WEIGHT)
                .map(move |token| (token_position(*id, token).wrapping_sub(place), *id, zone))
        })
        .collect();
    tokens.sort_unstable();
    let mut order: Vec<(NodeId, String)> = Vec::new();
    for (_, id, zone) in tokens {
        if !order.iter().any(|(known, _)| *known == id) {
            order.push((id, zone.clone()));
        }
    }
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_preference_list_is_the_naive_one(
        weights in proptest::collection::btree_map(any::<u64>(), (0u32..3, 0u8..3), 0..6),
        key: u64,
        n in 0usize..8,
    ) {
        let members: Vec<(NodeId, u32, String)> = weights
            .into_iter()
            .map(|(id, (weight, zone))| (NodeId(id), weight, zone.to_string()))
            .collect();
        let ring = Ring::new(members.clone());
        let order = naive_order(&members, key);
        prop_assert_eq!(ring.lookup(key), order.first().map(|(id, _)| *id));
        let mut zones = BTreeSet::new();
        let (first, rest): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|(_, zone)| zones.insert(zone.clone()));
        let expected: Vec<NodeId> =
            first.into_iter().chain(rest).map(|(id, _)| id).take(n).collect();
        prop_assert_eq!(ring.lookup_n(key, n), expected);
    }
}
