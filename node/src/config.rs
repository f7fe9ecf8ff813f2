//! What a node is started with. [`Args`] is what the command line and the environment say;
//! [`Args::into_config`] checks all of it at once, before a port is bound, and nobody checks the
//! resulting [`Config`] again.

mod args;
mod limits;
mod policy;
mod print;
mod splits;
mod tariff;

pub use args::Args;
pub use limits::{Limits, LimitsArgs};
pub use policy::PolicyArgs;
pub use splits::{Adaptive, SplitsArgs, Switch};

use actors::fault::Faults;
use actors::policy::Policy;
use ledger::replicated::Faults as LedgerFaults;
use membership::{Bootstrap, ClusterKey, SplitTable};
use proto::NodeId;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The name in a refusal and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

impl ConfigError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The cluster's secret, as given. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hidden")
    }
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// What fails together with it.
    pub zone: String,
    /// Where durable state is kept.
    pub data_dir: PathBuf,
    /// Where to listen for clients.
    pub http: SocketAddr,
    /// Where others are told that clients reach this node; `http` if nothing else was said.
    pub http_advertised: Option<SocketAddr>,
    /// Where to listen for edge gateways; nowhere if nothing was said.
    pub edge: Option<SocketAddr>,
    /// Where to listen for peers, TCP and UDP.
    pub peer: SocketAddr,
    /// Where others reach this node; `peer` if nothing else was said.
    pub peer_advertised: Option<SocketAddr>,
    /// How it finds the cluster.
    pub bootstrap: Bootstrap,
    /// On how many nodes each partition is kept.
    pub replicas: u8,
    /// Members that keep each cell, its owner among them.
    pub cell_replicas: u8,
    /// A node that was away for so long is replaced, in milliseconds.
    pub replace_after_ms: u64,
    /// Which cells are split to begin with, and stay so.
    pub splits: SplitTable,
    /// How others are by what they carry; nothing if they are not.
    pub adaptive: Option<Adaptive>,
    /// Proves membership to peers.
    pub hello_key: ClusterKey,
    /// Seals gossip.
    pub gossip_key: ClusterKey,
    /// Whether the keys come from the built-in secret, which everybody knows.
    pub key_is_public: bool,
    /// The keys that clients' tokens are signed with; nothing where headers are believed.
    pub auth_keys: Option<PathBuf>,
    /// The streets that drives are estimated by, and how they are used; nothing for straight lines.
    pub roads: Option<(PathBuf, roads::Settings)>,
    /// Whether those follow what phones record of their trips.
    pub roads_learn: bool,
    /// The numbers that dispatch is tuned by.
    pub policy: Policy,
    /// Mistakes made on purpose; none in the shipped binary.
    pub faults: Faults,
    /// The same of the ledger.
    pub ledger_faults: LedgerFaults,
    /// The bounds of the front door.
    pub limits: Limits,
    /// Which log lines are written.
    pub log: String,
    /// How they look.
    pub log_format: LogFormat,
}
