//! Short names for long ids: `r1`, `d2`, `b1`, `o3`, `t1`.

use actors::policy::Policy;
use proto::record::booking::Need;
use proto::record::driver::{Capabilities, Vehicle, VehicleType};
use proto::record::fare::Quote;
use proto::record::trip::{DriverCard, Ended};
use proto::record::{Offer, Place, TripState};
use proto::{BookingId, DriverId, OfferId, Point, RiderId, Slot, TripId, WallMs};

pub(crate) fn number(name: &str) -> u64 {
    name[1..].parse().unwrap()
}

pub(crate) fn rider(name: &str) -> RiderId {
    RiderId::of_name(name)
}

pub(crate) fn driver(name: &str) -> DriverId {
    DriverId::of_name(name)
}

pub(crate) fn booking(name: &str) -> BookingId {
    BookingId::mint(Slot(1), WallMs(1), number(name))
}

pub(crate) fn offer_id(name: &str) -> OfferId {
    OfferId::mint(Slot(1), WallMs(1), number(name))
}

pub(crate) fn trip(name: &str) -> TripId {
    TripId::mint(Slot(1), WallMs(1), number(name))
}

pub(crate) fn point() -> Point {
    Point::from_degrees(40.75, -73.98).unwrap()
}

pub(crate) fn place() -> Place {
    Place { point: point(), address: String::new() }
}

pub(crate) fn need() -> Need {
    Need { kind: VehicleType::Sedan, capabilities: Capabilities(0), seats: 1 }
}

pub(crate) fn vehicle() -> Vehicle {
    Vehicle {
        kind: VehicleType::Sedan,
        seats: 4,
        capabilities: Capabilities(0),
        plate: "TEST 1".into(),
        make: String::new(),
        model: String::new(),
        color: String::new(),
    }
}

pub(crate) fn card() -> DriverCard {
    DriverCard { name: "driver".into(), phone: None, vehicle: vehicle() }
}

pub(crate) fn quote() -> Quote {
    Policy::default().quote(VehicleType::Sedan, point(), point())
}

pub(crate) fn ended(name: &str) -> Ended {
    Ended { trip: trip(name), state: TripState::Completed, earned: None }
}

pub(crate) fn offer(id: &str, of: &str, to: &str, attempt: u16) -> Offer {
    Offer {
        id: offer_id(id),
        booking: booking(of),
        driver: driver(to),
        attempt,
        rank: 1,
        distance_m: 100,
        eta_s: 22,
        cost_ms: 22_000,
        pickup: point(),
        destination: point(),
        created_at: WallMs(0),
        ttl_ms: 15_000,
        shown_ms: 10_000,
    }
}

/// Puts the short names back where ids are printed.
pub(crate) fn shorten(mut text: String) -> String {
    for n in 1..10 {
        for (id, name) in [
            (rider(&format!("r{n}")).to_string(), format!("r{n}")),
            (driver(&format!("d{n}")).to_string(), format!("d{n}")),
            (booking(&format!("b{n}")).to_string(), format!("b{n}")),
            (offer_id(&format!("o{n}")).to_string(), format!("o{n}")),
            (trip(&format!("t{n}")).to_string(), format!("t{n}")),
        ] {
            text = text.replace(&id, &name);
        }
    }
    text
}
