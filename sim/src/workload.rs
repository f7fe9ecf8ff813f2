//! The city at work: registers everybody, opens the drivers' sockets, starts the city's clock, lets
//! each rider ask at his time, and waits until the last one has his answer.
//!
//! Everything is a task on one runtime: 4,500 drivers are 9,000 tasks and 4,500 sockets, no
//! threads. The nodes are real processes or, in tests, a fake; the city sees addresses only.

use crate::city::City;
use crate::client::{Answer, Ask, Client};
use crate::dice::Dice;
use crate::driver::{self, Me};
use crate::history::{History, What};
use crate::pace::Pace;
use crate::rider;
use crate::roads::Roads;
use crate::tally::Tally;
use crate::wire;
use futures_util::stream::{self, StreamExt};
use proto::units::Clock;
use proto::{DriverId, RiderId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How people and cars behave. Times are city time unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// City seconds in a wall second.
    pub speed: f64,
    /// How long a rider waits for a driver to be found.
    pub patience_ms: u64,
    /// How long a driver looks at an offer before he answers: from, to.
    pub think_ms: (u64, u64),
    /// How probably he says yes.
    pub acceptance: f64,
    /// How long getting in takes, and getting out.
    pub boarding_ms: u64,
    /// How often a phone reports its position, if the wall clock allows.
    pub ping_ms: u64,
}

impl Habits {
    /// The habits behind the published results, and an ordinary phone.
    pub fn usual(speed: f64) -> Self {
        Self {
            speed,
            patience_ms: 300_000,
            think_ms: (1_000, 4_000),
            acceptance: 1.0,
            boarding_ms: 30_000,
            ping_ms: 4_000,
        }
    }

    /// The ping period in wall time: scaled with the city, at most a second (an index must not
    /// work with older positions), and so long that the whole fleet stays below
    /// 5,000 pings a second.
    pub fn ping_period(&self, fleet: usize) -> Duration {
        let scaled_s = self.ping_ms as f64 / 1000.0 / self.speed;
        let crowd_s = fleet as f64 / PINGS_PER_SECOND_MAX;
        Duration::from_secs_f64(scaled_s.max(crowd_s).clamp(PING_PERIOD_MIN_S, 1.0))
    }
}

/// What one process that shares two cores with the cluster should send at most.
const PINGS_PER_SECOND_MAX: f64 = 5_000.0;
/// More often than this a position is not news even in a city at 60 times its speed.
const PING_PERIOD_MIN_S: f64 = 0.25;

/// What every client shares.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) nodes: Arc<[SocketAddr]>,
    pub(crate) history: Arc<History>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) pace: Pace,
    pub(crate) roads: Roads,
    pub(crate) habits: Habits,
    pub(crate) ping_period: Duration,
}

/// Registrations under way at once while the city is built.
const BUILDERS: usize = 64;
/// How long the fleet may take to open its sockets; protocol time.
const SOCKETS_WITHIN_MS: u64 = 30_000;
/// After the last rider has asked, how long nothing may happen (no car under way, no answer, not
/// even a retry) before the run is called stuck: a patience, in city time, and this, in wall time,
/// which is three times what a killed node is away.
const QUIET_MS: u64 = 15_000;
/// How often that is looked at.
const QUIET_LOOK: Duration = Duration::from_millis(250);

/// Why the city could not run. What the cluster does wrong is not here: that is the verdict's.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The HTTP client could not be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// Before the first ride, somebody was refused.
    #[error("{request} was refused with {status} {code}: {detail}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Stable code.
        code: String,
        /// The same in a sentence.
        detail: String,
    },
    /// Before the first ride, somebody got no answer.
    #[error("{request} got no final answer")]
    Unsettled {
        /// Method and path.
        request: String,
    },
    /// The drivers' sockets did not open.
    #[error("only {open} of {wanted} drivers' sockets opened")]
    Sockets {
        /// How many did.
        open: u64,
        /// How many should.
        wanted: usize,
    },
}

/// A city with its people registered and its cars reporting, about to start its clock.
#[derive(Debug)]
pub struct Workload {
    client: Client,
    nodes: Arc<[SocketAddr]>,
    history: Arc<History>,
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
    habits: Habits,
    seed: u64,
}

/// Who was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People {
    /// In the order of the fleet.
    pub(crate) drivers: Vec<DriverId>,
    /// In the order of the requests.
    pub(crate) riders: Vec<RiderId>,
}

impl Workload {
    /// A workload for a cluster that answers at these addresses.
    pub fn new(
        nodes: Vec<SocketAddr>,
        history: Arc<History>,
        tally: Arc<Tally>,
        clock: Arc<dyn Clock>,
        habits: Habits,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let nodes: Arc<[SocketAddr]> = nodes.into();
        let client = Client::new(Arc::clone(&nodes), Arc::clone(&tally), Arc::clone(&clock))?;
        Ok(Self { client, nodes, history, tally, clock, habits, seed })
    }

    /// The HTTP client, for reading back.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Registers everybody and puts the drivers on duty.
    pub async fn register(&self, city: &City) -> Result<People, WorkloadError> {
        let drivers = stream::iter(0..city.fleet.len())
            .map(|i| self.register_driver(i))
            .buffered(BUILDERS)
            .collect::<Vec<_>>()
            .await;
        let riders = stream::iter(0..city.requests.len())
            .map(|i| self.register_rider(i))
            .buffered(BUILDERS)
            .collect::<Vec<_>>()
            .await;
        let drivers = drivers.into_iter().collect::<Result<_, _>>()?;
        let riders = riders.into_iter().collect::<Result<_, _>>()?;
        Ok(People { drivers, riders })
    }

    async fn must<T: serde::de::DeserializeOwned>(
        &self,
        ask: Ask,
        dice: &mut Dice,
    ) -> Result<T, WorkloadError> {
        match self.client.ask(&ask, dice).await {
            Answer::Done(value) => Ok(value),
            Answer::Refused(refused) => Err(WorkloadError::Refused {
                request: ask.name(),
                status: refused.status,
                code: refused.code,
                detail: refused.detail,
            }),
            Answer::Unsettled => Err(WorkloadError::Unsettled { request: ask.name() }),
        }
    }

    async fn register_driver(&self, number: usize) -> Result<DriverId, WorkloadError> {
        let name = format!("driver {number}");
        let mut dice = Dice::of(self.seed, &format!("register {name}"));
        let body = serde_json::json!({
            "name": name, "city_id": 1, "kyc_verified": true,
            "vehicle": { "type": "SEDAN", "seats": 4, "capabilities": [], "plate": format!("H {number}") },
        });
        let ask = Ask::post("/v1/drivers", body.to_string(), &mut dice);
        let driver: wire::Driver = self.must(ask, &mut dice).await?;
        let id = driver.driver_id;
        let ask = Ask::post(format!("/v1/drivers/{id}/online"), "{}".into(), &mut dice);
        let _on_duty: wire::Driver = self.must(ask, &mut dice).await?;
        self.history.note(What::DriverAcked { driver: id });
        self.tally.drivers.up();
        Ok(id)
    }

    async fn register_rider(&self, number: usize) -> Result<RiderId, WorkloadError> {
        let name = format!("rider {number}");
        let mut dice = Dice::of(self.seed, &format!("register {name}"));
        let body = serde_json::json!({ "name": name }).to_string();
        let ask = Ask::post("/v1/riders", body, &mut dice);
        let rider: wire::Rider = self.must(ask, &mut dice).await?;
        self.tally.riders.up();
        Ok(rider.rider_id)
    }

    /// Opens the drivers' sockets, waits until all have reported, and starts the city's clock.
    pub async fn open(self, city: City, people: &People) -> Result<OpenCity, WorkloadError> {
        let ping_period = self.habits.ping_period(city.fleet.len());
        let wanted = city.fleet.len();
        let world = Arc::new(World {
            client: self.client,
            nodes: self.nodes,
            history: self.history,
            tally: self.tally,
            pace: Pace::start(Arc::clone(&self.clock), self.habits.speed),
            roads: city.roads,
            habits: self.habits,
            ping_period,
        });
        let mut fleet = JoinSet::new();
        for ((driver, stands_at), number) in people.drivers.iter().zip(&city.fleet).zip(0usize..) {
            let me = Arc::new(Me::new(*driver, *stands_at));
            let dice = Dice::of(self.seed, &format!("driver {number}"));
            driver::start(&world, &me, dice, &mut fleet);
        }
        let began = self.clock.mono();
        while world.tally.sockets.get() < wanted as u64 {
            if self.clock.mono().since(began) > SOCKETS_WITHIN_MS {
                return Err(WorkloadError::Sockets { open: world.tally.sockets.get(), wanted });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Every phone has sent its first position within one period; a second one settles it.
        tokio::time::sleep(ping_period * 2).await;
        let asks = city.requests.into_iter().zip(people.riders.iter().copied()).collect();
        Ok(OpenCity { world, fleet, asks, clock: self.clock, seed: self.seed })
    }
}

/// A city whose cars stand ready.
#[derive(Debug)]
pub struct OpenCity {
    world: Arc<World>,
    fleet: JoinSet<()>,
    asks: Vec<(crate::city::Request, RiderId)>,
    clock: Arc<dyn Clock>,
    seed: u64,
}

/// How the demand went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ended {
    /// From the first request to the end, in wall milliseconds.
    pub wall_ms: u64,
    /// Riders who were still waiting for something when the run was called stuck.
    pub stuck_riders: usize,
}

impl OpenCity {
    /// Lets every rider ask at his time and waits for all of them. Returns with all clients
    /// stopped, so that what is read back afterwards stands still.
    pub async fn run(mut self) -> Ended {
        let begin = self.clock.mono();
        // Cars have stood and pinged since `open`; riders count from now.
        let day = Pace::start(Arc::clone(&self.clock), self.world.habits.speed);
        let mut riders = JoinSet::new();
        for ((request, rider), number) in self.asks.into_iter().zip(0usize..) {
            day.until(request.at).await;
            let late_city_ms = day.now().0.saturating_sub(request.at.0);
            let late = u64::try_from(day.wall_of(late_city_ms).as_millis()).unwrap_or(u64::MAX);
            self.world.tally.late_ms.at_least(late);
            let dice = Dice::of(self.seed, &format!("rider {number}"));
            riders.spawn(rider::ride(Arc::clone(&self.world), rider, request, dice));
            // Keeps the set small: thousands have left by the end of the hour.
            while riders.try_join_next().is_some() {}
        }
        let patience = day.wall_of(self.world.habits.patience_ms);
        let quiet_ms = QUIET_MS + u64::try_from(patience.as_millis()).unwrap_or(u64::MAX / 2);
        let (mut signs, mut since) = (self.world.tally.signs_of_life(), self.clock.mono());
        while !riders.is_empty() && self.clock.mono().since(since) < quiet_ms {
            // A timeout is as good as somebody leaving: both lead to another look.
            let _left = tokio::time::timeout(QUIET_LOOK, riders.join_next()).await;
            let now = self.world.tally.signs_of_life();
            if now != signs || self.world.tally.on_trip.get() > 0 {
                (signs, since) = (now, self.clock.mono());
            }
        }
        let stuck_riders = riders.len();
        riders.shutdown().await;
        self.fleet.shutdown().await;
        Ended { wall_ms: self.clock.mono().since(begin), stuck_riders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Violation, judge};
    use crate::counters::Counters;
    use crate::fake::{Fake, Faults};
    use crate::pace::CityMs;
    use crate::readback::read_back;
    use crate::report::{Report, Run, Sources};
    use crate::synthetic::{self, Plan};
    use node::clock::SystemClock;

    /// Plays a small town against the fake and has it judged.
    async fn played(faults: Faults, habits: Habits) -> Report {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let plan = Plan { seed: 3, fleet: 12, bookings: 30, window: CityMs(240_000) };
        let city = synthetic::town(plan);
        let nodes = Fake::serve(3, faults, Arc::clone(&clock)).await;
        let history = Arc::new(History::begin(Arc::clone(&clock)));
        let tally = Arc::new(Tally::new(3));
        let workload = Workload::new(
            nodes,
            Arc::clone(&history),
            Arc::clone(&tally),
            Arc::clone(&clock),
            habits,
            plan.seed,
        )
        .unwrap();
        let client = workload.client().clone();
        let people = workload.register(&city).await.unwrap();
        let run = Run {
            city: city.name.clone(),
            seed: plan.seed,
            speed: habits.speed,
            nodes: 3,
            fleet: plan.fleet,
            requests: plan.bookings,
            ping_period_ms: 250,
            assumption: city.roads.assumption(),
            split_cells: vec![],
            planted: None,
        };
        let ended = workload.open(city, &people).await.unwrap().run().await;
        let seen = history.read();
        let at_end = read_back(&client, &seen, plan.seed).await;
        let counters = Counters::parse(&client.text_of(0, "/metrics").await.unwrap());
        let violations = judge(&seen, &at_end);
        Report::of(Sources {
            run,
            ended,
            kill: None,
            kill_wanted: false,
            habits,
            tally: &tally,
            seen: &seen,
            at_end: &at_end,
            counters: &counters,
            references: vec![],
            violations,
        })
    }

    /// Four city minutes of demand in a third of a second, and nobody in a hurry.
    fn fast() -> Habits {
        Habits { patience_ms: 4_800_000, ..Habits::usual(800.0) }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_city_is_carried_and_acquitted_although_every_fifth_answer_is_lost() {
        let faults = Faults { lose_answer_every: Some(5), ..Faults::default() };
        let report = played(faults, Habits { acceptance: 0.8, ..fast() }).await;
        assert!(report.green, "{}", report.table());
        assert_eq!(report.service.by_state["COMPLETED"], 30, "{}", report.table());
        assert!(report.traffic.retries > 10, "{}", report.table());
        assert_eq!(report.service.wait_s.n, 30);
        assert_eq!(report.refused_holds_per_assignment, Some(0.1));
        assert!(report.traffic.hops_stable[1] > 100, "{}", report.table());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["green"], true);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cluster_that_frees_drivers_under_way_is_found_guilty() {
        let faults = Faults { free_drivers_under_way: true, ..Faults::default() };
        let report = played(faults, fast()).await;
        let two = |v: &Violation| matches!(v, Violation::TwoTrips { .. });
        assert!(!report.green && report.violations.iter().any(two), "{}", report.table());
        assert!(report.table().contains("VIOLATION two trips at once: driver drv_"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cluster_that_forgets_bookings_is_found_guilty() {
        let faults = Faults { forget_booking_every: Some(4), ..Faults::default() };
        let report = played(faults, fast()).await;
        let lost = |v: &Violation| matches!(v, Violation::Lost { .. });
        assert!(!report.green && report.violations.iter().any(lost), "{}", report.table());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn riders_nobody_comes_for_call_off_in_time() {
        // Nobody ever says yes, and patience runs out after half a second of wall time.
        let habits = Habits { acceptance: 0.0, patience_ms: 400_000, ..fast() };
        let report = played(Faults::default(), habits).await;
        assert_eq!(report.service.by_state["CANCELLED"], 30, "{}", report.table());
        assert!(report.violations.is_empty(), "{}", report.table());
        assert!(!report.green && report.void.is_some(), "a run without a ride proves nothing");
    }

    #[test]
    fn a_phone_reports_at_least_once_a_second_and_a_fleet_is_not_a_flood() {
        let period = |speed, fleet| Habits::usual(speed).ping_period(fleet).as_millis();
        assert_eq!(period(1.0, 200), 1_000);
        assert_eq!(period(10.0, 200), 400);
        assert_eq!(period(60.0, 200), 250);
        assert_eq!(period(30.0, 4_500), 900);
        assert_eq!(period(30.0, 20_000), 1_000);
    }
}
