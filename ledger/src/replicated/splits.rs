//! Which cells are split, as group 0 has agreed. To the ledger a cell is a number.

use super::cluster::{Change, Objection};
use super::{Refused, Replicated};
use membership::split::SPLITS_MAX;
use serde::{Deserialize, Serialize};

/// A cell that is owned as its children, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCell {
    /// The H3 cell.
    pub cell: u64,
    /// What it carried when it was split, in weight a second; 0 if it was configured.
    pub load: u64,
    /// What a ring key was to carry at most at that time; 0 if it was configured.
    pub limit: u64,
}

/// The split cells as agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    /// How often they were set; 0 if never, so that what is configured counts.
    pub version: u64,
    /// Those that are.
    pub cells: Vec<SplitCell>,
}

impl Splits {
    /// Sets them, unless somebody else has since `expected`.
    pub(super) fn set(&mut self, expected: u64, cells: Vec<SplitCell>) -> Result<(), Objection> {
        if self.version != expected {
            return Err(Objection::Stale { version: self.version });
        }
        if cells.len() > SPLITS_MAX {
            return Err(Objection::TooManySplits);
        }
        *self = Self { version: expected + 1, cells };
        Ok(())
    }
}

impl Replicated {
    /// Sets the split cells, if version `expected` still counts and this node leads group 0. On
    /// yes [`Replicated::known`] has them.
    pub async fn set_splits(
        &self,
        expected: u64,
        cells: Vec<SplitCell>,
    ) -> Result<Result<(), Objection>, Refused> {
        let answer = self.change(Change::SetSplits(expected, cells)).await?;
        self.0.read_cluster();
        Ok(answer.map(drop))
    }
}
