//! Which cells live on this node: made by the first ping or search, found by every one after it.

use super::{Cell, Message, Shell, State};
use crate::runtime::Runtime;
use proto::MonoMs;
use ractor::{ActorRef, ActorRuntime, ActorStatus};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing::error;

/// Cells on one node at most: a country's. Whoever invents places gets no more.
const CELLS_MAX: usize = 8_192;

/// The cells by ring key, each with its shell.
#[derive(Default)]
pub(in crate::runtime) struct Cells {
    living: RwLock<BTreeMap<u64, Living>>,
    /// When loads were last taken.
    load_taken: std::sync::Mutex<Option<MonoMs>>,
}

struct Living {
    cell: Arc<Cell>,
    shell: ActorRef<Message>,
}

impl Cells {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Living>> {
        self.living.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Living>> {
        self.living.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of a ring key, if there is one.
    pub(in crate::runtime) fn living(&self, ring_key: u64) -> Option<Arc<Cell>> {
        self.read().get(&ring_key).map(|living| Arc::clone(&living.cell))
    }

    /// Tells the shell of a ring key, if it lives; says whether it does.
    pub(in crate::runtime) fn tell_living(&self, ring_key: u64, message: Message) -> bool {
        let told = self.read().get(&ring_key).map(|living| living.shell.cast(message).is_ok());
        if told == Some(false) {
            self.bury();
        }
        told == Some(true)
    }

    /// Tells all shells that the ring or the split table is another.
    pub(in crate::runtime) fn reowned(&self) {
        let all_live =
            self.read().values().all(|living| living.shell.cast(Message::Reowned).is_ok());
        if !all_live {
            self.bury();
        }
    }

    /// Drops cells whose shell has died: nobody would sweep them. The next ping makes a new one.
    fn bury(&self) {
        self.write().retain(|_, Living { cell, shell }| {
            let lives = shell.get_status() <= ActorStatus::Running;
            cell.state().left |= !lives;
            lives
        });
    }

    /// Takes a cell off the table if `really` is still so. What waits in its mailbox is worked off.
    pub(super) fn retire_if(
        &self,
        cell: &Arc<Cell>,
        shell: &ActorRef<Message>,
        really: impl FnOnce(&State) -> bool,
    ) -> bool {
        let mut living = self.write();
        let mut state = cell.state();
        if !really(&state) {
            return false;
        }
        state.left = true;
        if living.get(&cell.ring_key).is_some_and(|known| Arc::ptr_eq(&known.cell, cell)) {
            living.remove(&cell.ring_key);
        }
        drop((living, state));
        // A failure means that it has stopped already.
        let _stopped = shell.drain();
        true
    }

    pub(in crate::runtime) fn len(&self) -> u64 {
        self.read().len() as u64
    }

    /// Stops all shells.
    pub(in crate::runtime) fn stop(&self) {
        for (_, Living { cell, shell }) in std::mem::take(&mut *self.write()) {
            cell.state().left = true;
            shell.stop(None);
        }
    }
}

impl Runtime {
    /// The cell of a ring key; made if there is none, unless there are too many.
    pub(in crate::runtime) fn cell(&self, ring_key: u64) -> Option<Arc<Cell>> {
        if let Some(cell) = self.0.cells.living(ring_key) {
            return Some(cell);
        }
        let mut living = self.0.cells.write();
        if let Some(Living { cell, .. }) = living.get(&ring_key) {
            return Some(Arc::clone(cell));
        }
        if living.len() >= CELLS_MAX {
            return None;
        }
        let cell = Cell::new(ring_key, self.world().clock.mono());
        let shell = Shell { runtime: self.clone(), cell: Arc::clone(&cell) };
        match ActorRuntime::spawn_instant(None, shell, ()) {
            Ok((shell, _join)) => {
                living.insert(ring_key, Living { cell: Arc::clone(&cell), shell });
            }
            // The runtime is going down, and with it whoever would ask this cell.
            Err(error) => error!(%error, "a shell could not be spawned"),
        }
        Some(cell)
    }

    /// What each r8 cell held here had to do a second since this was last asked: a ping counts one,
    /// a search that looked there [`SEARCH_LOAD`](crate::cell::index::SEARCH_LOAD). Nothing the
    /// first time.
    pub fn loads(&self) -> Vec<(u64, u64)> {
        let now = self.world().clock.mono();
        let last = {
            let taken = &self.0.cells.load_taken;
            taken.lock().unwrap_or_else(PoisonError::into_inner).replace(now)
        };
        let passed_ms = last.map_or(0, |last| now.since(last));
        let view = self.world().membership.view();
        let owned = |key: &u64| view.cell_owner(*key) == Some(self.world().node);
        let living = self.0.cells.read();
        let cells = living.iter().filter(|(key, _)| owned(key));
        let cells: Vec<Arc<Cell>> = cells.map(|(_, living)| Arc::clone(&living.cell)).collect();
        drop(living);
        let loads = cells.iter().flat_map(|cell| cell.state().supply.take_load());
        let rate = |load: u64| load.saturating_mul(1_000).checked_div(passed_ms);
        loads.filter_map(|(cell, load)| Some((u64::from(cell), rate(load)?))).collect()
    }
}
