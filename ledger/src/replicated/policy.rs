//! The numbers in force on all nodes, as group 0 has agreed. To the ledger they are bytes.

use super::cluster::{Change, Objection};
use super::wire::Body;
use super::{Refused, Replicated};
use serde::{Deserialize, Serialize};

/// The most bytes a policy may take. Every node holds it, and every snapshot of group 0.
pub const POLICY_BYTES_MAX: usize = 64 << 10;

/// A policy as agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedPolicy {
    /// How often it was set; 0 if never, so that what is configured counts.
    pub version: u64,
    /// What was set.
    pub bytes: Vec<u8>,
}

impl AgreedPolicy {
    /// Sets it, unless somebody else has since `expected`.
    pub(super) fn set(&mut self, expected: u64, bytes: Vec<u8>) -> Result<(), Objection> {
        if self.version != expected {
            return Err(Objection::Stale { version: self.version });
        }
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(Objection::PolicyTooLarge);
        }
        *self = Self { version: expected + 1, bytes };
        Ok(())
    }
}

impl Replicated {
    /// Sets the policy, if version `expected` still counts, whoever leads group 0. On yes it is
    /// version `expected + 1`; [`Replicated::known`] has it once this node has heard of it.
    pub async fn set_policy(
        &self,
        expected: u64,
        bytes: Vec<u8>,
    ) -> Result<Result<(), Objection>, Refused> {
        let (change, body) =
            (Change::SetPolicy(expected, bytes.clone()), Body::SetPolicy(expected, bytes));
        let answer = self.have_changed(change, body).await?;
        self.0.read_cluster();
        Ok(answer.map(drop))
    }
}
