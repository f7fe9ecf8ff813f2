//! Deterministic simulation: three real nodes in one process, over turmoil's network, on virtual
//! time, on disks that forget what was not synced. One seed in, one trace out, the same every time.
//!
//! * `SIM_SEED=7 cargo test --workspace --test dst` runs that one seed.
//! * `SIM_SEEDS=100 ...` runs that many.
//! * `RACES=1000 cargo test --workspace --test dst races` runs each race that often.
//! * `SIM_TRACES=<dir> ...` writes the traces that differ there, for `diff`.

#[cfg(not(tokio_unstable))]
compile_error!(
    "turmoil seeds tokio's own random choices only under --cfg tokio_unstable, and without that no \
     seed replays: .cargo/config.toml sets it, but an exported RUSTFLAGS overrides that file"
);

mod city;
mod cluster;
mod dice;
mod driver;
mod net;
mod outside;
mod phone;
mod races;
mod run;
mod trace;

use city::{RIDERS, RIDES};
use run::{Run, TAKEN_OVER_WITHIN, Weather, replay, run};
use sim::checker::judge;
use std::path::Path;
use std::process::Command;
use trace::Trace;

/// Crashes of one run in CI: a second each, with the calm day before.
const SEEDS: u64 = 12;
/// Tells this binary, run again by itself, whose trace to print.
const TRACE_OF: &str = "SIM_TRACE_OF";

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn seeds() -> Vec<u64> {
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Fails with the seed if the clients were lied to, or a booking did not end as it should have.
fn judge_run(seed: u64, run: &Run) {
    let violations: Vec<String> =
        judge(&run.evidence.seen, &run.evidence.at_end).iter().map(ToString::to_string).collect();
    let bookings = &run.evidence.at_end.bookings;
    let carried = bookings
        .values()
        .filter(|read| read.is().is_some_and(|b| format!("{:?}", b.status) == "Completed"));
    let carried = carried.count();
    assert!(
        violations.is_empty() && carried == RIDERS * RIDES,
        "seed {seed}: {carried} bookings carried, violations: {violations:#?}\n{}\n{}",
        run.story(),
        replay(seed),
    );
}

fn parting(a: &Trace, b: &Trace) -> Option<String> {
    if let Ok(directory) = std::env::var("SIM_TRACES")
        && a.sum() != b.sum()
    {
        a.write(&Path::new(&directory).join("a"));
        b.write(&Path::new(&directory).join("b"));
    }
    a.parting(b)
}

#[test]
fn chance_and_time_below_every_crate_are_the_seeds() {
    let sample = |seed| {
        std::thread::spawn(move || outside::sample(seed)).join().expect("the thread ends well")
    };
    assert_eq!(sample(Some(1)), sample(Some(1)));
    assert_ne!(sample(Some(1)), sample(Some(2)));
    assert!(sample(Some(1)).ends_with("1700000000000 true"), "{}", sample(Some(1)));
    assert_ne!(sample(None), sample(None), "outside of simulations chance is real");
    assert!(sample(None).ends_with("false"), "outside of simulations time goes on");
}

#[test]
fn on_a_calm_day_every_booking_is_carried_and_nobody_asks_twice() {
    let seed = number("SIM_SEED").unwrap_or(1);
    let run = run(seed, Weather::Calm);
    println!("seed {seed}: {}", run.summary());
    judge_run(seed, &run);
    let told_to = &run.evidence.told_to;
    assert_eq!(run.evidence.asked_again, 0, "seed {seed}: {told_to:?}\n{}", run.story());
}

#[test]
fn a_machine_that_loses_power_costs_nothing_that_was_acked() {
    for seed in seeds() {
        let run = run(seed, Weather::Crash);
        println!("seed {seed}: {}", run.summary());
        judge_run(seed, &run);
        judge_takeover(seed, &run);
        assert_eq!(run.said, [""; 0], "seed {seed}: a node ended by itself");
        let crash = run.crash.expect("the power failed");
        assert!(crash.forgot > 0 || crash.kept > 0, "seed {seed}: its disk was not writing");
    }
}

/// Fails with the seed if the others did not take over.
fn judge_takeover(seed: u64, run: &Run) {
    let late = run.told_too_late();
    assert!(
        late.is_empty(),
        "seed {seed}: not taken over within {TAKEN_OVER_WITHIN:?}: {late:#?}\n{}\n{}",
        run.story(),
        replay(seed),
    );
}

#[test]
fn a_machine_whose_disk_comes_back_empty_is_refused_and_costs_nothing_that_was_acked() {
    let seed = number("SIM_SEED").unwrap_or(1);
    let run = run(seed, Weather::Wipe);
    println!("seed {seed}: {}", run.summary());
    judge_run(seed, &run);
    judge_takeover(seed, &run);
    let refused = matches!(&run.said[..], [said] if said.contains("another disk"));
    assert!(refused, "seed {seed}: nobody missed a whole disk: {:?}\n{}", run.said, replay(seed));
}

#[test]
fn one_seed_is_one_trace() {
    let seed = number("SIM_SEED").unwrap_or(2);
    let (first, again) = (run(seed, Weather::Crash), run(seed, Weather::Crash));
    println!("seed {seed}: {}", first.summary());
    if let Some(parting) = parting(&first.trace, &again.trace) {
        panic!("seed {seed} gave two traces in one process\n{parting}\n{}", replay(seed));
    }
    let elsewhere = trace_in_another_process(seed);
    assert_eq!(first.trace.sum(), elsewhere, "seed {seed} gave another trace in another process");
    let other = run(seed + 1, Weather::Crash);
    assert_ne!(first.trace.sum(), other.trace.sum(), "two seeds gave one trace");
}

fn trace_in_another_process(seed: u64) -> (u64, usize) {
    let this = std::env::current_exe().expect("this binary has a path");
    let told = Command::new(this)
        .args(["--exact", "this_binary_run_by_itself_tells_a_trace", "--nocapture"])
        .env(TRACE_OF, seed.to_string())
        .output()
        .expect("this binary runs");
    let told = String::from_utf8(told.stdout).expect("text");
    let sum = told.lines().find_map(|line| {
        let (_, sum) = line.split_once("trace ")?;
        let (hash, lines) = sum.split_once(' ')?;
        Some((hash.parse().ok()?, lines.parse().ok()?))
    });
    sum.unwrap_or_else(|| panic!("the other process told no trace:\n{told}"))
}

#[test]
fn this_binary_run_by_itself_tells_a_trace() {
    if let Some(seed) = number(TRACE_OF) {
        let trace = run(seed, Weather::Crash).trace;
        if let Ok(directory) = std::env::var("SIM_TRACES") {
            trace.write(&Path::new(&directory).join("elsewhere"));
        }
        let (hash, lines) = trace.sum();
        println!("trace {hash} {lines}");
    }
}
