//! How long a killed node's partitions are away, as a client sees it: somebody who lives in each
//! partition, asked for again and again through the surviving nodes, by what only a leader with a
//! majority can answer, until one of them does.

use crate::client::{Client, client_of};
use crate::dice::Dice;
use crate::doors::Door;
use crate::workload::WorkloadError;
use futures_util::stream::{self, StreamExt};
use proto::client::{Call, NewDriver, Patience, Vehicle, VehicleType};
use proto::units::{Clock, MonoMs};
use proto::{DriverId, RiderId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Pause between two tries of one partition.
const PAUSE: Duration = Duration::from_millis(25);
/// One try, which is not repeated: that is what is measured here.
const ONE_TRY: Patience = Patience { tries: 1, within_ms: 300, try_ms: 300 };
/// Tries under way at once: more would load the machine that is being measured.
const TRIES_MAX: usize = 32;
/// When a partition is given up; far beyond what anybody waits for.
const GIVE_UP_MS: u64 = 30_000;
/// People registered at once while each partition is found one.
const BUILDERS: usize = 64;
/// People tried for each partition, on average, before its emptiness is called an error: one is
/// missed by all of them once in e^40.
const TRIES_PER_GROUP: usize = 40;

/// When a partition first answered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct FirstSuccess {
    /// Which.
    pub group: u16,
    /// How long after; nothing if it did not within half a minute.
    pub after_ms: Option<u64>,
}

/// What a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Reads of a rider.
    Reads,
    /// Writes to a driver: he goes on duty, once more.
    Writes,
}

/// Who is asked for.
#[derive(Debug, Clone, Copy)]
enum Who {
    Rider(RiderId),
    Driver(DriverId),
}

/// Somebody in each partition.
#[derive(Debug)]
pub(crate) struct Probes {
    /// For each seat one that asks its node alone.
    apis: Vec<proto::client::Client>,
    clock: Arc<dyn Clock>,
    people: BTreeMap<u16, Who>,
}

impl Probes {
    /// Registers people until each of these partitions has one.
    pub(crate) async fn place(
        client: &Client,
        (groups, by): (&BTreeSet<u16>, By),
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let mut people = BTreeMap::new();
        let most = groups.len() * TRIES_PER_GROUP;
        let mut found = stream::iter(0..most)
            .map(|number| register(client, by, number, seed))
            .buffer_unordered(BUILDERS);
        while people.len() < groups.len()
            && let Some(placed) = found.next().await
        {
            let (group, who) = placed?;
            if groups.contains(&group) {
                people.insert(group, who);
            }
        }
        if let Some(group) = groups.iter().find(|group| !people.contains_key(group)) {
            return Err(WorkloadError::Nobody { group: *group });
        }
        // Connections of its own: waiting for one must not count as the cluster's time.
        let doors = client.doors().clone();
        let api = |seat| client_of(Door(doors.clone(), seat), ONE_TRY, Arc::clone(&clock));
        let apis = (0..doors.seats()).map(api).collect::<Result<_, _>>()?;
        Ok(Self { apis, clock, people })
    }

    /// All partitions.
    pub(crate) fn groups(&self) -> Vec<u16> {
        self.people.keys().copied().collect()
    }

    /// Asks for each of these partitions through these seats until it answers, and says how long
    /// after `since` that was.
    pub(crate) async fn first_successes(
        &self,
        groups: &[u16],
        seats: &[usize],
        since: MonoMs,
        dice: &mut Dice,
    ) -> Vec<FirstSuccess> {
        let room = Semaphore::new(TRIES_MAX);
        let asked = groups.iter().map(|group| {
            let dice = dice.fork();
            self.first_success(*group, seats, since, dice, &room)
        });
        stream::iter(asked.collect::<Vec<_>>())
            .buffer_unordered(groups.len().max(1))
            .collect()
            .await
    }

    async fn first_success(
        &self,
        group: u16,
        seats: &[usize],
        since: MonoMs,
        mut dice: Dice,
        room: &Semaphore,
    ) -> FirstSuccess {
        let elapsed = || self.clock.mono().since(since);
        let Some(who) = self.people.get(&group) else {
            return FirstSuccess { group, after_ms: None };
        };
        while elapsed() < GIVE_UP_MS {
            // The semaphore is never closed.
            let turn = room.acquire().await;
            let seat = seats[dice.below(seats.len())];
            let key = dice.key();
            let served = match who {
                Who::Rider(rider) => self.apis[seat].rider(*rider).keyed(key).ask().await.is_ok(),
                Who::Driver(driver) => {
                    self.apis[seat].go_online(*driver).keyed(key).ask().await.is_ok()
                }
            };
            drop(turn);
            if served {
                return FirstSuccess { group, after_ms: Some(elapsed()) };
            }
            tokio::time::sleep(PAUSE).await;
        }
        FirstSuccess { group, after_ms: None }
    }
}

/// Registers somebody and asks where he lives.
async fn register(
    client: &Client,
    by: By,
    number: usize,
    seed: u64,
) -> Result<(u16, Who), WorkloadError> {
    let name = format!("probe {number}");
    let mut dice = Dice::of(seed, &name);
    let (who, id) = match by {
        By::Reads => {
            let rider = must(client, client.api.register_rider(&name), &mut dice).await?.rider_id;
            (Who::Rider(rider), rider.to_string())
        }
        By::Writes => {
            let driver = must(client, client.api.register_driver(&sedan(&name)), &mut dice).await?;
            (Who::Driver(driver.driver_id), driver.driver_id.to_string())
        }
    };
    let lookup = client.api.lookup(&id);
    let group = must(client, lookup, &mut dice).await?.group;
    // A node that serves knows its partitions.
    Ok((group.unwrap_or_default(), who))
}

/// A driver with an ordinary car.
pub(crate) fn sedan(name: &str) -> NewDriver {
    let plate = format!("H {name}");
    let vehicle = Vehicle { kind: VehicleType::Sedan, seats: 4, capabilities: Vec::new(), plate };
    NewDriver { name: name.to_owned(), city_id: 1, vehicle, kyc_verified: true }
}

/// Asks for what nobody may refuse.
pub(crate) async fn must<T: serde::de::DeserializeOwned + Send>(
    client: &Client,
    call: Call<'_, T>,
    dice: &mut Dice,
) -> Result<T, WorkloadError> {
    let request = call.name();
    let answer = client.ask(call, dice).await;
    answer.map_err(|failure| WorkloadError::Failed { request, failure })
}
