//! Why there is no verdict.

use crate::cluster::ClusterError;
use crate::workload::WorkloadError;
use roads::{BuildError, FileError, SourceError};
use std::path::{Path, PathBuf};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The flags do not fit together. Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// A file of the city cannot be used. Exit status 2.
    #[error("{0}")]
    File(Box<dyn std::error::Error + Send + Sync>),
    /// The nodes or the city did not run.
    #[error("{source}\nlogs are in {directory}\n{tails}", directory = directory.display())]
    Failed {
        /// Why.
        source: Box<Failure>,
        /// Where to look.
        directory: PathBuf,
        /// The end of each log.
        tails: String,
    },
    /// The machine would not.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody pressed ctrl-c.
    #[error("interrupted; all nodes were stopped")]
    Interrupted,
}

impl DemoError {
    /// Whether the caller's words are at fault, not the run.
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) | Self::File(_) => true,
            Self::Failed { .. } | Self::System { .. } | Self::Interrupted => false,
        }
    }
}

impl From<SourceError> for DemoError {
    fn from(error: SourceError) -> Self {
        Self::File(Box::new(error))
    }
}

impl From<BuildError> for DemoError {
    fn from(error: BuildError) -> Self {
        Self::File(Box::new(error))
    }
}

impl From<FileError> for DemoError {
    fn from(error: FileError) -> Self {
        Self::File(Box::new(error))
    }
}

/// What went wrong while the nodes ran.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The nodes did.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The city did.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
}

impl Failure {
    pub(crate) fn with_logs(self, directory: &Path, tails: String) -> DemoError {
        let (source, directory) = (Box::new(self), directory.to_path_buf());
        DemoError::Failed { source, directory, tails }
    }
}
