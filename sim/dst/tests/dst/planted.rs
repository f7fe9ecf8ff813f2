//! Each mistake that can be planted is found. Only with the feature `plant`, and long, so CI has no time
//! for it:
//!
//!     cargo test --workspace --features plant --test dst planted -- --nocapture

use std::process::Command;

/// Storms in which each mistake must be found.
const WITHIN: &str = "1..40";

#[test]
fn each_planted_mistake_is_found_by_a_storm_that_finds_nothing_without_it() {
    let command = env!("CARGO_BIN_EXE_dst");
    let told = Command::new(command).args(["--plant", "all", "--seeds", WITHIN]).output();
    let told = told.expect("the command runs");
    let text = String::from_utf8_lossy(&told.stdout);
    println!("{text}");
    assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
}
