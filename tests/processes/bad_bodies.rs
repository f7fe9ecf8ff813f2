//! JSON that no good client sends, field by field: every answer is a typed 400, and afterwards
//! every node still serves and forwards.

use crate::nodes::Cluster;
use crate::people::{SQUARE, booking_body, now_ms, unknown};
use serde_json::{Value, json};

/// Sends each body and expects its code.
async fn bodies(cluster: &Cluster, what: &str, who: (&str, &str), table: &[(&str, &str)]) {
    for (body, code) in table {
        let ask = cluster.ask(cluster.any(), what).header(who.0, who.1).body(*body);
        let mut answer = ask.send().await;
        answer.what = format!("{what} {}", &body[..body.len().min(100)]);
        answer.problem(400, code);
    }
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused_by_name() {
    let (cluster, riders) = Cluster::with_riders().await;
    let (nobody, rider) = (("x-nobody", "1"), ("x-user-id", riders[0].as_str()));
    let (bad, off) = ("BAD_REQUEST", "BAD_COORDINATE");

    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_field = format!("{{\"name\":{deep}}}");
    let long = json!({ "name": "n".repeat(129) }).to_string();
    let names = [
        "",
        "{",
        "}",
        "null",
        "[]",
        "\"x\"",
        "7",
        "{\"name\":1}",
        "{\"name\":null}",
        "{\"name\":\"\"}",
        "{\"name\":\"a\\u0000b\"}",
        "{\"name\":\"a\\nb\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"name\":\"a\"} x",
        "\u{feff}{\"name\":\"a\"}",
        "{'name':'a'}",
        "name=a",
        &deep,
        &deep_field,
        &long,
    ];
    bodies(&cluster, "POST /v1/riders", nobody, &names.map(|body| (body, bad))).await;
    let bytes: [&[u8]; 3] = [b"{\"name\":\"\xff\xfe\"}", b"\x00\x01\x02", b"\x1f\x8b\x08\x00"];
    for body in bytes {
        cluster.ask(cluster.any(), "POST /v1/riders").body(body).send().await.problem(400, bad);
    }

    let driver = |field: &str, value: Value| {
        let vehicle = json!({ "type": "SEDAN", "seats": 4, "capabilities": [], "plate": "" });
        let mut body =
            json!({ "name": "dee", "city_id": 1, "vehicle": vehicle, "kyc_verified": true });
        *body.pointer_mut(field).unwrap() = value;
        body.to_string()
    };
    let drivers = [
        driver("/vehicle", json!(null)),
        driver("/vehicle", json!("SEDAN")),
        driver("/vehicle/type", json!("PLANE")),
        driver("/vehicle/type", json!(1)),
        driver("/vehicle/seats", json!(0)),
        driver("/vehicle/seats", json!(65)),
        driver("/vehicle/seats", json!(256)),
        driver("/vehicle/seats", json!(-1)),
        driver("/vehicle/seats", json!(4.5)),
        driver("/vehicle/capabilities", json!(["wings"])),
        driver("/vehicle/plate", json!("p".repeat(257))),
        driver("/city_id", json!(70_000)),
        driver("/kyc_verified", json!("yes")),
        driver("/name", json!([])),
    ];
    let table: Vec<(&str, &str)> = drivers.iter().map(|body| (body.as_str(), bad)).collect();
    bodies(&cluster, "POST /v1/drivers", nobody, &table).await;

    let booking = |field: &str, value: Value| {
        let mut body = booking_body(SQUARE);
        for (name, value) in [
            ("vehicle_type", json!("SEDAN")),
            ("seats", json!(1)),
            ("city_id", json!(1)),
            ("shown_estimate_minor", json!(1)),
            ("capabilities", json!([])),
        ] {
            body[name] = value;
        }
        *body.pointer_mut(field).unwrap() = value;
        body.to_string()
    };
    let sane = booking("/seats", json!(1));
    let lat = |text: &str| sane.replacen("40.758", text, 1);
    assert_ne!(lat("91"), sane);
    let bookings = [
        (booking("/pickup/lat", json!(90.000_000_1)), off),
        (booking("/pickup/lat", json!(-91)), off),
        (booking("/pickup/lng", json!(180.000_000_1)), off),
        (booking("/destination/lng", json!(-181)), off),
        (booking("/destination/lat", json!(1e300)), off),
        (lat("NaN"), bad),
        (lat("Infinity"), bad),
        (lat("1e999"), bad),
        (lat("\"40\""), bad),
        (lat("null"), bad),
        (lat("0x28"), bad),
        (booking("/pickup", json!(null)), bad),
        (booking("/pickup", json!([40, -73])), bad),
        (booking("/pickup/address", json!("a".repeat(257))), bad),
        (booking("/vehicle_type", json!("sedan")), bad),
        (booking("/seats", json!(0)), bad),
        (booking("/seats", json!(300)), bad),
        (booking("/city_id", json!(-1)), bad),
        (booking("/shown_estimate_minor", json!(-1)), bad),
        (booking("/shown_estimate_minor", json!(0.5)), bad),
        (booking("/capabilities", json!(["wings"])), bad),
        (booking("/capabilities", json!({})), bad),
        (String::from("{}"), bad),
    ];
    let table: Vec<(&str, &str)> =
        bookings.iter().map(|(body, code)| (body.as_str(), *code)).collect();
    bodies(&cluster, "POST /v1/bookings", rider, &table).await;

    let id = unknown(0).driver;
    let fix = |field: &str, value: Value| {
        let mut fix = json!({ "driver_id": id, "lat": 1.0, "lng": 1.0, "ts": now_ms(), "speed_kmh": 1, "heading_deg": 1, "accuracy_m": 1 });
        fix[field] = value;
        fix.to_string()
    };
    let listed = format!("[{},{}]", fix("ts", json!(1)), fix("lat", json!(90.1)));
    let fixes = [
        (fix("lat", json!(-90.1)), off),
        (fix("lng", json!(181)), off),
        (listed, off),
        (fix("lat", json!("1")), bad),
        (fix("ts", json!(-1)), bad),
        (fix("ts", json!("now")), bad),
        (fix("ts", json!(1.5)), bad),
        (fix("ts", json!(1e30)), bad),
        (fix("speed_kmh", json!(-1)), bad),
        (fix("heading_deg", json!("north")), bad),
        (fix("accuracy_m", json!([])), bad),
        (fix("driver_id", json!(riders[0])), bad),
        (fix("driver_id", json!(7)), bad),
        (fix("driver_id", json!("")), bad),
        ("{}".into(), bad),
        ("[{}]".into(), bad),
        ("[1,2]".into(), bad),
        ("[".into(), bad),
        ("[[]]".into(), bad),
        (" ".into(), bad),
    ];
    let table: Vec<(&str, &str)> =
        fixes.iter().map(|(body, code)| (body.as_str(), *code)).collect();
    bodies(&cluster, "PUT /v1/drivers/location", nobody, &table).await;

    let trip = format!("POST /v1/trips/{}/end", unknown(7).trip);
    let ends = [
        "{\"odometer_km\":-1}",
        "{\"odometer_km\":1e12}",
        "{\"odometer_km\":NaN}",
        "{\"odometer_km\":\"1\"}",
    ];
    let by = ("x-driver-id", id.as_str());
    bodies(&cluster, &trip, by, &ends.map(|body| (body, bad))).await;
    let accepts = [
        "{}",
        "{\"offer_id\":null}",
        "{\"offer_id\":\"off_1\"}",
        "{\"offer_id\":\"trp_00000000000000000000000000\"}",
    ];
    bodies(&cluster, "POST /v1/trips/accept", by, &accepts.map(|body| (body, bad))).await;
    let reason = json!({ "reason": "r".repeat(257) }).to_string();
    let cancel = format!("POST /v1/bookings/{}/cancel", unknown(7).booking);
    bodies(&cluster, &cancel, rider, &[("{\"reason\":1}", bad), (&reason, bad)]).await;

    cluster.all_serve_all(&riders).await;
}
