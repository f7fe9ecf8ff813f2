//! A driver's answers to offers, and the steps of a trip.

use super::App;
use super::answer::{Reply, show, show_as};
use super::api;
use super::call::{Call, Id, Sent};
use super::requests::{AcceptIn, CancelIn, EndIn, Nothing, StartIn};
use super::views::{AcceptedView, DriverView, NextView, TripView};
use axum::extract::State;
use axum::http::StatusCode;
use proto::record::Actor;
use proto::record::ask::{Accept, Decline, DriverStep, OperatorStep, RiderStep, Take};
use proto::record::command::{Idempotency, TripStep};
use proto::{OfferId, TripId};

/// The driver says yes. The answer comes when the booking has decided: the trip, or why not. Of a ride
/// that is to follow the one that he is on there is no trip yet: it is his when that has ended, unless
/// the booking is called off or does not wait so long, which his stream says.
#[utoipa::path(
    post,
    path = "/v1/trips/accept",
    tag = "offers",
    params(api::ByDriver, api::Keyed),
    request_body = AcceptIn,
    responses(
        (status = 201, description = "The trip", body = TripView),
        (status = 202, description = "His next ride", body = NextView),
        api::Accept,
    ),
)]
pub(super) async fn accept(State(app): State<App>, call: Call, sent: Sent<AcceptIn>) -> Reply {
    let (driver, idempotency) = (call.driver()?, call.idempotency(&sent));
    let offer = sent.value.offer_id;
    if app.policy.now().load().next_within_ms > 0 {
        let ask = Take { driver, offer, idempotency };
        return show_as(app.router.served(ask, call.context()).await, AcceptedView::of);
    }
    // A node of an earlier build, which does not know the other, binds nobody.
    let ask = Accept { driver, offer, idempotency };
    show(StatusCode::CREATED, app.router.served(ask, call.context()).await, TripView::from)
}

/// The driver says no; also to a ride that he has taken to follow the one that he is on.
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
    /// A stop on the way.
    pause "/v1/trips/{id}/pause" Pause => TripStep::Pause;
    /// On again.
    resume "/v1/trips/{id}/resume" Resume => TripStep::Resume;
}

/// The rider is on board, and told the driver his code if the policy wants one.
#[utoipa::path(
    post,
    path = "/v1/trips/{id}/start",
    tag = "trips",
    params(("id" = String, Path), api::ByDriver, api::Keyed),
    request_body = StartIn,
    responses((status = 200, description = "The trip", body = TripView), api::Start),
)]
pub(super) async fn start(
    State(app): State<App>,
    call: Call,
    Id(trip): Id<TripId>,
    sent: Sent<StartIn>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let step = TripStep::Start { pin: sent.value.pin()? };
    if call.driver().is_err() && call.rider().is_err() && call.identity().operates().is_ok() {
        return operator_step(&app, &call, trip, step, idempotency).await;
    }
    driver_step(&app, &call, trip, step, idempotency).await
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
    let step = TripStep::End(sent.value.ending()?);
    driver_step(&app, &call, trip, step, idempotency).await
}

/// The driver, the rider or an operator calls a trip off before it was started. An operator is who has
/// his token and names no party.
///
/// If it was the driver, another booking goes on in the place of this one at once: see `replaced_by`.
#[utoipa::path(
    post,
    path = "/v1/trips/{id}/cancel",
    tag = "trips",
    params(("id" = String, Path), api::ByEither, api::Keyed),
    request_body = CancelIn,
    responses((status = 200, description = "The trip", body = TripView), api::CancelTrip),
)]
pub(super) async fn cancel(
    State(app): State<App>,
    call: Call,
    Id(trip): Id<TripId>,
    sent: Sent<CancelIn>,
) -> Reply {
    let idempotency = call.idempotency(&sent);
    let by = match (call.driver(), call.rider()) {
        (Ok(_), _) => Actor::Driver,
        (_, Ok(_)) => Actor::Rider,
        // Who may not is told that a party is missing.
        _ if call.identity().operates().is_ok() => Actor::System,
        (Err(missing), _) => return Err(missing),
    };
    let step = TripStep::Cancel { reason: sent.value.reason(by)? };
    match by {
        Actor::Driver => driver_step(&app, &call, trip, step, idempotency).await,
        Actor::System => operator_step(&app, &call, trip, step, idempotency).await,
        Actor::Rider => {
            let ask = RiderStep { trip, rider: call.rider()?, step, idempotency };
            show(StatusCode::OK, app.router.served(ask, call.context()).await, TripView::from)
        }
    }
}

async fn operator_step(
    app: &App,
    call: &Call,
    trip: TripId,
    step: TripStep,
    idempotency: Option<Idempotency>,
) -> Reply {
    let ask = OperatorStep { trip, step, idempotency };
    show(StatusCode::OK, app.router.served(ask, call.context()).await, TripView::from)
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
