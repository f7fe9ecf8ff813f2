//! What a ledger keeps its bytes in: an ordered map with atomic writes and an honest `sync`, and
//! another without one for what can be built again. What the keys mean is the ledger's; a store
//! knows none of it.

mod capped;
mod directory;
mod fjall;
mod identity;
mod memory;
mod pages;
mod witness;

pub use self::fjall::LogStore;
pub use capped::Capped;
pub use directory::DirectoryError;
pub use identity::Identity;
pub use memory::{MemoryDisk, MemoryStore};
pub(crate) use pages::scan_back_to;
pub use pages::{MemoryPages, Pages, SledPages};

use proto::codec::{self, CodecError};
use std::ops::Bound;
use std::time::Duration;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Why a store did not do what it was asked. What it then holds of the last write is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// The index of pages refused or found itself damaged.
    #[error("the index of pages failed")]
    Pages(#[from] ::sled::Error),
    /// The log store refused or found itself damaged.
    #[error("the log store failed")]
    Log(#[from] ::fjall::Error),
    /// Another build wrote it.
    #[error(
        "{what} has format version {version}, this build reads {}: start a newer build",
        codec::VERSION
    )]
    Version {
        /// What it is.
        what: &'static str,
        /// Its version.
        version: u8,
    },
    /// The bytes at a key are not what the layout says.
    #[error("{what} at key {key:02x?} is not what was written")]
    Corrupt {
        /// What should be there.
        what: &'static str,
        /// Where.
        key: Vec<u8>,
    },
    /// The pages were closed; the node is stopping.
    #[error("the index of pages is closed")]
    Closed,
    /// The process this store belonged to has crashed; only a [`MemoryStore`] says so.
    #[error("the machine has crashed")]
    Crashed,
}

impl StoreError {
    /// What to say of a value that does not decode.
    pub(crate) fn undecoded(what: &'static str, key: &[u8], error: CodecError) -> Self {
        match error {
            CodecError::Version(version) => Self::Version { what, version },
            CodecError::Empty | CodecError::Malformed(_) | CodecError::Trailing(_) => {
                Self::Corrupt { what, key: key.to_vec() }
            }
        }
    }
}

/// Puts and deletes that happen together or not at all; of two for one key the later counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a value.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push((key, Some(value)));
    }
    /// Removes a value, if there is one.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.push((key, None));
    }
    /// Adds another batch's changes after its own.
    pub fn append(&mut self, mut later: Self) {
        self.changes.append(&mut later.changes);
    }
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
    /// The changes in order; nothing as value means delete.
    pub fn into_changes(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.changes.into_iter()
    }
}

/// An ordered map of bytes. One caller owns it; reads see all writes, synced or not.
pub trait Store: Send + 'static {
    /// The value at a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `max` pairs in key order, of the keys that begin with `prefix` and are greater
    /// than `after`.
    fn scan(&self, prefix: &[u8], after: &[u8], max: usize) -> Result<Vec<Pair>, StoreError>;

    /// Applies a batch. A crash before the next [`sync`](Store::sync) may undo it, but only whole,
    /// and only together with every later one.
    fn write(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// Returns once everything written will survive a crash.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// How much longer the disk makes a sync wait that has waited so long. A real one takes its
    /// time in [`sync`](Store::sync); only a [`MemoryStore`] says it beforehand.
    fn makes_wait(&self, _waited: Duration) -> Duration {
        Duration::ZERO
    }
}

/// Where a [`scan`](Store::scan) begins.
fn scan_from<'a>(prefix: &'a [u8], after: &'a [u8]) -> Bound<&'a [u8]> {
    if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) }
}
