//! Whether parties may take part: what they are told, and what operators decide.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Call, Id, Sent};
use super::requests::{BanIn, Nothing};
use super::views::{DriverView, MayView, MetaView, RiderView};
use crate::router::Served;
use actors::{driver, rider};
use axum::extract::State;
use axum::http::StatusCode;
use proto::record::Ban;
use proto::record::ask::{BanDriver, BanRider, GetDriver, GetRider};
use proto::record::command::Idempotency;
use proto::{Code, DriverId, RiderId};

/// Whether a rider may book now.
#[utoipa::path(
    get,
    path = "/v1/riders/{id}/can_book",
    tag = "riders",
    params(("id" = String, Path)),
    responses((status = 200, description = "Whether, and why not", body = MayView), api::ReadRider),
)]
pub(super) async fn can_book(State(app): State<App>, call: Call, Id(rider): Id<RiderId>) -> Reply {
    call.identity().owns_rider(rider)?;
    let now = app.clock.wall();
    let served = app.router.served(GetRider { rider }, call.context()).await;
    show(StatusCode::OK, served, |rider| MayView::from(rider::can_book(&rider, now)))
}

/// Whether a driver may be asked to take a booking now.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/can_accept_bookings",
    tag = "drivers",
    params(("id" = String, Path)),
    responses((status = 200, description = "Whether, and why not", body = MayView), api::ReadDriver),
)]
pub(super) async fn can_accept(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let now = app.clock.wall();
    let served = app.router.served(GetDriver { driver }, call.context()).await;
    show(StatusCode::OK, served, |driver| MayView::from(driver::can_accept(&driver, now)))
}

/// A driver at work: where he is, and how he does. Gone a minute after his last position.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/meta",
    tag = "drivers",
    params(("id" = String, Path)),
    responses((status = 200, description = "The driver", body = MetaView), api::Meta),
)]
pub(super) async fn meta(State(app): State<App>, call: Call, Id(driver): Id<DriverId>) -> Reply {
    call.identity().owns_driver(driver)?;
    let Served { result, by, hops } = app.router.served(GetDriver { driver }, call.context()).await;
    let fix = app.streams.fix(driver).await;
    let seen = |known| Ok((known, fix.ok_or(Code::DriverNotSeen)?));
    let served = Served { result: result.and_then(seen), by, hops };
    show(StatusCode::OK, served, |(known, fix)| MetaView::of(known, fix, app.clock.wall()))
}

/// Bans a rider for a while: he books nothing new. A ride under way goes on.
#[utoipa::path(
    put,
    path = "/v1/riders/{id}/ban",
    tag = "riders",
    params(("id" = String, Path), api::Keyed),
    request_body = BanIn,
    responses((status = 200, description = "The rider", body = RiderView), api::BanRider),
)]
pub(super) async fn ban_rider(
    State(app): State<App>,
    call: Call,
    Id(rider): Id<RiderId>,
    sent: Sent<BanIn>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    set_rider(&app, &call, rider, Some(sent.value.check(app.clock.wall())?), idempotency).await
}

/// Lifts a rider's ban.
#[utoipa::path(
    delete,
    path = "/v1/riders/{id}/ban",
    tag = "riders",
    params(("id" = String, Path), api::Keyed),
    responses((status = 200, description = "The rider", body = RiderView), api::BanRider),
)]
pub(super) async fn unban_rider(
    State(app): State<App>,
    call: Call,
    Id(rider): Id<RiderId>,
    sent: Sent<Nothing>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    set_rider(&app, &call, rider, None, idempotency).await
}

async fn set_rider(
    app: &App,
    call: &Call,
    rider: RiderId,
    ban: Option<Ban>,
    idempotency: Option<Idempotency>,
) -> Reply {
    call.identity().operates()?;
    let ask = BanRider { rider, ban, idempotency };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, RiderView::from)
}

/// Bans a driver for a while. He is off duty at once; if he is on a trip, when it is over.
#[utoipa::path(
    put,
    path = "/v1/drivers/{id}/ban",
    tag = "drivers",
    params(("id" = String, Path), api::Keyed),
    request_body = BanIn,
    responses((status = 200, description = "The driver", body = DriverView), api::BanDriver),
)]
pub(super) async fn ban_driver(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    sent: Sent<BanIn>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    set_driver(&app, &call, driver, Some(sent.value.check(app.clock.wall())?), idempotency).await
}

/// Lifts a driver's ban. He goes online by himself.
#[utoipa::path(
    delete,
    path = "/v1/drivers/{id}/ban",
    tag = "drivers",
    params(("id" = String, Path), api::Keyed),
    responses((status = 200, description = "The driver", body = DriverView), api::BanDriver),
)]
pub(super) async fn unban_driver(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    sent: Sent<Nothing>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    set_driver(&app, &call, driver, None, idempotency).await
}

async fn set_driver(
    app: &App,
    call: &Call,
    driver: DriverId,
    ban: Option<Ban>,
    idempotency: Option<Idempotency>,
) -> Reply {
    call.identity().operates()?;
    let ask = BanDriver { driver, ban, idempotency };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, DriverView::from)
}
