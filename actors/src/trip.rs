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

use crate::{fare, meter};
use proto::record::booking::{Booking, Offer};
use proto::record::command::{CodeRule, TripStep};
use proto::record::event::What;
use proto::record::party::Pin;
use proto::record::trail::{Meter, TrailPiece, TrailPoint};
use proto::record::trip::{
    DriverCard, Earned, RiderCard, StartCode, TRIES_MAX, Transition, Trip, TripState,
};
use proto::record::{Actor, booking::OfferState};
use proto::{Code, DriverId, RiderId, TripId, WallMs};

/// How many moves a trip may make: 100 pauses are more than a day of errands. Beyond it a pause
/// is refused, so that the trip can still be ended.
pub const TRANSITIONS_MAX: usize = 208;

/// The reason of a trip that ended because its booking has a better driver.
pub const REASSIGNED: &str = "REASSIGNED";

/// What a new trip is told of those who ride and drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// The rider.
    pub rider: RiderCard,
    /// His own code.
    pub pin: Option<Pin>,
    /// The driver.
    pub driver: DriverCard,
    /// What starts the trip.
    pub code: CodeRule,
}

/// A new trip for the offer that won.
pub fn born(
    booking: &Booking,
    id: TripId,
    parties: Parties,
    at: WallMs,
    what: &mut Vec<What>,
) -> Option<Trip> {
    let pin = match parties.code {
        CodeRule::None => None,
        CodeRule::Trip(digits) => Some(digits),
        CodeRule::RiderOr(digits) => Some(parties.pin.unwrap_or(digits)),
    };
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
        release_due: false,
        driver_card: parties.driver,
        rider_card: parties.rider,
        code: pin.map(|pin| StartCode { pin, wrong: 0 }),
        quote: booking.quote,
        meter: Meter::default(),
        ending: None,
        bill: None,
        replaced_by: None,
    };
    note(&mut trip, None, Actor::Driver, "", at, what);
    Some(trip)
}

/// Where a step leads, or why it leads nowhere. The table above, as code.
pub fn next(from: TripState, step: &TripStep) -> Result<TripState, Code> {
    use TripState::{Arrived, Assigned, Cancelled, Completed, InProgress, Paused};
    match (from, step) {
        (Assigned | Arrived, TripStep::Arrive) => Ok(Arrived),
        (Assigned | Arrived, TripStep::Start { .. }) => Ok(InProgress),
        (Assigned | Arrived, TripStep::Cancel { .. }) => Ok(Cancelled),
        (Assigned | Arrived, TripStep::Pause | TripStep::Resume | TripStep::End(_)) => {
            Err(Code::TripNotStarted)
        }
        (InProgress, TripStep::Pause) => Ok(Paused),
        (Paused, TripStep::Resume) => Ok(InProgress),
        (InProgress | Paused, TripStep::End(_)) => Ok(Completed),
        (InProgress | Paused, TripStep::Arrive | TripStep::Start { .. }) => {
            Err(Code::TripAlreadyStarted)
        }
        (InProgress | Paused, TripStep::Cancel { .. }) => Err(Code::CannotCancelInProgress),
        (InProgress, TripStep::Resume) => Err(Code::TripNotPaused),
        (Paused, TripStep::Pause) => Err(Code::TripAlreadyPaused),
        (Completed, TripStep::Cancel { .. }) => Err(Code::TripAlreadyCompleted),
        (
            Completed,
            TripStep::Arrive
            | TripStep::Start { .. }
            | TripStep::Pause
            | TripStep::Resume
            | TripStep::End(_),
        ) => Err(Code::TripAlreadyEnded),
        (
            Cancelled,
            TripStep::Arrive
            | TripStep::Start { .. }
            | TripStep::Pause
            | TripStep::Resume
            | TripStep::End(_)
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
///
/// A refused step changes nothing, but that a wrong code counts as a try.
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
    if let TripStep::Start { pin } = step
        && mover.by == Actor::Driver
    {
        unlock(trip, *pin)?;
    }
    let from = trip.state;
    trip.state = to;
    trip.release_due = to.is_over();
    let reason = match step {
        TripStep::Cancel { reason } => reason.as_str(),
        TripStep::End(ending) => {
            trip.ending = Some(*ending);
            ""
        }
        TripStep::Arrive | TripStep::Start { .. } | TripStep::Pause | TripStep::Resume => "",
    };
    note(trip, Some(from), mover.by, reason, at, what);
    if to.is_over() {
        let trail_mm = meter::finish(&mut trip.meter);
        trip.bill = fare::bill(trip, trail_mm);
    }
    Ok(())
}

/// Ends a trip whose booking has a better driver. Nobody owes anything for it.
pub fn leave(trip: &mut Trip, at: WallMs, what: &mut Vec<What>) {
    let from = trip.state;
    (trip.state, trip.release_due) = (TripState::Cancelled, true);
    note(trip, Some(from), Actor::System, REASSIGNED, at, what);
}

/// Whether the driver knows the code that starts the trip.
fn unlock(trip: &mut Trip, given: Option<Pin>) -> Result<(), Code> {
    let Some(code) = &mut trip.code else { return Ok(()) };
    if code.wrong >= TRIES_MAX {
        return Err(Code::OtpTriesExceeded);
    }
    match given {
        Some(given) if given == code.pin => Ok(()),
        Some(_) => {
            code.wrong += 1;
            Err(Code::InvalidOtp)
        }
        None => Err(Code::InvalidOtp),
    }
}

/// Adds to a trip's trail what its driver recorded on the way; gives what is new of it. Points from
/// before the start and of trips that are over count nothing.
pub fn trail(trip: &mut Trip, driver: DriverId, piece: &TrailPiece, at: WallMs) -> Vec<TrailPoint> {
    let Some(started_at) = fare::started_at(trip) else { return Vec::new() };
    if driver != trip.driver || trip.state.is_over() {
        return Vec::new();
    }
    let mut points = piece.points();
    points.retain(|point| {
        meter::belongs(point, started_at, at) && meter::add(&mut trip.meter, *point)
    });
    points
}

/// What a trip that is over brings.
pub fn earned(trip: &Trip) -> Option<Earned> {
    let bill = trip.bill?;
    let (total_minor, driver_minor) = (bill.total_minor(), bill.driver_minor());
    Some(Earned { currency: trip.quote.tariff.currency, total_minor, driver_minor })
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
