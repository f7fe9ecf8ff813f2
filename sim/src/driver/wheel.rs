//! The car: to the pickup, arrive, let the rider in, start, to the destination, let him out, end.
//! Between trips it stands where the last one ended, as in the published results it is compared to.

use super::Me;
use crate::client::seen;
use crate::dice::Dice;
use crate::history::{Shown, Step, What};
use crate::pace::CityMs;
use crate::workload::World;
use proto::TripId;
use proto::client::{Trip, TripStatus};
use proto::units::Point;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A trip that does not go on: called off, refused, or nobody can say.
struct Over;

/// Drives the trips that come, one after the other, until the task is dropped.
pub(super) async fn hold(
    world: Arc<World>,
    me: Arc<Me>,
    mut dice: Dice,
    mut to_drive: mpsc::Receiver<Trip>,
) {
    while let Some(trip) = to_drive.recv().await {
        world.tally.on_trip.up();
        let driven = drive(&world, &me, &trip, &mut dice).await;
        world.tally.on_trip.down();
        match driven {
            Ok(()) => world.tally.completed.up(),
            // The car stops where it is.
            Err(Over) => {
                let here = me.position(world.pace.now());
                me.drive(Arc::new(crate::drives::Leg::at_rest(here)), world.pace.now());
            }
        }
    }
}

async fn drive(world: &World, me: &Me, trip: &Trip, dice: &mut Dice) -> Result<(), Over> {
    let (Some(pickup), Some(destination)) = (trip.pickup.point(), trip.destination.point()) else {
        return Err(Over);
    };
    let id = trip.trip_id;
    // An adopted trip may be further along; what is done is not asked again.
    if matches!(trip.status, TripStatus::DriverAssigned) {
        go(world, me, id, pickup).await?;
        step(world, me, id, Step::Arrive, dice).await?;
    }
    if matches!(trip.status, TripStatus::DriverAssigned | TripStatus::DriverArrived) {
        rest(world, me, id, world.habits.boarding_ms).await?;
        step(world, me, id, Step::Start, dice).await?;
    }
    go(world, me, id, destination).await?;
    rest(world, me, id, world.habits.boarding_ms).await?;
    step(world, me, id, Step::End, dice).await
}

/// Drives to a place.
async fn go(world: &World, me: &Me, trip: TripId, to: Point) -> Result<(), Over> {
    let left = world.pace.now();
    let leg = world.roads.leg(me.position(left), to);
    let reached_ms = leg.duration_ms();
    me.drive(leg, left);
    unless_called_off(world, me, trip, CityMs(left.0 + reached_ms)).await
}

/// Stands for a while.
async fn rest(world: &World, me: &Me, trip: TripId, city_ms: u64) -> Result<(), Over> {
    unless_called_off(world, me, trip, CityMs(world.pace.now().0 + city_ms)).await
}

async fn unless_called_off(
    world: &World,
    me: &Me,
    trip: TripId,
    until: CityMs,
) -> Result<(), Over> {
    let mut called_off = me.called_off.subscribe();
    tokio::select! {
        () = world.pace.until(until) => Ok(()),
        _ = called_off.wait_for(|off| *off == Some(trip)) => Err(Over),
    }
}

/// Moves the trip in the cluster.
async fn step(
    world: &World,
    me: &Me,
    trip: TripId,
    step: Step,
    dice: &mut Dice,
) -> Result<(), Over> {
    let (driver, api) = (me.id, &world.client.api);
    let call = match step {
        Step::Arrive => api.arrive(driver, trip),
        Step::Start => api.start(driver, trip, None),
        Step::End => api.end(driver, trip, None),
    };
    let name = call.name();
    let asked_ms = world.history.now_ms();
    world.history.note(What::StepAsked { trip, driver, step });
    match world.client.ask(call, dice).await {
        Ok(now) => {
            world.history.note(What::Shown(Shown::trip(asked_ms, trip, &(&now).into())));
            world.history.note(What::StepAcked { trip, driver, step });
            Ok(())
        }
        Err(failure) => {
            world.history.note(seen(name, &failure));
            Err(Over)
        }
    }
}
