//! What a queue's keeper looks at: the cells of its zone, and drivers' records.

use crate::policy::Policy;
use crate::queue::watch::{Sight, Word};
use crate::runtime::{Runtime, Wanted};
use futures_util::future::join_all;
use proto::record::ask::GetDriver;
use proto::record::cell::{Candidate, Seek};
use proto::record::queue::QUEUE_MAX;
use proto::{DriverId, ZoneId};

/// How far around a zone is looked, in metres, so that whoever leaves is seen outside: a minute of
/// walking pace, ten looks of a car's.
const OUTSKIRTS_M: u32 = 500;
/// Cars that are looked at: everybody who may wait, and as many on their way through.
const SIGHTS_MAX: usize = 2 * QUEUE_MAX;
/// How long a record may take, in milliseconds: a healthy partition answers in a few, a machine with
/// much else to do takes its time, and no driver's turn should be lost by it.
const READ_MS: u32 = 400;

impl Runtime {
    /// The cars in and around a zone, and whether all cells there have answered.
    pub(super) async fn sights(&self, policy: &Policy, zone: ZoneId) -> (Vec<Sight>, bool) {
        let zones = &policy.queue_zones;
        let Some((center, radius_m)) = zones.circle(zone) else { return (Vec::new(), true) };
        let wanted = Wanted {
            center,
            radius_m: radius_m.saturating_add(OUTSKIRTS_M),
            need: None,
            seek: Seek::All,
            max: u16::try_from(SIGHTS_MAX).unwrap_or(u16::MAX),
            fresh_ms: None,
            within_ms: 0,
        };
        let nearby = self.nearby(wanted).await;
        let sight = |Candidate { driver, point, at, status, version, .. }| {
            let inside = zones.at(point).is_some_and(|around| around.id() == zone);
            Sight { driver, point, at, inside, status, version }
        };
        (nearby.candidates.into_iter().map(sight).collect(), !nearby.partial)
    }

    /// What the records of some drivers say, all asked for at once.
    pub(super) async fn words(&self, drivers: Vec<DriverId>) -> Vec<(DriverId, Option<Word>)> {
        let asks =
            drivers.into_iter().map(|driver| async move { (driver, self.word(driver).await) });
        join_all(asks).await
    }

    /// What a driver's record says; nothing if it does not come in time.
    pub(super) async fn word(&self, driver: DriverId) -> Option<Word> {
        let context = self.background().within_ms(READ_MS);
        let record = self.world().router.ask(GetDriver { driver }, context).await;
        record.ok().map(|record| Word::from(&record))
    }
}
