//! Records for the tests of streams.

use proto::record::booking::Need;
use proto::record::driver::{Capabilities, Driver, Duty, Vehicle, VehicleType};
use proto::record::fare::{ONE_BP, Quote, Tariff};
use proto::record::party::Profile;
use proto::record::trail::Meter;
use proto::record::trip::RiderCard;
use proto::record::{Booking, BookingState, CityId, Offer, Place, Trip, TripState};
use proto::units::Point;
use proto::{BookingId, DriverId, RiderId, Slot, TripId, WallMs};
use std::collections::VecDeque;

fn place() -> Place {
    let point = Point::from_degrees(40.75, -73.98).unwrap();
    Place { point, address: String::new() }
}

fn quote() -> Quote {
    let tariff = Tariff {
        currency: "EUR".parse().unwrap(),
        base_minor: 300,
        per_km_minor: 150,
        per_minute_minor: 30,
        per_paused_minute_minor: 20,
        minimum_minor: 500,
        tax_bp: 0,
        platform_bp: 0,
        cancel_free_ms: 0,
        cancel_fee_minor: 0,
    };
    Quote { tariff, surge_bp: ONE_BP, distance_m: 1, duration_s: 1, total_minor: 500 }
}

pub(super) fn booking(state: BookingState) -> Booking {
    let capabilities = Capabilities::default();
    Booking {
        id: BookingId::mint(Slot(7), WallMs(1), 1),
        rider: RiderId::from_raw(7),
        city: CityId(1),
        pickup: place(),
        destination: place(),
        need: Need { kind: VehicleType::Sedan, capabilities, seats: 1 },
        payment_method: String::new(),
        shown_estimate_minor: None,
        state,
        attempt: 0,
        offers: Vec::new(),
        trip: None,
        created_at: WallMs(1),
        updated_at: WallMs(1),
        quote: quote(),
        replaces: None,
        replaced_by: None,
        replacements: 0,
        passed_over: Vec::new(),
        attempts: Vec::new(),
    }
}

/// On duty, with nothing before him.
pub(super) fn driver(id: DriverId) -> Driver {
    Driver {
        id,
        name: "dee".into(),
        city: CityId(1),
        vehicle: Vehicle {
            kind: VehicleType::Sedan,
            seats: 4,
            capabilities: Capabilities::default(),
            plate: String::new(),
            make: String::new(),
            model: String::new(),
            color: String::new(),
        },
        kyc_verified: true,
        duty: Duty::Online,
        current: None,
        next: None,
        outcomes: VecDeque::new(),
        version: 1,
        profile: Profile::default(),
        ban: None,
        driven: (0, 0),
        idle_since: WallMs(0),
        refused: 0,
    }
}

/// What came of an offer; without steps.
pub(super) fn trip(offer: &Offer) -> Trip {
    Trip {
        id: TripId::mint(Slot(7), offer.created_at, 1),
        booking: offer.booking,
        offer: offer.id,
        rider: RiderId::from_raw(7),
        driver: offer.driver,
        pickup: place(),
        destination: place(),
        state: TripState::Assigned,
        transitions: Vec::new(),
        release_due: false,
        driver_card: driver(offer.driver).card(),
        rider_card: RiderCard::default(),
        code: None,
        quote: quote(),
        meter: Meter::default(),
        ending: None,
        bill: None,
        replaced_by: None,
    }
}
