//! Is every driver where his last ping said? Each is searched for at that very place.

use super::BenchError;
use super::converse::{Manner, Phase, Talk};
use super::edge::{self, answer, first, senseless};
use super::load::{Under, WRITE_AT, next};
use super::progress::Steps;
use super::traffic::Car;
use proto::Point;
use proto::edge::{Found, Kind, Near};
use proto::record::driver::Capabilities;
use proto::units::Clock;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Positions older than this are not asked for; all are younger.
pub(super) const FRESH_MS: u32 = 60_000;
/// Who is not found is asked for again after so long: his partition may have been asked just then
/// how he stands.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const TRIES: usize = 3;
/// Connections, and questions unanswered on each.
const CONNECTIONS: usize = 4;
const WINDOW: usize = 32;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Drivers who were searched for.
    pub drivers: usize,
    /// Those who were not where their last ping said.
    pub misplaced: usize,
}

/// A search that sees everybody within a radius.
pub(super) fn near(center: Point, radius_m: u32, max: u16) -> Near {
    Near {
        center,
        radius_m,
        max,
        free_only: false,
        kind: None,
        seats: 0,
        capabilities: Capabilities::default(),
        fresh_ms: FRESH_MS,
    }
}

struct Seeking {
    cars: Vec<Car>,
    asked: usize,
    heard: usize,
    number: u32,
    missing: Vec<Car>,
    steps: Steps,
}

impl Talk for Seeking {
    fn ask(&mut self, to: &mut Vec<u8>) -> bool {
        let Some(car) = self.cars.get(self.asked) else { return false };
        self.asked += 1;
        self.number = next(self.number);
        near(car.point(), 1, 50).put(self.number, to);
        true
    }
    fn hear(&mut self, heard: &[u8], _: bool) -> Result<Option<(usize, u32)>, BenchError> {
        let Some(frame) = first(heard)? else { return Ok(None) };
        let (_, body) = answer(&frame, Kind::Found)?;
        let found = Found::get(body).map_err(senseless)?;
        if let Some(car) = self.cars.get(self.heard) {
            let there =
                |one: &proto::edge::Spotted| one.driver == car.driver && one.point == car.point();
            if !found.drivers.iter().any(there) {
                self.missing.push(*car);
            }
        }
        self.heard += 1;
        self.steps.up();
        Ok(Some((frame.size(), 1)))
    }
}

/// Searches for all of them, over any node.
pub(super) async fn verify(
    edges: &[SocketAddr],
    cars: Vec<Car>,
    clock: &Arc<dyn Clock>,
) -> Result<Verified, BenchError> {
    let drivers = cars.len();
    let mut left = cars;
    for attempt in 0..TRIES {
        if left.is_empty() {
            break;
        }
        if attempt > 0 {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        left = seek(edges, left, clock).await?;
    }
    Ok(Verified { drivers, misplaced: left.len() })
}

/// Those who are not found.
async fn seek(
    edges: &[SocketAddr],
    cars: Vec<Car>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Car>, BenchError> {
    let steps = Steps::new(cars.len() as u64, "searching for every driver at his last position");
    let mut talks = Vec::new();
    let mut window = WINDOW;
    for part in cars.chunks(cars.len().div_ceil(CONNECTIONS).max(1)) {
        let (stream, most) = edge::open(edges[talks.len() % edges.len()]).await?;
        window = window.min(most);
        let (missing, steps) = (Vec::new(), steps.clone());
        let seeking = Seeking { cars: part.into(), asked: 0, heard: 0, number: 0, missing, steps };
        talks.push((stream, seeking));
    }
    let manner = Manner { window, per_s: None, write_at: WRITE_AT };
    let (talks, _) = Under::load(talks, &manner, &Phase::default(), clock).ended().await?;
    Ok(talks.into_iter().flat_map(|talk| talk.missing).collect())
}

#[cfg(test)]
mod tests {
    use super::super::traffic::Flock;
    use super::*;
    use proto::edge::Spotted;
    use proto::record::driver::DriverStatus;
    use proto::{DriverId, WallMs};

    #[test]
    fn only_who_is_exactly_there_is_found() {
        let drivers: Vec<DriverId> = (0..3).map(DriverId::from_raw).collect();
        let cars = Flock::spread(&drivers, 1, 0, 1).remove(0).cars().to_vec();
        let (missing, steps) = (Vec::new(), Steps::new(3, "a test"));
        let mut talk =
            Seeking { cars: cars.clone(), asked: 0, heard: 0, number: 0, missing, steps };
        let mut out = Vec::new();
        while talk.ask(&mut out) {}
        let spotted = |driver, point| Spotted {
            driver,
            point,
            distance_m: 0,
            at: WallMs(1),
            status: DriverStatus::Free,
            kind: None,
        };
        let beside = Point::from_e7(1, 1).unwrap();
        for drivers in [
            vec![spotted(cars[0].driver, cars[0].point())],
            vec![spotted(cars[1].driver, beside), spotted(cars[0].driver, cars[1].point())],
            vec![],
        ] {
            let mut heard = Vec::new();
            Found { partial: false, drivers }.put(1, &mut heard);
            assert_eq!(talk.hear(&heard, false).unwrap(), Some((heard.len(), 1)));
        }
        let missing: Vec<DriverId> = talk.missing.iter().map(|car| car.driver).collect();
        assert_eq!(missing, [cars[1].driver, cars[2].driver]);
    }
}
