//! Drivers' WebSockets: pings up, offers down, and manners.

use crate::support::{PATIENCE, ask, driver, insist, rider, solo, text, until, wish};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(at: SocketAddr, driver: &str) -> Socket {
    connect_async(format!("ws://{at}/v1/drivers/{driver}/stream")).await.unwrap().0
}

/// The next JSON message.
async fn hear(socket: &mut Socket) -> Value {
    let hearing = async {
        loop {
            match socket.next().await.expect("open").expect("no error") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, hearing).await.expect("a message")
}

async fn say(socket: &mut Socket, value: Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

#[tokio::test]
async fn an_offer_reaches_the_socket_and_a_new_socket_is_told_of_it_again() {
    let node = solo().await;
    let at = node.http();
    let (rider, driver) = (rider(at, "ada").await, driver(at, "bob", 40.75, -73.98).await);
    let mut socket = open(at, &driver).await;
    let hello = hear(&mut socket).await;
    assert_eq!((text(&hello["type"]), text(&hello["driver_id"])), ("hello".into(), driver.clone()));

    let me = [("x-user-id", rider.as_str())];
    let (status, booking) = insist(at, "POST", "/v1/bookings", &me, wish(40.7501, -73.98)).await;
    assert_eq!(status, 201);
    let offer = hear(&mut socket).await;
    assert_eq!(text(&offer["type"]), "offer", "{offer}");
    assert_eq!(offer["booking_id"], booking["booking_id"]);
    assert!(offer["expires_in_ms"].as_u64().unwrap() > 10_000, "{offer}");

    let mut second = open(at, &driver).await;
    assert_eq!(text(&hear(&mut second).await["type"]), "hello");
    let again = hear(&mut second).await;
    assert_eq!(again["offer_id"], offer["offer_id"]);

    let body = json!({ "offer_id": offer["offer_id"] });
    let headers = [("x-driver-id", driver.as_str())];
    let (status, trip) = insist(at, "POST", "/v1/trips/accept", &headers, body).await;
    assert_eq!(status, 201, "{trip}");
    let told = hear(&mut second).await;
    assert_eq!((text(&told["type"]), &told["trip_id"]), ("trip".into(), &trip["trip_id"]));
    node.stop().await;
}

#[tokio::test]
async fn pings_go_up_one_by_one_and_in_batches() {
    let node = solo().await;
    let at = node.http();
    let driver = driver(at, "bob", 40.75, -73.98).await;
    let mut socket = open(at, &driver).await;
    let lat_seen = || async {
        let path = "/v1/nearby?lat=40.755&lng=-73.98&radius_m=5000";
        let (_, found) = insist(at, "GET", path, &[], Value::Null).await;
        found["drivers"][0]["lat"].as_f64().unwrap_or_default()
    };
    say(&mut socket, json!({ "type": "ping", "lat": 40.76, "lng": -73.98, "ts": 1_000 })).await;
    until("the ping shows", || async { lat_seen().await == 40.76 }).await;
    let fix = |lat: f64, ts: u64| json!({ "lat": lat, "lng": -73.98, "ts": ts });
    let pings = [fix(40.762, 2_002), fix(40.761, 2_001)];
    say(&mut socket, json!({ "type": "pings", "pings": pings })).await;
    until("the newest of the batch shows", || async { lat_seen().await == 40.762 }).await;
    node.stop().await;
}

#[tokio::test]
async fn a_bad_message_gets_an_error_and_only_repeated_abuse_closes() {
    let node = solo().await;
    let driver = driver(node.http(), "bob", 40.75, -73.98).await;
    let mut socket = open(node.http(), &driver).await;
    assert_eq!(text(&hear(&mut socket).await["type"]), "hello");
    let off = json!({ "type": "ping", "lat": 91, "lng": 0, "ts": 1 }).to_string();
    for (bad, code) in [
        ("{", "BAD_REQUEST"),
        ("{\"type\":\"dance\"}", "BAD_REQUEST"),
        ("{\"type\":\"ping\",\"lat\":\"x\"}", "BAD_REQUEST"),
        (off.as_str(), "BAD_COORDINATE"),
    ] {
        socket.send(Message::text(bad)).await.unwrap();
        let error = hear(&mut socket).await;
        assert_eq!((text(&error["type"]), text(&error["code"])), ("error".into(), code.into()));
    }
    socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(text(&hear(&mut socket).await["code"]), "BAD_REQUEST");
    say(&mut socket, json!({ "type": "ping", "lat": 40.75, "lng": -73.98, "ts": 9_000 })).await;

    for _ in 0..16 {
        let _ = socket.send(Message::text("{")).await;
    }
    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, closed).await.expect("closed");
    assert_eq!(code, Some(1008));
    node.stop().await;
}

#[tokio::test]
async fn a_message_too_large_closes_the_socket_but_not_the_node() {
    let node = solo().await;
    let driver = driver(node.http(), "bob", 40.75, -73.98).await;
    let mut socket = open(node.http(), &driver).await;
    let _ = socket.send(Message::text("x".repeat(1 << 20))).await;
    let closed = async { while let Some(Ok(_)) = socket.next().await {} };
    assert!(tokio::time::timeout(PATIENCE, closed).await.is_ok());
    assert_eq!(ask(node.http(), "GET", "/healthz", &[], "").await.status(), 200);
    node.stop().await;
}

#[tokio::test]
async fn a_socket_for_nobody_is_refused_before_it_opens() {
    let node = solo().await;
    let nobody = proto::DriverId::of_name("nobody");
    let url = format!("ws://{}/v1/drivers/{nobody}/stream", node.http());
    match connect_async(url).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 404),
        other => panic!("{other:?}"),
    }
    node.stop().await;
}
