//! What an operator asks: is it alive, is it ready, what does it count, who owns what.

use super::App;
use super::answer::Reply;
use super::api;
use super::call::{Asked, Call, Id, Sent};
use super::problem::Problem;
use crate::cluster::partitions::PartitionsView;
use crate::cluster::{ClusterView, LookupView};
use crate::policy::{NotSet, PolicyChange, PolicyView};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::NodeId;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// Whoever answers is alive. It also says whether the cluster ever went on without what a lost majority of disks knew.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "cluster",
    responses((status = 200, description = "Alive", body = String), api::Operations),
    security(()),
)]
pub(super) async fn healthz(State(app): State<App>) -> String {
    match app.facts.ledger.known().borrow().cluster.lossy {
        0 => "alive\n".to_owned(),
        times => format!("alive\nlossy: went on {times} times without a majority of disks\n"),
    }
}

/// Whether a node serves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadyView {
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
}

/// Whether new clients should come to this node, and if not, why.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "cluster",
    responses((status = 200, description = "It does", body = ReadyView), (status = 503, description = "Not yet", body = ReadyView), api::Operations),
    security(()),
)]
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let (status, reasons) = match app.facts.ready() {
        Ok(()) => (StatusCode::OK, vec![]),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, vec![why]),
    };
    (status, Json(ReadyView { ready: status.is_success(), reasons })).into_response()
}

/// What is counted, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "cluster",
    responses(
        (
            status = 200,
            description = "Metrics",
            body = String,
            content_type = "application/openmetrics-text",
        ),
        api::Operations,
    ),
    security(()),
)]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    (app.refresh)();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}

/// Who is here, and who owns what share of the cells.
#[utoipa::path(
    get,
    path = "/v1/cluster",
    tag = "cluster",
    responses((status = 200, description = "As this node sees it", body = ClusterView), api::Operations),
)]
pub(super) async fn cluster(State(app): State<App>) -> Json<ClusterView> {
    Json(app.facts.cluster())
}

/// Where the replicas of each partition are, and how far.
#[utoipa::path(
    get,
    path = "/v1/cluster/partitions",
    tag = "cluster",
    responses((status = 200, description = "As this node sees it", body = PartitionsView), api::Operations),
)]
pub(super) async fn partitions(State(app): State<App>) -> Json<PartitionsView> {
    Json(app.facts.partitions())
}

/// A node's number, with or without its n.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeNumber(NodeId);

impl FromStr for NodeNumber {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('n').unwrap_or(text).parse();
        number.map(|number| Self(NodeId(number))).map_err(|_| "is no node's number")
    }
}

/// Moves all replicas off a node, so that it can be stopped for good.
#[utoipa::path(
    post,
    path = "/v1/cluster/nodes/{id}/drain",
    tag = "cluster",
    params(("id" = String, Path)),
    responses((status = 200, description = "The partitions", body = PartitionsView), api::Drain),
)]
pub(super) async fn drain(State(app): State<App>, call: Call, Id(node): Id<NodeNumber>) -> Reply {
    call.identity().operates()?;
    app.facts.stand(node.0, true).await?;
    Ok(Json(app.facts.partitions()).into_response())
}

/// Takes a drained node in again.
#[utoipa::path(
    post,
    path = "/v1/cluster/nodes/{id}/activate",
    tag = "cluster",
    params(("id" = String, Path)),
    responses((status = 200, description = "The partitions", body = PartitionsView), api::Activate),
)]
pub(super) async fn activate(
    State(app): State<App>,
    call: Call,
    Id(node): Id<NodeNumber>,
) -> Reply {
    call.identity().operates()?;
    app.facts.stand(node.0, false).await?;
    Ok(Json(app.facts.partitions()).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// An id, or a latitude and a longitude with a comma between them.
    key: String,
}

/// Who owns an id or a place.
#[utoipa::path(
    get,
    path = "/v1/cluster/lookup",
    tag = "cluster",
    params(Wanted),
    responses((status = 200, description = "The owner", body = LookupView), api::Operations),
)]
pub(super) async fn lookup(State(app): State<App>, Asked(wanted): Asked<Wanted>) -> Reply {
    let found: LookupView =
        app.facts.lookup(&wanted.key).map_err(|problem| Problem::bad("key", problem))?;
    Ok(Json(found).into_response())
}

/// The values that dispatch is tuned by, as this node has heard of them.
#[utoipa::path(
    get,
    path = "/v1/policy",
    tag = "cluster",
    responses((status = 200, description = "The policy", body = PolicyView), api::Operations),
)]
pub(super) async fn policy(State(app): State<App>) -> Json<PolicyView> {
    Json(app.policy.view())
}

/// Sets some of the values that dispatch is tuned by, on all nodes. Each decides by them from its
/// next decision on; searches that are under way go on as they began.
#[utoipa::path(
    patch,
    path = "/v1/policy",
    tag = "cluster",
    request_body = PolicyChange,
    responses((status = 200, description = "The policy", body = PolicyView), api::SetPolicy),
)]
pub(super) async fn set_policy(
    State(app): State<App>,
    call: Call,
    sent: Sent<PolicyChange>,
) -> Reply {
    call.identity().operates()?;
    match app.policy.set(sent.value).await {
        Ok(view) => Ok(Json(view).into_response()),
        Err(NotSet::Bad(name, problem)) => Err(Problem::bad(&name, problem)),
        Err(NotSet::Refused(refusal)) => Err(refusal.into()),
    }
}
