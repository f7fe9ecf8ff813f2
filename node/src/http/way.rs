//! A trip on its way and after: which one a party is on, where it went, what it costs.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Asked, Call, Id, Party, Sent};
use super::history::PageIn;
use super::requests::LocationsIn;
use super::stale::{self, Freshness};
use super::views::{ReceiptView, TrailView, TripView, trip_status};
use crate::router::Served;
use axum::extract::State;
use axum::http::StatusCode;
use proto::code::Refusal;
use proto::record::ask::{AddTrail, Fix, GetBooking, GetDriver, GetRider, GetTrip, ReadTrail};
use proto::record::driver::Commitment;
use proto::record::trail::TrailPiece;
use proto::record::{Driver, Key, Trip};
use proto::{Code, TripId, WallMs};
use serde::Serialize;
use utoipa::ToSchema;

/// How a batch of positions fared.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProcessedView {
    /// How many are durable now; 0 if the trip was over before they came.
    processed: usize,
    trip_status: &'static str,
}

macro_rules! locate {
    ($($name:ident $method:ident $doc:literal;)*) => {
        $(#[doc = $doc]
        ///
        /// Send what was recorded since the last answer, also after an hour without a connection: the
        /// oldest first. Disorder of up to 128 positions does not matter, and what came twice counts
        /// once. The answer comes within some two
        /// seconds, when the positions are durable. The newest moves the driver on the map too.
        #[utoipa::path(
            $method,
            path = "/v1/trips/{id}/location",
            tag = "trips",
            params(("id" = String, Path), api::ByDriver),
            request_body = LocationsIn,
            responses((status = 202, description = "How they fared", body = ProcessedView), api::Trail),
        )]
        pub(super) async fn $name(
            State(app): State<App>,
            call: Call,
            Id(trip): Id<TripId>,
            sent: Sent<LocationsIn>,
        ) -> Reply {
            add_trail(&app, &call, trip, sent.value).await
        })*
    };
}

locate! {
    locate post "Positions recorded on a trip.";
    relocate patch "The same as `POST`.";
}

async fn add_trail(app: &App, call: &Call, trip: TripId, sent: LocationsIn) -> Reply {
    let driver = call.driver()?;
    let (points, newest) = sent.check(driver, app.clock.wall())?;
    let ask = AddTrail { trip, driver, piece: TrailPiece::pack(&points) };
    let context = call.context().within_ms(TRAIL_WITHIN_MS);
    let served = app.router.served(ask, context).await;
    if matches!(&served.result, Ok(trip) if !trip.state.is_over()) {
        app.pings.take(newest);
    }
    show(StatusCode::ACCEPTED, served, |trip: Trip| ProcessedView {
        processed: if trip.state.is_over() { 0 } else { points.len() },
        trip_status: trip_status(trip.state),
    })
}

/// How long a batch of positions may take, in milliseconds: they wait up to a second for others.
const TRAIL_WITHIN_MS: u32 = 2_500;

/// Pieces in a page, at most: of a thousand points each they fit a frame.
const PIECES_MAX: u16 = 20;

/// Where a trip went, page by page, what came last first.
#[utoipa::path(
    get,
    path = "/v1/trips/{id}/trail",
    tag = "trips",
    params(("id" = String, Path), PageIn),
    responses((status = 200, description = "Some of it", body = TrailView), api::ReadTrail),
)]
pub(super) async fn trail(
    State(app): State<App>,
    call: Call,
    Id(trip): Id<TripId>,
    Asked(page): Asked<PageIn>,
) -> Reply {
    let (before, max) = (page.cursor::<u64>()?.map(WallMs), page.limit()?.min(PIECES_MAX));
    let read = app.router.served(GetTrip { trip }, call.context()).await;
    let may = |trip: Trip| call.identity().concerns(trip.rider, [trip.driver].into_iter());
    let Served { result, by, hops } = read;
    if let Err(refusal) = result.and_then(may) {
        return show(StatusCode::OK, Served { result: Err(refusal), by, hops }, |()| ());
    }
    let ask = ReadTrail { trip, before, max };
    let served = app.router.served(ask, call.context()).await;
    show(StatusCode::OK, served, |pieces: Vec<_>| TrailView::of(&pieces, max))
}

/// What a trip that is over costs.
#[utoipa::path(
    get,
    path = "/v1/trips/{id}/receipt",
    tag = "trips",
    params(("id" = String, Path)),
    responses((status = 200, description = "The receipt", body = ReceiptView), api::Receipt),
)]
pub(super) async fn receipt(State(app): State<App>, call: Call, Id(trip): Id<TripId>) -> Reply {
    let Served { result, by, hops } = app.router.served(GetTrip { trip }, call.context()).await;
    let identity = call.identity();
    let for_rider = call.rider().is_ok();
    let result = result.and_then(|trip| {
        identity.concerns(trip.rider, [trip.driver].into_iter())?;
        ReceiptView::of(trip, for_rider).ok_or_else(|| Refusal::from(Code::TripNotOver))
    });
    show(StatusCode::OK, Served { result, by, hops }, |receipt| receipt)
}

/// Reads a trip, however old. While it is under way it says where its driver is and how long he takes,
/// to his rider or to the destination.
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
    let (served, old) = stale::find(&app, &call, freshness, read, may).await;
    let at = on_its_way(&app, &served).await;
    stale::tell(served, old, |trip| TripView::seen_by(call.only_rider(), trip).at(at))
}

/// Where the driver of a trip under way is, and how long he takes to where he goes, in seconds.
async fn on_its_way(app: &App, served: &Served<Trip>) -> Option<(Fix, u32)> {
    let trip = served.result.as_ref().ok()?;
    let to = trip.heading()?;
    let fix = app.streams.fix(trip.driver).await?;
    Some((fix, app.streams.eta_s(fix.point, to)))
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
    let at = on_its_way(&app, &served).await;
    show(StatusCode::OK, served, |trip| TripView::seen_by(call.only_rider(), trip).at(at))
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
