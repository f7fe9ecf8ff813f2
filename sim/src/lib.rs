//! The city that drives a cluster, and the judge that decides whether the cluster kept its word.
//!
//! It depends on `proto` for ids and units, on `roads` for streets, and on nothing else of the house:
//! a cluster is what answers HTTP and WebSocket at some addresses. Front doors: [`demo`], [`chaos`] and [`mod@bench`].
//!
//! * [`demo`]: `hansom demo`, from flags to exit status. [`mod@bench`]: `hansom bench`, nodes through their doors.
//! * [`chaos`]: `hansom chaos`, everything that happens to machines and networks, done to real nodes.
//! * [`cluster`]: real node processes, started, killed, started again, replaced; [`doors`] says where
//!   clients find them, [`partitions`] whether every partition has all its replicas.
//! * [`city`]: demand, fleet and roads as values; from a seed ([`synthetic`]) or files
//!   (`roads::demand`); [`drives`] knows where a car is on its way.
//! * [`workload`]: riders and drivers as clients, each request to a random node; [`pace`] converts
//!   between city time and wall time, [`tally`] counts for the progress line, [`steady`] keeps the
//!   load even.
//! * [`takeover`]: how long a killed node's partitions are away.
//! * [`history`]: what the clients saw. [`readback`]: what the cluster says afterwards.
//! * [`checker`]: the judge, a pure function of these two.
//! * [`report`]: figures and table; [`counters`] reads the nodes' own, [`stats`] does percentiles.
#![warn(missing_docs)]

pub mod bench;
pub mod chaos;
pub mod checker;
pub mod city;
mod client;
pub mod cluster;
pub mod counters;
pub mod demo;
mod dice;
pub mod doors;
mod driver;
pub mod drives;
#[cfg(test)]
mod fake;
pub mod history;
pub mod pace;
pub mod partitions;
mod policy;
mod ports;
mod progress;
pub mod readback;
pub mod report;
mod rider;
mod stall;
pub mod stats;
pub mod steady;
pub mod synthetic;
pub mod takeover;
pub mod tally;
mod whole;
pub mod workload;
