//! The bounds of the front door.

use super::ConfigError;
use std::num::NonZeroU32;

/// Bounds, as flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitsArgs {
    /// The largest HTTP body, in bytes; a batch of 1,000 pings has some 130,000.
    #[arg(long, env = "HANSOM_HTTP_BODY_MAX_BYTES", default_value_t = 256 << 10, value_name = "BYTES")]
    pub http_body_max_bytes: usize,

    /// Client connections at once, HTTP and WebSocket; those beyond wait to be accepted.
    #[arg(long, env = "HANSOM_CONNECTIONS_MAX", default_value_t = 16_384, value_name = "N")]
    pub connections_max: usize,

    /// Requests under way at once; those beyond are refused with OVERLOADED.
    #[arg(long, env = "HANSOM_IN_FLIGHT_MAX", default_value_t = 4_096, value_name = "N")]
    pub in_flight_max: usize,

    /// Requests a second of each rider and driver with a token, and twice that at once; those beyond
    /// are refused with RATE_LIMITED.
    #[arg(long, env = "HANSOM_RATE_PER_SUBJECT", default_value = "50", value_name = "N")]
    pub rate_per_subject: NonZeroU32,

    /// An edge gateway's connection of which no frame was taken for so long is closed, in
    /// milliseconds, 1000 to 3600000.
    #[arg(long, env = "HANSOM_EDGE_IDLE_MS", default_value_t = 60_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub edge_idle_ms: u64,
}

/// Bounds, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest HTTP body, in bytes.
    pub http_body_max_bytes: usize,
    /// Client connections at once.
    pub connections_max: usize,
    /// Requests under way at once.
    pub in_flight_max: usize,
    /// Requests a second of each subject.
    pub rate_per_subject: NonZeroU32,
    /// How long an edge gateway may have nothing to say, in milliseconds.
    pub edge_idle_ms: u64,
}

/// The largest body that may be configured: what it holds must still fit in a peer's frame.
const BODY_MAX_MAX: usize = proto::envelope::PAYLOAD_MAX / 2;

impl LimitsArgs {
    /// Checks the bounds.
    pub(super) fn into_limits(self) -> Result<Limits, ConfigError> {
        let Self {
            http_body_max_bytes,
            connections_max,
            in_flight_max,
            rate_per_subject,
            edge_idle_ms,
        } = self;
        if !(1024..=BODY_MAX_MAX).contains(&http_body_max_bytes) {
            let sentence = format!("--http-body-max-bytes must be 1024 to {BODY_MAX_MAX}");
            return Err(ConfigError::new(sentence));
        }
        let counts = [("--connections-max", connections_max), ("--in-flight-max", in_flight_max)];
        for (flag, value) in counts {
            if !(1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&value) {
                return Err(ConfigError::new(format!("{flag} must be 1 or more")));
            }
        }
        Ok(Limits {
            http_body_max_bytes,
            connections_max,
            in_flight_max,
            rate_per_subject,
            edge_idle_ms,
        })
    }
}
