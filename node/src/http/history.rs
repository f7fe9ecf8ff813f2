//! What was: a rider's bookings and a driver's trips, page by page, newest first.
//!
//! A cursor names the last entry of the page it came with; the next page begins after it, whatever
//! was added in between and whichever node is asked. It is opaque to clients.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Asked, Call, Id};
use super::problem::Problem;
use super::views::{BookingView, DrivenView};
use axum::extract::State;
use axum::http::StatusCode;
use proto::record::Booking;
use proto::record::ask::{DriverTrips, RiderBookings};
use proto::record::trip::Driven;
use proto::{BookingId, DriverId, RiderId, TripId, WallMs};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// Entries in a page when the client does not say.
const PAGE: u16 = 20;
/// The most that a client may ask for.
const PAGE_MAX: u16 = 50;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageIn {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// 20 if nobody says.
    #[param(minimum = 1, maximum = 50)]
    limit: Option<u16>,
}

impl PageIn {
    pub(super) fn limit(&self) -> Result<u16, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        if (1..=PAGE_MAX).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::bad("limit", format!("must be 1 to {PAGE_MAX}")))
        }
    }

    /// Where the page before it ended.
    pub(super) fn cursor<T: FromStr<Err: Display>>(&self) -> Result<Option<T>, Problem> {
        let read = |text: &String| text.parse().map_err(|error| Problem::bad("cursor", error));
        self.cursor.as_ref().map(read).transpose()
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BookingsPage {
    bookings: Vec<BookingView>,
    next_cursor: Option<String>,
}

/// A rider's bookings, newest first, page by page.
#[utoipa::path(
    get,
    path = "/v1/riders/{id}/bookings",
    tag = "riders",
    params(("id" = String, Path), PageIn),
    responses((status = 200, description = "A page", body = BookingsPage), api::RiderBookings),
)]
pub(super) async fn bookings(
    State(app): State<App>,
    call: Call,
    Id(rider): Id<RiderId>,
    Asked(page): Asked<PageIn>,
) -> Reply {
    call.identity().owns_rider(rider)?;
    let (before, max) = (page.cursor::<BookingId>()?, page.limit()?);
    let ask = RiderBookings { rider, before, max };
    let view = |booking| BookingView::seen_by(call.identity(), booking);
    show(StatusCode::OK, app.router.served(ask, call.context()).await, |found: Vec<Booking>| {
        // A page that is not full is the last.
        let last = found.last().filter(|_| found.len() == usize::from(max));
        BookingsPage {
            next_cursor: last.map(|booking| booking.id.to_string()),
            bookings: found.into_iter().map(view).collect(),
        }
    })
}

/// Where a page of a driver's trips ended.
struct DrivenBefore(WallMs, TripId);

impl FromStr for DrivenBefore {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "is not one that a page came with";
        let (at, trip) = text.split_once('.').ok_or(wrong)?;
        let at = at.parse().map_err(|_| wrong)?;
        Ok(Self(WallMs(at), trip.parse().map_err(|_| wrong)?))
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TripsPage {
    bookings: Vec<DrivenView>,
    next_cursor: Option<String>,
}

/// Trips that a driver has ended, newest first, page by page.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/bookings",
    tag = "drivers",
    params(("id" = String, Path), PageIn),
    responses((status = 200, description = "A page", body = TripsPage), api::DriverBookings),
)]
pub(super) async fn driven(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    Asked(page): Asked<PageIn>,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let (before, max) = (page.cursor::<DrivenBefore>()?, page.limit()?);
    let before = before.map(|DrivenBefore(at, trip)| (at, trip));
    let ask = DriverTrips { driver, before, max };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, |found: Vec<Driven>| {
        let last = found.last().filter(|_| found.len() == usize::from(max));
        TripsPage {
            next_cursor: last.map(|driven| format!("{}.{}", driven.at.0, driven.trip)),
            bookings: found.into_iter().map(DrivenView::from).collect(),
        }
    })
}
