//! What a node takes from outside: network, time, chance and a disk. A simulation brings its own.

use super::StartError;
use crate::clock::SystemClock;
use crate::mint::SeededMint;
use crate::net::{Net, Tcp};
use ledger::MemoryStore;
use ledger::replicated::Retention;
use proto::units::Clock;
use std::sync::Arc;
use std::time::Duration;

/// The outside of a node.
pub struct Seams {
    /// Streams and datagrams.
    pub net: Arc<dyn Net>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, the nonces of handshakes and gossip included: seeded by the operating system,
    /// except in a simulation.
    pub mint: Arc<SeededMint>,
    /// Where durable state goes.
    pub storage: Storage,
}

/// Where durable state goes.
pub enum Storage {
    /// The configured data directory.
    Directory,
    /// A simulated disk.
    Memory {
        /// The write-ahead log's disk, opened.
        log: MemoryStore,
        /// The snapshots' disk, opened.
        snapshots: MemoryStore,
        /// How long it takes to sync.
        sync_takes: Duration,
        /// What is kept where: less than in a real node, so that a short run sees snapshots, purges
        /// and history put away.
        retention: Retention,
        /// Which start of the node this is, from 1.
        generation: u64,
    },
}

impl Seams {
    /// The machine's own.
    pub fn real() -> Result<Self, StartError> {
        Ok(Self {
            net: Arc::new(Tcp),
            clock: Arc::new(SystemClock::new()),
            mint: Arc::new(SeededMint::from_os().map_err(|_| StartError::NoChance)?),
            storage: Storage::Directory,
        })
    }
}
