//! Deterministic simulation: three real nodes in one process, over turmoil's network, on virtual
//! time, on disks that forget what was not synced. One seed in, one trace out, the same every time.
//!
//! `SIM_SEED=7 cargo test --workspace --test dst` runs that one seed.

#[cfg(not(tokio_unstable))]
compile_error!(
    "turmoil seeds tokio's own random choices only under --cfg tokio_unstable, and without that no \
     seed replays: .cargo/config.toml sets it, but an exported RUSTFLAGS overrides that file"
);

mod city;
mod cluster;
mod dice;
mod net;
mod outside;
mod phone;
mod run;
mod trace;

use run::{Run, Weather, run};

#[test]
fn a_calm_day() {
    let seed = 1;
    let Run { trace, evidence, took, .. } = run(seed, Weather::Calm);
    let violations = sim::checker::judge(&evidence.seen, &evidence.at_end);
    println!("{:?} {took:?} {:#?} {violations:?}", trace.sum(), evidence.seen.len());
    for line in trace.grep(&[" WARN ", " ERROR ", " seen "]) {
        println!("{line}");
    }
}
