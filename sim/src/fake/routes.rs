//! The fake's HTTP and WebSocket surface.

use super::Fake;
use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use proto::units::Point;
use proto::{DriverId, RiderId};
use serde_json::Value;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::mpsc;

type Shared = State<Arc<Fake>>;

pub(super) fn router(fake: Arc<Fake>, number: usize) -> Router {
    let name = format!("n{number}");
    Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route(
            "/metrics",
            get(|| async { "hansom_holds_refused_total 3\nhansom_assignments_total 30\n" }),
        )
        .route("/v1/riders", post(new_rider))
        .route("/v1/drivers", post(new_driver))
        .route("/v1/drivers/{id}", get(driver))
        .route("/v1/drivers/{id}/online", post(online))
        .route("/v1/drivers/{id}/stream", get(stream))
        .route("/v1/bookings", post(new_booking))
        .route("/v1/bookings/{id}", get(booking))
        .route("/v1/bookings/{id}/cancel", post(cancel))
        .route("/v1/trips/accept", post(accept))
        .route("/v1/offers/{id}/decline", post(decline))
        .route("/v1/trips/{id}", get(trip))
        .route("/v1/trips/{id}/{step}", post(step))
        .layer(axum::middleware::map_response(move |mut response: Response| {
            let name = name.clone();
            async move {
                let headers = response.headers_mut();
                headers.insert("x-hansom-hops", "1".parse().unwrap());
                headers.insert("x-hansom-served-by", name.parse().unwrap());
                response
            }
        }))
        .with_state(fake)
}

fn respond((status, body): (u16, Value)) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn header<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn key(headers: &HeaderMap) -> Option<String> {
    header(headers, "idempotency-key")
}

fn place(value: &Value) -> Point {
    Point::from_degrees(value["lat"].as_f64().unwrap(), value["lng"].as_f64().unwrap()).unwrap()
}

async fn new_rider(axum::Json(body): axum::Json<Value>) -> Response {
    let rider = RiderId::of_name(body["name"].as_str().unwrap());
    respond((201, serde_json::json!({ "rider_id": rider.to_string(), "name": "" })))
}

async fn new_driver(
    State(fake): Shared,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    respond(fake.register_driver(key(&headers), body["name"].as_str().unwrap()))
}

async fn driver(State(fake): Shared, Path(id): Path<String>) -> Response {
    respond(fake.read_driver(id.parse().unwrap()))
}

async fn online(State(fake): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    respond(fake.set_online(key(&headers), id.parse().unwrap()))
}

async fn new_booking(
    State(fake): Shared,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    let rider = header(&headers, "x-user-id").expect("a rider books");
    respond(fake.book(key(&headers), rider, place(&body["pickup"]), place(&body["destination"])))
}

async fn booking(State(fake): Shared, Path(id): Path<String>) -> Response {
    respond(fake.read_booking(id.parse().unwrap()))
}

async fn cancel(State(fake): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    respond(fake.cancel(key(&headers), id.parse().unwrap()))
}

async fn accept(
    State(fake): Shared,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    let driver = header(&headers, "x-driver-id").expect("a driver accepts");
    respond(fake.accept(key(&headers), driver, body["offer_id"].as_str().unwrap().parse().unwrap()))
}

async fn decline(State(fake): Shared, headers: HeaderMap) -> Response {
    let driver = header(&headers, "x-driver-id").expect("a driver declines");
    respond(fake.decline(key(&headers), driver))
}

async fn trip(State(fake): Shared, Path(id): Path<String>) -> Response {
    respond(fake.read_trip(id.parse().unwrap()))
}

async fn step(
    State(fake): Shared,
    Path((id, step)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    respond(fake.step(key(&headers), id.parse().unwrap(), &step))
}

async fn stream(
    State(fake): Shared,
    Path(id): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let driver: DriverId = id.parse().unwrap();
    upgrade.on_upgrade(move |socket| talk(fake, driver, socket))
}

async fn talk(fake: Arc<Fake>, driver: DriverId, mut socket: WebSocket) {
    let (phone, mut down) = mpsc::channel(32);
    fake.attach(driver, phone);
    loop {
        tokio::select! {
            frame = down.recv() => {
                let Some(frame) = frame else { return };
                if socket.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
            frame = socket.recv() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let ping: Value = serde_json::from_str(&text).unwrap();
                    fake.ping(driver, place(&ping));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
