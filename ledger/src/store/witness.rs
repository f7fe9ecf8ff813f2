//! The number of the last synced write, in a file of its own.

use super::StoreError;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

const FILE: &str = "synced";

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Io { doing, source }
}

/// That file. It holds the number twice, so that a damaged one is not believed.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    /// Makes the file, saying zero; syncs it, so that from now on its length stays.
    pub(super) fn create(directory: &Path) -> Result<Self, StoreError> {
        let attempt = || {
            let file = File::create(directory.join(FILE))?;
            file.write_all_at(&[0; 16], 0)?;
            file.sync_all()?;
            Ok(file)
        };
        attempt().map(Self).map_err(io("make the file of synced writes"))
    }

    /// Opens the file and reads the number.
    pub(super) fn open(directory: &Path) -> Result<(Self, u64), StoreError> {
        let attempt = || {
            let file = OpenOptions::new().read(true).write(true).open(directory.join(FILE))?;
            let (mut first, mut second) = ([0; 8], [0; 8]);
            file.read_exact_at(&mut first, 0)?;
            file.read_exact_at(&mut second, 8)?;
            Ok((file, u64::from_be_bytes(first), u64::from_be_bytes(second)))
        };
        let (file, first, second) = attempt().map_err(io("read the file of synced writes"))?;
        if first == second {
            Ok((Self(file), first))
        } else {
            Err(StoreError::Corrupt { what: "the number of synced writes", key: FILE.into() })
        }
    }

    /// Says that `writes` writes are synced. A kill right after finds it; a power cut may find
    /// an earlier number, which is as true.
    pub(super) fn testify(&self, writes: u64) -> Result<(), StoreError> {
        let number = writes.to_be_bytes();
        let twice = [number, number].concat();
        self.0.write_all_at(&twice, 0).map_err(io("note a synced write"))
    }
}
