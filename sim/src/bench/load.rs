//! Connections under one load, measured from outside: what they did, and what it cost.

use super::BenchError;
use super::converse::{Conversation, Manner, Phase, Talk, converse};
use super::edge::{answer, first, senseless};
use super::machine::Usage;
use super::progress::wait;
use super::series::Sample;
use super::traffic::Flock;
use proto::edge::{Kind, Pinged, put};
use proto::record::cell::PingCounts;
use proto::units::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Written at once, in bytes: some hundred frames of 64 pings.
pub(super) const WRITE_AT: usize = 128 << 10;

/// Conversations that go on.
pub(super) struct Under<T>(JoinSet<Result<Conversation<T>, BenchError>>);

impl<T: Talk> Under<T> {
    /// Begins them.
    pub(super) fn load(
        talks: Vec<(TcpStream, T)>,
        manner: &Manner,
        phase: &Phase,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let mut all = JoinSet::new();
        for (stream, talk) in talks {
            all.spawn(converse(stream, talk, manner.clone(), phase.clone(), Arc::clone(clock)));
        }
        Self(all)
    }

    /// Waits until all have ended: what they said, and every answer that counts.
    pub(super) async fn ended(mut self) -> Result<(Vec<T>, Vec<Sample>), BenchError> {
        let (mut talks, mut samples) = (Vec::new(), Vec::new());
        while let Some(done) = self.0.join_next().await {
            let done = done.map_err(|error| BenchError::Talk(error.to_string())).flatten()?;
            talks.push(done.talk);
            samples.extend(done.samples);
        }
        Ok((talks, samples))
    }
}

/// What was used while something was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) lasted_us: u64,
    pub(super) client_cpu_us: u64,
    pub(super) server_cpu_us: u64,
    pub(super) rss_start: u64,
    pub(super) rss_end: u64,
}

/// Lets a load warm up, measures it, and ends it.
pub(super) async fn span(
    phase: &Phase,
    (warm, lasts): (Duration, Duration),
    clock: &Arc<dyn Clock>,
    server: impl Fn() -> Usage,
    what: &str,
) -> Span {
    wait(warm, &format!("{what}: warming up")).await;
    let (mine, theirs, began) = (Usage::mine(), server(), clock.precise_us());
    phase.count(began);
    wait(lasts, what).await;
    let ended = clock.precise_us();
    let (mine_after, theirs_after) = (Usage::mine(), server());
    phase.end();
    Span {
        lasted_us: ended - began,
        client_cpu_us: mine_after.cpu_us.saturating_sub(mine.cpu_us),
        server_cpu_us: theirs_after.cpu_us.saturating_sub(theirs.cpu_us),
        rss_start: theirs.rss_bytes,
        rss_end: theirs_after.rss_bytes,
    }
}

/// The pings of a flock, in frames.
pub(super) struct Pinging {
    pub(super) flock: Flock,
    pub(super) batch: usize,
    pub(super) clock: Arc<dyn Clock>,
    /// How those fared that count.
    pub(super) fates: Fates,
    number: u32,
    expected: u32,
}

/// How pings fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) applied: u64,
    pub(super) stale: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
}

impl Fates {
    pub(super) fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.stale += other.stale;
        self.refused += other.refused;
        self.lost += other.lost;
    }
}

impl From<PingCounts> for Fates {
    fn from(PingCounts { applied, stale, refused, lost }: PingCounts) -> Self {
        let [applied, stale, refused, lost] = [applied, stale, refused, lost].map(u64::from);
        Self { applied, stale, refused, lost }
    }
}

impl Pinging {
    pub(super) fn new(flock: Flock, batch: usize, clock: Arc<dyn Clock>) -> Self {
        Self { flock, batch, clock, fates: Fates::default(), number: 0, expected: 0 }
    }
}

impl Talk for Pinging {
    fn ask(&mut self, to: &mut Vec<u8>) -> bool {
        self.number = next(self.number);
        let now = self.clock.wall();
        put(Kind::Pings, self.number, to, |to| self.flock.put(self.batch, now, to));
        true
    }
    fn hear(&mut self, heard: &[u8], counts: bool) -> Result<Option<(usize, u32)>, BenchError> {
        let Some(frame) = first(heard)? else { return Ok(None) };
        let (number, body) = answer(&frame, Kind::Pinged)?;
        self.expected = next(self.expected);
        if number != self.expected {
            let problem = format!("frame {number} was answered before {}", self.expected);
            return Err(BenchError::Talk(problem));
        }
        let Pinged(fared) = Pinged::get(body).map_err(senseless)?;
        if counts {
            self.fates.add(fared.into());
        }
        Ok(Some((frame.size(), fared.applied)))
    }
}

/// Frame numbers go round without ever being the connection's.
pub(super) const fn next(number: u32) -> u32 {
    if number >= u32::MAX - 1 { 0 } else { number + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::edge::CONNECTION;
    use proto::{DriverId, MonoMs, WallMs};

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn mono(&self) -> MonoMs {
            MonoMs(0)
        }
        fn wall(&self) -> WallMs {
            WallMs(7)
        }
    }

    #[test]
    fn a_frame_of_pings_is_asked_and_its_counts_are_heard() {
        let drivers: Vec<DriverId> = (0..10).map(DriverId::from_raw).collect();
        let flock = Flock::spread(&drivers, 1, 0, 1).remove(0);
        let mut talk = Pinging::new(flock, 10, Arc::new(Still));
        let mut sent = Vec::new();
        assert!(talk.ask(&mut sent));
        let frame = first(&sent).unwrap().unwrap();
        assert_eq!((frame.number, frame.pings().unwrap().len()), (1, 10));
        let mut heard = Vec::new();
        Pinged(PingCounts { applied: 8, stale: 1, refused: 1, lost: 0 }).put(1, &mut heard);
        assert_eq!(talk.hear(&heard[..20], true).unwrap(), None);
        assert_eq!(talk.hear(&heard, true).unwrap(), Some((heard.len(), 8)));
        assert_eq!(talk.fates, Fates { applied: 8, stale: 1, refused: 1, lost: 0 });
        assert!(talk.hear(&heard, true).is_err(), "the same answer twice");
    }

    #[test]
    fn no_frame_has_the_number_of_the_connection() {
        assert_eq!((next(0), next(CONNECTION - 2), next(CONNECTION - 1)), (1, CONNECTION - 1, 0));
    }
}
