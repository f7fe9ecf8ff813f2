//! Whose directory it is. A directory opened by another node, or brought into another cluster,
//! would answer for partitions it has no part in.

use super::StoreError;
use proto::NodeId;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "identity";

/// The node and cluster that a directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
}

impl Identity {
    /// Whose a directory is, as its identity file says.
    pub fn of(directory: &Path) -> Result<Option<Self>, StoreError> {
        let Some(line) = read(directory)? else { return Ok(None) };
        let words = line.strip_prefix("ledger of node n").and_then(|rest| rest.split_once(' '));
        let parsed = words.and_then(|(node, rest)| {
            let cluster = rest.strip_prefix("in cluster ")?.to_owned();
            Some(Self { cluster, node: NodeId(node.parse().ok()?) })
        });
        let corrupt = || StoreError::Corrupt { what: "whose directory it is", key: line.into() };
        parsed.map(Some).ok_or_else(corrupt)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ledger of node {} in cluster {}", self.node, self.cluster)
    }
}

/// The line in the directory's identity file, if there is one.
pub(super) fn read(directory: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(directory.join(FILE)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { doing: "read the identity file", source }),
    }
}

/// Writes the identity file so that it is there whole or not at all.
pub(super) fn write(directory: &Path, identity: &Identity) -> Result<(), StoreError> {
    let attempt = || {
        let draft = directory.join("identity.draft");
        let mut file = File::create(&draft)?;
        writeln!(file, "{identity}")?;
        file.sync_all()?;
        fs::rename(&draft, directory.join(FILE))?;
        File::open(directory)?.sync_all() // or the name may be lost
    };
    attempt().map_err(|source| StoreError::Io { doing: "write the identity file", source })
}
