//! Whatever a client sends, it gets a typed answer, and the node goes on.

use crate::support::{ask, driver, insist, rider, solo, text, wish};
use node::http::problem::ProblemBody;
use proto::{BookingId, DriverId, OfferId, RiderId, Slot, TripId, WallMs};
use serde_json::{Value, json};

const D: &str = "x-driver-id";
const R: &str = "x-user-id";

#[tokio::test]
async fn every_bad_request_is_refused_with_its_code_and_field() {
    let node = solo().await;
    let at = node.http();
    let rider = rider(at, "ada").await;
    let driver = driver(at, "bob", 40.75, -73.98).await;
    let nobody = DriverId::of_name("nobody").to_string();
    let no_rider = RiderId::of_name("nobody").to_string();
    let slot = Slot(7);
    let booking = BookingId::mint(slot, WallMs(1), 1).to_string();
    let trip = TripId::mint(slot, WallMs(1), 1).to_string();
    let offer = OfferId::mint(slot, WallMs(1), 1).to_string();
    let accept = json!({ "offer_id": offer }).to_string();
    let good = wish(40.75, -73.98).to_string();
    let off = wish(91.0, 0.0).to_string();
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(300_000));
    let long = json!({ "name": "x".repeat(200) }).to_string();
    let thousand_and_one: Vec<Value> =
        (0..1_001).map(|ts| json!({ "driver_id": driver, "lat": 1, "lng": 1, "ts": ts })).collect();
    let thousand_and_one = Value::from(thousand_and_one).to_string();
    let one_bad = json!([
        { "driver_id": driver, "lat": 1, "lng": 1, "ts": 1 },
        { "driver_id": driver, "lat": 1, "lng": 181, "ts": 1 },
    ])
    .to_string();
    let sedan = |more: &str| format!("{{\"name\":\"x\",\"vehicle\":{{\"type\":\"SEDAN\"{more}}}}}");
    let (no_seats, flying) = (sedan(",\"seats\":0"), sedan(",\"capabilities\":[\"flying\"]"));
    let stream = format!("/v1/drivers/{driver}/stream");
    let location = format!("/v1/drivers/{driver}/location");

    // method, path, headers, body -> status, code, a part of the detail
    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str, &'a str);
    let rows: &[Row<'_>] = &[
        ("GET", "/", &[], "", 404, "NO_SUCH_PATH", "/"),
        ("GET", "/v1/nothing", &[], "", 404, "NO_SUCH_PATH", "/v1/nothing"),
        ("POST", "/v1/trips/trp_x/fly", &[], "", 404, "NO_SUCH_PATH", "fly"),
        ("DELETE", "/v1/riders", &[], "", 405, "NO_SUCH_METHOD", "DELETE"),
        ("GET", "/v1/bookings", &[], "", 405, "NO_SUCH_METHOD", "GET"),
        ("POST", "/v1/riders", &[], "", 400, "BAD_REQUEST", "name"),
        ("POST", "/v1/riders", &[], "{", 400, "BAD_REQUEST", "body"),
        ("POST", "/v1/riders", &[], "\u{0}\u{1}", 400, "BAD_REQUEST", "body"),
        ("POST", "/v1/riders", &[], "[]", 400, "BAD_REQUEST", "body"),
        ("POST", "/v1/riders", &[], "{\"name\":7}", 400, "BAD_REQUEST", "name"),
        ("POST", "/v1/riders", &[], "{\"name\":\"\"}", 400, "BAD_REQUEST", "name"),
        ("POST", "/v1/riders", &[], "{\"name\":\"a\\u0000b\"}", 400, "BAD_REQUEST", "name"),
        ("POST", "/v1/riders", &[], &long, 400, "BAD_REQUEST", "name"),
        ("POST", "/v1/riders", &[], &huge, 413, "TOO_LARGE", "262144"),
        ("POST", "/v1/drivers", &[], "{\"name\":\"x\"}", 400, "BAD_REQUEST", "vehicle"),
        ("POST", "/v1/drivers", &[], &no_seats, 400, "BAD_REQUEST", "vehicle.seats"),
        ("POST", "/v1/drivers", &[], &flying, 400, "BAD_REQUEST", "child_seat"),
        (
            "POST",
            "/v1/drivers",
            &[],
            "{\"name\":\"x\",\"vehicle\":{\"type\":\"BOAT\"}}",
            400,
            "BAD_REQUEST",
            "vehicle.type",
        ),
        ("GET", "/v1/riders/7", &[], "", 400, "BAD_REQUEST", "rdr_"),
        ("GET", &format!("/v1/riders/{driver}"), &[], "", 400, "BAD_REQUEST", "rdr_"),
        ("GET", "/v1/riders/%ff", &[], "", 400, "BAD_REQUEST", "id in the path"),
        ("GET", &format!("/v1/riders/{no_rider}"), &[], "", 404, "RIDER_NOT_FOUND", ""),
        ("GET", &format!("/v1/drivers/{nobody}"), &[], "", 404, "DRIVER_NOT_FOUND", ""),
        ("POST", &format!("/v1/drivers/{nobody}/online"), &[], "", 404, "DRIVER_NOT_FOUND", ""),
        ("GET", &format!("/v1/drivers/{nobody}/offers"), &[], "", 404, "DRIVER_NOT_FOUND", ""),
        ("GET", "/v1/bookings/bkg_!", &[], "", 400, "BAD_REQUEST", "26 digits"),
        ("GET", &format!("/v1/bookings/{booking}"), &[], "", 404, "BOOKING_NOT_FOUND", ""),
        ("GET", &format!("/v1/trips/{trip}"), &[], "", 404, "TRIP_NOT_FOUND", ""),
        ("GET", "/v1/trips/active", &[], "", 400, "BAD_REQUEST", "X-Driver-ID"),
        ("GET", "/v1/trips/active", &[(D, &driver)], "", 404, "NO_ACTIVE_TRIP", ""),
        ("GET", "/v1/trips/active", &[(R, &rider)], "", 404, "NO_ACTIVE_TRIP", ""),
        ("GET", "/v1/trips/active", &[(D, "bob")], "", 400, "BAD_REQUEST", "x-driver-id"),
        ("POST", "/v1/bookings", &[], &good, 400, "BAD_REQUEST", "X-User-ID"),
        ("POST", "/v1/bookings", &[(R, "ada")], &good, 400, "BAD_REQUEST", "x-user-id"),
        ("POST", "/v1/bookings", &[(R, &no_rider)], &good, 404, "RIDER_NOT_FOUND", ""),
        ("POST", "/v1/bookings", &[(R, &rider)], "{}", 400, "BAD_REQUEST", "pickup"),
        ("POST", "/v1/bookings", &[(R, &rider)], &off, 400, "BAD_COORDINATE", "pickup"),
        (
            "POST",
            "/v1/bookings",
            &[(R, &rider), ("idempotency-key", "")],
            &good,
            400,
            "BAD_REQUEST",
            "Idempotency-Key",
        ),
        (
            "POST",
            "/v1/bookings",
            &[(R, &rider)],
            "{\"pickup\":{\"lat\":\"north\",\"lng\":1}}",
            400,
            "BAD_REQUEST",
            "pickup.lat",
        ),
        (
            "POST",
            &format!("/v1/bookings/{booking}/cancel"),
            &[(R, &rider)],
            "",
            404,
            "BOOKING_NOT_FOUND",
            "",
        ),
        ("POST", "/v1/trips/accept", &[(D, &driver)], "{}", 400, "BAD_REQUEST", "offer_id"),
        ("POST", "/v1/trips/accept", &[], &accept, 400, "BAD_REQUEST", "X-Driver-ID"),
        ("POST", "/v1/trips/accept", &[(D, &driver)], &accept, 404, "OFFER_NOT_FOUND", ""),
        (
            "POST",
            &format!("/v1/offers/{offer}/decline"),
            &[(D, &driver)],
            "",
            404,
            "OFFER_NOT_FOUND",
            "",
        ),
        (
            "POST",
            &format!("/v1/trips/{trip}/arrive"),
            &[(D, &driver)],
            "",
            404,
            "TRIP_NOT_FOUND",
            "",
        ),
        (
            "POST",
            &format!("/v1/trips/{trip}/end"),
            &[(D, &driver)],
            "{\"odometer_km\":-1}",
            400,
            "BAD_REQUEST",
            "odometer_km",
        ),
        // Without keys for tokens everybody is an operator, who names no party.
        ("POST", &format!("/v1/trips/{trip}/cancel"), &[], "", 404, "TRIP_NOT_FOUND", ""),
        ("POST", &format!("/v1/trips/{trip}/arrive"), &[], "", 400, "BAD_REQUEST", "X-Driver-ID"),
        ("GET", "/v1/nearby", &[], "", 400, "BAD_REQUEST", "query"),
        ("GET", "/v1/nearby?lat=x&lng=1", &[], "", 400, "BAD_REQUEST", "lat"),
        ("GET", "/v1/nearby?lat=91&lng=1", &[], "", 400, "BAD_COORDINATE", "lat"),
        ("GET", "/v1/nearby?lat=1&lng=1&radius_m=0", &[], "", 400, "BAD_REQUEST", "radius_m"),
        ("GET", "/v1/nearby?lat=1&lng=1&limit=9999", &[], "", 400, "BAD_REQUEST", "limit"),
        ("GET", "/v1/nearby?lat=NaN&lng=1", &[], "", 400, "BAD_COORDINATE", "lat"),
        ("POST", &location, &[], "{\"lat\":91,\"lng\":1,\"ts\":1}", 400, "BAD_COORDINATE", "lat"),
        ("POST", &location, &[], "{\"lat\":1,\"lng\":1}", 400, "BAD_REQUEST", "ts"),
        ("POST", &location, &[], "{\"lat\":1,\"lng\":1,\"ts\":-5}", 400, "BAD_REQUEST", "ts"),
        ("PUT", "/v1/drivers/location", &[], "[{}]", 400, "BAD_REQUEST", "driver_id"),
        ("PUT", "/v1/drivers/location", &[], &one_bad, 400, "BAD_COORDINATE", "position 1"),
        ("PUT", "/v1/drivers/location", &[], &thousand_and_one, 413, "TOO_LARGE", "1001"),
        ("GET", &stream, &[], "", 400, "BAD_REQUEST", "WebSocket"),
        ("GET", "/v1/cluster/lookup", &[], "", 400, "BAD_REQUEST", "key"),
        ("GET", "/v1/cluster/lookup?key=what", &[], "", 400, "BAD_REQUEST", "lat,lng"),
        ("GET", "/v1/cluster/lookup?key=91,0", &[], "", 400, "BAD_REQUEST", "latitude"),
        ("GET", "/v1/cluster/lookup?key=bkg_1", &[], "", 400, "BAD_REQUEST", "26 digits"),
    ];
    for (method, path, headers, body, status, code, part) in rows {
        let what = format!("{method} {path} {headers:?} {}", body.get(..80).unwrap_or(body));
        let response = ask(at, method, path, headers, body).await;
        assert_eq!(response.status().as_u16(), *status, "{what}");
        let header = |name: &str| {
            response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        assert_eq!(header("content-type"), "application/problem+json", "{what}");
        assert_eq!(header("x-hansom-node"), "n1", "{what}");
        let trace = header("x-trace-id");
        let problem: ProblemBody = response.json().await.unwrap();
        assert_eq!((problem.code.as_str(), problem.status), (*code, *status), "{what}");
        assert!(problem.detail.contains(part), "{what}: {}", problem.detail);
        assert_eq!((problem.trace_id, problem.retryable), (trace, false), "{what}");
    }
    let (status, rider) = insist(at, "GET", &format!("/v1/riders/{rider}"), &[], Value::Null).await;
    assert_eq!((status, text(&rider["name"])), (200, "ada".to_owned()));
    node.stop().await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_and_the_node_goes_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let node = solo().await;
    let mut stream = tokio::net::TcpStream::connect(node.http()).await.unwrap();
    let head = "POST /v1/riders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let (mut reading, mut writing) = stream.split();
    let flood = async {
        // Written until the node has had enough and closes.
        for _ in 0..1_000 {
            if writing.write_all(chunk.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    let answer = async {
        let mut start = [0; 12];
        reading.read_exact(&mut start).await.map(|_| start)
    };
    let (_, answer) = tokio::join!(flood, answer);
    if let Ok(start) = answer {
        assert_eq!(&start, b"HTTP/1.1 413");
    } // or the flood's reset overtook the answer
    assert_eq!(ask(node.http(), "GET", "/healthz", &[], "").await.status(), 200);
    node.stop().await;
}

#[tokio::test]
async fn a_repeat_with_the_same_key_gets_the_same_answer_and_another_body_is_refused() {
    let node = solo().await;
    let at = node.http();
    let rider = rider(at, "ada").await;
    let headers = [(R, rider.as_str()), ("idempotency-key", "k1")];
    let first = insist(at, "POST", "/v1/bookings", &headers, wish(40.75, -73.98)).await;
    assert_eq!(first.0, 201, "{}", first.1);
    let again = insist(at, "POST", "/v1/bookings", &headers, wish(40.75, -73.98)).await;
    assert_eq!(again.1["booking_id"], first.1["booking_id"]);
    assert_eq!(again.0, 201);
    let other = insist(at, "POST", "/v1/bookings", &headers, wish(40.76, -73.98)).await;
    assert_eq!((other.0, text(&other.1["code"])), (422, "IDEMPOTENCY_KEY_REUSED".to_owned()));
    let second = [(R, rider.as_str()), ("x-idempotency-key", "k2")];
    let busy = insist(at, "POST", "/v1/bookings", &second, wish(40.75, -73.98)).await;
    assert_eq!((busy.0, text(&busy.1["code"])), (409, "RIDER_HAS_ACTIVE_BOOKING".to_owned()));
    node.stop().await;
}

#[tokio::test]
async fn a_trace_that_a_client_gives_comes_back() {
    let node = solo().await;
    let trace = "0123456789abcdef0123456789abcdef";
    let response = ask(node.http(), "GET", "/v1/x", &[("x-trace-id", trace)], "").await;
    assert_eq!(response.headers()["x-trace-id"], trace);
    let response = ask(node.http(), "GET", "/v1/x", &[("x-trace-id", "nonsense")], "").await;
    assert_eq!(response.headers()["x-trace-id"].len(), 32);
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_sees_too_few_others_says_so_and_serves_nobody() {
    use crate::support::{config, own_address, start};
    let (mine, other) = (own_address(), own_address());
    let flags = format!("--node-id 1 --http 127.0.0.1:0 --initial-nodes 1={mine},2={other}");
    let node = start(config(&flags).unwrap(), &crate::support::Disks::default(), 1).await;
    let at = node.http();
    assert_eq!(ask(at, "GET", "/healthz", &[], "").await.status(), 200);
    let ready = ask(at, "GET", "/readyz", &[], "").await;
    assert_eq!(ready.status(), 503);
    let reasons: Value = ready.json().await.unwrap();
    assert!(text(&reasons["reasons"][0]).contains("1 of the 2"), "{reasons}");
    let refused = ask(at, "POST", "/v1/riders", &[], "{\"name\":\"ada\"}").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: ProblemBody = refused.json().await.unwrap();
    assert_eq!((problem.code.as_str(), problem.retryable), ("NOT_READY", true));
    assert_eq!(ask(at, "GET", "/v1/cluster", &[], "").await.status(), 200);
    node.stop().await;
}
