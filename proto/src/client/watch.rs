//! For programs that want to know how a call went, try by try: to count, to log, to judge.

use crate::ids::NodeId;
use std::fmt;

/// Hears of every try, in the task of the caller; it must not wait.
pub trait Watch: Send {
    /// A try leaves for a node.
    fn leaves(&mut self, to: &str) {
        let _ = to;
    }
    /// What came of it.
    fn tried(&mut self, tried: &Tried<'_>);
}

/// Nobody watches.
impl Watch for () {
    fn tried(&mut self, _: &Tried<'_>) {}
}

/// What came of one try.
#[derive(Debug)]
pub struct Tried<'a> {
    /// The node that was asked, by address; empty if there was none.
    pub node: &'a str,
    /// How long after the call began, in milliseconds.
    pub after_ms: u64,
    /// What came back.
    pub came: Came<'a>,
}

/// What came back.
#[derive(Debug)]
pub enum Came<'a> {
    /// An answer.
    Answer {
        /// Its HTTP status.
        status: u16,
        /// The code of a refusal; empty if it is done.
        code: &'a str,
        /// The same in a sentence.
        detail: &'a str,
        /// Who gave it, as far as that was said.
        served_by: Option<NodeId>,
        /// How often the request was forwarded.
        hops: Option<u8>,
        /// Whether it settles the call; if not, it is tried again.
        settles: bool,
    },
    /// Nothing: the call is tried again.
    Nothing(NoAnswer),
}

/// Why a try got no answer. None of them says that nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NoAnswer {
    /// No connection could be made.
    NoConnection,
    /// The connection broke.
    Lost,
    /// It took too long.
    Timeout,
    /// No node's address is known.
    Nowhere,
    /// It is longer than is read; only of a text that somebody asked one node for.
    TooLong,
}

impl NoAnswer {
    /// A word for counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoConnection => "no connection",
            Self::Lost => "connection lost",
            Self::Timeout => "timeout",
            Self::Nowhere => "no node known",
            Self::TooLong => "answer too long",
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
