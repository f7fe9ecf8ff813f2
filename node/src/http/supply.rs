//! Supply and demand by area: what pricing and operators look at.

use super::App;
use super::answer::Reply;
use super::api;
use super::call::{Asked, Call};
use super::problem::Problem;
use super::requests::point;
use super::views::kind;
use actors::geo::cell_of;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use h3o::{CellIndex, Resolution};
use membership::View;
use proto::NodeId;
use proto::record::ask::{AreaCount, Areas};
use proto::record::driver::VehicleType;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{IntoParams, ToSchema};

/// The most rings of areas around the middle one: 91 areas, some 470 square kilometres.
const RINGS_MAX: u32 = 5;
/// How many if nobody says.
const RINGS: u32 = 1;
/// How long an owner may take, in milliseconds.
const COUNT_WITHIN_MS: u32 = 200;

/// Where to look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Here {
    #[param(minimum = -90, maximum = 90)]
    lat: f64,
    #[param(minimum = -180, maximum = 180)]
    lng: f64,
    /// Rings of areas around the one of the point; 1 if nobody says.
    #[param(minimum = 0, maximum = 5)]
    rings: Option<u32>,
}

/// One area and vehicle type.
#[derive(Debug, Serialize, ToSchema)]
struct AreaView {
    /// The H3 cell of resolution 7, in hex.
    h3_r7: String,
    vehicle_type: &'static str,
    /// On duty and heard of within the last minute.
    active_drivers: u32,
    /// How long ago they were heard of, on average.
    avg_last_seen_sec: Option<f64>,
    /// The share of them that has an offer or a trip, 0 to 1.
    busy_ratio: Option<f64>,
    /// Their shares of offers taken lately, on average, 0 to 1.
    acceptance_rate: Option<f64>,
    /// Bookings that began there within the last five minutes, as the present owner has seen them.
    bookings_5m: u32,
    /// Bookings whose riders wait there for a driver now.
    waiting_bookings: u32,
    /// Bookings to a driver; nothing where there is no driver.
    pressure: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SupplyView {
    areas: Vec<AreaView>,
    /// Some owner did not answer, or this node sees too little of the cluster: there may be more.
    partial: bool,
}

/// Drivers and bookings by area and vehicle type, kept with every change; for operators and
/// gateways. Areas with neither are left out.
#[utoipa::path(
    get,
    path = "/v1/supply",
    tag = "drivers",
    params(Here),
    responses((status = 200, description = "In order of area", body = SupplyView), api::Supply),
)]
pub(super) async fn supply(State(app): State<App>, call: Call, Asked(here): Asked<Here>) -> Reply {
    call.identity().oversees()?;
    let center = point("lat, lng", here.lat, here.lng)?;
    let rings = here.rings.unwrap_or(RINGS);
    if rings > RINGS_MAX {
        return Err(Problem::bad("rings", format!("must be 0 to {RINGS_MAX}")));
    }
    let middle = cell_of(center).parent(Resolution::Seven);
    let areas: Vec<CellIndex> = middle.map(|area| area.grid_disk(rings)).unwrap_or_default();
    let owners = owners(&app.membership.view(), &areas);
    let asks = owners.into_iter().map(|(node, areas)| {
        let ask = Areas { node, areas: areas.into_iter().map(u64::from).collect() };
        app.router.served(ask, call.context().within_ms(COUNT_WITHIN_MS))
    });
    let mut sums: BTreeMap<(u64, VehicleType), AreaCount> = BTreeMap::new();
    let mut partial = app.facts.ready().is_err();
    for answer in join_all(asks).await {
        let Ok(counts) = answer.result else {
            partial = true;
            continue;
        };
        for count in counts {
            let AreaCount { area, kind, .. } = count;
            let empty = AreaCount { area, kind, ..AreaCount::default() };
            sums.entry((area, kind)).or_insert(empty).add(&count);
        }
    }
    let some = sums.values().filter(|count| count.drivers + count.bookings_5m + count.waiting > 0);
    let areas = some.map(AreaView::of).collect();
    Ok(Json(SupplyView { areas, partial }).into_response())
}

/// Who owns cells of which areas.
fn owners(view: &View, areas: &[CellIndex]) -> BTreeMap<NodeId, BTreeSet<CellIndex>> {
    let mut owners: BTreeMap<NodeId, BTreeSet<CellIndex>> = BTreeMap::new();
    for area in areas {
        for cell in area.children(Resolution::Eight) {
            if let Some(owner) = view.cell_owner(view.ring_key(cell)) {
                owners.entry(owner).or_default().insert(*area);
            }
        }
    }
    owners
}

impl AreaView {
    fn of(count: &AreaCount) -> Self {
        let AreaCount { area, drivers, busy, accepts_pct, silent_ms, bookings_5m, waiting, .. } =
            *count;
        let each = |sum: f64| (drivers > 0).then(|| sum / f64::from(drivers));
        // Sums of a city's drivers are far below where a float loses a unit.
        let whole = |sum: u64| sum as f64;
        Self {
            h3_r7: format!("{area:x}"),
            vehicle_type: kind(count.kind),
            active_drivers: drivers,
            avg_last_seen_sec: each(whole(silent_ms) / 1_000.0),
            busy_ratio: each(f64::from(busy)),
            acceptance_rate: each(whole(accepts_pct) / 100.0),
            bookings_5m,
            waiting_bookings: waiting,
            pressure: each(f64::from(bookings_5m)),
        }
    }
}
