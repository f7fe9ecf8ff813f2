//! That chance and time below every crate are the seed's.

use dst::outside::begin;
use std::time::Duration;

/// Runs this on a fresh thread and says what the crates below would see: two hash keys, two draws
/// of the operating system's generator, both clocks.
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "that these are replaced is what is tested"
)]
fn sample(seed: Option<u64>) -> String {
    use rand::TryRng;
    use std::hash::BuildHasher;
    if let Some(seed) = seed {
        begin(seed);
    }
    let keys = [0; 2].map(|_| std::hash::RandomState::new().hash_one(0));
    let drawn = rand::rngs::SysRng.try_next_u64().expect("the operating system has chance");
    let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let first = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    let stopped = first.elapsed() == Duration::ZERO;
    format!("{keys:?} {drawn} {} {stopped}", wall.as_millis())
}

#[test]
fn chance_and_time_below_every_crate_are_the_seeds() {
    let sample =
        |seed| std::thread::spawn(move || sample(seed)).join().expect("the thread ends well");
    assert_eq!(sample(Some(1)), sample(Some(1)));
    assert_ne!(sample(Some(1)), sample(Some(2)));
    assert!(sample(Some(1)).ends_with("1700000000000 true"), "{}", sample(Some(1)));
    assert_ne!(sample(None), sample(None), "outside of simulations chance is real");
    assert!(sample(None).ends_with("false"), "outside of simulations time goes on");
}
