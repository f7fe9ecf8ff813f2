//! Positions: pings in, and who is near a point.

use super::App;
use super::answer::Reply;
use super::api;
use super::call::{Asked, Call, Id, OneOrMany, Sent};
use super::problem::Problem;
use super::requests::{Around, DriverFix, Fix, point};
use super::views::{CountsView, NearbyView};
use actors::runtime::Wanted;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use proto::code::Refusal;
use proto::record::cell::{Ping, PingCounts, Seek};
use proto::{Code, DriverId};

/// The most positions in one request.
const BATCH_MAX: usize = 1_000;
/// The most drivers one look around shows.
const SHOWN_MAX: u16 = 200;
/// How many it shows if nobody says.
const SHOWN: u16 = 20;
/// The farthest that it looks ahead, in seconds: ten minutes.
const WITHIN_MAX_S: u32 = 600;
/// How far it looks if nobody says, in metres.
const RADIUS_M: u32 = 2_000;

/// Positions of drivers: one, or an array of up to 1,000. The newest of a driver wins.
#[utoipa::path(
    put,
    path = "/v1/drivers/location",
    tag = "drivers",
    request_body = Vec<DriverFix>,
    responses((status = 202, description = "How they fared", body = CountsView), api::Locate),
)]
pub(super) async fn locate(
    State(app): State<App>,
    call: Call,
    OneOrMany(fixes): OneOrMany<DriverFix>,
) -> Reply {
    if fixes.len() > BATCH_MAX {
        let detail = format!("{} positions, a request takes {BATCH_MAX}", fixes.len());
        return Err(Refusal::new(Code::TooLarge, detail).into());
    }
    for fix in &fixes {
        call.identity().owns_driver(fix.driver_id)?;
    }
    let now = app.clock.wall();
    let pings: Result<Vec<Ping>, Problem> = fixes
        .iter()
        .enumerate()
        .map(|(at, each)| {
            each.fix.check(each.driver_id, now).map_err(|mut problem| {
                problem.refusal.detail = format!("position {at}: {}", problem.refusal.detail);
                problem
            })
        })
        .collect();
    apply(&app, pings?).await
}

/// The position of one driver.
#[utoipa::path(
    post,
    path = "/v1/drivers/{id}/location",
    tag = "drivers",
    params(("id" = String, Path)),
    request_body = Fix,
    responses((status = 202, description = "How it fared", body = CountsView), api::Locate),
)]
pub(super) async fn locate_one(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    sent: Sent<Fix>,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let ping = sent.value.check(driver, app.clock.wall())?;
    apply(&app, vec![ping]).await
}

async fn apply(app: &App, pings: Vec<Ping>) -> Reply {
    let PingCounts { applied, stale, refused, lost } = app.pings.apply(&pings).await;
    let counts = CountsView { applied, stale, refused: refused + lost };
    Ok((StatusCode::ACCEPTED, Json(counts)).into_response())
}

/// Whether one look may go so far and show so many.
pub(crate) fn within_sight(radius_m: u32, max: u16) -> Result<(), Problem> {
    let radius_max = actors::geo::SEARCH_RADIUS_MAX_M;
    if !(1..=radius_max).contains(&radius_m) {
        return Err(Problem::bad("radius_m", format!("must be 1 to {radius_max}")));
    }
    if !(1..=SHOWN_MAX).contains(&max) {
        return Err(Problem::bad("limit", format!("must be 1 to {SHOWN_MAX}")));
    }
    Ok(())
}

/// The nearest drivers around a point; with `within_s` also those whose rides end there soon.
#[utoipa::path(
    get,
    path = "/v1/nearby",
    tag = "drivers",
    params(Around),
    responses((status = 200, description = "Nearest first", body = NearbyView), api::Nearby),
)]
pub(super) async fn nearby(State(app): State<App>, Asked(around): Asked<Around>) -> Reply {
    let center = point("lat, lng", around.lat, around.lng)?;
    let radius_m = around.radius_m.unwrap_or(RADIUS_M);
    let max = around.limit.unwrap_or(SHOWN);
    within_sight(radius_m, max)?;
    let (need, seek) = (around.need()?, Seek::free_only(around.free_only));
    let within_s = around.within_s.unwrap_or(0);
    if within_s > WITHIN_MAX_S {
        return Err(Problem::bad("within_s", format!("must be 0 to {WITHIN_MAX_S}")));
    }
    let (fresh_ms, within_ms) = (None, within_s * 1_000);
    let wanted = Wanted { center, radius_m, need, seek, max, fresh_ms, within_ms };
    let mut nearby = app.router.nearby(wanted).await?;
    nearby.partial |= app.facts.ready().is_err();
    Ok(Json(NearbyView::of(nearby)).into_response())
}
