//! HTTP that no good client sends: every answer is a typed 4xx, and afterwards every node still
//! serves and forwards.

use crate::client::Answer;
use crate::nodes::Cluster;
use crate::people::{SQUARE, Unknown, booking_body, unknown};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest body that a node takes unless told otherwise.
const BODY_MAX: usize = 256 << 10;

#[tokio::test]
async fn ids_paths_methods_and_parameters_that_make_no_sense_are_refused_by_name() {
    let (cluster, riders) = Cluster::with_riders().await;
    let rider = &riders[0];
    let expect = async |what: &str, status: u16, code: &str| -> Answer {
        let ask = cluster.ask(cluster.any(), what).rider(rider);
        let answer = ask.send().await;
        answer.problem(status, code);
        answer
    };

    for slot in [0, u16::MAX] {
        let Unknown { booking, trip, offer, driver, rider } = unknown(slot);
        let post = async |what: &str, status: u16, code: &str| {
            let ask = cluster.ask(cluster.any(), what).driver(&driver).json(&json!({}));
            ask.send().await.problem(status, code);
        };
        expect(&format!("GET /v1/bookings/{booking}"), 404, "BOOKING_NOT_FOUND").await;
        expect(&format!("POST /v1/bookings/{booking}/cancel"), 404, "BOOKING_NOT_FOUND").await;
        expect(&format!("GET /v1/trips/{trip}"), 404, "TRIP_NOT_FOUND").await;
        for step in ["arrive", "start", "pause", "resume", "end", "cancel"] {
            post(&format!("POST /v1/trips/{trip}/{step}"), 404, "TRIP_NOT_FOUND").await;
        }
        expect(&format!("GET /v1/riders/{rider}"), 404, "RIDER_NOT_FOUND").await;
        for path in ["", "/offers"] {
            expect(&format!("GET /v1/drivers/{driver}{path}"), 404, "DRIVER_NOT_FOUND").await;
        }
        for duty in ["online", "offline"] {
            expect(&format!("POST /v1/drivers/{driver}/{duty}"), 404, "DRIVER_NOT_FOUND").await;
        }
        post(&format!("POST /v1/offers/{offer}/decline"), 404, "DRIVER_NOT_FOUND").await;
        let ask = cluster.ask(cluster.any(), "POST /v1/bookings").rider(&rider);
        ask.json(&booking_body(SQUARE)).send().await.problem(404, "RIDER_NOT_FOUND");
        let ask = cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(&driver);
        ask.json(&json!({ "offer_id": offer })).send().await.problem(404, "DRIVER_NOT_FOUND");
        let ask = cluster.ask(cluster.any(), "GET /v1/trips/active").driver(&driver);
        ask.send().await.problem(404, "DRIVER_NOT_FOUND");

        // Ids of another kind.
        for (kind, id) in
            [("bookings", &trip), ("trips", &offer), ("drivers", &rider), ("riders", &driver)]
        {
            expect(&format!("GET /v1/{kind}/{id}"), 400, "BAD_REQUEST").await;
        }
    }
    let driver = cluster.driver_at(2, "dee").await;
    let offer = unknown(9).offer;
    let ask = cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(&driver);
    ask.json(&json!({ "offer_id": offer })).send().await.problem(404, "OFFER_NOT_FOUND");
    let ask = cluster.ask(cluster.any(), &format!("POST /v1/offers/{offer}/decline"));
    ask.driver(&driver).send().await.problem(404, "OFFER_NOT_FOUND");
    expect("GET /v1/trips/active", 404, "NO_ACTIVE_TRIP").await;

    let booking = unknown(3).booking;
    let cut = &booking[..booking.len() - 1];
    let odd = [
        "x",
        "%ff",
        "%00",
        "..%2f",
        "bkg_",
        "drv_ZZZZZZZZZZZZZ",
        "bkg_ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        cut,
        "-1",
        "%F0%9F%9A%95",
    ];
    for id in odd {
        for kind in ["bookings", "trips", "drivers", "riders"] {
            expect(&format!("GET /v1/{kind}/{id}"), 400, "BAD_REQUEST").await;
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/riders",
        "/v1/riders/",
        "/v1/bookings//",
        "/V1/riders",
        "/metrics/",
        "/v1/bookings/a/b/c",
    ] {
        for method in ["GET", "POST"] {
            let ask = cluster.ask(cluster.any(), &format!("{method} {path}"));
            let answer = ask.send().await;
            let (status, code) = (answer.status, answer.json["code"].as_str());
            let typed = [(404, Some("NO_SUCH_PATH")), (400, Some("BAD_REQUEST"))];
            assert!(typed.contains(&(status, code)), "{}: {}", answer.what, answer.text);
            answer.problem(status, code.unwrap());
        }
    }
    for what in [
        "GET /v1/riders",
        "DELETE /v1/bookings",
        "PATCH /v1/riders",
        "POST /healthz",
        "PUT /metrics",
        "GET /v1/trips/accept",
        "POST /v1/trips/active",
        "OPTIONS /v1/bookings",
        "BREW /v1/nearby",
        "GET /v1/drivers/location",
    ] {
        let answer = expect(what, 405, "NO_SUCH_METHOD").await;
        assert!(!answer.header("allow").is_empty(), "{what}: says no Allow");
    }
    let (bad, off) = ("BAD_REQUEST", "BAD_COORDINATE");
    for (query, code) in [
        ("", bad),
        ("lat=1", bad),
        ("lat=x&lng=1", bad),
        ("lat=&lng=", bad),
        ("lat=1&lat=1&lng=1", bad),
        ("lat=NaN&lng=1", off),
        ("lat=1&lng=inf", off),
        ("lat=90.1&lng=0", off),
        ("lat=1&lng=1&radius_m=0", bad),
        ("lat=1&lng=1&radius_m=-1", bad),
        ("lat=1&lng=1&radius_m=4000000000", bad),
        ("lat=1&lng=1&radius_m=99999999999", bad),
        ("lat=1&lng=1&limit=0", bad),
        ("lat=1&lng=1&limit=201", bad),
        ("lat=1&lng=1&vehicle_type=PLANE", bad),
        ("lat=1&lng=%ff", bad),
    ] {
        expect(&format!("GET /v1/nearby?{query}"), 400, code).await;
    }
    for key in ["", "key=", "key=x", "key=91,0", "key=NaN,NaN", "key=1,2,3", "key=bkg_1", "key=%ff"]
    {
        expect(&format!("GET /v1/cluster/lookup?{key}"), 400, bad).await;
    }
    cluster.all_serve_all(&riders).await;
}

#[tokio::test]
async fn headers_and_sizes_beyond_measure_are_refused_and_the_edges_of_the_globe_are_served() {
    let (cluster, riders) = Cluster::with_riders().await;
    let sane = json!({ "name": "bob" });
    let bad = "BAD_REQUEST";
    for name in ["idempotency-key", "x-idempotency-key"] {
        for value in ["".to_owned(), "k".repeat(256), "k".repeat(10_000)] {
            let ask =
                cluster.ask(cluster.any(), "POST /v1/riders").header(name, &value).json(&sane);
            ask.send().await.problem(400, bad);
        }
        let ask =
            cluster.ask(cluster.any(), "POST /v1/riders").header(name, b"\xff\xfe").json(&sane);
        ask.send().await.expect(201);
    }
    let longest = "k".repeat(255);
    cluster
        .ask(cluster.any(), "POST /v1/riders")
        .key(&longest)
        .json(&sane)
        .send()
        .await
        .expect(201);
    let other_kind = unknown(0).driver;
    let twice = "rdr_0000000000000, rdr_0000000000000";
    let ids = [&b""[..], b"x", b"\xff", other_kind.as_bytes(), twice.as_bytes()];
    for id in ids {
        let ask = cluster.ask(cluster.any(), "POST /v1/bookings").header("x-user-id", id);
        ask.json(&booking_body(SQUARE)).send().await.problem(400, bad);
    }
    for what in ["POST /v1/bookings", "POST /v1/trips/accept", "GET /v1/trips/active"] {
        let body = if what.ends_with('s') {
            booking_body(SQUARE)
        } else {
            json!({ "offer_id": unknown(1).offer })
        };
        cluster.ask(cluster.any(), what).json(&body).send().await.problem(400, bad);
    }
    for trace in ["x".to_owned(), "0".repeat(33), "\u{fc}".repeat(16)] {
        let ask = cluster.ask(cluster.any(), "POST /v1/bookings").header("x-trace-id", trace);
        ask.send().await.problem(400, bad);
    }
    let trace = "0123456789abcdef0123456789abcdef";
    let ask =
        cluster.ask(cluster.any(), "GET /v1/riders/x").header("x-trace-id", trace).send().await;
    assert_eq!(ask.header("x-trace-id"), trace);

    for what in ["POST /v1/riders", "PUT /v1/drivers/location", "POST /v1/bookings"] {
        for size in [BODY_MAX + 1, 8 << 20] {
            let ask = cluster.ask(cluster.any(), what).rider(&riders[0]).body(vec![b' '; size]);
            ask.send().await.problem(413, "TOO_LARGE");
        }
        let ask = cluster.ask(cluster.any(), what).rider(&riders[0]).body(vec![b' '; BODY_MAX]);
        ask.send().await.problem(400, bad);
    }
    let fix = json!({ "driver_id": unknown(1).driver, "lat": 1.0, "lng": 1.0, "ts": 1 });
    let batch = |count: usize| Value::Array(vec![fix.clone(); count]);
    let put = "PUT /v1/drivers/location";
    cluster.ask(cluster.any(), put).json(&batch(1_001)).send().await.problem(413, "TOO_LARGE");
    for size in [1_000, 0] {
        let counts = cluster.ask(cluster.any(), put).json(&batch(size)).send().await.expect(202);
        let sum: u64 = ["applied", "stale", "refused"]
            .iter()
            .filter_map(|fate| counts.json[*fate].as_u64())
            .sum();
        assert_eq!(sum, u64::try_from(size).unwrap(), "{}", counts.text);
    }

    for (row, at) in
        [(90.0, 0.0), (-90.0, 180.0), (0.0, -180.0), (0.0, 180.0), (89.999_999_9, -0.0)]
            .into_iter()
            .enumerate()
    {
        let nearby = format!("GET /v1/nearby?lat={}&lng={}&radius_m=5000", at.0, at.1);
        cluster.ask(cluster.any(), &nearby).send().await.expect(200);
        let rider = cluster.rider_at(1, &format!("polar {row}")).await;
        let mut body = booking_body(SQUARE);
        for end in ["pickup", "destination"] {
            body[end] = json!({ "lat": at.0, "lng": at.1 });
        }
        let ask = cluster.ask(cluster.any(), "POST /v1/bookings").rider(&rider).json(&body);
        let booking = ask.send().await.expect(201).text("booking_id");
        let cancel = format!("POST /v1/bookings/{booking}/cancel");
        cluster.ask(cluster.any(), &cancel).rider(&rider).send().await.expect(200);
    }
    cluster.all_serve_all(&riders).await;
}

/// Sends bytes to an HTTP port and hangs up; gives what came back.
async fn raw(cluster: &Cluster, node: u64, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(cluster.http(node)).await.unwrap();
    // The node may close while it is still being written to.
    let _closed = stream.write_all(bytes).await;
    let _closed = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _reset = timeout(Duration::from_secs(15), reading).await.expect("the node hangs up");
    answer
}

#[tokio::test]
async fn bytes_that_are_no_http_cost_their_connection_and_nothing_else() {
    let (cluster, riders) = Cluster::with_riders().await;
    let many_headers = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let long_header = format!("GET /healthz HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(2 << 20));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let head = "POST /v1/riders HTTP/1.1\r\nhost: x\r\n";
    let texts = [
        "",
        "\r\n\r\n\r\n",
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /health",
        &many_headers,
        &long_header,
        &long_path,
        &format!("{head}content-length: -1\r\n\r\n{{}}"),
        &format!("{head}content-length: 99999999999999999999\r\n\r\n{{}}"),
        &format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
        &format!("{head}content-length: 100\r\n\r\n{{"),
        &format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        &format!(
            "{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
            format!("10000\r\n{}\r\n", " ".repeat(65_536)).repeat(5)
        ),
        &format!("{head}no colon\r\n\r\n"),
    ];
    let mut samples: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    samples.push(vec![0; 10_000]);
    samples.push((0..=255).collect());
    // How a TLS client begins.
    samples.push([&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat());
    for sample in samples {
        let answer = raw(&cluster, cluster.any(), &sample).await;
        let shown = String::from_utf8_lossy(&sample[..sample.len().min(80)]).into_owned();
        let said = String::from_utf8_lossy(&answer);
        let refused =
            said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.0 4");
        assert!(refused, "{shown:?}: {said}");
    }
    cluster.all_serve_all(&riders).await;
}
