//! A driver's answers to offers, and the steps of a trip.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Asked, Call, Id, Party, Sent};
use super::requests::{AcceptIn, EndIn, Nothing, Reason};
use super::stale::{self, Freshness};
use super::views::{DriverView, TripView};
use crate::router::Served;
use axum::extract::State;
use axum::http::StatusCode;
use proto::code::Refusal;
use proto::record::ask::{
    Accept, Decline, DriverStep, GetBooking, GetDriver, GetRider, GetTrip, RiderStep,
};
use proto::record::command::{Idempotency, TripStep};
use proto::record::driver::Commitment;
use proto::record::{Driver, Key, Trip};
use proto::{Code, OfferId, TripId};

/// The driver says yes. The answer comes when the booking has decided: the trip, or why not.
#[utoipa::path(
    post,
    path = "/v1/trips/accept",
    tag = "offers",
    params(api::ByDriver, api::Keyed),
    request_body = AcceptIn,
    responses((status = 201, description = "The trip", body = TripView), api::Accept),
)]
pub(super) async fn accept(State(app): State<App>, call: Call, sent: Sent<AcceptIn>) -> Reply {
    let (driver, idempotency) = (call.driver()?, call.idempotency(&sent));
    let ask = Accept { driver, offer: sent.value.offer_id, idempotency };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, TripView::from)
}

/// The driver says no.
#[utoipa::path(
    post,
    path = "/v1/offers/{id}/decline",
    tag = "offers",
    params(("id" = String, Path), api::ByDriver, api::Keyed),
    request_body = Nothing,
    responses((status = 200, description = "The driver, free again", body = DriverView), api::Decline),
)]
pub(super) async fn decline(
    State(app): State<App>,
    call: Call,
    Id(offer): Id<OfferId>,
    sent: Sent<Nothing>,
) -> Reply {
    let (driver, idempotency) = (call.driver()?, call.idempotency(&sent));
    let ask = Decline { driver, offer, idempotency };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, DriverView::from)
}

/// Reads a trip, however old.
#[utoipa::path(
    get,
    path = "/v1/trips/{id}",
    tag = "trips",
    params(("id" = String, Path), Freshness),
    responses((status = 200, description = "The trip", body = TripView), api::ReadTrip),
)]
pub(super) async fn trip(
    State(app): State<App>,
    call: Call,
    Id(trip): Id<TripId>,
    Asked(freshness): Asked<Freshness>,
) -> Reply {
    let read = (Key::Trip(trip), GetTrip { trip });
    let may = |trip: &Trip| call.identity().concerns(trip.rider, [trip.driver].into_iter());
    stale::read(&app, &call, freshness, read, may, TripView::from).await
}

macro_rules! driver_steps {
    ($(#[doc = $doc:literal] $name:ident $path:literal $codes:ident => $step:expr;)*) => {
        $(#[doc = $doc]
        #[utoipa::path(
            post,
            path = $path,
            tag = "trips",
            params(("id" = String, Path), api::ByDriver, api::Keyed),
            request_body = Nothing,
            responses((status = 200, description = "The trip", body = TripView), api::$codes),
        )]
        pub(super) async fn $name(
            State(app): State<App>,
            call: Call,
            Id(trip): Id<TripId>,
            sent: Sent<Nothing>,
        ) -> Reply {
            let idempotency = call.idempotency(&sent);
            driver_step(&app, &call, trip, $step, idempotency).await
        })*
    };
}

driver_steps! {
    /// The driver is at the pickup.
    arrive "/v1/trips/{id}/arrive" Arrive => TripStep::Arrive;
    /// The rider is on board.
    start "/v1/trips/{id}/start" Start => TripStep::Start;
    /// A stop on the way.
    pause "/v1/trips/{id}/pause" Pause => TripStep::Pause;
    /// On again.
    resume "/v1/trips/{id}/resume" Resume => TripStep::Resume;
}

/// The trip is over.
#[utoipa::path(
    post,
    path = "/v1/trips/{id}/end",
    tag = "trips",
    params(("id" = String, Path), api::ByDriver, api::Keyed),
    request_body = EndIn,
    responses((status = 200, description = "The trip", body = TripView), api::End),
)]
pub(super) async fn end(
    State(app): State<App>,
    call: Call,
    Id(trip): Id<TripId>,
    sent: Sent<EndIn>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let step = TripStep::End { odometer_m: sent.value.odometer_m()? };
    driver_step(&app, &call, trip, step, idempotency).await
}

/// The driver or the rider calls a trip off before it was started.
#[utoipa::path(
    post,
    path = "/v1/trips/{id}/cancel",
    tag = "trips",
    params(("id" = String, Path), api::ByEither, api::Keyed),
    request_body = Reason,
    responses((status = 200, description = "The trip", body = TripView), api::CancelTrip),
)]
pub(super) async fn cancel(
    State(app): State<App>,
    call: Call,
    Id(trip): Id<TripId>,
    sent: Sent<Reason>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let step = TripStep::Cancel { reason: sent.value.text()? };
    match call.party()? {
        Party::Driver(_) => driver_step(&app, &call, trip, step, idempotency).await,
        Party::Rider(rider) => {
            let ask = RiderStep { trip, rider, step, idempotency };
            show(StatusCode::OK, app.router.served(ask, call.context()).await, TripView::from)
        }
    }
}

async fn driver_step(
    app: &App,
    call: &Call,
    trip: TripId,
    step: TripStep,
    idempotency: Option<Idempotency>,
) -> Reply {
    let ask = DriverStep { trip, driver: call.driver()?, step, idempotency };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, TripView::from)
}

/// The trip that a party is on.
#[utoipa::path(
    get,
    path = "/v1/trips/active",
    tag = "trips",
    params(api::ByEither),
    responses((status = 200, description = "The trip", body = TripView), api::ActiveTrip),
)]
pub(super) async fn active(State(app): State<App>, call: Call) -> Reply {
    let found = match call.party()? {
        Party::Driver(driver) => {
            let driver = app.router.served(GetDriver { driver }, call.context()).await;
            map(driver, |driver| trip_of(&driver))
        }
        Party::Rider(rider) => {
            let rider = app.router.served(GetRider { rider }, call.context()).await;
            match map(rider, |rider| rider.active) {
                Served { result: Ok(booking), .. } => {
                    let booking = app.router.served(GetBooking { booking }, call.context()).await;
                    map(booking, |booking| booking.trip)
                }
                Served { result: Err(refusal), by, hops } => {
                    Served { result: Err(refusal), by, hops }
                }
            }
        }
    };
    let served = match found {
        Served { result: Ok(trip), .. } => {
            let trip = app.router.served(GetTrip { trip }, call.context()).await;
            map(trip, |trip: Trip| (!trip.state.is_over()).then_some(trip))
        }
        Served { result: Err(refusal), by, hops } => Served { result: Err(refusal), by, hops },
    };
    show(StatusCode::OK, served, TripView::from)
}

fn trip_of(driver: &Driver) -> Option<TripId> {
    match &driver.current {
        Some(Commitment::Taken { trip, .. }) => *trip,
        Some(Commitment::Held { .. }) | None => None,
    }
}

/// What `part` finds in the answer; nothing means that there is no active trip.
fn map<T, U>(served: Served<T>, part: impl FnOnce(T) -> Option<U>) -> Served<U> {
    let Served { result, by, hops } = served;
    let result = result.and_then(|value| part(value).ok_or(Refusal::from(Code::NoActiveTrip)));
    Served { result, by, hops }
}
