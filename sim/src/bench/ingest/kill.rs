//! A node that owns cells is killed while positions go in: how long until its cells answer again, as
//! searches through the other nodes see it, and which pings were lost meanwhile. The cars stand, so
//! that a place answers in full again when everybody is there who was there before. A car that drove
//! off while its phone changed from one node to another is seen where it was until that is too old,
//! so the cars stand for longer than positions are fresh before it is counted who is where.

use super::super::BenchError;
use super::super::converse::{Manner, Phase};
use super::super::edge::{self, senseless};
use super::super::load::{Fates, Pinging, Under, WRITE_AT};
use super::super::progress::wait;
use super::super::series::took_ms;
use super::super::traffic::Area;
use super::super::verify::near;
use super::{Bench, Plan};
use crate::dice::Dice;
use crate::stats::Spread;
use proto::client::edge::EdgeClient;
use proto::edge::Near;
use proto::units::Clock;
use proto::{DriverId, MonoMs, NodeId, Point};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Places in cells of the node that is killed; each is searched by a connection of its own.
const PLACES: usize = 32;
/// Places by chance until so many are found: with seven nodes each has one of seven.
const TRIES_MAX: usize = 2_000;
/// How far a search looks, in metres, and how many drivers it wants.
const RADIUS_M: u32 = 800;
const MOST: u16 = 200;
/// Between two searches of a place.
const PAUSE: Duration = Duration::from_millis(20);
/// A place that does not answer again for so long is counted as lost.
const GIVE_UP_MS: u64 = 30_000;
/// So long the cars stand before anything is counted: positions are fresh for ten seconds.
const STAND: Duration = Duration::from_secs(12);
/// Pings a second if nothing is said.
const RATE: u32 = 100_000;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Killed {
    /// Pings a second that went in.
    pub rate: u32,
    /// How often each driver pinged, in milliseconds.
    pub ping_period_ms: f64,
    /// Places in the dead node's cells.
    pub places: usize,
    /// From the kill until a place answered in full again: the median, in milliseconds.
    pub again_p50_ms: f64,
    /// The last of them.
    pub again_max_ms: f64,
    /// Places that did not answer again within half a minute.
    pub never: usize,
    /// Pings that were lost; later ones superseded them.
    pub lost: u64,
    /// The longest that a frame of pings waited for its answer, in milliseconds.
    pub longest_ack_ms: f64,
    /// The longest that a search took, in milliseconds.
    pub longest_search_ms: f64,
}

impl Killed {
    /// For people.
    pub(super) fn line(&self) -> String {
        let Self { rate, ping_period_ms, places, again_p50_ms, again_max_ms, never, .. } = self;
        format!(
            "a node killed under {rate} pings/s, one in {ping_period_ms:.0} ms a driver: {places} \
             places in its cells answered in full again after {again_p50_ms:.0} ms (median), \
             {again_max_ms:.0} ms (last), {never} never; {} pings lost, the longest answer to a \
             frame took {:.0} ms, to a search {:.0} ms",
            self.lost, self.longest_ack_ms, self.longest_search_ms
        )
    }
}

/// A place in the dead node's cells.
struct Place {
    client: EdgeClient,
    near: Near,
    before: BTreeSet<DriverId>,
}

impl Place {
    async fn open(at: SocketAddr, center: Point) -> Result<Self, BenchError> {
        let mut client = EdgeClient::connect(at, None).await.map_err(senseless)?;
        let near = Near { fresh_ms: 0, ..near(center, RADIUS_M, MOST) };
        let found = client.near(&near).await.map_err(senseless)?;
        Ok(Self { client, near, before: found.drivers.iter().map(|one| one.driver).collect() })
    }

    /// Searches until the place answers in full: when, and how long the slowest search took.
    async fn again(
        mut self,
        clock: Arc<dyn Clock>,
        killed: MonoMs,
    ) -> Result<(Option<u64>, u64), BenchError> {
        let mut slowest_ms = 0;
        loop {
            let began = clock.mono();
            let found = self.client.near(&self.near).await.map_err(senseless)?;
            let now = clock.mono();
            slowest_ms = slowest_ms.max(now.since(began));
            let there: BTreeSet<DriverId> = found.drivers.iter().map(|one| one.driver).collect();
            if !found.partial && there.is_superset(&self.before) {
                return Ok((Some(now.since(killed)), slowest_ms));
            }
            if now.since(killed) > GIVE_UP_MS {
                return Ok((None, slowest_ms));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Bench<'_> {
    /// Kills the last node under load, and starts it again.
    pub(super) async fn kill(&mut self, drivers: usize) -> Result<Killed, BenchError> {
        let batch = usize::from(self.args.batch);
        let plan = Plan { drivers, batch, skew_pct: 0 };
        let victim = usize::from(self.args.nodes) - 1;
        let edges = self.stage.edges()[..victim].to_vec();
        let rate = self.args.rate.unwrap_or(RATE);
        let (phase, mut talks) = (Phase::default(), Vec::new());
        for (flock, number) in self.flocks(plan).into_iter().zip(0usize..) {
            let (stream, _) = edge::open(edges[number % edges.len()]).await?;
            talks.push((stream, Pinging::new(flock.parked(), batch, Arc::clone(self.clock))));
        }
        let frames = (batch * talks.len()).max(1) as f64;
        let window = usize::from(self.args.window);
        let manner = Manner { window, per_s: Some(f64::from(rate) / frames), write_at: WRITE_AT };
        let load = Under::load(talks, &manner, &phase, self.clock);
        let period_ms = drivers as f64 * 1_000.0 / f64::from(rate);
        let warm = Duration::from_secs_f64(2.0 * period_ms / 1_000.0).max(STAND);
        wait(warm, "killing a node under load: the cars stand").await;
        let places = self.places(&edges, victim).await?;
        phase.count(self.clock.precise_us());
        let killed = self.clock.mono();
        self.stage.kill(victim);
        let mut again = JoinSet::new();
        for place in places {
            again.spawn(place.again(Arc::clone(self.clock), killed));
        }
        let (mut after_ms, mut never, mut slowest_ms) = (Vec::new(), 0, 0);
        while let Some(came) = again.join_next().await {
            let came = came.map_err(senseless).flatten()?;
            slowest_ms = slowest_ms.max(came.1);
            match came.0 {
                Some(ms) => after_ms.push(ms as f64),
                None => never += 1,
            }
        }
        phase.end();
        let (talks, samples) = load.ended().await?;
        let mut fates = Fates::default();
        talks.iter().for_each(|talk| fates.add(talk.fates));
        self.at = talks.iter().map(|talk| talk.flock.at()).max().unwrap_or(self.at);
        self.stage.revive(victim).await?;
        let places = after_ms.len() + never;
        let Spread { p50, max, .. } = Spread::of(after_ms);
        Ok(Killed {
            rate,
            ping_period_ms: period_ms,
            places,
            again_p50_ms: p50,
            again_max_ms: max,
            never,
            lost: fates.lost,
            longest_ack_ms: took_ms(&samples).max,
            longest_search_ms: slowest_ms as f64,
        })
    }

    /// Places in cells of the node in a seat, each with a connection to another node.
    async fn places(&self, edges: &[SocketAddr], seat: usize) -> Result<Vec<Place>, BenchError> {
        let (mut dice, area) = (Dice::of(1, "places"), Area::city());
        let owner = NodeId(seat as u64 + 1);
        let mut places = Vec::new();
        for _ in 0..TRIES_MAX {
            let (lat, lng) = area.anywhere(&mut dice);
            let center = Point::from_e7(lat, lng).map_err(senseless)?;
            if self.stage.owner(center).await? != Some(owner) {
                continue;
            }
            places.push(Place::open(edges[places.len() % edges.len()], center).await?);
            if places.len() == PLACES {
                break;
            }
        }
        match places.is_empty() {
            true => Err(BenchError::Talk("the node to be killed owns no cells".into())),
            false => Ok(places),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_how_long_it_took_and_what_was_lost() {
        let killed = Killed { again_max_ms: 1_900.0, never: 2, lost: 77, ..Killed::default() };
        let line = killed.line();
        for part in ["1900 ms (last)", "2 never", "77 pings lost"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}
