//! Partitions of durable state. A command is proposed to a group; its outcome comes back once the
//! command is durable and applied, and not before. The ledger sees bytes and a
//! [`StateMachine`](proto::machine::StateMachine); it never names a booking.
//!
//! [`Replicated`] keeps each group on a majority of several nodes' disks before it answers.
//!
//! # What is answered when
//!
//! | the caller hears | and then |
//! |---|---|
//! | [`Committed`] | the command is applied and survives the process and the machine |
//! | [`Refused::Overloaded`], [`Refused::TooLarge`], [`Refused::NotLeader`] | nothing happened |
//! | [`Refused::Unknown`] | it may have happened, or may still |
//!
//! A store that fails once is not trusted again: whoever waits for it hears `Unknown`, the node
//! leads nothing from then on ([`Ledger::leadership`] says so), and only opening the store anew
//! goes on. Reads are linearizable: what one has shown, none shows older, and none shows what can
//! still be lost.
//!
//! # What is stored
//!
//! Votes and entries of all groups stand in one write-ahead log; snapshots and the segments of what
//! has left the state stand beside it: two [`LogStore`]s. What is looked up in those segments has an
//! index in [`SledPages`], which is built again if it is lost. [`MemoryDisk`] is a disk for
//! simulations that loses unsynced writes. A directory belongs to one node of one cluster. Damage is
//! refused at opening, by group and key; nothing is skipped.

mod contract;
mod partitions;
mod peers;
pub mod replicated;
mod store;

#[cfg(test)]
mod tests;

pub use contract::{BoxFuture, Committed, Cursor, Leadership, Ledger, LoggedEvent, Refused, Term};
pub use partitions::Partitions;
pub use peers::{FRAME_MAX, Lane, Peers, Receive, Unreachable};
pub use replicated::Replicated;
pub use store::{
    Batch, Capped, DirectoryError, Identity, LogStore, MemoryDisk, MemoryPages, MemoryStore, Pages,
    Pair, SledPages, Store, StoreError,
};
