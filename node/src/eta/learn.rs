//! Streets as fast as they are today. What phones recorded of their trips is cut into hops; a thread
//! of its own has the roads learn from them, and puts into effect what was learned, many at once.

use proto::Point;
use proto::record::trail::TrailPoint;
use roads::Roads;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// A hop takes so long, in milliseconds: shorter says more of a fix than of a street, of a longer one
/// nobody knows its way.
const HOP_MS: RangeInclusive<u64> = 15_000..=60_000;
/// A fix that may be farther off than this may be on another street, in metres.
const ACCURACY_MAX_M: u16 = 50;
/// Hops that wait; those beyond are not learned from. At some 0.3 ms each a tenth of a second's work.
const WAITING_MAX: usize = 256;

/// When what was learned is put into effect, which takes as long as learning it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat {
    /// After so many hops ...
    pub(super) hops: usize,
    /// ... or when none has come for so long.
    pub(super) quiet: Duration,
}

impl Beat {
    pub(super) const USUAL: Self = Self { hops: 1_000, quiet: Duration::from_secs(20) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hop {
    from: Point,
    to: Point,
    took_ms: u64,
}

/// The way to the thread that learns. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Learner(SyncSender<Hop>);

impl Learner {
    /// Starts the thread.
    pub(super) fn start(roads: Arc<Roads>, beat: Beat) -> std::io::Result<Self> {
        let (sender, hops) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("roads-learn".into());
        thread.spawn(move || learn(&roads, &hops, beat))?;
        Ok(Self(sender))
    }

    /// Takes what a phone recorded of a trip. What finds no room is dropped: the next trip will tell.
    pub(super) fn take(&self, trail: &[TrailPoint]) {
        for hop in hops(trail) {
            if self.0.try_send(hop).is_err() {
                return;
            }
        }
    }
}

fn learn(roads: &Roads, hops: &Receiver<Hop>, beat: Beat) {
    let mut learned = 0;
    loop {
        match hops.recv_timeout(beat.quiet) {
            // A drive that teaches nothing changes nothing.
            Ok(Hop { from, to, took_ms }) => {
                learned += usize::from(roads.observe(from, to, took_ms).is_ok());
            }
            Err(RecvTimeoutError::Timeout) if learned == 0 => {}
            Err(RecvTimeoutError::Timeout) => learned = beat.hops,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if learned >= beat.hops {
            roads.recustomize();
            tracing::debug!(hops = learned, "the streets are as fast as they were driven");
            learned = 0;
        }
    }
}

/// The hops of a trail, none overlapping another.
fn hops(trail: &[TrailPoint]) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut begun: Option<TrailPoint> = None;
    for fix in trail.iter().filter(|fix| fix.accuracy_m <= ACCURACY_MAX_M) {
        let took_ms = begun.map(|from| fix.recorded_at.0.saturating_sub(from.recorded_at.0));
        if let (Some(from), Some(took_ms)) = (begun, took_ms)
            && HOP_MS.contains(&took_ms)
        {
            hops.push(Hop { from: from.point, to: fix.point, took_ms });
        }
        if took_ms.is_none_or(|took_ms| took_ms >= *HOP_MS.start()) {
            begun = Some(*fix);
        }
    }
    hops
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::WallMs;

    fn fix(lng: f64, s: u64, accuracy_m: u16) -> TrailPoint {
        let point = Point::from_degrees(41.0, lng).unwrap();
        TrailPoint { point, recorded_at: WallMs(1_000_000 + s * 1_000), accuracy_m }
    }

    #[test]
    fn a_trail_is_cut_into_hops_that_say_something_of_streets() {
        let trail = [
            fix(0.0, 0, 5),
            fix(0.1, 10, 5),   // too soon
            fix(0.2, 20, 5),   // the first hop
            fix(0.3, 30, 200), // who knows where
            fix(0.4, 40, 5),   // the second
            fix(0.5, 140, 5),  // after a gap: a new beginning
            fix(0.6, 130, 5),  // out of order
            fix(0.7, 170, 5),  // the third
        ];
        let hop = |from: f64, to: f64, took_ms| {
            let at = |lng| Point::from_degrees(41.0, lng).unwrap();
            Hop { from: at(from), to: at(to), took_ms }
        };
        let expected = [hop(0.0, 0.2, 20_000), hop(0.2, 0.4, 20_000), hop(0.5, 0.7, 30_000)];
        assert_eq!(hops(&trail), expected);
        assert_eq!(hops(&[]), []);
    }
}
