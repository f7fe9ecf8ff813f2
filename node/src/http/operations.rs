//! What an operator asks: is it alive, is it ready, what does it count, who owns what.

use super::App;
use super::answer::Reply;
use super::call::{Asked, Id};
use super::problem::Problem;
use crate::cluster::partitions::PartitionsView;
use crate::cluster::{ClusterView, LookupView};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::NodeId;
use serde::Deserialize;
use serde_json::json;
use std::str::FromStr;

/// Whoever answers is alive. It also says whether the cluster ever went on without what a lost
/// majority of disks knew.
pub(super) async fn healthz(State(app): State<App>) -> String {
    match app.facts.ledger.known().borrow().cluster.lossy {
        0 => "alive\n".to_owned(),
        times => format!("alive\nlossy: went on {times} times without a majority of disks\n"),
    }
}

pub(super) async fn readyz(State(app): State<App>) -> Response {
    let (status, reasons) = match app.facts.ready() {
        Ok(()) => (StatusCode::OK, vec![]),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, vec![why]),
    };
    (status, Json(json!({ "ready": status.is_success(), "reasons": reasons }))).into_response()
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    (app.refresh)();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}

pub(super) async fn cluster(State(app): State<App>) -> Json<ClusterView> {
    Json(app.facts.cluster())
}

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

pub(super) async fn drain(State(app): State<App>, Id(node): Id<NodeNumber>) -> Reply {
    app.facts.stand(node.0, true).await?;
    Ok(Json(app.facts.partitions()).into_response())
}

pub(super) async fn activate(State(app): State<App>, Id(node): Id<NodeNumber>) -> Reply {
    app.facts.stand(node.0, false).await?;
    Ok(Json(app.facts.partitions()).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    key: String,
}

pub(super) async fn lookup(State(app): State<App>, Asked(wanted): Asked<Wanted>) -> Reply {
    let found: LookupView =
        app.facts.lookup(&wanted.key).map_err(|problem| Problem::bad("key", problem))?;
    Ok(Json(found).into_response())
}
