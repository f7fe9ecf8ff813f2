//! Whole members that gossip: in virtual time over a network in memory, and over UDP on loopback.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod life;
mod net;
mod noise;
mod udp;
