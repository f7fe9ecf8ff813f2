//! What is due when: events in order of their time, those of one time in the order they came.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The events of one run. Each holds one place until it is due; a run of riders and cars has a few for
/// each of them.
#[derive(Debug)]
pub struct Queue<T> {
    order: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, T>,
    pushed: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), events: BTreeMap::new(), pushed: 0 }
    }
}

impl<T> Queue<T> {
    /// Something will be due then.
    pub fn push(&mut self, at_ms: u64, event: T) {
        self.order.push(Reverse((at_ms, self.pushed)));
        self.events.insert(self.pushed, event);
        self.pushed += 1;
    }

    /// What is due next, and when.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((at_ms, number)) = self.order.pop()?;
        Some((at_ms, self.events.remove(&number)?))
    }
}
