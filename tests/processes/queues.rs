//! An airport: drivers are asked in the order in which they came, whichever node dies meanwhile.

use crate::configuration::run;
use crate::nodes::{Cluster, eventually, hansom};
use crate::people::{At, By, SQUARE, booking_body, north_of};
use proto::ZoneId;
use serde_json::{Value, json};

/// A zone reaches so far from its middle, in metres.
const REACH_M: f64 = 200.0;
/// Offers run out soon; nobody is stale only because the machine takes its time.
const FLAGS: &[&str] = &["--offer-ttl-ms=3000", "--offer-shown-ms=2500", "--fresh-ms=60000"];

fn zone(name: &str, middle: At, grace_s: u32) -> Value {
    let (north, south) = (north_of(middle, REACH_M), north_of(middle, -REACH_M));
    let east = REACH_M / 84_000.0;
    let corner = |(lat, lng): At, east: f64| json!({ "lat": lat, "lng": lng + east });
    let ring =
        [corner(north, -east), corner(north, east), corner(south, east), corner(south, -east)];
    json!({ "name": name, "ring": ring, "grace_s": grace_s })
}

struct Airport {
    cluster: Cluster,
    middle: At,
    id: String,
    /// Who should wait, the first first.
    order: Vec<String>,
}

impl Airport {
    /// Nodes that all know of an airport, whose middle is such that `keeper_owns` it or not: whether
    /// the node that keeps the queue has the zone's cell as well.
    async fn open(nodes: u64, grace_s: u32, keeper_owns: bool) -> Self {
        let cluster = Cluster::start(nodes, FLAGS).await;
        let id = ZoneId::of_name("airport").to_string();
        let keeper = cluster.owner(&id).await;
        let mut middle = SQUARE;
        for step in 1..200 {
            middle = north_of(SQUARE, f64::from(step) * 5_000.0);
            let owner = cluster.owner(&format!("{},{}", middle.0, middle.1)).await;
            if (owner == keeper) == keeper_owns {
                break;
            }
        }
        let known = cluster.get(1, "/v1/zones").await.expect(200).json["version"].clone();
        let body = json!({ "version": known, "zones": [zone("airport", middle, grace_s)] });
        let set = cluster.ask(nodes, "PUT /v1/zones").json(&body).send().await.expect(200);
        assert_eq!(set.json["zones"][0]["zone_id"], id);
        let airport = Self { cluster, middle, id, order: Vec::new() };
        airport.is_known().await;
        airport
    }

    async fn is_known(&self) {
        for node in self.cluster.running() {
            eventually("the node knows the zone", async || {
                let zones = self.cluster.get(node, "/v1/zones").await.expect(200).json;
                (zones["zones"].as_array()?.len() == 1).then_some(())
            })
            .await;
        }
    }

    /// A driver on duty, far away.
    async fn driver(&self, home: u64, name: &str) -> String {
        let driver = self.cluster.driver_at(home, name).await;
        let online = format!("/v1/drivers/{driver}/online");
        self.cluster.post(&online, By::Nobody, &json!({})).await.expect(200);
        driver
    }

    /// Somebody comes; he waits at the end.
    async fn comes(&mut self, driver: &str) {
        self.cluster.ping(driver, self.middle).await;
        self.order.push(driver.to_owned());
        self.is_in_order().await;
    }

    async fn queue(&self) -> Vec<String> {
        let path = format!("/v1/zones/{}/queue", self.id);
        let queue = self.cluster.get(self.cluster.any(), &path).await.expect(200);
        let drivers = queue.json["drivers"].as_array().unwrap();
        drivers.iter().map(|one| one["driver_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until those wait who should, in their order. Two of them may never be seen in another.
    async fn is_in_order(&self) {
        eventually(&format!("the queue is {:?}", self.order), async || {
            let seen = self.queue().await;
            let place = |driver: &String| self.order.iter().position(|it| it == driver);
            let places: Vec<usize> = seen.iter().filter_map(place).collect();
            assert!(places.is_sorted(), "{seen:?}, and not {:?}", self.order);
            (seen == self.order).then_some(())
        })
        .await;
    }

    /// The same after somebody was sent to the tail.
    async fn comes_into_order(&self) {
        eventually(&format!("the queue becomes {:?}", self.order), async || {
            (self.queue().await == self.order).then_some(())
        })
        .await;
    }

    async fn ping_all(&self) {
        for driver in &self.order {
            self.cluster.ping(driver, self.middle).await;
        }
    }

    /// Who gets the offer of a booking there must be the first.
    async fn goes_to_the_first(&self, rider: &str, at: At) -> (String, String) {
        let booking = self.cluster.book(rider, at).await;
        let first = &self.order[0];
        let offer = self.cluster.offer_before(first).await;
        assert_eq!(offer["booking_id"], booking, "{first} has another's");
        let made = self.cluster.get(self.cluster.any(), &format!("/v1/bookings/{booking}")).await;
        assert_eq!(made.json["offers"][0]["driver_id"], **first, "{}", made.text);
        (booking, offer["offer_id"].as_str().unwrap().to_owned())
    }

    /// The first takes a booking and is gone.
    async fn first_takes(&mut self, rider: &str) {
        let at = north_of(self.middle, -REACH_M * 0.9);
        self.goes_to_the_first(rider, at).await;
        let driver = self.order.remove(0);
        let trip = self.cluster.accept(&driver).await;
        self.cluster.step(&driver, &trip, &["arrive", "start"]).await;
        self.is_in_order().await;
    }

    async fn restart(&mut self, node: u64) {
        self.cluster.restart(node).await;
        self.cluster.spread().await;
        self.is_known().await;
        self.ping_all().await;
        self.is_in_order().await;
    }
}

#[tokio::test]
async fn the_order_of_a_queue_is_that_of_arrival_whichever_node_dies_and_the_first_is_asked_first()
{
    let mut airport = Airport::open(3, 120, false).await;
    let mut drivers = Vec::new();
    for n in 0..9 {
        drivers.push(airport.driver(1 + n % 3, &format!("dee {n}")).await);
    }
    let mut riders = Vec::new();
    for n in 0..5 {
        riders.push(airport.cluster.rider_at(1 + n % 3, &format!("ada {n}")).await);
    }
    for driver in &drivers[..3] {
        airport.comes(driver).await;
    }

    // Its keeper dies. One comes before anybody keeps it again, and two when he is listed: of several
    // who come while their own partitions have no leader, whoever is known first to be on duty is first.
    let keeper = airport.cluster.owner(&airport.id).await;
    airport.cluster.kill(keeper);
    for driver in &drivers[3..6] {
        airport.comes(driver).await;
    }
    airport.first_takes(&riders[0]).await;
    airport.restart(keeper).await;

    // The owner of its cell dies, and nobody is seen until he says again where he is: the last one
    // says it first.
    let cell = format!("{},{}", airport.middle.0, airport.middle.1);
    let owner = airport.cluster.owner(&cell).await;
    airport.cluster.kill(owner);
    for driver in airport.order.iter().rev() {
        airport.cluster.ping(driver, airport.middle).await;
    }
    airport.first_takes(&riders[1]).await;
    airport.comes(&drivers[6]).await;
    airport.restart(owner).await;

    // An offer is refused while the third node is down, and its word is not lost with the keeper's.
    let at = airport.middle;
    let (_, offer) = airport.goes_to_the_first(&riders[2], at).await;
    let first = airport.order.remove(0);
    let decline = format!("/v1/offers/{offer}/decline");
    airport.cluster.post(&decline, By::Driver(&first), &json!({})).await.expect(200);
    let keeper = airport.cluster.owner(&airport.id).await;
    airport.cluster.kill(keeper);
    airport.order.push(first);
    let second = airport.order[0].clone();
    let trip = airport.cluster.accept(&second).await;
    airport.order.remove(0);
    airport.comes_into_order().await;
    airport.restart(keeper).await;
    airport.comes(&drivers[7]).await;
    airport.first_takes(&riders[3]).await;

    // All die at once.
    for node in 1..=3 {
        airport.cluster.kill(node);
    }
    for node in 1..=3 {
        airport.cluster.spawn(node);
    }
    airport.cluster.settled().await;
    airport.cluster.serving().await;
    airport.is_known().await;
    airport.is_in_order().await;
    airport.comes(&drivers[8]).await;
    airport.first_takes(&riders[4]).await;
    airport.cluster.step(&second, &trip, &["start", "end"]).await;
    airport.cluster.equal().await;
}

#[tokio::test]
async fn who_is_away_for_a_moment_keeps_his_place_and_who_refuses_or_stops_does_not() {
    let grace_s = 8;
    let mut airport = Airport::open(1, grace_s, true).await;
    let mut drivers = Vec::new();
    for n in 0..4 {
        let driver = airport.driver(1, &format!("dee {n}")).await;
        airport.comes(&driver).await;
        drivers.push(driver);
    }
    let [ann, ben, cem, dan] = &drivers[..] else { panic!("four") };
    let place = async |driver: &str| {
        let path = format!("/v1/drivers/{driver}/queue");
        airport.cluster.get(1, &path).await
    };
    let of_ben = place(ben).await.expect(200).json;
    assert_eq!((&of_ben["place"], &of_ben["of"]), (&json!(2), &json!(4)), "{of_ben}");

    // Around the block: ann is not asked meanwhile, and has her place when she is back.
    let street = north_of(airport.middle, REACH_M * 1.5);
    airport.cluster.ping(ann, street).await;
    let rider = airport.cluster.rider_at(1, "ada").await;
    let booking = eventually("ann is seen outside, and ben is asked", async || {
        let booking = airport.cluster.book(&rider, airport.middle).await;
        let offered = eventually("somebody is asked", async || {
            for driver in [ann, ben] {
                let offers = airport.cluster.get(1, &format!("/v1/drivers/{driver}/offers")).await;
                if offers.json["offers"][0]["booking_id"] == *booking {
                    return Some(driver);
                }
            }
            None
        })
        .await;
        if offered == ben {
            return Some(booking);
        }
        let cancel = format!("/v1/bookings/{booking}/cancel");
        airport.cluster.post(&cancel, By::Rider(&rider), &json!({})).await.expect(200);
        None
    })
    .await;
    airport.cluster.ping(ann, airport.middle).await;
    airport.is_in_order().await;

    // Ben lets the offer pass: he is the last now, and ann, who is back, is asked for the booking.
    airport.order = [ann, cem, dan, ben].map(Clone::clone).into();
    airport.comes_into_order().await;
    let offer = airport.cluster.offer_before(ann).await;
    assert_eq!(offer["booking_id"], booking);
    let cancel = format!("/v1/bookings/{booking}/cancel");
    airport.cluster.post(&cancel, By::Rider(&rider), &json!({})).await.expect(200);
    airport.is_in_order().await;

    // A booking from across the street goes to a car on the street, though those who wait are near.
    let eve = airport.cluster.free_driver_at(1, "eve", north_of(street, 900.0)).await;
    let booking = airport.cluster.book(&rider, street).await;
    let offer = airport.cluster.offer_before(&eve).await;
    assert_eq!(offer["booking_id"], booking);
    let told = airport.cluster.get(1, &format!("/v1/bookings/{booking}/explain")).await;
    assert!(told.text.contains("\"QUEUE\""), "{}", told.text);
    airport
        .cluster
        .post(&format!("/v1/bookings/{booking}/cancel"), By::Rider(&rider), &json!({}))
        .await;

    // Cem stops work; dan drives off for good, and comes back to the tail.
    airport.cluster.post(&format!("/v1/drivers/{cem}/offline"), By::Nobody, &json!({})).await;
    airport.order = [ann, dan, ben].map(Clone::clone).into();
    airport.is_in_order().await;
    airport.cluster.ping(dan, street).await;
    airport.order = [ann, ben].map(Clone::clone).into();
    eventually("dan's place is lost", async || {
        airport.ping_all().await;
        (airport.queue().await == airport.order).then_some(())
    })
    .await;
    place(dan).await.problem(404, "NOT_QUEUED");
    airport.comes(dan).await;

    // An SUV is needed: nobody who waits has one, so a car from outside comes.
    let suv = json!({ "name": "sue", "vehicle": { "type": "SUV" }, "kyc_verified": true });
    let sue =
        airport.cluster.post("/v1/drivers", By::Nobody, &suv).await.expect(201).text("driver_id");
    airport.cluster.post(&format!("/v1/drivers/{sue}/online"), By::Nobody, &json!({})).await;
    airport.cluster.ping(&sue, north_of(street, 300.0)).await;
    let mut body = booking_body(airport.middle);
    body["vehicle_type"] = json!("SUV");
    let rider = airport.cluster.rider_at(1, "bob").await;
    airport.cluster.post("/v1/bookings", By::Rider(&rider), &body).await.expect(201);
    airport.cluster.offer_before(&sue).await;

    // As an operator sees it; and then it is no airport any more.
    let door = format!("http://{}", airport.cluster.http(1));
    let zones = async |words: &[&str]| {
        let mut command = hansom();
        command.arg("zones").args(words).args(["--json", "--node", &door]);
        let (status, out, talk) = run(command).await;
        assert_eq!(status, 0, "{talk}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let shown = zones(&["queue", "airport"]).await;
    let shown: Vec<&str> = shown["drivers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["driver_id"].as_str())
        .collect();
    assert_eq!(shown, airport.order);
    let metrics = airport.cluster.get(1, "/metrics").await.expect(200).text;
    assert!(metrics.contains("hansom_queued_drivers_count 3"), "{metrics}");
    let none = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(none.path(), "[]").unwrap();
    let set = zones(&["set", &none.path().to_string_lossy()]).await;
    assert_eq!((&set["version"], &set["zones"]), (&json!(2), &json!([])));
    eventually("nobody waits there any more", async || {
        let metrics = airport.cluster.get(1, "/metrics").await.expect(200).text;
        metrics.contains("hansom_queued_drivers_count 0").then_some(())
    })
    .await;
    let rider = airport.cluster.rider_at(1, "cat").await;
    airport.cluster.book(&rider, airport.middle).await;
    eventually("those who are near are asked again", async || {
        for driver in [ann, ben, dan] {
            let offers = airport.cluster.get(1, &format!("/v1/drivers/{driver}/offers")).await;
            if offers.json["offers"][0].is_object() {
                return Some(());
            }
        }
        None
    })
    .await;
}
