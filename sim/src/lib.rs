//! The city that drives a cluster, and the judge that decides whether the cluster kept its word.
//!
//! It depends on `proto` for ids and units and on nothing else of the house: a cluster is what
//! answers HTTP and WebSocket at some addresses. Front door: [`demo`].
//!
//! * [`demo`]: `hansom demo`, from flags to exit status.
//! * [`cluster`]: real node processes, started, killed, started again.
//! * [`city`]: demand, fleet and roads as values; from a seed ([`synthetic`]) or files ([`csv`]);
//!   [`roads`] knows how long a drive takes.
//! * [`workload`]: riders and drivers as clients, each request to a random node; [`pace`] converts
//!   between city time and wall time, [`tally`] counts for the progress line.
//! * [`history`]: what the clients saw. [`readback`]: what the cluster says afterwards.
//! * [`checker`]: the judge, a pure function of these two.
//! * [`report`]: figures and table; [`counters`] reads the nodes' own, [`stats`] does percentiles.
#![warn(missing_docs)]

pub mod checker;
pub mod city;
mod client;
pub mod cluster;
pub mod counters;
pub mod csv;
pub mod demo;
mod dice;
mod driver;
#[cfg(test)]
mod fake;
pub mod history;
pub mod pace;
mod policy;
mod ports;
mod progress;
pub mod readback;
pub mod report;
mod rider;
pub mod roads;
pub mod stats;
pub mod synthetic;
pub mod tally;
mod whole;
mod wire;
pub mod workload;
