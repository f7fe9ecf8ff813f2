//! How long a killed node's partitions are away, as a client sees it: one rider for each partition,
//! asked for again and again through the surviving nodes, by reads that only a leader with a
//! majority can answer, until one of them does.

use crate::client::{Client, client_of};
use crate::dice::Dice;
use crate::doors::Doors;
use crate::workload::WorkloadError;
use futures_util::stream::{self, StreamExt};
use proto::RiderId;
use proto::client::{Call, Patience};
use proto::units::{Clock, MonoMs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Pause between two reads of one partition.
const PAUSE: Duration = Duration::from_millis(25);
/// One read, which is not repeated: that is what is measured here.
const ONE_READ: Patience = Patience { tries: 1, within_ms: 300, try_ms: 300 };
/// Reads under way at once: more would load the machine that is being measured.
const READS_MAX: usize = 32;
/// When a partition is given up; far beyond what anybody waits for.
const GIVE_UP_MS: u64 = 30_000;
/// Riders registered at once while each partition is found one.
const BUILDERS: usize = 64;
/// Riders tried for each partition, on average, before its emptiness is called an error: one is
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

/// One rider in each partition.
#[derive(Debug)]
pub(crate) struct Probes {
    api: proto::client::Client,
    doors: Doors,
    clock: Arc<dyn Clock>,
    riders: BTreeMap<u16, RiderId>,
}

impl Probes {
    /// Registers riders until each of these partitions has one.
    pub(crate) async fn place(
        client: &Client,
        groups: &BTreeSet<u16>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let mut riders = BTreeMap::new();
        let most = groups.len() * TRIES_PER_GROUP;
        let mut found = stream::iter(0..most)
            .map(|number| register(client, number, seed))
            .buffer_unordered(BUILDERS);
        while riders.len() < groups.len()
            && let Some(placed) = found.next().await
        {
            let (group, rider) = placed?;
            if groups.contains(&group) {
                riders.insert(group, rider);
            }
        }
        if let Some(group) = groups.iter().find(|group| !riders.contains_key(group)) {
            return Err(WorkloadError::NoRider { group: *group });
        }
        // Connections of its own: waiting for one must not count as the cluster's time.
        let doors = client.doors().clone();
        let api = client_of(doors.clone(), ONE_READ, Arc::clone(&clock))?;
        Ok(Self { api, doors, clock, riders })
    }

    /// All partitions.
    pub(crate) fn groups(&self) -> Vec<u16> {
        self.riders.keys().copied().collect()
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
        let room = Semaphore::new(READS_MAX);
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
        let Some(rider) = self.riders.get(&group) else {
            return FirstSuccess { group, after_ms: None };
        };
        while elapsed() < GIVE_UP_MS {
            // The semaphore is never closed.
            let turn = room.acquire().await;
            let seat = seats[dice.below(seats.len())];
            let (door, path) = (self.doors.at(seat).to_string(), format!("/v1/riders/{rider}"));
            let answer = self.api.text_of(&door, &path).await;
            drop(turn);
            if answer.is_ok_and(|(status, _)| status == 200) {
                return FirstSuccess { group, after_ms: Some(elapsed()) };
            }
            tokio::time::sleep(PAUSE).await;
        }
        FirstSuccess { group, after_ms: None }
    }
}

/// Registers one rider and asks where he lives.
async fn register(
    client: &Client,
    number: usize,
    seed: u64,
) -> Result<(u16, RiderId), WorkloadError> {
    let name = format!("probe {number}");
    let mut dice = Dice::of(seed, &name);
    let rider = must(client, client.api.register_rider(&name), &mut dice).await?.rider_id;
    let lookup = client.api.lookup(&rider.to_string());
    let group = must(client, lookup, &mut dice).await?.group;
    // A node that serves knows its partitions.
    Ok((group.unwrap_or_default(), rider))
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
