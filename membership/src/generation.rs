//! Which start of this node it is: a counter in the data directory that rises at every start.
//!
//! Gossip remembers the last heartbeat of each (id, generation) and ignores what is not newer, so a
//! process that came back with its old generation would never be seen again. The counter is on the
//! disk before it is used: temporary file, fsync, rename, fsync of the directory.
//!
//! A simulation, whose nodes have no disk, counts by itself: a generation is a plain number.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "generation";
const TEMPORARY: &str = "generation.new";

/// Why there is no generation. The counter on the disk is unchanged, or has risen already.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The disk refused.
    #[error("cannot keep the generation in {dir}: {error}")]
    Io {
        /// The data directory.
        dir: String,
        /// What the disk said.
        error: io::Error,
    },
    /// The file holds no number. Starting again from 1 could repeat a generation, so this is left
    /// to a person: remove the data directory and join under a new id.
    #[error("the file `{FILE}` in {dir} holds no number")]
    Damaged {
        /// The data directory.
        dir: String,
    },
}

/// Raises the counter in `dir`, which must exist, and returns it. The first is 1.
pub fn next_generation(dir: &Path) -> Result<u64, GenerationError> {
    let name = || dir.display().to_string();
    let io = |error| GenerationError::Io { dir: name(), error };
    let last: u64 = match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text.trim().parse().map_err(|_| GenerationError::Damaged { dir: name() })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(GenerationError::Damaged { dir: name() });
        }
        Err(error) => return Err(io(error)),
    };
    let next = last.checked_add(1).ok_or_else(|| GenerationError::Damaged { dir: name() })?;
    write_durably(dir, next).map_err(io)?;
    Ok(next)
}

fn write_durably(dir: &Path, generation: u64) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    writeln!(file, "{generation}")?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))?;
    // The rename is an entry of the directory, and durable only with it.
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_has_a_higher_generation() {
        let dir = tempfile::tempdir().unwrap();
        for expected in 1..=5 {
            assert_eq!(next_generation(dir.path()).unwrap(), expected);
        }
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "5\n");
    }

    #[test]
    fn a_crash_before_the_rename_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        next_generation(dir.path()).unwrap();
        fs::write(dir.path().join(TEMPORARY), "garba").unwrap();
        assert_eq!(next_generation(dir.path()).unwrap(), 2);
    }

    #[test]
    fn a_damaged_counter_is_not_started_again() {
        let dir = tempfile::tempdir().unwrap();
        for damaged in [&b""[..], b"minus one", b"18446744073709551615", b"\xff\xfe"] {
            fs::write(dir.path().join(FILE), damaged).unwrap();
            let error = next_generation(dir.path()).unwrap_err();
            assert!(matches!(error, GenerationError::Damaged { .. }), "{damaged:?}: {error}");
        }
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = next_generation(&dir.path().join("nowhere")).unwrap_err();
        assert!(matches!(error, GenerationError::Io { .. }), "{error}");
    }
}
