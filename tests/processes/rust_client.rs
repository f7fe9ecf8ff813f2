//! The Rust client against real nodes: the JSON that it reads is the JSON that they write, and a
//! node that dies costs its user nothing but a second.

use crate::nodes::{Cluster, eventually};
use crate::people::{SQUARE, north_of};
use node::clock::SystemClock;
use proto::Point;
use proto::client::{
    Around, BookingStatus, Came, Client, Config, DriverStatus, Fix, NewBooking, NewDriver, Party,
    Recorded, Tried, TripStatus, Vehicle, VehicleType, Watch,
};
use proto::units::Clock;
use std::sync::Arc;

/// A client that is told of one node only.
fn client_of(cluster: &Cluster, node: u64, clock: &SystemClock) -> Client {
    let seeds = vec![cluster.http(node).to_string()];
    Client::new(Config::new(seeds, u128::from(clock.wall().0)), Arc::new(clock.clone())).unwrap()
}

/// How often the last request was forwarded.
#[derive(Default)]
struct Hops(Option<u8>);

impl Watch for Hops {
    fn tried(&mut self, tried: &Tried<'_>) {
        if let Came::Answer { hops, .. } = tried.came {
            self.0 = hops;
        }
    }
}

fn square() -> Point {
    Point::from_degrees(SQUARE.0, SQUARE.1).unwrap()
}

fn dee() -> NewDriver {
    let (kind, plate) = (VehicleType::Sedan, "H 1".to_owned());
    let vehicle = Vehicle { kind, seats: 4, capabilities: vec!["child_seat".into()], plate };
    NewDriver { name: "dee".into(), city_id: 1, vehicle, kyc_verified: true }
}

#[tokio::test]
async fn a_ride_goes_straight_to_those_who_decide_it_and_around_one_who_dies() {
    let mut cluster = Cluster::start(3, &[]).await;
    let clock = SystemClock::new();
    let client = client_of(&cluster, 1, &clock);
    let ada = client.register_rider("ada").await.unwrap().rider_id;
    let dee = client.register_driver(&dee()).await.unwrap().driver_id;
    let online = client.go_online(dee).await.unwrap();
    assert_eq!((online.status, online.can_accept_bookings), (DriverStatus::Online, true));
    eventually("his position is seen", async || {
        client.ping(dee, Fix::at(square(), clock.wall())).await.unwrap();
        let nearby = client.nearby(&Around::point(square())).await.unwrap();
        nearby.drivers.iter().any(|seen| seen.driver_id == dee).then_some(())
    })
    .await;

    let booking = client.book(ada, &NewBooking::sedan(square(), square())).await.unwrap();
    assert_eq!((booking.rider_id, booking.status), (ada, BookingStatus::Pending));
    let booking = booking.booking_id;
    let offer = eventually("the offer is before him", async || {
        client.offers(dee).await.unwrap().offers.pop()
    })
    .await;
    assert_eq!((offer.driver_id, offer.booking_id), (dee, booking));
    let trip = client.accept(dee, offer.offer_id).await.unwrap();
    assert_eq!((trip.rider_id, trip.status), (ada, TripStatus::DriverAssigned));

    // It learns who leads: no request is forwarded any more, until that changes.
    eventually("ten requests in a row go straight", async || {
        for _ in 0..10 {
            let mut hops = Hops::default();
            client.booking(booking).watched(&mut hops).await.unwrap();
            (hops.0 == Some(0)).then_some(())?;
        }
        Some(())
    })
    .await;
    let leader = cluster.owner(&booking.to_string()).await;
    cluster.kill(leader);
    client.arrive(dee, trip.trip_id).await.unwrap();
    assert_eq!(client.trip_of(ada, trip.trip_id).await.unwrap().otp, None, "no code is wanted");
    let started = client.start(dee, trip.trip_id, None).await.unwrap();
    let started_ms = started.transitions.last().unwrap().at_ms;
    let on_the_way: Vec<Recorded> = (0..4_u32)
        .map(|n| {
            let (lat, lng) = north_of(SQUARE, 50.0 * f64::from(n));
            let recorded_at_ms = started_ms + 5_000 * u64::from(n);
            Recorded { lat, lng, accuracy_m: Some(5), recorded_at_ms }
        })
        .collect();
    let told = client.trail(dee, trip.trip_id, &on_the_way).await.unwrap();
    assert_eq!((told.processed, told.trip_status), (4, TripStatus::InProgress));
    let trip = client.end(dee, trip.trip_id, Some(3.25)).await.unwrap();
    assert_eq!((trip.status, trip.odometer_km), (TripStatus::Completed, Some(3.25)));
    assert_eq!(trip.distance_m, 150);
    let receipt = client.receipt(Party::Rider(ada), trip.trip_id).await.unwrap();
    assert_eq!((receipt.fare, receipt.driver_minor), (trip.fare, None));
    let steps: Vec<TripStatus> = trip.transitions.iter().map(|step| step.to).collect();
    assert_eq!(steps.len(), 4, "a step was made twice: {steps:?}");
    assert_eq!(client.booking(booking).await.unwrap().status, BookingStatus::Completed);
    assert_eq!(client.rider(ada).await.unwrap().active_booking_id, None);
    eventually("he is free", async || {
        client.driver(dee).await.unwrap().can_accept_bookings.then_some(())
    })
    .await;

    let page = client.bookings(ada, None).await.unwrap();
    assert_eq!(page.bookings.iter().map(|b| b.booking_id).collect::<Vec<_>>(), [booking]);
    let page = client.driven(dee, page.next_cursor.as_deref()).await.unwrap();
    assert_eq!(page.bookings.iter().map(|b| b.trip_id).collect::<Vec<_>>(), [trip.trip_id]);
    let seen = client.cluster().await.unwrap();
    assert_eq!((seen.ready, seen.partitions), (true, Some(64)));
    let lookup = client.lookup(&ada.to_string()).await.unwrap();
    assert!(
        lookup.kind == "rider" && lookup.owner.is_some_and(|node| node.0 != leader),
        "{lookup:?}"
    );
}

#[tokio::test]
async fn a_read_that_may_be_old_is_served_by_whoever_is_asked_and_says_so() {
    let cluster = Cluster::start(3, &[]).await;
    let client = client_of(&cluster, 1, &SystemClock::new());
    let ada = client.register_rider("ada").await.unwrap().rider_id;
    let dee = client.register_driver(&dee()).await.unwrap().driver_id;
    let booking =
        client.book(ada, &NewBooking::sedan(square(), square())).await.unwrap().booking_id;
    let paths = [
        format!("/v1/riders/{ada}"),
        format!("/v1/drivers/{dee}"),
        format!("/v1/bookings/{booking}"),
    ];
    for path in &paths {
        for node in 1..=3 {
            // A follower may be a heartbeat behind. What it lacks its owner is asked for.
            let old = eventually("the replica has it as it is", async || {
                let new = cluster.get(node, path).await.expect(200);
                assert_eq!(new.header("x-hansom-stale"), "");
                let old = cluster.get(node, &format!("{path}?stale_ok=true")).await.expect(200);
                let same = old.json == new.json || path.contains("bookings"); // it is being dispatched
                (same && old.header("x-hansom-stale") == "true").then_some(old)
            })
            .await;
            assert_eq!(old.header("x-hansom-served-by"), format!("n{node}"));
            assert_eq!(old.hops(), 0);
        }
    }
    // What no replica has is asked of its owner, whose word counts.
    let nobody = proto::RiderId::of_name("nobody");
    cluster
        .get(1, &format!("/v1/riders/{nobody}?stale_ok=true"))
        .await
        .problem(404, "RIDER_NOT_FOUND");
    assert_eq!(client.rider(ada).stale_ok().await.unwrap().rider_id, ada);
}
