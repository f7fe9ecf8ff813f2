//! Whatever arrives, a member neither panics nor believes it.

use crate::net::{Net, address, cluster, config, ids, initial, until};
use membership::seal::Seal;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use std::time::Duration;

/// Datagrams from outside, and from a peer of another build that has the key.
fn noise() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let any_bytes = proptest::collection::vec(any::<u8>(), 0..300);
    // chitchat's magic number and version, then a kind of message, then anything.
    let nearly =
        (0u8..5, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(kind, rest)| {
            let mut bytes = vec![0x53, 0xb0, 0, kind];
            bytes.extend(rest);
            bytes
        });
    proptest::collection::vec(prop_oneof![any_bytes, nearly], 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_sealed_or_not_neither_stops_nor_misleads_a_member(noise in noise()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let net = Net::default();
            let members = cluster(&net, 2).await;
            let seal = Seal::new("test", &config(1, 1, initial(1..=2)).key);
            let mut rng = ChaCha20Rng::seed_from_u64(7);
            for bytes in &noise {
                net.throw(address(50), 1, bytes);
                net.throw(address(50), 1, &seal.seal(&mut rng, bytes));
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            let counts = members[&1].gossip_counts();
            assert!(counts.unsealed >= noise.len() as u64, "{counts:?}");
            assert_eq!(ids(&members[&1].view()), [1, 2]);
            members[&2].stop().await;
            until(&members[&1], |view| ids(view) == [1]).await;
        });
    }
}
