//! What must be true of a run, beside what [`sim::checker`] says of its history. Each law is fed with
//! what was seen from outside, or, where it is about replicas, with what the nodes say of themselves.

pub mod able;
pub mod answers;
pub mod converged;
pub mod covered;
pub mod equal;
pub mod located;
pub mod served;
pub mod takeover;

use serde::{Deserialize, Serialize};
use std::fmt;

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Broken {
    /// Its name.
    pub law: String,
    /// What was seen.
    pub what: String,
}

impl Broken {
    /// Says that a law was broken, and how.
    pub fn new(law: &str, what: impl Into<String>) -> Self {
        Self { law: law.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}
