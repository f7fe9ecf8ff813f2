//! The start-up, as a story: whose directory it is, what it holds, who else is there, the actors,
//! the open door. Everything that could fail for want of a file, a port or a sensible word fails
//! here, before the first request.
//!
//! Stopping is killing: whatever was acknowledged is on the disk already, so a stop only spares
//! the others the detection.

mod build;
mod gauges;
mod seams;
mod start;
mod stores;

pub use build::Build;
pub use seams::{Seams, Storage};
pub use start::StartError;

use crate::config::{Args, Config, ConfigError};
use crate::peer::pool::Pool;
use crate::router::NodeRouter;
use crate::stories::StoryBook;
use crate::tools::print;
use actors::runtime::Runtime;
use ledger::Replicated;
use membership::Membership;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A running node. Dropping it closes its doors and stops its shells, but gossip goes on until the
/// async runtime ends; a simulation crashes a node by dropping that.
pub struct Node {
    http: SocketAddr,
    edge: Option<SocketAddr>,
    peer: SocketAddr,
    membership: Membership,
    pool: Arc<Pool>,
    router: Arc<NodeRouter>,
    ledger: Replicated,
    stories: Arc<StoryBook>,
    runtime: Arc<OnceLock<Runtime>>,
    tasks: JoinSet<()>,
    failures: mpsc::Receiver<StartError>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("http", &self.http).field("peer", &self.peer).finish()
    }
}

impl Node {
    /// Starts a node. When this returns its ports are bound and its own partitions are loaded;
    /// whether it serves is for `/readyz` to say.
    pub async fn start(config: Config, seams: Seams) -> Result<Self, StartError> {
        start::start(config, seams, Build::this()).await
    }
    /// Where clients reach it.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }
    /// Where edge gateways reach it, if it listens for them.
    pub const fn edge(&self) -> Option<SocketAddr> {
        self.edge
    }
    /// Where peers reach it.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
    /// Its ledger: what a simulation looks into to aim at leaders.
    pub const fn ledger(&self) -> &Replicated {
        &self.ledger
    }
    /// The cluster as it sees it.
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }
    /// Waits until it fails for a reason that only showed after the start: a node that joins
    /// opens its store when it has learned what the cluster is.
    pub async fn failed(&mut self) -> StartError {
        match self.failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
    /// Closes the doors, says goodbye and closes the store.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.router.detach();
        self.pool.close();
        self.membership.stop().await;
        if let Some(runtime) = self.runtime.get() {
            runtime.stop();
        }
        self.ledger.stop().await;
        self.stories.close();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.router.detach();
        self.pool.close();
        if let Some(runtime) = self.runtime.get() {
            runtime.stop();
        }
    }
}

/// `hansom node`: runs a node until it is told to stop. 0 if it was, 1 if it could not run, 2 if
/// its configuration makes no sense.
pub async fn run(args: Args) -> ExitCode {
    run_as(args, Build::this()).await
}

/// [`run`] for another build than this one: what an upgrade is tried with.
pub async fn run_as(args: Args, build: Build) -> ExitCode {
    let only_print = args.print_config;
    let config = match args.into_config() {
        Ok(config) => config,
        Err(error) => return complain(&format!("hansom node: {error}"), 2),
    };
    if only_print {
        let lines = config.to_string();
        return print::finish("hansom node", Ok::<_, ConfigError>(lines.trim_end()));
    }
    if let Err(error) = crate::log::start(&config.log, config.log_format) {
        return complain(&format!("hansom node: {error}"), 1);
    }
    match serve(config, build).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("hansom node: {}", chain(&error)), 1),
    }
}

async fn serve(config: Config, build: Build) -> Result<(), StartError> {
    let mut seams = Seams::real()?;
    if !config.peer.ip().is_unspecified() {
        seams.net = Arc::new(crate::net::TcpFrom(config.peer));
    }
    let mut node = start::start(config, seams, build).await?;
    tokio::select! {
        error = node.failed() => Err(error),
        () = told_to_stop() => {
            tracing::info!("stopping");
            node.stop().await;
            Ok(())
        }
    }
}

/// Waits for SIGTERM or an interrupt from the keyboard.
pub(crate) async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM; kill the process to stop it");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn complain(sentence: &str, status: u8) -> ExitCode {
    print::talk(sentence);
    ExitCode::from(status)
}
