//! Partitions of durable state. A command is proposed to a group; its outcome comes back once the
//! command is durable and applied, and not before. The ledger sees bytes and a
//! [`StateMachine`](proto::machine::StateMachine); it never names a booking.
//!
//! | | keeps each group | for |
//! |---|---|---|
//! | [`Replicated`] | on a majority of several nodes' disks before it answers | everything that ships; see [`replicated`] |
//! | [`Local`] | on one node | tests of what stands above |
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
//! [`Replicated`] keeps votes and entries of all its groups in one write-ahead log and snapshots
//! beside it, in two [`LogStore`]s. [`Local`] keeps no log of commands: values by group and key,
//! events by group and [`Cursor`], and how far each group is (`layout.rs`), in a [`SledStore`].
//! [`MemoryDisk`] is a disk for simulations that loses unsynced writes. A directory belongs to one
//! node of one cluster. Damage is refused at opening, by group and key; nothing is skipped.

mod contract;
mod layout;
mod local;
mod pages;
mod partitions;
mod peers;
pub mod replicated;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use contract::{BoxFuture, Committed, Cursor, Leadership, Ledger, LoggedEvent, Refused, Term};
pub use local::{Local, OpenError, Retention, Settings};
pub use partitions::Partitions;
pub use peers::{FRAME_MAX, Lane, Peers, Receive, Unreachable};
pub use replicated::Replicated;
pub use store::{
    Batch, DirectoryError, Identity, LogStore, MemoryDisk, MemoryStore, Pair, SledStore, Store,
    StoreError,
};
