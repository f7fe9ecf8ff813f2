//! The explanations that this node keeps of the bookings it dispatched: for a day, in an index of
//! their own, up to a size. Written beside the dispatch, through a short queue; what finds it full
//! is dropped and counted, because no ride waits for its story.

use actors::runtime::world::Stories;
use futures_util::future::BoxFuture;
use ledger::{Capped, Pages, StoreError};
use proto::record::explain::Explanation;
use proto::units::Clock;
use proto::{BookingId, codec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, mpsc};

/// What is kept, in bytes of values: 20,000 bookings of 3 KB. sled takes up to three times as much
/// on disk before it has cleaned up behind itself.
const BYTES_MAX: u64 = 64 << 20;
/// How long it is kept, in milliseconds.
const AGE_MAX_MS: u64 = 24 * 60 * 60 * 1_000;
/// The index's cache in memory, in bytes. Nobody reads most of it.
pub(crate) const CACHE_BYTES: u64 = 8 << 20;
/// Stories that may wait to be written: a second of a node that ends 256 bookings in it.
const QUEUE_MAX: usize = 256;

/// See the module's text.
pub(crate) struct StoryBook {
    kept: Capped,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<(BookingId, Explanation)>,
    waiting: Mutex<mpsc::Receiver<(BookingId, Explanation)>>,
    dropped: AtomicU64,
}

impl StoryBook {
    /// Keeps stories in `pages`, which are nobody else's.
    pub(crate) fn open(
        pages: Box<dyn Pages>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let kept = Capped::open(pages, BYTES_MAX, AGE_MAX_MS)?;
        let (waiting, dropped) = (Mutex::new(waiting), AtomicU64::new(0));
        Ok(Arc::new(Self { kept, clock, queue, waiting, dropped }))
    }

    /// Writes what is to be kept, for as long as the node runs.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut waiting = self.waiting.lock().await;
        while let Some((booking, story)) = waiting.recv().await {
            // It goes to sled's memory; sled writes the file in a thread of its own.
            let now_ms = self.clock.wall().0;
            if let Err(error) =
                self.kept.put(&key(booking, story.term), now_ms, &codec::encode(&story))
            {
                tracing::warn!(%booking, %error, "an explanation could not be kept");
            }
            tokio::task::yield_now().await;
        }
    }

    /// How many stories found the queue full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Closes the files.
    pub(crate) fn close(&self) {
        self.kept.close();
    }
}

fn key(booking: BookingId, term: u64) -> Vec<u8> {
    [&booking.to_raw().to_be_bytes()[..], &term.to_be_bytes()].concat()
}

impl Stories for StoryBook {
    fn keep(&self, booking: BookingId, story: Explanation) {
        if self.queue.try_send((booking, story)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn kept(&self, booking: BookingId) -> BoxFuture<'_, Vec<Explanation>> {
        Box::pin(async move {
            let prefix = booking.to_raw().to_be_bytes();
            let told = self.kept.with_prefix(&prefix, self.clock.wall().0);
            let told = told.unwrap_or_else(|error| {
                tracing::warn!(%booking, %error, "explanations could not be read");
                Vec::new()
            });
            // What another build wrote is not for this one to tell.
            told.iter().rev().filter_map(|story| codec::decode(story).ok()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use ledger::MemoryPages;
    use proto::{NodeId, Slot, WallMs};

    fn story(term: u64) -> Explanation {
        Explanation { node: NodeId(1), term, searches: Vec::new(), forgotten: 0, under_way: false }
    }

    #[tokio::test]
    async fn a_story_is_kept_for_each_term_and_dropped_where_too_many_wait() {
        let clock = Arc::new(SystemClock::new());
        let book = StoryBook::open(Box::new(MemoryPages::default()), clock).unwrap();
        let booking = |n| BookingId::mint(Slot(1), WallMs(1), n);
        for term in [3, 4] {
            book.keep(booking(1), story(term));
        }
        for n in 0..QUEUE_MAX as u64 {
            book.keep(booking(2 + n), story(1));
        }
        assert_eq!(book.dropped(), 2);
        let writer = tokio::spawn(Arc::clone(&book).run());
        while book.kept(booking(2)).await.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(book.kept(booking(1)).await, [story(3), story(4)]);
        writer.abort();
    }
}
