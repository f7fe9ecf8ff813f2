//! Where log lines go: stderr, filtered as asked.

use crate::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("{0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("logging is set up already")]
    Twice,
}

/// Checks a filter.
pub(crate) fn check(filter: &str) -> Result<(), LogError> {
    EnvFilter::builder().parse(filter).map(drop).map_err(LogError::Filter)
}

/// Sets the process's logging up.
pub fn start(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(|_| LogError::Twice)
}
