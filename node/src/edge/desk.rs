//! What is done for one gateway: its pings in groups, its looks around one by one, in order.

use crate::auth::Identity;
use crate::http::{self, App, Asker};
use crate::metrics::KindLabels;
use crate::pings::Lane;
use actors::runtime::{Nearby, Wanted};
use prometheus_client::metrics::counter::Counter;
use proto::code::Refusal;
use proto::edge::{BadBody, Found, Frame, Kind, Near, Pinged, Refused, Spotted};
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Ping, PingCounts, Seek};
use proto::{Code, WallMs};
use std::time::Duration;
use tokio::time::timeout;

/// The most pings that are applied at once; a frame that does not fit begins the next group.
const GROUP_MAX: usize = 4_096;
/// How long a look around may take. Each owner has far less.
const NEAR_WITHIN: Duration = Duration::from_secs(1);

/// A frame whose pings are in the group.
struct Taken {
    number: u32,
    /// Its pings end here.
    end: usize,
    /// Those that were none.
    bad: u32,
}

/// One gateway's frames, and the answers to them.
pub(super) struct Desk {
    pub(super) app: App,
    asker: Asker,
    lane: Lane,
    pings: Vec<Ping>,
    frames: Vec<Taken>,
    /// Answers that were not written yet.
    pub(super) answers: Vec<u8>,
    counted: [Counter; 3],
}

impl Desk {
    pub(super) fn new(app: &App, asker: Asker) -> Self {
        let counted = ["pings", "near", "refused"]
            .map(|kind| app.metrics.edge_frames.get_or_create(&KindLabels { kind }).clone());
        Self {
            app: app.clone(),
            asker,
            lane: app.pings.lane(),
            pings: Vec::new(),
            frames: Vec::new(),
            answers: Vec::new(),
            counted,
        }
    }

    /// Whether this gateway may go on here.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.asker.until.is_some_and(|until| until < self.app.clock.wall()) {
            return Err(Refusal::new(Code::Unauthenticated, "the token has run out"));
        }
        self.app.facts.serves().map_err(|why| Refusal::new(Code::NotReady, why))
    }

    /// Does what a frame asks, or puts it into the group that [`settle`](Self::settle) applies; or
    /// refuses it. Whether it did not.
    pub(super) async fn take(&mut self, frame: &Frame<'_>, now: WallMs) -> bool {
        let number = frame.number;
        let done = match self.understand(frame) {
            Ok(Wish::Pings) => self.gather(frame, now).await,
            Ok(Wish::Near(near)) => {
                self.settle().await;
                self.look(number, near).await
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = done else { return true };
        // Answers come in the order of the frames.
        self.settle().await;
        Refused::of(&refusal).put(number, &mut self.answers);
        self.counted[2].inc();
        false
    }

    fn understand(&self, frame: &Frame<'_>) -> Result<Wish, Refusal> {
        match frame.kind().map_err(refusal)? {
            Kind::Pings => Ok(Wish::Pings),
            Kind::Near => {
                self.asker.identity.oversees().map_err(|problem| problem.refusal)?;
                Ok(Wish::Near(Near::get(frame.body).map_err(refusal)?))
            }
            Kind::Hello | Kind::Welcome | Kind::Pinged | Kind::Found | Kind::Refused => {
                Err(refusal(BadBody::Kind(frame.kind_byte)))
            }
        }
    }

    /// Takes a frame's pings into the group.
    async fn gather(&mut self, frame: &Frame<'_>, now: WallMs) -> Result<(), Refusal> {
        let more = frame.pings().map_err(refusal)?.len();
        may_say(self.asker.identity, frame)?;
        if let Identity::Driver(driver) = self.asker.identity {
            self.app.rates.admit_pings(driver, more)?;
        }
        if self.pings.len() + more > GROUP_MAX {
            self.settle().await;
        }
        let bad = decode(frame, http::latest(now), &mut self.pings)?;
        self.frames.push(Taken { number: frame.number, end: self.pings.len(), bad });
        self.counted[0].inc();
        Ok(())
    }

    /// Applies the group and answers its frames.
    pub(super) async fn settle(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        let fates = self.lane.apply(&self.pings).await;
        let (mut start, mut bad_in_all) = (0, 0);
        for Taken { number, end, bad } in self.frames.drain(..) {
            let mut counts: PingCounts = fates[start..end].iter().copied().collect();
            counts.refused += bad;
            Pinged(counts).put(number, &mut self.answers);
            (start, bad_in_all) = (end, bad_in_all + bad);
        }
        self.pings.clear();
        self.app.metrics.ping("refused", bad_in_all.into());
    }

    /// Answers a look around.
    async fn look(&mut self, number: u32, near: Near) -> Result<(), Refusal> {
        let Near { center, radius_m, max, free_only, kind, seats, capabilities, fresh_ms } = near;
        http::within_sight(radius_m, max).map_err(|problem| problem.refusal)?;
        let need = kind.map(|kind| Need { kind, capabilities, seats });
        let (fresh_ms, seek) = ((fresh_ms > 0).then_some(fresh_ms), Seek::free_only(free_only));
        let wanted = Wanted { center, radius_m, need, seek, max, fresh_ms, within_ms: 0 };
        let searched = timeout(NEAR_WITHIN, self.app.router.nearby(wanted)).await;
        let late = || Refusal::new(Code::Retry, "the search took too long");
        let Nearby { candidates, partial, .. } = searched.map_err(|_| late())??;
        let partial = partial || self.app.facts.ready().is_err();
        let drivers = candidates.into_iter().map(spotted).collect();
        Found { partial, drivers }.put(number, &mut self.answers);
        self.counted[1].inc();
        Ok(())
    }
}

/// What a frame asks for.
enum Wish {
    Pings,
    Near(Near),
}

/// A frame that makes no sense is refused so.
pub(crate) fn refusal(bad: BadBody) -> Refusal {
    Refusal::new(bad.code(), bad.to_string())
}

/// Whether somebody may say where the drivers of a frame are; they are looked at only where it may
/// depend on who they are.
pub(crate) fn may_say(identity: Identity, frame: &Frame<'_>) -> Result<(), Refusal> {
    match identity {
        Identity::Believed | Identity::Gateway | Identity::Operator => Ok(()),
        Identity::Rider(_) | Identity::Driver(_) => {
            // Pings that make no sense are refused one by one, later.
            for ping in frame.pings().map_err(refusal)?.flatten() {
                identity.owns_driver(ping.driver).map_err(|problem| problem.refusal)?;
            }
            Ok(())
        }
    }
}

/// Appends the pings of a frame, those of the future as measured at the latest time that is
/// believed. How many there were that make no sense.
pub(crate) fn decode(
    frame: &Frame<'_>,
    latest: WallMs,
    to: &mut Vec<Ping>,
) -> Result<u32, Refusal> {
    let mut bad = 0;
    for ping in frame.pings().map_err(refusal)? {
        match ping {
            Ok(ping) => to.push(Ping { at: ping.at.min(latest), ..ping }),
            Err(_) => bad += 1,
        }
    }
    Ok(bad)
}

fn spotted(candidate: Candidate) -> Spotted {
    let Candidate { driver, point, at, distance_m, status, .. } = candidate;
    Spotted { driver, point, distance_m, at, status, kind: None }
}
