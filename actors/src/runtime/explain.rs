//! What this node can tell of how it looked for a booking's driver: a row for each attempt, for the
//! record; and all of it, from the shell that still looks or from what was kept when it ended.

use super::Runtime;
use super::booking::{self, Running, Shell};
use crate::dispatch::Step;
use proto::record::explain::Explanation;
use proto::record::{Attempt, AttemptStatus};
use proto::{BookingId, MonoMs, WallMs};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a shell may take to tell; it may be in the middle of a commit.
const TELL_WITHIN: Duration = Duration::from_millis(300);

impl Shell {
    /// How dispatch went so far, as the record has it.
    pub(super) fn attempts(&self, running: &Running) -> Vec<Attempt> {
        let world = self.runtime.world();
        let (mono, wall) = (world.clock.mono(), world.clock.wall());
        let at = |then: MonoMs| WallMs(wall.0.saturating_sub(mono.since(then)));
        let row = |step: &Step| Attempt {
            number: step.number,
            radius_m: step.radius_m,
            candidates_found: step.candidates_found,
            started_at: at(step.began_at),
            ended_at: step.ended_at.map(at),
            node: world.node,
            term: running.term,
            status: AttemptStatus::Searching,
            error: None,
        };
        running.dispatch.steps().iter().map(row).collect()
    }

    pub(super) fn story(&self, running: &Running, under_way: bool) -> Explanation {
        let (searches, forgotten) = running.dispatch.searches();
        let (node, term) = (self.runtime.world().node, running.term);
        Explanation { node, term, searches, forgotten, under_way }
    }

    pub(super) fn keep_story(&self, running: &Running) {
        self.runtime.world().stories.keep(self.id, self.story(running, false));
    }
}

impl Runtime {
    /// All that this node knows of a booking, once for each term in which it looked.
    pub(super) async fn explain(&self, booking: BookingId) -> Vec<Explanation> {
        let mut told = self.world().stories.kept(booking).await;
        let (reply, answer) = oneshot::channel();
        if self.0.bookings.tell_living(booking, booking::Message::Explain(reply))
            && let Ok(Ok(living)) = timeout(TELL_WITHIN, answer).await
        {
            told.retain(|kept| kept.term != living.term);
            told.push(living);
        }
        told
    }
}
