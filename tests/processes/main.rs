//! Real processes: every test starts nodes from the built binary on loopback ports and talks to
//! them as clients, strangers or operators do.
//!
//! One test at a time, because nodes that starve each other of a core fail for no reason; see
//! [`nodes::Cluster`]. Nothing here waits for a fixed time: it asks again until what must happen
//! has happened, and fails with the nodes' logs if it does not. A node that panicked or logged an
//! error fails the test that used it.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

mod bad_bodies;
mod bad_http;
mod bad_wire;
mod bench;
mod by_hand;
mod cases;
mod cells;
mod chaos;
mod client;
mod configuration;
mod contract;
mod detection;
mod edge;
mod ending;
mod explain;
mod fan_out;
mod history;
mod join;
mod kill;
mod load;
mod moves;
mod next;
mod nodes;
mod offers;
mod people;
mod phone;
mod policy;
mod queues;
mod races;
mod readme;
mod reassign;
mod recover;
mod repeats;
mod replicas;
mod ride;
mod rust_client;
mod splits;
mod streams;
mod takeover;
mod tokens;
mod trail;
mod turns;
mod upgrade;
