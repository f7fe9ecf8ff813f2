//! Riders and drivers: registration, duty, what is before a driver.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Asked, Call, Id, Sent};
use super::requests::{NewDriver, NewRider, Nothing};
use super::stale::{self, Freshness};
use super::views::{DriverView, OffersView, RiderView};
use axum::extract::State;
use axum::http::StatusCode;
use proto::record::ask::{GetDriver, GetRider, RegisterDriver, RegisterRider, SetDuty};
use proto::record::{CityId, Key};
use proto::{DriverId, RiderId};

/// Registers a rider. The same details again are the same rider.
#[utoipa::path(
    post,
    path = "/v1/riders",
    tag = "riders",
    params(api::Keyed),
    request_body = NewRider,
    responses((status = 201, description = "The rider", body = RiderView), api::RegisterRider),
)]
pub(super) async fn register_rider(
    State(app): State<App>,
    call: Call,
    sent: Sent<NewRider>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let (name, profile) = sent.value.check()?;
    call.identity().owns_rider(RiderId::of_name(&name))?;
    let ask = RegisterRider { name, profile, idempotency };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, RiderView::from)
}

/// Reads a rider.
#[utoipa::path(
    get,
    path = "/v1/riders/{id}",
    tag = "riders",
    params(("id" = String, Path), Freshness),
    responses((status = 200, description = "The rider", body = RiderView), api::ReadRider),
)]
pub(super) async fn rider(
    State(app): State<App>,
    call: Call,
    Id(rider): Id<RiderId>,
    Asked(freshness): Asked<Freshness>,
) -> Reply {
    call.identity().owns_rider(rider)?;
    let read = (Key::Rider(rider), GetRider { rider });
    stale::read(&app, &call, freshness, read, |_| Ok(()), RiderView::from).await
}

/// Registers a driver. The same details again are the same driver.
#[utoipa::path(
    post,
    path = "/v1/drivers",
    tag = "drivers",
    params(api::Keyed),
    request_body = NewDriver,
    responses((status = 201, description = "The driver, off duty", body = DriverView), api::RegisterDriver),
)]
pub(super) async fn register_driver(
    State(app): State<App>,
    call: Call,
    sent: Sent<NewDriver>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let (city, kyc_verified) = (CityId(sent.value.city_id), sent.value.kyc_verified);
    let (name, vehicle, profile) = sent.value.check()?;
    call.identity().owns_driver(DriverId::of_name(&name))?;
    if kyc_verified {
        call.identity().vouches()?;
    }
    let ask = RegisterDriver { name, city, vehicle, kyc_verified, profile, idempotency };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, DriverView::from)
}

/// Reads a driver.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}",
    tag = "drivers",
    params(("id" = String, Path), Freshness),
    responses((status = 200, description = "The driver", body = DriverView), api::ReadDriver),
)]
pub(super) async fn driver(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    Asked(freshness): Asked<Freshness>,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let read = (Key::Driver(driver), GetDriver { driver });
    stale::read(&app, &call, freshness, read, |_| Ok(()), DriverView::from).await
}

/// Goes on duty.
#[utoipa::path(
    post,
    path = "/v1/drivers/{id}/online",
    tag = "drivers",
    params(("id" = String, Path), api::Keyed),
    request_body = Nothing,
    responses((status = 200, description = "The driver, on duty", body = DriverView), api::GoOnline),
)]
pub(super) async fn go_online(
    app: State<App>,
    call: Call,
    id: Id<DriverId>,
    sent: Sent<Nothing>,
) -> Reply {
    set_duty(app, call, id, sent, true).await
}

/// Goes off duty; declines an offer that is before him.
#[utoipa::path(
    post,
    path = "/v1/drivers/{id}/offline",
    tag = "drivers",
    params(("id" = String, Path), api::Keyed),
    request_body = Nothing,
    responses((status = 200, description = "The driver, off duty", body = DriverView), api::GoOffline),
)]
pub(super) async fn go_offline(
    app: State<App>,
    call: Call,
    id: Id<DriverId>,
    sent: Sent<Nothing>,
) -> Reply {
    set_duty(app, call, id, sent, false).await
}

async fn set_duty(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    sent: Sent<Nothing>,
    online: bool,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let ask = SetDuty { driver, online, idempotency: call.idempotency(&sent) };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, DriverView::from)
}

/// What is before a driver: an offer to answer, or nothing.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/offers",
    tag = "offers",
    params(("id" = String, Path)),
    responses((status = 200, description = "The offers", body = OffersView), api::Offers),
)]
pub(super) async fn offers(State(app): State<App>, call: Call, Id(driver): Id<DriverId>) -> Reply {
    call.identity().owns_driver(driver)?;
    let served = app.router.served(GetDriver { driver }, call.context()).await;
    show(StatusCode::OK, served, |driver| OffersView::of(app.clock.wall(), &driver))
}
