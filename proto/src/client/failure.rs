//! The ends of a call other than the one that was hoped for.

use super::call::Key;
use crate::code::Code;
use std::fmt;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was refused; asking again will not help, and nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It was done, but the answer is none that this client can read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Nobody knows whether it was done.
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
}

impl Failure {
    /// Whether it was refused for this reason.
    pub fn is(&self, code: Code) -> bool {
        match self {
            Self::Refused(refused) => refused.code == Reason::Known(code),
            Self::Unreadable(_) | Self::Unsettled(_) => false,
        }
    }
}

/// A final no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused with {status} {code}: {detail}")]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// Why.
    pub code: Reason,
    /// The same in a sentence, about this very request.
    pub detail: String,
}

/// The code of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// One that this build knows.
    Known(Code),
    /// One that it does not know: the cluster is newer, or something else answered. May be empty.
    Other(String),
}

impl Reason {
    pub(super) fn of(code: String) -> Self {
        let known = Code::ALL.iter().find(|known| known.as_str() == code);
        known.map_or(Self::Other(code), |known| Self::Known(*known))
    }
    /// The code as the cluster says it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(code) => code.as_str(),
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer that makes no sense to this client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answered with {status}, which cannot be read: {detail}")]
pub struct Unreadable {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with the body.
    pub detail: String,
}

/// The client's patience ended before the answer was definite. A change may have been made, or may
/// still be: only the same call under the same key tells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not settled after {tries} tries, the last: {last}; ask again with key {key}")]
pub struct Unsettled {
    /// The key to ask again with; see [`Call::keyed`](super::Call::keyed).
    pub key: Key,
    /// How often it was tried.
    pub tries: u32,
    /// What came of the last try.
    pub last: String,
}

/// `application/problem+json`, as far as it is read.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) retry_after_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_known_by_its_name_and_a_new_one_keeps_it() {
        for code in Code::ALL {
            assert_eq!(Reason::of(code.as_str().into()), Reason::Known(*code));
        }
        assert_eq!(Reason::of("TOO_HOT".into()).as_str(), "TOO_HOT");
    }
}
