//! A node from outside: bad input at its doors, strangers at its peer port, three of them as a
//! cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod bad_input;
mod cluster;
mod config;
mod disk;
mod fuzz;
mod peers;
mod streams;
mod support;
