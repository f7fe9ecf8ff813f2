//! Deterministic simulation: three to seven real nodes in one process, over turmoil's network, on
//! virtual time, on disks that forget what was not synced, under a storm of faults. One seed in, one
//! trace out, the same every time.
//!
//! * [`run`]: one simulation, from a seed to its verdict. [`search`]: many, in child processes; [`keep`]: in
//!   several sittings.
//! * [`fault`], [`schedule`]: what may happen, and what will, as values. [`storm`] makes it happen,
//!   [`links`] knows which words get through.
//! * [`cluster`], [`net`], [`clock`], [`outside`]: real nodes whose sockets, disks, time and chance are ours.
//! * [`city`], [`rider`], [`driver`], [`phone`]: people, who are clients of any node. [`prober`] and
//!   [`scout`] ask the same thing again and again.
//! * [`laws`]: what must be true, each a function. [`report`]: figures of many runs. [`mutants`]: mistakes
//!   that the laws must notice.
//! * [`trace`], [`dice`]: what happened, hashed; chance from the seed.
#![warn(missing_docs)]

#[cfg(not(any(tokio_unstable, doc)))]
compile_error!(
    "turmoil seeds tokio's own random choices only under --cfg tokio_unstable, and without that no \
     seed replays: .cargo/config.toml sets it, but an exported RUSTFLAGS overrides that file"
);

pub mod city;
pub mod clock;
pub mod cluster;
pub mod dice;
pub mod driver;
pub mod fault;
pub mod keep;
pub mod laws;
pub mod links;
pub mod mutants;
pub mod net;
pub mod outside;
pub mod phone;
pub mod prober;
pub mod report;
pub mod rider;
pub mod run;
pub mod schedule;
pub mod scout;
pub mod search;
pub mod storm;
pub mod trace;
