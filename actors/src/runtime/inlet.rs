//! Pings on their way into cells, many at a time: sorted by ring key, so that a cell is locked once
//! for all that it gets.

use super::Runtime;
use super::cell::{Cell, Left};
use membership::View;
use proto::NodeId;
use proto::record::cell::{Ping, PingCounts, PingFate};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Keys that are remembered from batch to batch. A gateway's city has some fifty; one that sends
/// from more than these starts anew.
const KEYS_MAX: usize = 512;
/// Pings whose tiles are brought near together.
const TOGETHER: usize = 16;

/// Some pings by ring key. Kept from batch to batch, it allocates nothing.
#[derive(Default)]
pub struct Groups {
    of_key: FxHashMap<u64, u32>,
    groups: Vec<Group>,
    touched: Vec<u32>,
    /// Of which ring and split table the owners are.
    versions: (u64, u64),
}

/// The pings of one ring key.
pub struct Group {
    ring_key: u64,
    owner: Option<NodeId>,
    /// Who has copies, if this node is the owner.
    mirrors: Vec<NodeId>,
    /// The cell, once it was needed.
    cell: Option<Arc<Cell>>,
    items: Vec<u32>,
}

impl Groups {
    /// Sorts a batch; what was sorted before is forgotten.
    pub fn sort(&mut self, runtime: &Runtime, pings: &[Ping]) {
        let view = runtime.world().membership.view();
        let versions = (view.ring_version(), view.split_version());
        if self.versions != versions || self.groups.len() > KEYS_MAX {
            *self = Self { versions, ..Self::default() };
        }
        for at in self.touched.drain(..) {
            self.groups[at as usize].items.clear();
        }
        for (item, ping) in (0..).zip(pings) {
            // As in `cell::index::batch`: waits for memory overlap.
            if item % TOGETHER == 0 {
                let some = pings.iter().skip(item).take(TOGETHER);
                some.for_each(|ping| runtime.bring_near(&view, ping.point));
            }
            let ring_key = runtime.ring_key(&view, ping.point);
            let at = *self.of_key.entry(ring_key).or_insert_with(|| {
                self.groups.push(Group::new(runtime, &view, ring_key));
                u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX)
            });
            let group = &mut self.groups[at as usize];
            if group.items.is_empty() {
                self.touched.push(at);
            }
            group.items.push(u32::try_from(item).unwrap_or(u32::MAX));
        }
    }

    /// The groups of the batch sorted last.
    pub fn touched(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().filter(|group| !group.items.is_empty())
    }
}

impl Runtime {
    /// Applies one ping to this node's cell of a ring key.
    pub fn ping(&self, ring_key: u64, ping: &Ping) -> PingFate {
        let (mut fates, items) = ([PingFate::Refused], vec![0]);
        let mirrors = self.mirrors_of(ring_key);
        let mut group = Group { ring_key, owner: None, mirrors, cell: None, items };
        group.apply(self, std::slice::from_ref(ping), &mut fates);
        fates[0]
    }
}

impl Group {
    fn new(runtime: &Runtime, view: &View, ring_key: u64) -> Self {
        let (owner, mirrors) = (view.cell_owner(ring_key), runtime.mirrors_of(ring_key));
        Self { ring_key, owner, mirrors, cell: None, items: Vec::new() }
    }

    /// Who owns the key, as this node sees the ring.
    pub const fn owner(&self) -> Option<NodeId> {
        self.owner
    }

    /// Which pings of the batch these are.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Applies them to this node's cell, whoever owns it: the sender's ring may be the newer one. If it is
    /// the older one the cell's next look hands them on.
    pub fn apply(&mut self, runtime: &Runtime, pings: &[Ping], fates: &mut [PingFate]) {
        self.tell(runtime, pings, fates, true);
    }

    /// Applies what the cell's owner has applied.
    pub(super) fn apply_copies(
        &mut self,
        runtime: &Runtime,
        pings: &[Ping],
        fates: &mut [PingFate],
    ) {
        self.tell(runtime, pings, fates, false);
    }

    fn tell(&mut self, runtime: &Runtime, pings: &[Ping], fates: &mut [PingFate], as_owner: bool) {
        // A cell may leave between being found and being locked; the next one is a new one.
        for _ in 0..2 {
            if self.cell.is_none() {
                self.cell = runtime.cell(self.ring_key);
            }
            let Some(cell) = &self.cell else { return };
            match cell.apply(runtime, pings, &self.items, fates, as_owner) {
                Ok(PingCounts { applied, stale, .. }) => {
                    let tally = &runtime.0.tally;
                    tally.pings_applied.fetch_add(applied.into(), Ordering::Relaxed);
                    tally.pings_stale.fetch_add(stale.into(), Ordering::Relaxed);
                    if !self.mirrors.is_empty() {
                        let applied = self.items.iter().map(|item| *item as usize);
                        let applied = applied.filter(|item| fates[*item] == PingFate::Applied);
                        runtime.0.mirrors.add(&self.mirrors, applied.map(|item| pings[item]));
                    }
                    return;
                }
                Err(Left) => self.cell = None,
            }
        }
    }
}
