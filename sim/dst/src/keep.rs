//! A file of outcomes, a line each, so that a long search may be cut short and go on later. It belongs to
//! one build and one set of flags: another build has other runs under the same seeds.

use crate::run::Outcome;
use proto::slot::frozen_hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Whose outcomes they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    /// The hash of the program.
    build: u64,
    /// What it was told beside seeds.
    flags: Vec<String>,
}

/// The file, open at its end.
#[derive(Debug)]
pub struct Keep {
    file: File,
    known: BTreeMap<u64, Outcome>,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It can't be read or written.
    #[error("{0} can't be read or written: {1}")]
    Io(PathBuf, io::Error),
    /// It is somebody else's.
    #[error(
        "{0} was written by another build or with other flags: name another file, or remove it"
    )]
    Other(PathBuf),
}

impl Keep {
    /// Opens a file, or makes it. A last line that was cut off is run again.
    pub fn open(path: &Path, flags: &[String]) -> Result<Self, KeepError> {
        let failed = |error| KeepError::Io(path.to_owned(), error);
        let program = std::env::current_exe().and_then(fs::read).map_err(failed)?;
        let owner = Owner { build: frozen_hash(&program), flags: flags.to_owned() };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut lines = text.lines();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        match lines.next().map(serde_json::from_str::<Owner>) {
            _ if whole == 0 => {
                file.set_len(0).map_err(failed)?;
                writeln!(file, "{}", serde_json::json!(owner)).map_err(failed)?;
            }
            Some(Ok(other)) if other == owner => file.set_len(whole as u64).map_err(failed)?,
            Some(_) | None => return Err(KeepError::Other(path.to_owned())),
        }
        let known =
            text[..whole].lines().skip(1).filter_map(|line| serde_json::from_str(line).ok());
        let known = known.map(|outcome: Outcome| (outcome.seed, outcome)).collect();
        Ok(Self { file, known })
    }

    /// The outcomes that it had when it was opened, by seed.
    pub const fn known(&self) -> &BTreeMap<u64, Outcome> {
        &self.known
    }

    /// Adds one.
    pub fn add(&mut self, outcome: &Outcome) -> io::Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(outcome)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_known_again_a_line_cut_off_is_not_and_other_flags_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kept");
        let outcome = |seed| Outcome { seed, took_ms: 60_000, ..Outcome::default() };
        let mut keep = Keep::open(&path, &[]).expect("a new file");
        keep.add(&outcome(3)).expect("room");
        keep.add(&outcome(5)).expect("room");
        drop(keep);
        let text = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, &text[..text.len() - 9]).expect("room");
        let mut keep = Keep::open(&path, &[]).expect("the same file");
        assert_eq!(keep.known(), &BTreeMap::from([(3, outcome(3))]));
        keep.add(&outcome(5)).expect("room");
        assert_eq!(Keep::open(&path, &[]).expect("the same file").known().len(), 2);
        let other = Keep::open(&path, &["--only".into(), "wipe".into()]);
        assert!(matches!(other, Err(KeepError::Other(_))), "{other:?}");
    }
}
