//! Many pings at once. What a ping costs is two waits for memory, for its driver's slot and for his
//! entry. They are asked for a handful of pings together, before any of them is settled, so that
//! the processor waits for all at the same time.

use super::{PingOutcome, Supply};
use proto::MonoMs;
use proto::record::cell::Ping;
use std::hint::black_box;

/// Pings whose memory is asked for together: more than the ten or so misses that a core can have
/// open, few enough that all of it stays in its first cache.
const TOGETHER: usize = 16;

impl Supply {
    /// Takes those of `pings` that `items` numbers, in their order, received at `now`.
    pub fn ping_all(
        &mut self,
        pings: &[Ping],
        items: &[u32],
        now: MonoMs,
        mut became: impl FnMut(u32, PingOutcome),
    ) {
        for some in items.chunks(TOGETHER) {
            let mut slots = [None; TOGETHER];
            for (slot, item) in slots.iter_mut().zip(some) {
                *slot = self.slot_of.get(&pings[*item as usize].driver).copied();
            }
            for slot in slots.iter().flatten() {
                // Nobody needs it yet; it is brought near.
                black_box(self.entries[*slot as usize].at);
            }
            for (slot, item) in slots.into_iter().zip(some) {
                let ping = &pings[*item as usize];
                // Slots stay whose they are while pings come. Who had none may have one now.
                let slot = slot.or_else(|| self.slot_of.get(&ping.driver).copied());
                became(*item, self.ping_at(slot, ping, now));
            }
        }
    }
}
