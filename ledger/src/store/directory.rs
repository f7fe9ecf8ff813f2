//! A store's directory, whatever keeps its pages: whose it is, who has it open, whether it still
//! holds everything that was synced.

use super::StoreError;
use super::identity::{self, Identity};
use super::witness::Witness;
use std::fs::{self, File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const LOCK: &str = "in-use";

/// Why a directory was not opened, and what to do. What it holds may be read and copied, but a
/// node that lost something it had acknowledged must not come back under its old id.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It belongs to someone else.
    #[error("the directory holds the {found}, not the {wanted}; give each node its own")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Who tried to open it.
        wanted: String,
    },
    /// Someone has it open.
    #[error("the directory is in use by another process; stop that, or give each node its own")]
    InUse,
    /// There are pages but no identity file: nobody can say whose they are.
    #[error("the directory holds pages but no identity file; put the file back, or start anew")]
    NoIdentity,
    /// There is an identity file but its pages are gone, and what was acknowledged with them.
    #[error(
        "the directory has an identity file but its pages are gone; put them back, or start anew"
    )]
    NoPages,
    /// The pages have lost writes that were synced.
    #[error("the pages end with write {found}, but write {synced} was synced; start anew")]
    LostWrites {
        /// The last write in the pages.
        found: u64,
        /// A write that was there.
        synced: u64,
    },
    /// The pages have lost writes in their middle.
    #[error("the pages hold write {last}, but not write {missing} before it; start anew")]
    LostBetween {
        /// The first write that is not there.
        missing: u64,
        /// The last write that is.
        last: u64,
    },
    /// The pages are damaged so badly that what keeps them panics.
    #[error("the pages are damaged, start anew: {0}")]
    Damaged(String),
    /// It cannot be read or written.
    #[error("the directory cannot be used")]
    Store(#[from] StoreError),
}

/// What an opened store says of itself.
#[derive(Debug)]
pub(super) struct Found {
    /// The identity inside the pages.
    pub(super) mark: Option<Vec<u8>>,
    /// The number of the last write.
    pub(super) writes: u64,
}

/// A directory that this process has to itself while the value lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    identity: String,
    /// There is an identity file, so all that comes with it must be there.
    named: bool,
    _lock: File,
}

pub(super) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Io { doing, source }
}

/// Makes the names in a directory survive a power cut.
pub(super) fn sync_names(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|names| names.sync_all())
        .map_err(io("sync the names in the data directory"))
}

/// What keeps the pages panics over some damage that it could report.
pub(super) fn or_damaged<T>(
    open: impl FnOnce() -> Result<T, DirectoryError>,
) -> Result<T, DirectoryError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(DirectoryError::Damaged(text.unwrap_or_default()))
    })
}

impl Directory {
    /// Makes the directory if need be, locks it, and refuses a stranger's.
    pub(super) fn enter(path: &Path, wanted: &Identity) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(io("make the data directory"))?;
        let lock = File::create(path.join(LOCK)).map_err(io("make the lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::InUse),
            Err(TryLockError::Error(source)) => Err(io("lock the data directory")(source))?,
        }
        let found = identity::read(path)?;
        let named = found.is_some();
        let entered =
            Self { path: path.to_owned(), identity: wanted.to_string(), named, _lock: lock };
        entered.refuse_stranger(found)?;
        Ok(entered)
    }

    fn refuse_stranger(&self, found: Option<String>) -> Result<(), DirectoryError> {
        match found {
            Some(found) if found != self.identity => {
                Err(DirectoryError::Foreign { found, wanted: self.identity.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    /// The identity as it stands inside the pages too, so that neither can be swapped alone.
    pub(super) fn mark(&self) -> Vec<u8> {
        self.identity.clone().into_bytes()
    }

    /// Admits pages that are this directory's and have lost nothing. Those of a directory without
    /// a name may hold no more than the first write: its maker crashed before anyone relied on it.
    pub(super) fn admit(&self, found: Found) -> Result<Witness, DirectoryError> {
        let Found { mark, writes } = found;
        let marked = mark.is_some();
        self.refuse_stranger(mark.map(|mark| String::from_utf8_lossy(&mark).into_owned()))?;
        if !self.named {
            let unused = marked && writes == 1;
            let made = || Ok(Witness::create(&self.path)?);
            return if unused { made() } else { Err(DirectoryError::NoIdentity) };
        }
        if !marked {
            return Err(DirectoryError::NoPages);
        }
        let (witness, synced) = Witness::open(&self.path)?;
        if writes < synced {
            return Err(DirectoryError::LostWrites { found: writes, synced });
        }
        Ok(witness)
    }

    /// Gives the directory its name, once its pages are there and synced. From now on their loss
    /// is noticed.
    pub(super) fn name(&mut self, identity: &Identity) -> Result<(), StoreError> {
        sync_names(&self.path)?;
        identity::write(&self.path, identity)?;
        self.named = true;
        Ok(())
    }
}
