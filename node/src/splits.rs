//! Cells are split by what they carry. Every node follows the table that group 0 agrees on; the
//! node that leads group 0 asks all others what their cells carry and sets the next one.

use crate::config::Adaptive;
use crate::router::NodeRouter;
use actors::runtime::world::{Context, Mint};
use futures_util::future::join_all;
use h3o::{CellIndex, Resolution};
use ledger::replicated::{META, SplitCell, Splits};
use ledger::{Ledger, Replicated};
use membership::split::plan::{Loads, Planner, Seen, Step};
use membership::{Membership, SplitTable, View};
use proto::NodeId;
use proto::envelope::Subject;
use proto::record::ask;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

/// How long a node may take to say what its cells carry, in milliseconds.
const WITHIN_MS: u32 = 1_000;

/// Why the split cells of group 0 are no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoTable {
    #[error("{0:x} is no H3 cell")]
    NoCell(u64),
    #[error(transparent)]
    Refused(#[from] membership::SplitError),
}

/// Owns cells by what group 0 says, for as long as the ledger lives. Until it has said something
/// the configured table counts.
pub(crate) async fn follow(ledger: Replicated, membership: Membership) {
    let mut known = ledger.known();
    let mut version = 0;
    loop {
        let splits = Arc::clone(&known.borrow_and_update().splits);
        if splits.version > version {
            version = splits.version;
            match table_of(&splits) {
                Ok(table) => {
                    tracing::info!(version, cells = table.len(), "the split cells are set");
                    membership.set_splits(table);
                }
                // Written by another build: the others know it, this node must not guess.
                Err(error) => tracing::error!(version, %error, "keeps the split cells it had"),
            }
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

fn table_of(splits: &Splits) -> Result<SplitTable, NoTable> {
    let cell = |split: &SplitCell| {
        CellIndex::try_from(split.cell).map_err(|_| NoTable::NoCell(split.cell))
    };
    let cells = splits.cells.iter().map(cell).collect::<Result<Vec<_>, _>>()?;
    Ok(SplitTable::new(cells)?)
}

/// What the balancer works with.
pub(crate) struct Balancer {
    pub(crate) node: NodeId,
    pub(crate) ledger: Replicated,
    pub(crate) router: Arc<NodeRouter>,
    pub(crate) membership: Membership,
    pub(crate) mint: Arc<dyn Mint>,
    pub(crate) adaptive: Adaptive,
    /// The configured table: the first, and never merged.
    pub(crate) pinned: SplitTable,
}

impl Balancer {
    /// Looks and sets, until dropped.
    pub(crate) async fn run(self) {
        let mut ticks = interval(self.adaptive.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut planner = Planner::new(self.adaptive.rules, self.pinned.clone());
        loop {
            ticks.tick().await;
            if self.ledger.leadership().borrow().contains_key(&META) {
                self.round(&mut planner).await;
            } else {
                planner.forget();
            }
        }
    }

    async fn round(&self, planner: &mut Planner) {
        let view = self.membership.view();
        let (loads, complete) = self.loads(&view).await;
        let agreed = Arc::clone(&self.ledger.known().borrow().splits);
        let table = match agreed.version {
            0 => self.pinned.clone(),
            _ => match table_of(&agreed) {
                Ok(table) => table,
                Err(_) => return, // said already
            },
        };
        let seen = Seen { loads: &loads, complete, members: view.members().len() };
        let Some((next, steps)) = planner.round(&table, seen) else { return };
        match self.ledger.set_splits(agreed.version, with_reasons(&agreed, &next, &steps)).await {
            Ok(Ok(())) => {
                for Step { cell, split, load, limit } in steps {
                    let what = if split { "a cell is split" } else { "a cell is merged" };
                    tracing::info!(%cell, load, limit, "{what}");
                }
            }
            Ok(Err(objection)) => tracing::debug!(%objection, "the split cells stay"),
            Err(refused) => tracing::debug!(%refused, "the split cells stay"),
        }
    }

    /// What all cells carry, and whether every member said so.
    async fn loads(&self, view: &View) -> (Loads, bool) {
        let asks = view.members().iter().map(|member| {
            let trace = u128::from(self.mint.random()) << 64 | u128::from(self.mint.random());
            let subject = Subject::Node(self.node);
            let context = Context { trace, subject, deadline_ms: WITHIN_MS };
            self.router.served(ask::Loads { node: member.id }, context)
        });
        let (mut loads, mut complete) = (Loads::new(), true);
        for answer in join_all(asks).await {
            let Ok(told) = answer.result else {
                complete = false;
                continue;
            };
            for (cell, load) in told {
                match CellIndex::try_from(cell) {
                    Ok(cell) if cell.resolution() == Resolution::Eight => {
                        let sum = loads.entry(cell).or_default();
                        *sum = sum.saturating_add(load);
                    }
                    Ok(_) | Err(_) => complete = false, // another build's cells
                }
            }
        }
        (loads, complete)
    }
}

/// The cells of the next table, each with the reason it was split for.
fn with_reasons(agreed: &Splits, next: &SplitTable, steps: &[Step]) -> Vec<SplitCell> {
    let mut known: BTreeMap<u64, SplitCell> =
        agreed.cells.iter().map(|split| (split.cell, *split)).collect();
    for Step { cell, load, limit, .. } in steps.iter().filter(|step| step.split) {
        let cell = u64::from(*cell);
        known.insert(cell, SplitCell { cell, load: *load, limit: *limit });
    }
    let reason = |cell: CellIndex| {
        let cell = u64::from(cell);
        known.get(&cell).copied().unwrap_or(SplitCell { cell, load: 0, limit: 0 })
    };
    next.cells().map(reason).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> CellIndex {
        text.parse().unwrap()
    }

    #[test]
    fn each_split_cell_keeps_the_reason_it_was_split_for() {
        let (coarse, other) = (cell("862a1072fffffff"), cell("862a10727ffffff"));
        let fine = coarse.center_child(Resolution::Seven).unwrap();
        let split = |cell: CellIndex, load| SplitCell { cell: cell.into(), load, limit: 10 };
        let agreed = Splits { version: 3, cells: vec![split(coarse, 40), split(other, 50)] };
        let next = SplitTable::new([coarse, fine]).unwrap();
        let steps = [
            Step { cell: fine, split: true, load: 30, limit: 10 },
            Step { cell: other, split: false, load: 1, limit: 10 },
        ];
        let mut cells = with_reasons(&agreed, &next, &steps);
        cells.sort_unstable_by_key(|split| split.load);
        assert_eq!(cells, [split(fine, 30), split(coarse, 40)]);
        let configured = with_reasons(&Splits::default(), &next, &steps[..1]);
        assert!(configured.contains(&SplitCell { cell: coarse.into(), load: 0, limit: 0 }));
    }

    #[test]
    fn what_another_build_wrote_is_no_table() {
        let split =
            |cell: u64| Splits { version: 1, cells: vec![SplitCell { cell, load: 0, limit: 0 }] };
        assert_eq!(table_of(&split(7)), Err(NoTable::NoCell(7)));
        let too_fine = cell("862a1072fffffff").center_child(Resolution::Nine).unwrap();
        assert!(matches!(table_of(&split(too_fine.into())), Err(NoTable::Refused(_))));
        assert_eq!(table_of(&Splits::default()), Ok(SplitTable::default()));
    }
}
