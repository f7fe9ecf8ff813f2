//! The city at work: registers everybody, opens the drivers' sockets, starts the city's clock, lets
//! each rider ask at his time, and waits until the last one has his answer.
//!
//! Everything is a task on one runtime: 4,500 drivers are 9,000 tasks and 4,500 sockets, no
//! threads. The nodes are real processes or, in tests, a fake; the city sees addresses only.

use crate::city::{City, Request};
use crate::client::Client;
use crate::dice::Dice;
use crate::doors::Doors;
use crate::driver::{self, Me};
use crate::drives::Ways;
use crate::history::{History, What};
use crate::pace::Pace;
use crate::rider;
use crate::steady::{self, Looks, Steady};
use crate::takeover::{must, sedan};
use crate::tally::Tally;
use futures_util::stream::{self, StreamExt};
use proto::client::{BuildError, Failure};
use proto::units::Clock;
use proto::{DriverId, RiderId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
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
    pub(crate) doors: Doors,
    pub(crate) history: Arc<History>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) pace: Pace,
    pub(crate) roads: Ways,
    pub(crate) habits: Habits,
    pub(crate) ping_period: Duration,
    pub(crate) looks: Looks,
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
    /// There is no client.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// Before the first ride, somebody was refused or got no answer.
    #[error("{request}: {failure}")]
    Failed {
        /// Method and path.
        request: String,
        /// Why.
        failure: Failure,
    },
    /// Nobody of hundreds belongs to a partition.
    #[error("nobody's id falls into partition {group}")]
    Nobody {
        /// Which.
        group: u16,
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
    doors: Doors,
    history: Arc<History>,
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
    habits: Habits,
    steady: Option<Steady>,
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
        doors: Doors,
        history: Arc<History>,
        tally: Arc<Tally>,
        clock: Arc<dyn Clock>,
        habits: Habits,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let client = Client::new(doors.clone(), Arc::clone(&tally), Arc::clone(&clock))?;
        Ok(Self { client, doors, history, tally, clock, habits, steady: None, seed })
    }

    /// The same with riders who come again, in the place of each asking once at his time.
    pub fn steady(self, steady: Option<Steady>) -> Self {
        Self { steady, ..self }
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
        let riders = self.steady.map_or(city.requests.len(), |steady| steady.riders);
        let riders = stream::iter(0..riders)
            .map(|i| self.register_rider(i))
            .buffered(BUILDERS)
            .collect::<Vec<_>>()
            .await;
        let drivers = drivers.into_iter().collect::<Result<_, _>>()?;
        let riders = riders.into_iter().collect::<Result<_, _>>()?;
        Ok(People { drivers, riders })
    }

    async fn register_driver(&self, number: usize) -> Result<DriverId, WorkloadError> {
        let name = format!("driver {number}");
        let mut dice = Dice::of(self.seed, &format!("register {name}"));
        let driver = sedan(&name);
        let call = self.client.api.register_driver(&driver);
        let id = must(&self.client, call, &mut dice).await?.driver_id;
        let _on_duty = must(&self.client, self.client.api.go_online(id), &mut dice).await?;
        self.history.note(What::DriverAcked { driver: id });
        self.tally.drivers.up();
        Ok(id)
    }

    async fn register_rider(&self, number: usize) -> Result<RiderId, WorkloadError> {
        let name = format!("rider {number}");
        let mut dice = Dice::of(self.seed, &format!("register {name}"));
        let rider = must(&self.client, self.client.api.register_rider(&name), &mut dice).await?;
        self.tally.riders.up();
        Ok(rider.rider_id)
    }

    /// Opens the drivers' sockets, waits until all have reported, and starts the city's clock.
    pub async fn open(self, city: City, people: &People) -> Result<OpenCity, WorkloadError> {
        let ping_period = self.habits.ping_period(city.fleet.len());
        let wanted = city.fleet.len();
        let world = Arc::new(World {
            client: self.client,
            doors: self.doors,
            history: self.history,
            tally: self.tally,
            pace: Pace::start(Arc::clone(&self.clock), self.habits.speed),
            roads: city.roads,
            habits: self.habits,
            ping_period,
            looks: Looks::of(self.steady),
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
        let (requests, riders, steady) = (city.requests, people.riders.clone(), self.steady);
        Ok(OpenCity { world, fleet, requests, riders, steady, clock: self.clock, seed: self.seed })
    }
}

/// A city whose cars stand ready.
#[derive(Debug)]
pub struct OpenCity {
    world: Arc<World>,
    fleet: JoinSet<()>,
    requests: Vec<Request>,
    riders: Vec<RiderId>,
    steady: Option<Steady>,
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
    /// Rides that were asked for.
    pub rides: u64,
    /// From the first request until no more were to come, in wall milliseconds.
    pub open_ms: u64,
    /// Requests of all kinds that clients made in that time.
    pub operations: u64,
    /// Positions that phones sent in that time.
    pub pings: u64,
}

impl OpenCity {
    /// Lets every rider ask at his time, or, under a steady load, again and again until `closing`
    /// says so, and waits for all of them. Returns with all clients stopped, so that what is read
    /// back afterwards stands still.
    pub async fn run(mut self, closing: watch::Receiver<bool>) -> Ended {
        let begin = self.clock.mono();
        let (asked, pings) = (self.world.tally.asked.get(), self.world.tally.pings.get());
        let mut riders = match self.steady {
            None => self.each_once().await,
            Some(steady) => self.again_and_again(steady, closing).await,
        };
        let open_ms = self.clock.mono().since(begin);
        let operations = self.world.tally.asked.get() - asked;
        let pings = self.world.tally.pings.get() - pings;
        let stuck_riders = self.last_home(&mut riders).await;
        riders.shutdown().await;
        self.fleet.shutdown().await;
        let (wall_ms, rides) = (self.clock.mono().since(begin), self.world.tally.rides.get());
        Ended { wall_ms, stuck_riders, rides, open_ms, operations, pings }
    }

    /// Returns when the last rider has set out.
    async fn each_once(&self) -> JoinSet<()> {
        // Cars have stood and pinged since `open`; riders count from now.
        let day = Pace::start(Arc::clone(&self.clock), self.world.habits.speed);
        let mut riders = JoinSet::new();
        let asks = self.requests.iter().zip(&self.riders);
        for ((request, rider), number) in asks.zip(0usize..) {
            day.until(request.at).await;
            let late_city_ms = day.now().0.saturating_sub(request.at.0);
            let late = u64::try_from(day.wall_of(late_city_ms).as_millis()).unwrap_or(u64::MAX);
            self.world.tally.late_ms.at_least(late);
            self.world.tally.rides.up();
            let dice = Dice::of(self.seed, &format!("rider {number}"));
            riders.spawn(rider::ride(Arc::clone(&self.world), *rider, *request, dice));
            // Keeps the set small: thousands have left by the end of the hour.
            while riders.try_join_next().is_some() {}
        }
        riders
    }

    /// Returns when the city closes.
    async fn again_and_again(
        &self,
        steady: Steady,
        mut closing: watch::Receiver<bool>,
    ) -> JoinSet<()> {
        let pool: Arc<[Request]> = self.requests.clone().into();
        let mut riders = JoinSet::new();
        for (rider, number) in self.riders.iter().zip(0usize..) {
            let dice = Dice::of(self.seed, &format!("rider {number}"));
            let (world, place) = (Arc::clone(&self.world), (number, self.riders.len()));
            let stay = steady::stay(world, *rider, Arc::clone(&pool), place, closing.clone(), dice);
            riders.spawn(stay);
        }
        tokio::select! {
            // An error means that whoever was to say so is gone.
            _said = closing.wait_for(|closing| *closing) => riders,
            never = steady::regulate(&self.world, steady, &*self.clock) => match never {},
        }
    }

    /// Waits for those who are under way; how many were still waiting when that was given up.
    async fn last_home(&self, riders: &mut JoinSet<()>) -> usize {
        let patience = self.world.pace.wall_of(self.world.habits.patience_ms);
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
        riders.len()
    }
}

#[cfg(test)]
mod tests;
