//! Queue zones: where drivers wait their turn, who waits there, and at which place a driver is.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Call, Id, Sent};
use super::problem::Problem;
use super::requests::point;
use crate::policy::{NotSet, PolicyChange};
use crate::router::Served;
use actors::queue::zone::{self, QueueZone, QueueZones};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use proto::record::Queue;
use proto::record::ask::GetQueue;
use proto::{Code, DriverId, WallMs, ZoneId};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

/// How far from where he is a driver's queue is looked for, in metres: he keeps his place for a while
/// when he leaves.
const AROUND_M: u32 = 10_000;
/// Queues that are asked for a driver at most.
const ASKED_MAX: usize = 4;

/// A corner of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Corner {
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    pub lng: f64,
}

/// A queue zone as an operator gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZoneIn {
    /// What it is called; its queue goes by it.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// Its corners, one after the other; at most 6 km from the middle.
    #[schema(min_items = 3, max_items = 32)]
    pub ring: Vec<Corner>,
    /// For how long a driver who has left keeps his place, in seconds; 180 if nobody says.
    #[serde(default = "grace_s")]
    #[schema(maximum = 3_600)]
    pub grace_s: u32,
    /// How many offers a driver may refuse, or let pass, before he is sent to the tail; 1, the first
    /// one, if nobody says.
    #[serde(default = "zone::refusals")]
    #[schema(minimum = 1)]
    pub refusals: u16,
}

fn grace_s() -> u32 {
    zone::grace_ms() / 1_000
}

impl ZoneIn {
    fn check(self) -> Result<QueueZone, Problem> {
        let Self { name, ring, grace_s, refusals } = self;
        let corners = ring.into_iter().map(|Corner { lat, lng }| point("zones.ring", lat, lng));
        let ring = corners.collect::<Result<_, _>>()?;
        Ok(QueueZone { name, ring, grace_ms: grace_s.saturating_mul(1_000), refusals })
    }
}

/// All queue zones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZonesIn {
    /// The policy's version that they change; refused if another counts by now.
    pub version: u64,
    /// The zones from now on; those that are not among them are none any more.
    #[schema(max_items = 32)]
    pub zones: Vec<ZoneIn>,
}

/// A queue zone as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ZoneView {
    pub zone_id: String,
    pub name: String,
    pub ring: Vec<Corner>,
    pub grace_s: u32,
    pub refusals: u16,
}

impl From<&QueueZone> for ZoneView {
    fn from(zone: &QueueZone) -> Self {
        let QueueZone { name, ring, grace_ms, refusals } = zone;
        let corner = |at: &proto::Point| Corner { lat: at.lat(), lng: at.lng() };
        Self {
            zone_id: zone.id().to_string(),
            name: name.clone(),
            ring: ring.iter().map(corner).collect(),
            grace_s: grace_ms / 1_000,
            refusals: *refusals,
        }
    }
}

/// All queue zones, and the version of the policy that they are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ZonesView {
    pub version: u64,
    pub zones: Vec<ZoneView>,
}

/// A driver who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlaceView {
    /// From 1.
    pub place: usize,
    pub driver_id: String,
    /// Since when he has this place: when he came, or was sent to the tail.
    pub since_ms: u64,
    pub waited_s: u64,
}

/// Who waits in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct QueueView {
    pub zone_id: String,
    /// The first first.
    pub drivers: Vec<PlaceView>,
}

impl QueueView {
    fn of(queue: &Queue, now: WallMs) -> Self {
        let view = |(place, it): (usize, &proto::record::queue::QueuePlace)| PlaceView {
            place,
            driver_id: it.driver.to_string(),
            since_ms: it.since.0,
            waited_s: now.since(it.since) / 1_000,
        };
        let drivers = (1..).zip(&queue.places).map(view).collect();
        Self { zone_id: queue.zone.to_string(), drivers }
    }
}

/// A driver's place.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnPlaceView {
    zone_id: String,
    zone: String,
    /// From 1.
    place: usize,
    /// How many wait there.
    of: usize,
    since_ms: u64,
}

/// Where drivers wait their turn, as this node has heard.
#[utoipa::path(
    get,
    path = "/v1/zones",
    tag = "zones",
    responses((status = 200, description = "The zones", body = ZonesView), api::Operations),
)]
pub(super) async fn zones(State(app): State<App>) -> Json<ZonesView> {
    let (version, zones) = app.policy.zones();
    Json(ZonesView { version, zones: zones.iter().map(ZoneView::from).collect() })
}

/// Sets where drivers wait their turn, on all nodes: they are a value of the policy. The queue of a
/// zone that keeps its name goes on.
#[utoipa::path(
    put,
    path = "/v1/zones",
    tag = "zones",
    request_body = ZonesIn,
    responses((status = 200, description = "The zones", body = ZonesView), api::SetZones),
)]
pub(super) async fn set_zones(State(app): State<App>, call: Call, sent: Sent<ZonesIn>) -> Reply {
    call.identity().operates()?;
    let ZonesIn { version, zones } = sent.value;
    let zones: Vec<QueueZone> = zones.into_iter().map(ZoneIn::check).collect::<Result<_, _>>()?;
    let zones = QueueZones::from(zones);
    let value = serde_json::to_value(&zones).unwrap_or_default();
    let set = Map::from_iter([("queue_zones".to_owned(), value)]);
    match app.policy.set(PolicyChange { version, set }).await {
        Ok(policy) => {
            let zones = zones.iter().map(ZoneView::from).collect();
            Ok(Json(ZonesView { version: policy.version, zones }).into_response())
        }
        Err(NotSet::Bad(_, problem)) => Err(Problem::bad("zones", problem)),
        Err(NotSet::Refused(refusal)) => Err(refusal.into()),
    }
}

/// Who waits in a zone, in the order in which they will be asked; for operators and gateways.
#[utoipa::path(
    get,
    path = "/v1/zones/{id}/queue",
    tag = "zones",
    params(("id" = String, Path)),
    responses((status = 200, description = "The queue", body = QueueView), api::ReadQueue),
)]
pub(super) async fn queue(State(app): State<App>, call: Call, Id(zone): Id<ZoneId>) -> Reply {
    call.identity().oversees()?;
    if app.policy.zones().1.get(zone).is_none() {
        return Err(proto::code::Refusal::from(Code::ZoneNotFound).into());
    }
    let served = app.router.served(GetQueue { zone }, call.context()).await;
    show(StatusCode::OK, served, |queue| QueueView::of(&queue, app.clock.wall()))
}

/// At which place a driver waits. He is looked for in the zones around where he was seen last.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/queue",
    tag = "zones",
    params(("id" = String, Path)),
    responses((status = 200, description = "His place", body = OwnPlaceView), api::OwnPlace),
)]
pub(super) async fn place(State(app): State<App>, call: Call, Id(driver): Id<DriverId>) -> Reply {
    call.identity().owns_driver(driver)?;
    let (_, zones) = app.policy.zones();
    let fix = app.streams.fix(driver).await;
    let near = fix.map(|fix| zones.near(fix.point, AROUND_M)).unwrap_or_default();
    for zone in near.into_iter().take(ASKED_MAX) {
        let Served { result, by, hops } =
            app.router.served(GetQueue { zone: zone.id() }, call.context()).await;
        let view = result.map(|queue| own_place(zone, &queue, driver)).transpose();
        if let Some(result) = view {
            return show(StatusCode::OK, Served { result, by, hops }, |view| view);
        }
    }
    Err(proto::code::Refusal::from(Code::NotQueued).into())
}

fn own_place(zone: &QueueZone, queue: &Queue, driver: DriverId) -> Option<OwnPlaceView> {
    let at = queue.position(driver)?;
    Some(OwnPlaceView {
        zone_id: queue.zone.to_string(),
        zone: zone.name.clone(),
        place: at + 1,
        of: queue.places.len(),
        since_ms: queue.places[at].since.0,
    })
}
