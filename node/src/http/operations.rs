//! What an operator asks: is it alive, is it ready, what does it count, who owns what.

use super::App;
use super::answer::Reply;
use super::call::Asked;
use super::problem::Problem;
use crate::cluster::{ClusterView, LookupView};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

/// Whoever answers is alive.
pub(super) async fn healthz() -> &'static str {
    "alive\n"
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

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    key: String,
}

pub(super) async fn lookup(State(app): State<App>, Asked(wanted): Asked<Wanted>) -> Reply {
    let found: LookupView =
        app.facts.lookup(&wanted.key).map_err(|problem| Problem::bad("key", problem))?;
    Ok(Json(found).into_response())
}
