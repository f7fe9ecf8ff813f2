//! Which cells to split and which to merge again, from what each cell carries.
//!
//! A ring key that carries more than its part of a node's share is split, the heaviest first, down
//! to r8; a cell that has carried less than half of that for a while is merged. The gap and the
//! while keep a table still under a load that is. Integers only, no clock: whoever runs a round
//! says what was seen.

use super::{SPLITS_MAX, SplitTable};
use h3o::{CellIndex, Resolution};
use std::collections::BTreeMap;

/// What each r8 cell carries: weight a second.
pub type Loads = BTreeMap<CellIndex, u64>;

/// What splits and merges go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A key that carries no more than this is never split, in weight a second.
    pub floor: u64,
    /// A key may carry the share of one node divided by this. At 8 a node has that many keys at
    /// least, so that chance evens them out; more parts are more actors and wider searches.
    pub parts: u64,
    /// For how many rounds in a row a cell must carry less than half of what splits it.
    pub calm_rounds: u32,
    /// Splits and merges in one round, at most: each has drivers change their owner.
    pub changes_max: usize,
}

impl Default for Rules {
    /// Made for a round every 5 s: 40 s of calm.
    fn default() -> Self {
        Self { floor: 10_000, parts: 8, calm_rounds: 8, changes_max: 16 }
    }
}

/// A cell that is to be split or merged, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The cell, r6 or r7.
    pub cell: CellIndex,
    /// To be split; else to be merged.
    pub split: bool,
    /// What it carries, in weight a second.
    pub load: u64,
    /// What a key may carry.
    pub limit: u64,
}

/// What was seen in a round.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What the cells carry.
    pub loads: &'a Loads,
    /// Whether every member said so. If not, cells may carry more than it seems, and nothing is
    /// merged.
    pub complete: bool,
    /// Among how many members keys are shared.
    pub members: usize,
}

/// What is remembered from round to round.
#[derive(Debug, Clone)]
pub struct Planner {
    rules: Rules,
    /// What is never merged: an operator split it.
    pinned: SplitTable,
    /// The mean of what a cell carried, where each round counts half of the one after it.
    smooth: Loads,
    /// For how many rounds a split cell has been calm.
    calm: BTreeMap<CellIndex, u32>,
}

impl Planner {
    /// Remembers nothing yet. The cells of `pinned` are never merged.
    pub const fn new(rules: Rules, pinned: SplitTable) -> Self {
        Self { rules, pinned, smooth: Loads::new(), calm: BTreeMap::new() }
    }

    /// Forgets all: whoever plans has not looked for a while.
    pub fn forget(&mut self) {
        self.smooth.clear();
        self.calm.clear();
    }

    /// The next table and the steps to it, in order; nothing if it should stay as it is.
    pub fn round(&mut self, table: &SplitTable, seen: Seen<'_>) -> Option<(SplitTable, Vec<Step>)> {
        self.take_in(seen);
        let total = self.smooth.values().sum::<u64>();
        let keys = (seen.members.max(1) as u64).saturating_mul(self.rules.parts.max(1));
        let limit = (total / keys).max(self.rules.floor);
        let (mut next, mut steps) = (table.clone(), Vec::new());
        while steps.len() < self.rules.changes_max
            && let Some(step) = self.hottest(&next, limit)
            && let Ok(split) = SplitTable::new(next.cells().chain([step.cell]))
        {
            next = split;
            steps.push(step);
        }
        self.count_calm(table, limit, seen.complete);
        while steps.len() < self.rules.changes_max
            && let Some(step) = self.calmest(&next, limit)
            && let Ok(merged) = SplitTable::new(next.cells().filter(|cell| *cell != step.cell))
        {
            self.calm.remove(&step.cell);
            next = merged;
            steps.push(step);
        }
        (!steps.is_empty()).then_some((next, steps))
    }

    fn take_in(&mut self, Seen { loads, complete, .. }: Seen<'_>) {
        for cell in loads.keys() {
            self.smooth.entry(*cell).or_default();
        }
        self.smooth.retain(|cell, smooth| {
            let now = loads.get(cell).copied().unwrap_or(0);
            let mean = smooth.midpoint(now);
            *smooth = if complete { mean } else { mean.max(*smooth) };
            *smooth > 0
        });
    }

    /// The heaviest key above the limit that can be split; of equals the first.
    fn hottest(&self, table: &SplitTable, limit: u64) -> Option<Step> {
        if table.len() >= SPLITS_MAX {
            return None;
        }
        let mut carried = Loads::new();
        for (cell, load) in &self.smooth {
            *carried.entry(table.key_cell(*cell)).or_default() += load;
        }
        carried
            .into_iter()
            .filter(|(key, load)| *load > limit && key.resolution() < Resolution::Eight)
            .rev()
            .max_by_key(|(_, load)| *load)
            .map(|(cell, load)| Step { cell, split: true, load, limit })
    }

    fn count_calm(&mut self, table: &SplitTable, limit: u64, complete: bool) {
        self.calm.retain(|cell, _| table.splits(*cell));
        if complete {
            for cell in table.cells().filter(|cell| !self.pinned.splits(*cell)) {
                let is_calm = self.carried_by(cell) < limit.div_ceil(2);
                let rounds = self.calm.entry(cell).or_default();
                *rounds = if is_calm { rounds.saturating_add(1) } else { 0 };
            }
        }
    }

    /// A cell that has been calm for long enough, and has no part that is still split.
    fn calmest(&self, table: &SplitTable, limit: u64) -> Option<Step> {
        let long = self.calm.iter().filter(|(_, rounds)| **rounds >= self.rules.calm_rounds);
        let whole = |cell: &CellIndex| {
            !cell.children(Resolution::Seven).any(|part| part != *cell && table.splits(part))
        };
        let cell = long.map(|(cell, _)| *cell).find(whole)?;
        Some(Step { cell, split: false, load: self.carried_by(cell), limit })
    }

    /// What all of a cell carries, however it is split.
    fn carried_by(&self, cell: CellIndex) -> u64 {
        let inside = cell.children(Resolution::Eight);
        inside.filter_map(|fine| self.smooth.get(&fine)).sum()
    }
}

#[cfg(test)]
mod tests;
