//! Bookings: create, read, cancel.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Asked, Call, Id, Sent};
use super::requests::{NewBooking, Reason, Wish};
use super::stale::{self, Freshness};
use super::views::BookingView;
use axum::extract::State;
use axum::http::StatusCode;
use proto::BookingId;
use proto::record::ask::{CancelBooking, CreateBooking, GetBooking};
use proto::record::{Booking, CityId, Key};

/// Books a ride; a driver is looked for at once.
#[utoipa::path(
    post,
    path = "/v1/bookings",
    tag = "bookings",
    params(api::ByRider, api::Keyed),
    request_body = NewBooking,
    responses((status = 201, description = "The booking", body = BookingView), api::Book),
)]
pub(super) async fn create(State(app): State<App>, call: Call, sent: Sent<NewBooking>) -> Reply {
    let (rider, idempotency) = (call.rider()?, call.idempotency(&sent));
    let (city, shown_estimate_minor) =
        (CityId(sent.value.city_id), sent.value.shown_estimate_minor);
    let Wish { pickup, destination, need, payment_method } = sent.value.check()?;
    let ask = CreateBooking {
        rider,
        city,
        pickup,
        destination,
        need,
        payment_method,
        shown_estimate_minor,
        idempotency,
    };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, BookingView::from)
}

/// Reads a booking, however old.
#[utoipa::path(
    get,
    path = "/v1/bookings/{id}",
    tag = "bookings",
    params(("id" = String, Path), Freshness),
    responses((status = 200, description = "The booking", body = BookingView), api::ReadBooking),
)]
pub(super) async fn booking(
    State(app): State<App>,
    call: Call,
    Id(booking): Id<BookingId>,
    Asked(freshness): Asked<Freshness>,
) -> Reply {
    let read = (Key::Booking(booking), GetBooking { booking });
    let may = |booking: &Booking| {
        let asked = booking.offers.iter().map(|(offer, _)| offer.driver);
        call.identity().concerns(booking.rider, asked)
    };
    let view = |booking| BookingView::seen_by(call.identity(), booking);
    stale::read(&app, &call, freshness, read, may, view).await
}

/// How long a cancel may take, in milliseconds: a commit, and then the drivers who were asked hear
/// of it.
const CANCEL_WITHIN_MS: u32 = 2_600;

/// Calls a booking off before it has a driver. After the answer no driver is shown an offer of it.
#[utoipa::path(
    post,
    path = "/v1/bookings/{id}/cancel",
    tag = "bookings",
    params(("id" = String, Path), api::ByRider, api::Keyed),
    request_body = Reason,
    responses((status = 200, description = "The booking", body = BookingView), api::CancelBooking),
)]
pub(super) async fn cancel(
    State(app): State<App>,
    call: Call,
    Id(booking): Id<BookingId>,
    sent: Sent<Reason>,
) -> Reply {
    let (rider, idempotency) = (call.rider()?, call.idempotency(&sent));
    let ask = CancelBooking { booking, rider, reason: sent.value.text()?, idempotency };
    let context = call.context().within_ms(CANCEL_WITHIN_MS);
    show(StatusCode::OK, app.router.served(ask, context).await, BookingView::from)
}
