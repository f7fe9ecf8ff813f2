//! The trip register: a table of steps, and who may take them.
//!
//! | from \ step | arrive | start | pause | resume | end | cancel |
//! |---|---|---|---|---|---|---|
//! | assigned | arrived | in progress | not started | not started | not started | cancelled |
//! | arrived | same | in progress | not started | not started | not started | cancelled |
//! | in progress | already started | already started | paused | not paused | completed | in progress |
//! | paused | already started | already started | already paused | in progress | completed | in progress |
//! | completed | already ended | already ended | already ended | already ended | already ended | already completed |
//! | cancelled | cancelled | cancelled | cancelled | cancelled | cancelled | cancelled |

use proto::record::booking::{Booking, Offer};
use proto::record::command::TripStep;
use proto::record::event::What;
use proto::record::trip::{Transition, Trip, TripState};
use proto::record::{Actor, booking::OfferState};
use proto::{Code, DriverId, RiderId, TripId, WallMs};

/// How many moves a trip may make: 100 pauses are more than a day of errands. Beyond it a pause
/// is refused, so that the trip can still be ended.
pub const TRANSITIONS_MAX: usize = 208;

/// A new trip for the offer that won.
pub fn born(booking: &Booking, id: TripId, at: WallMs, what: &mut Vec<What>) -> Option<Trip> {
    let accepted = |(_, state): &&(Offer, OfferState)| *state == OfferState::Accepted;
    let (offer, _) = booking.offers.iter().find(accepted)?;
    let mut trip = Trip {
        id,
        booking: booking.id,
        offer: offer.id,
        rider: booking.rider,
        driver: offer.driver,
        pickup: booking.pickup.clone(),
        destination: booking.destination.clone(),
        state: TripState::Assigned,
        transitions: Vec::new(),
        odometer_m: None,
        release_due: false,
    };
    note(&mut trip, None, Actor::Driver, "", at, what);
    Some(trip)
}

/// Where a step leads, or why it leads nowhere. The table above, as code.
pub fn next(from: TripState, step: &TripStep) -> Result<TripState, Code> {
    use TripState::{Arrived, Assigned, Cancelled, Completed, InProgress, Paused};
    match (from, step) {
        (Assigned | Arrived, TripStep::Arrive) => Ok(Arrived),
        (Assigned | Arrived, TripStep::Start) => Ok(InProgress),
        (Assigned | Arrived, TripStep::Cancel { .. }) => Ok(Cancelled),
        (Assigned | Arrived, TripStep::Pause | TripStep::Resume | TripStep::End { .. }) => {
            Err(Code::TripNotStarted)
        }
        (InProgress, TripStep::Pause) => Ok(Paused),
        (Paused, TripStep::Resume) => Ok(InProgress),
        (InProgress | Paused, TripStep::End { .. }) => Ok(Completed),
        (InProgress | Paused, TripStep::Arrive | TripStep::Start) => Err(Code::TripAlreadyStarted),
        (InProgress | Paused, TripStep::Cancel { .. }) => Err(Code::CannotCancelInProgress),
        (InProgress, TripStep::Resume) => Err(Code::TripNotPaused),
        (Paused, TripStep::Pause) => Err(Code::TripAlreadyPaused),
        (Completed, TripStep::Cancel { .. }) => Err(Code::TripAlreadyCompleted),
        (
            Completed,
            TripStep::Arrive
            | TripStep::Start
            | TripStep::Pause
            | TripStep::Resume
            | TripStep::End { .. },
        ) => Err(Code::TripAlreadyEnded),
        (
            Cancelled,
            TripStep::Arrive
            | TripStep::Start
            | TripStep::Pause
            | TripStep::Resume
            | TripStep::End { .. }
            | TripStep::Cancel { .. },
        ) => Err(Code::TripCancelled),
    }
}

/// Who takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mover {
    /// In which role.
    pub by: Actor,
    /// As which driver.
    pub driver: Option<DriverId>,
    /// As which rider.
    pub rider: Option<RiderId>,
}

/// Moves a trip. Only its own driver drives it; only its own parties cancel it.
pub fn step(
    trip: &mut Trip,
    step: &TripStep,
    mover: Mover,
    at: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    let own = match mover.by {
        Actor::Driver => mover.driver == Some(trip.driver),
        Actor::Rider => mover.rider == Some(trip.rider),
        Actor::System => true,
    };
    match (own, mover.by, step) {
        (false, Actor::Driver, _) => return Err(Code::UnauthorizedDriver),
        (false, Actor::Rider | Actor::System, _) => return Err(Code::Unauthorized),
        (true, Actor::Driver | Actor::System, _)
        | (true, Actor::Rider, TripStep::Cancel { .. }) => {}
        (true, Actor::Rider, _) => return Err(Code::UnauthorizedDriver),
    }
    let to = next(trip.state, step)?;
    if to == trip.state {
        return Ok(());
    }
    if to == TripState::Paused && trip.transitions.len() + 4 > TRANSITIONS_MAX {
        return Err(Code::TripAlreadyPaused);
    }
    let from = trip.state;
    trip.state = to;
    trip.release_due = to.is_over();
    let reason = match step {
        TripStep::Cancel { reason } => reason.as_str(),
        TripStep::End { odometer_m } => {
            trip.odometer_m = *odometer_m;
            ""
        }
        TripStep::Arrive | TripStep::Start | TripStep::Pause | TripStep::Resume => "",
    };
    note(trip, Some(from), mover.by, reason, at, what);
    Ok(())
}

fn note(
    trip: &mut Trip,
    from: Option<TripState>,
    by: Actor,
    reason: &str,
    at: WallMs,
    what: &mut Vec<What>,
) {
    let to = trip.state;
    let sequence = u32::try_from(trip.transitions.len() + 1).unwrap_or(u32::MAX);
    trip.transitions.push(Transition { sequence, from, to, by, reason: reason.into(), at });
    what.push(What::TripMoved { from, to, by });
}
