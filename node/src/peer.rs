//! Calls between nodes: one tarpc service with one method, over pooled connections that open with
//! a handshake.
//!
//! The ledger's frames are calls like any other ([`replicas`]), but have connections of their own,
//! and are called where the node was last seen even when gossip thinks it dead ([`addresses`]).
//!
//! What tarpc leaves to us, and where it is: dialling again ([`pool`]), frames with a bound
//! ([`codec`]; a frame is checked before it is sent, since an oversized one costs the connection
//! and every call on it), knowing who is there ([`hello`]), and state changes that a vanished
//! caller can't cut in half ([`crate::router`] spawns them).
//!
//! # Not done
//! * Frames are neither encrypted nor signed after the handshake: whoever can write into an
//!   established TCP connection can speak for its peer. The network between nodes must be private.

pub mod addresses;
pub mod codec;
pub mod hello;
pub mod pool;
pub mod replicas;
pub mod service;

#[cfg(test)]
mod tests;
