//! Riders and drivers: registration, duty, what is before a driver.

use super::App;
use super::answer::{Reply, show};
use super::call::{Asked, Call, Id, Sent};
use super::requests::{NewDriver, NewRider, Nothing};
use super::stale::{self, Freshness};
use super::views::{DriverView, OffersView, RiderView};
use axum::extract::State;
use axum::http::StatusCode;
use proto::record::ask::{GetDriver, GetRider, RegisterDriver, RegisterRider, SetDuty};
use proto::record::{CityId, Key};
use proto::{DriverId, RiderId};

pub(super) async fn register_rider(
    State(app): State<App>,
    call: Call,
    sent: Sent<NewRider>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let ask = RegisterRider { name: sent.value.name()?, idempotency };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, RiderView::from)
}

pub(super) async fn rider(
    State(app): State<App>,
    call: Call,
    Id(rider): Id<RiderId>,
    Asked(freshness): Asked<Freshness>,
) -> Reply {
    let read = (Key::Rider(rider), GetRider { rider });
    stale::read(&app, &call, freshness, read, RiderView::from).await
}

pub(super) async fn register_driver(
    State(app): State<App>,
    call: Call,
    sent: Sent<NewDriver>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let (city, kyc_verified) = (CityId(sent.value.city_id), sent.value.kyc_verified);
    let (name, vehicle) = sent.value.check()?;
    let ask = RegisterDriver { name, city, vehicle, kyc_verified, idempotency };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, DriverView::from)
}

pub(super) async fn driver(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    Asked(freshness): Asked<Freshness>,
) -> Reply {
    let read = (Key::Driver(driver), GetDriver { driver });
    stale::read(&app, &call, freshness, read, DriverView::from).await
}

pub(super) async fn go_online(
    app: State<App>,
    call: Call,
    id: Id<DriverId>,
    sent: Sent<Nothing>,
) -> Reply {
    set_duty(app, call, id, sent, true).await
}

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
    let ask = SetDuty { driver, online, idempotency: call.idempotency(&sent) };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, DriverView::from)
}

pub(super) async fn offers(State(app): State<App>, call: Call, Id(driver): Id<DriverId>) -> Reply {
    let served = app.router.served(GetDriver { driver }, call.context()).await;
    show(StatusCode::OK, served, |driver| OffersView::of(app.clock.wall(), &driver))
}
