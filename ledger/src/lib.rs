//! Partitions of durable state. A command is proposed to a group; its outcome comes back once the
//! command is durable and applied, and not before. The ledger sees bytes and a
//! [`StateMachine`](proto::machine::StateMachine); it never names a booking.
//!
//! [`Ledger`] is the seam. [`Local`] keeps each group on one node: while that node is down nobody
//! serves its groups, and when its disk is gone so are they. The replicated ledger will implement
//! the same trait; nothing above it will know.
//!
//! # What is answered when
//!
//! One writer serves all groups of a node. It takes what has queued up, in order, and
//!
//! 1. stamps each command with its group's next index and a time that always rises,
//! 2. applies it to the group's machine,
//! 3. writes changed values, events, index and time of the whole batch in one atomic write,
//! 4. syncs once,
//! 5. and answers everyone in the batch, in order.
//!
//! Reads take their turn in the same queue and are answered after the sync, so what was read
//! cannot be lost either. The next batch queues up meanwhile: batches grow with the load.
//!
//! | the caller hears | and then |
//! |---|---|
//! | [`Committed`] | the command is applied and survives the process and the machine |
//! | [`Refused::Overloaded`], [`Refused::NotLeader`] | nothing happened |
//! | [`Refused::Unknown`] | it may or may not be found after a restart |
//!
//! A store that fails once is not trusted again: its batch hears `Unknown`, the node leads nothing
//! from then on ([`Ledger::leadership`] says so), and only opening the store anew goes on.
//!
//! # What is stored
//!
//! Values by group and key, events by group and [`Cursor`], and how far each group is; see
//! `layout.rs`. There is no log of commands: a batch's effects are stored with its index, and a
//! restart puts the values back into empty machines. [`SledStore`] keeps this in a directory that
//! belongs to one node of one cluster; [`MemoryDisk`] is a disk for simulations that loses
//! unsynced writes. Damage is refused at opening, by group and key; nothing is skipped.
//!
//! # What is not here
//!
//! No replication, no elections, no moving of groups, no snapshots for others. A sync is as good
//! as the disk's word; see [`SledStore`] for what sled adds to that.

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
