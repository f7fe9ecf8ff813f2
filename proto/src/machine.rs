//! The contract between the ledger and the state it keeps. The ledger orders, stores and
//! acknowledges bytes; the machine gives them meaning. `actors` implements it.

use crate::codec::CodecError;
use crate::units::WallMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A feature level. Builds share one log during a rolling upgrade because what a command does
/// changes only with the level stamped into it, and no level is stamped before every replica's
/// build knows it. A build that changes what a command does, or writes a record that older builds
/// can't read, does so from a new level on and knows one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Level(pub u16);

impl Level {
    /// What every build knows, and every cluster begins with.
    pub const FIRST: Self = Self(1);
    /// The highest that this build knows.
    pub const KNOWN: Self = Self(1);
}

impl Default for Level {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What applying one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The answer to whoever proposed it.
    pub outcome: Vec<u8>,
    /// Keys whose value is no longer what it was; read them to store them.
    pub changed: Vec<Vec<u8>>,
    /// What happened, for the event log, in order.
    pub events: Vec<Vec<u8>>,
    /// Keys and values that leave the state for the archive, where nothing changes any more. The
    /// machine forgets them; the ledger finds them by key, and page by page.
    pub archived: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A deterministic state machine over bytes: equal commands in equal order give equal states,
/// outcomes and events on every replica. It reads no clock, draws no random number, iterates in
/// no hash order and never fails: a command that makes no sense is refused in its outcome.
pub trait StateMachine: Send + 'static {
    /// Applies one committed command. `at` is the command's own time and `level` the level that it
    /// is carried out at, neither ever less than those before.
    fn apply(&mut self, at: WallMs, level: Level, command: &[u8]) -> Applied;

    /// The value under a key, or nothing.
    fn read(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Puts a stored value back. Refuses what does not decode and is then unchanged.
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError>;

    /// At most `max` keys and values in key order, those after `after`; fewer than `max` only at
    /// the end. All of them together are a snapshot.
    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Keys of entities that someone must act for: dispatches that run, locks that wait for an
    /// answer. Whoever takes over the partition starts here.
    fn open_work(&self) -> Vec<Vec<u8>>;
}
