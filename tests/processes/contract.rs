//! The contract with phones: every row of the table of endpoints and codes, as a live node's own
//! document states it, is reached through the public API, and nothing is answered that is not in it.

use crate::client::Ask;
use crate::nodes::{Cluster, PHONE};
use crate::people::{At, By, SQUARE, booking_body, north_of, unknown};
use proto::ZoneId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Offers run out so soon that a test can wait for it.
const BRIEF: [&str; 2] = ["--offer-ttl-ms=2500", "--offer-shown-ms=2000"];
/// What any endpoint may say; reached where those are tested.
const EVERYWHERE: [&str; 9] = [
    "BAD_REQUEST",
    "TOO_LARGE",
    "OVERLOADED",
    "RETRY",
    "NOT_OWNER",
    "NOT_READY",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "RATE_LIMITED",
];

/// An endpoint and one of its codes.
type Row = (String, String);

/// What the document says, and what was seen.
struct Contract {
    cluster: Cluster,
    /// `METHOD /path/{id}`, and its codes by status.
    stated: BTreeMap<String, BTreeMap<u16, BTreeSet<String>>>,
    reached: BTreeSet<Row>,
}

impl Contract {
    async fn of(cluster: Cluster) -> Self {
        let document = cluster.get(1, "/v1/openapi.json").await.expect(200).json;
        let mut stated = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let mut codes = BTreeMap::new();
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let listed = response["x-codes"].as_array().into_iter().flatten();
                    let listed = listed.map(|code| code.as_str().unwrap().to_owned()).collect();
                    codes.insert(status.parse().unwrap(), listed);
                }
                stated.insert(format!("{} {path}", method.to_uppercase()), codes);
            }
        }
        Self { cluster, stated, reached: BTreeSet::new() }
    }

    /// The endpoint that a request goes to: literal paths win over those with an id.
    fn endpoint(&self, what: &str) -> String {
        let (method, path) = what.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        let fits = |template: &&String| {
            let (of, template) = template.split_once(' ').unwrap();
            let (a, b) = (path.split('/'), template.split('/'));
            of == method
                && a.clone().count() == b.clone().count()
                && a.zip(b).all(|(a, b)| a == b || b == "{id}")
        };
        let mut all: Vec<_> = self.stated.keys().filter(fits).collect();
        all.sort_by_key(|template| template.matches('{').count());
        all.first().unwrap_or_else(|| panic!("{what} is not in the document")).to_string()
    }

    /// Sends a request that must be refused with a code, as the document says it may.
    async fn refuses(&mut self, what: &str, code: &str, with: impl Fn(Ask) -> Ask) {
        let answer = with(self.cluster.ask(self.cluster.any(), what)).send().await;
        assert_eq!(answer.json["code"], code, "{what}: {}", answer.text);
        let endpoint = self.endpoint(what);
        let stated = self.stated[&endpoint].get(&answer.status);
        let stated = stated.is_some_and(|codes| codes.contains(code));
        assert!(stated, "{endpoint} does not say that it refuses with {} {code}", answer.status);
        self.reached.insert((endpoint, code.to_owned()));
    }

    /// The same key with another body.
    async fn refuses_reuse(&mut self, what: &str, first: Value, with: impl Fn(Ask) -> Ask) {
        let key = format!("key of {what}");
        let mut other = first.clone();
        other["another"] = json!(1);
        with(self.cluster.ask(self.cluster.any(), what).key(&key).json(&first)).send().await;
        self.refuses(what, "IDEMPOTENCY_KEY_REUSED", |ask| with(ask.key(&key).json(&other))).await;
    }

    /// A free driver and a rider, alone at a place of their own.
    async fn pair(&self, number: u32) -> (String, String, At) {
        let at = north_of(SQUARE, f64::from(number) * 15_000.0);
        let driver = self.cluster.free_driver_at(1, &format!("dee {number}"), at).await;
        let rider = self.cluster.rider_at(2, &format!("ada {number}")).await;
        (driver, rider, at)
    }

    /// A trip that was taken so far.
    async fn trip(&self, number: u32, steps: &[&str]) -> (String, String, String, String) {
        let (driver, rider, at) = self.pair(number).await;
        let booking = self.cluster.book(&rider, at).await;
        let trip = self.cluster.accept(&driver).await;
        self.cluster.step(&driver, &trip, steps).await;
        (driver, rider, booking, trip)
    }

    async fn parties(&mut self) {
        let unknown = unknown(7);
        let (driver, rider) = (unknown.driver, unknown.rider);
        self.refuses_reuse("POST /v1/riders", json!({ "name": "bob" }), |ask| ask).await;
        let bob = json!({ "name": "bob", "phone": PHONE });
        self.refuses("POST /v1/riders", "NAME_TAKEN", |ask| ask.json(&bob)).await;
        let car = json!({ "name": "dan", "vehicle": { "type": "SEDAN" } });
        self.refuses_reuse("POST /v1/drivers", car, |ask| ask).await;
        let suv = json!({ "name": "dan", "vehicle": { "type": "SUV" } });
        self.refuses("POST /v1/drivers", "NAME_TAKEN", |ask| ask.json(&suv)).await;
        for path in ["", "/bookings", "/can_book"] {
            let what = format!("GET /v1/riders/{rider}{path}");
            self.refuses(&what, "RIDER_NOT_FOUND", |ask| ask).await;
        }
        self.bans(&rider, &driver).await;
        for path in [
            "GET /",
            "GET //bookings",
            "GET //offers",
            "GET //can_accept_bookings",
            "GET //meta",
            "POST //online",
            "POST //offline",
        ] {
            let what = path.replacen("/", &format!("/v1/drivers/{driver}"), 1);
            self.refuses(&what, "DRIVER_NOT_FOUND", |ask| ask).await;
        }
        let socket = |ask: Ask| {
            let ask = ask.header("connection", "upgrade").header("upgrade", "websocket");
            let ask = ask.header("sec-websocket-version", "13").driver(&driver);
            ask.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        };
        let what = format!("GET /v1/drivers/{driver}/stream");
        self.refuses(&what, "DRIVER_NOT_FOUND", socket).await;

        let unverified = json!({ "name": "kim", "vehicle": { "type": "SEDAN" } });
        let kim = self.cluster.post("/v1/drivers", By::Nobody, &unverified).await.text("driver_id");
        self.refuses(&format!("POST /v1/drivers/{kim}/online"), "KYC_REQUIRED", |ask| ask).await;
        self.refuses(&format!("GET /v1/drivers/{kim}/meta"), "DRIVER_NOT_SEEN", |ask| ask).await;
        for duty in ["online", "offline"] {
            let what = format!("POST /v1/drivers/{kim}/{duty}");
            self.refuses_reuse(&what, json!({}), |ask| ask).await;
        }
        let far = json!({ "driver_id": kim, "lat": 91, "lng": 0, "ts": 1 });
        self.refuses("PUT /v1/drivers/location", "BAD_COORDINATE", |ask| ask.json(&far)).await;
        let what = format!("POST /v1/drivers/{kim}/location");
        self.refuses(&what, "BAD_COORDINATE", |ask| ask.json(&far)).await;
        self.refuses("GET /v1/nearby?lat=91&lng=0", "BAD_COORDINATE", |ask| ask).await;
        self.refuses("GET /v1/supply?lat=91&lng=0", "BAD_COORDINATE", |ask| ask).await;
        for (header, id, code) in [
            ("x-driver-id", &kim, "NO_ACTIVE_TRIP"),
            ("x-driver-id", &driver, "DRIVER_NOT_FOUND"),
            ("x-user-id", &rider, "RIDER_NOT_FOUND"),
        ] {
            self.refuses("GET /v1/trips/active", code, |ask| ask.header(header, id)).await;
        }
    }

    async fn bans(&mut self, nobody: &str, no_driver: &str) {
        let while_ago = json!({ "for_s": 60, "reason": "no shows" });
        let ban = |ask: Ask| ask.json(&while_ago);
        for method in ["PUT", "DELETE"] {
            let what = format!("{method} /v1/riders/{nobody}/ban");
            self.refuses(&what, "RIDER_NOT_FOUND", ban).await;
            let what = format!("{method} /v1/drivers/{no_driver}/ban");
            self.refuses(&what, "DRIVER_NOT_FOUND", ban).await;
        }
        let rider = self.cluster.rider_at(1, "max").await;
        let driver = self.cluster.driver_at(2, "moe").await;
        for method in ["DELETE", "PUT"] {
            for what in [format!("/v1/riders/{rider}/ban"), format!("/v1/drivers/{driver}/ban")] {
                self.refuses_reuse(&format!("{method} {what}"), while_ago.clone(), |ask| ask).await;
            }
        }
        let body = booking_body(SQUARE);
        let book = |ask: Ask| ask.rider(&rider).json(&body);
        self.refuses("POST /v1/bookings", "RIDER_BANNED", book).await;
        self.refuses(&format!("POST /v1/drivers/{driver}/online"), "DRIVER_BANNED", |ask| ask)
            .await;
    }

    async fn bookings(&mut self) {
        let (unknown, body) = (unknown(7), booking_body(SQUARE));
        let stream = format!("GET /v1/bookings/{}/stream", unknown.booking);
        let explain = format!("GET /v1/bookings/{}/explain", unknown.booking);
        self.refuses(&explain, "BOOKING_NOT_FOUND", |ask| ask).await;
        self.refuses(&stream, "BOOKING_NOT_FOUND", |ask| ask).await;
        let book = "POST /v1/bookings";
        let mut far = body.clone();
        far["pickup"]["lat"] = json!(-91);
        let rider = self.cluster.rider_at(1, "fay").await;
        self.refuses(book, "BAD_COORDINATE", |ask| ask.rider(&rider).json(&far)).await;
        let nobody = |ask: Ask| ask.rider(&unknown.rider).json(&body);
        self.refuses(book, "RIDER_NOT_FOUND", nobody).await;
        self.refuses_reuse(book, body.clone(), |ask| ask.rider(&rider)).await;
        let again = |ask: Ask| ask.rider(&rider).json(&body);
        self.refuses(book, "RIDER_HAS_ACTIVE_BOOKING", again).await;

        let what = format!("GET /v1/bookings/{}", unknown.booking);
        self.refuses(&what, "BOOKING_NOT_FOUND", |ask| ask).await;
        let what = format!("POST /v1/bookings/{}/cancel", unknown.booking);
        self.refuses(&what, "BOOKING_NOT_FOUND", |ask| ask.rider(&rider)).await;
        let (_, rider, booking, _) = self.trip(1, &[]).await;
        let cancel = format!("POST /v1/bookings/{booking}/cancel");
        self.refuses(&cancel, "UNAUTHORIZED", |ask| ask.rider(&unknown.rider)).await;
        self.refuses(&cancel, "BOOKING_ALREADY_ASSIGNED", |ask| ask.rider(&rider)).await;
        let (_, rider, booking, _) = self.trip(2, &["start", "end"]).await;
        let cancel = format!("POST /v1/bookings/{booking}/cancel");
        self.refuses(&cancel, "BOOKING_ENDED", |ask| ask.rider(&rider)).await;
        self.refuses_reuse(&cancel, json!({}), |ask| ask.rider(&rider)).await;
    }

    async fn offers(&mut self) {
        let unknown = unknown(7);
        let accept = "POST /v1/trips/accept";
        let of = |offer: &str| json!({ "offer_id": offer });
        let nothing = of(&unknown.offer);
        let decline = |offer: &str| format!("POST /v1/offers/{offer}/decline");
        let (no_offer, nobody) = (decline(&unknown.offer), unknown.driver);
        self.refuses(accept, "DRIVER_NOT_FOUND", |a| a.driver(&nobody).json(&nothing)).await;
        self.refuses(&no_offer, "DRIVER_NOT_FOUND", |ask| ask.driver(&nobody)).await;

        // One that is let lapse, one that is declined, one whose booking is called off.
        let (driver, rider, at) = self.pair(3).await;
        self.refuses(accept, "OFFER_NOT_FOUND", |a| a.driver(&driver).json(&nothing)).await;
        self.refuses(&no_offer, "OFFER_NOT_FOUND", |ask| ask.driver(&driver)).await;
        let lapses = self.cluster.book(&rider, at).await;
        let lapsed =
            self.cluster.offer_before(&driver).await["offer_id"].as_str().unwrap().to_owned();
        self.cluster
            .becomes(&format!("/v1/drivers/{driver}"), "current_offer_id", Value::Null)
            .await;
        self.refuses(&decline(&lapsed), "OFFER_EXPIRED", |ask| ask.driver(&driver)).await;
        self.refuses(accept, "OFFER_EXPIRED", |a| a.driver(&driver).json(&of(&lapsed))).await;
        self.refuses_reuse(&decline(&lapsed), json!({}), |ask| ask.driver(&driver)).await;
        let cancel = format!("/v1/bookings/{lapses}/cancel");
        self.cluster.post(&cancel, By::Rider(&rider), &json!({})).await.expect(200);

        let (driver, rider, at) = self.pair(4).await;
        let booking = self.cluster.book(&rider, at).await;
        let taken =
            self.cluster.offer_before(&driver).await["offer_id"].as_str().unwrap().to_owned();
        let cancel = format!("/v1/bookings/{booking}/cancel");
        self.cluster.post(&cancel, By::Rider(&rider), &json!({})).await.expect(200);
        self.cluster
            .becomes(&format!("/v1/drivers/{driver}"), "current_offer_id", Value::Null)
            .await;
        self.refuses(accept, "OFFER_TAKEN", |a| a.driver(&driver).json(&of(&taken))).await;
        self.refuses(&decline(&taken), "OFFER_TAKEN", |ask| ask.driver(&driver)).await;

        let (driver, rider, at) = self.pair(5).await;
        self.cluster.book(&rider, at).await;
        let offer =
            self.cluster.offer_before(&driver).await["offer_id"].as_str().unwrap().to_owned();
        self.refuses_reuse(accept, of(&offer), |ask| ask.driver(&driver)).await;
        let other_key = |ask: Ask| ask.driver(&driver).key("another").json(&of(&offer));
        self.refuses(accept, "OFFER_ALREADY_ACCEPTED", other_key).await;
        self.refuses(&decline(&offer), "OFFER_ALREADY_ACCEPTED", |ask| ask.driver(&driver)).await;
        self.refuses(accept, "DRIVER_BUSY", |a| a.driver(&driver).json(&nothing)).await;
        let offline = format!("POST /v1/drivers/{driver}/offline");
        self.refuses(&offline, "DRIVER_BUSY", |ask| ask).await;
    }

    async fn trips(&mut self) {
        let unknown = unknown(7);
        let nobody = unknown.driver;
        let steps = ["arrive", "start", "pause", "resume", "end", "cancel"];
        self.refuses(&format!("GET /v1/trips/{}", unknown.trip), "TRIP_NOT_FOUND", |a| a).await;
        for step in steps {
            let what = format!("POST /v1/trips/{}/{step}", unknown.trip);
            self.refuses(&what, "TRIP_NOT_FOUND", |ask| ask.driver(&nobody)).await;
        }
        for path in ["trail", "receipt"] {
            let what = format!("GET /v1/trips/{}/{path}", unknown.trip);
            self.refuses(&what, "TRIP_NOT_FOUND", |ask| ask).await;
        }
        let (driver, _, _, trip) = self.trip(6, &[]).await;
        self.refuses(&format!("GET /v1/trips/{trip}/receipt"), "TRIP_NOT_OVER", |ask| ask).await;
        let far = json!({ "lat": 91, "lng": 0 });
        for (step, field) in [("start", "location"), ("end", "dropoff"), ("cancel", "location")] {
            let (what, body) = (format!("POST /v1/trips/{trip}/{step}"), json!({ field: far }));
            self.refuses(&what, "BAD_COORDINATE", |a| a.driver(&driver).json(&body)).await;
        }
        let positions =
            |lat: i32| json!({ "locations": [{ "lat": lat, "lng": -73.98, "recorded_at_ms": 1 }] });
        for method in ["POST", "PATCH"] {
            let what = format!("{method} /v1/trips/{trip}/location");
            let (near, far) = (positions(40), positions(91));
            self.refuses(&what, "BAD_COORDINATE", |a| a.driver(&driver).json(&far)).await;
            self.refuses(&what, "UNAUTHORIZED_DRIVER", |a| a.driver(&nobody).json(&near)).await;
            let what = format!("{method} /v1/trips/{}/location", unknown.trip);
            self.refuses(&what, "TRIP_NOT_FOUND", |a| a.driver(&driver).json(&near)).await;
        }
        for step in steps {
            let what = format!("POST /v1/trips/{trip}/{step}");
            self.refuses(&what, "UNAUTHORIZED_DRIVER", |ask| ask.driver(&nobody)).await;
            if ["pause", "resume", "end"].contains(&step) {
                self.refuses(&what, "TRIP_NOT_STARTED", |ask| ask.driver(&driver)).await;
            }
        }
        let cancel = format!("POST /v1/trips/{trip}/cancel");
        self.refuses(&cancel, "UNAUTHORIZED", |ask| ask.rider(&unknown.rider)).await;
        for (step, code) in [
            ("arrive", "TRIP_ALREADY_STARTED"),
            ("start", "TRIP_ALREADY_STARTED"),
            ("cancel", "CANNOT_CANCEL_IN_PROGRESS"),
            ("resume", "TRIP_NOT_PAUSED"),
        ] {
            self.cluster
                .step(&driver, &trip, if step == "arrive" { &["start"] } else { &[] })
                .await;
            let what = format!("POST /v1/trips/{trip}/{step}");
            self.refuses(&what, code, |ask| ask.driver(&driver)).await;
        }
        self.cluster.step(&driver, &trip, &["pause"]).await;
        let pause = format!("POST /v1/trips/{trip}/pause");
        self.refuses(&pause, "TRIP_ALREADY_PAUSED", |ask| ask.driver(&driver)).await;
        self.cluster.step(&driver, &trip, &["end"]).await;
        for step in steps {
            let code =
                if step == "cancel" { "TRIP_ALREADY_COMPLETED" } else { "TRIP_ALREADY_ENDED" };
            let what = format!("POST /v1/trips/{trip}/{step}");
            self.refuses(&what, code, |ask| ask.driver(&driver)).await;
        }
        let (driver, _, _, trip) = self.trip(7, &["cancel"]).await;
        for step in steps {
            let what = format!("POST /v1/trips/{trip}/{step}");
            self.refuses(&what, "TRIP_CANCELLED", |ask| ask.driver(&driver)).await;
            self.refuses_reuse(&what, json!({}), |ask| ask.driver(&driver)).await;
        }
    }

    /// A trip that is started by a code.
    async fn codes(&mut self) {
        let (driver, rider, _, trip) = self.trip(8, &[]).await;
        let shown = self.cluster.ask(1, &format!("GET /v1/trips/{trip}"));
        let shown = shown.rider(&rider).send().await.expect(200).json;
        let right: u16 = shown["otp"].as_str().unwrap().parse().unwrap();
        let start = format!("POST /v1/trips/{trip}/start");
        self.refuses(&start, "INVALID_OTP", |ask| ask.driver(&driver)).await;
        for n in 1..=5 {
            let wrong = json!({ "otp": format!("{:04}", (right + n) % 10_000) });
            self.refuses(&start, "INVALID_OTP", |a| a.driver(&driver).json(&wrong)).await;
        }
        let right = json!({ "otp": format!("{right:04}") });
        self.refuses(&start, "OTP_TRIES_EXCEEDED", |a| a.driver(&driver).json(&right)).await;
        // An operator, who names no party, helps them out.
        self.cluster.post(&start[5..], By::Nobody, &json!({})).await.expect(200);
    }

    async fn operations(&mut self) {
        for word in ["drain", "activate"] {
            let what = format!("POST /v1/cluster/nodes/77/{word}");
            self.refuses(&what, "NODE_NOT_FOUND", |ask| ask).await;
        }
        self.refuses("POST /v1/cluster/nodes/3/drain", "TOO_FEW_NODES", |ask| ask).await;
        let late = json!({ "version": 77, "set": {} });
        self.refuses("PATCH /v1/policy", "POLICY_CHANGED", |ask| ask.json(&late)).await;
        let late = json!({ "version": 77, "zones": [] });
        self.refuses("PUT /v1/zones", "POLICY_CHANGED", |ask| ask.json(&late)).await;
        let far = json!({ "lat": 91, "lng": 0 });
        let far = json!({ "version": 0, "zones": [{ "name": "far", "ring": [far, far, far] }] });
        self.refuses("PUT /v1/zones", "BAD_COORDINATE", |ask| ask.json(&far)).await;
        let nowhere = format!("GET /v1/zones/{}/queue", ZoneId::of_name("nowhere"));
        self.refuses(&nowhere, "ZONE_NOT_FOUND", |ask| ask).await;
        let place = format!("GET /v1/drivers/{}/queue", unknown(7).driver);
        self.refuses(&place, "NOT_QUEUED", |ask| ask).await;
    }
}

#[tokio::test]
async fn every_row_of_the_table_of_endpoints_and_codes_is_reached() {
    let mut contract = Contract::of(Cluster::start(3, &BRIEF).await).await;
    contract.parties().await;
    contract.bookings().await;
    contract.offers().await;
    contract.trips().await;
    contract.operations().await;
    let Contract { cluster, stated, reached } = contract;
    drop(cluster);
    let cluster = Cluster::start(3, &["--start-code=per-trip"]).await;
    let mut contract = Contract { cluster, stated, reached };
    contract.codes().await;
    let stated: BTreeSet<Row> = contract
        .stated
        .iter()
        .flat_map(|(endpoint, codes)| {
            codes.values().flatten().map(|code| (endpoint.clone(), code.clone()))
        })
        .filter(|(_, code)| !EVERYWHERE.contains(&&**code))
        .collect();
    let missing: Vec<_> = stated.difference(&contract.reached).collect();
    assert!(missing.is_empty(), "in the document, and never seen: {missing:#?}");
}

#[tokio::test]
async fn the_document_is_browsable_and_says_what_is_needed_to_call() {
    let cluster = Cluster::start(3, &[]).await;
    let page = cluster.get(2, "/docs/").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{:?}", page.headers);
    let document = cluster.get(3, "/v1/openapi.json").await.expect(200).json;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let book = &document["paths"]["/v1/bookings"]["post"];
    let names: Vec<_> = book["parameters"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["X-User-ID", "Idempotency-Key"]);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers.keys().any(|status| !status.starts_with(['4', '5'])),
                "{method} {path}"
            );
        }
    }
}
