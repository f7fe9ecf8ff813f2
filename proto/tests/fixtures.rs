//! The bytes of every record, frozen. Each file under `proto/fixtures` holds lines of a name and
//! the encoded bytes of one value in hex; a refactor that changes a byte fails here, and so does a
//! variant without a line.
//!
//! `UPDATE_FIXTURES=1 cargo test -p proto --test fixtures` rewrites the files. A difference in a
//! line that was there before means that stored data and running peers can't be read any more: it
//! belongs to a new record module with a conversion from the old and a new codec version.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use bytes::Bytes;
use proto::code::{Code, Refusal};
use proto::codec::CodecError;
use proto::envelope::{Envelope, Reply, Route, Subject};
use proto::record::booking::Need;
use proto::record::cell::Ping;
use proto::record::command::{
    Command, Entity, Idempotency, OfferFate, Outcome, Proposal, TripStep,
};
use proto::record::driver::{Capabilities, OfferEnd};
use proto::record::event::{Event, What};
use proto::record::trip::Transition;
use proto::record::{
    Actor, Booking, BookingState, CityId, Commitment, Driver, DriverStatus, Duty, Key, Offer,
    OfferState, Place, Rider, Trip, TripState, Vehicle, VehicleType,
};
use proto::{BookingId, DriverId, NodeId, OfferId, Point, RiderId, Slot, TripId, WallMs, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::path::PathBuf;

/// 2023-11-14 22:13:20 UTC; every time in the fixtures is this plus a little.
const AT: WallMs = WallMs(1_700_000_000_000);
const SLOT: Slot = Slot(0xabcd);
const RIDER: RiderId = RiderId::from_raw(0x1122_3344_5566_7788);
const DRIVER: DriverId = DriverId::from_raw(0x99aa_bbcc_ddee_ff00);
const BOOKING: BookingId = BookingId::mint(SLOT, AT, 0xb00c);
const OFFER: OfferId = OfferId::mint(SLOT, AT.plus_ms(5), 0x0ffe);
const TRIP: TripId = TripId::mint(SLOT, AT.plus_ms(9), 0x7819);

fn point(lat_e7: i32, lng_e7: i32) -> Point {
    Point::from_e7(lat_e7, lng_e7).unwrap()
}
fn pickup() -> Place {
    Place { point: point(407_673_936, -739_815_123), address: "W 57th St & 8th Ave".into() }
}
fn destination() -> Place {
    Place { point: point(407_127_753, -740_059_728), address: "".into() }
}
fn need() -> Need {
    Need { kind: VehicleType::Suv, capabilities: Capabilities(0b101), seats: 3 }
}
fn vehicle() -> Vehicle {
    let capabilities = Capabilities(0b100_1101);
    Vehicle { kind: VehicleType::Suv, seats: 6, capabilities, plate: "T-4091-C".into() }
}
fn offer() -> Offer {
    Offer {
        id: OFFER,
        booking: BOOKING,
        driver: DRIVER,
        attempt: 2,
        rank: 3,
        distance_m: 1_234,
        eta_s: 321,
        cost_ms: -4_567,
        pickup: pickup().point,
        destination: destination().point,
        created_at: AT.plus_ms(5),
        ttl_ms: 15_000,
        shown_ms: 10_000,
    }
}
fn taken() -> Commitment {
    Commitment::Taken { offer: offer(), accept_key: Some(0xfeed_f00d), trip: Some(TRIP) }
}
fn rider() -> Rider {
    Rider { id: RIDER, name: "rider-17".into(), active: Some(BOOKING) }
}
fn driver() -> Driver {
    let ends = [OfferEnd::Expired, OfferEnd::Declined, OfferEnd::Taken, OfferEnd::Done];
    let ended = |(n, end)| (OfferId::mint(SLOT, AT.plus_ms(n), 0xe0 + n), end);
    Driver {
        id: DRIVER,
        name: "driver-4".into(),
        city: CityId(1),
        vehicle: vehicle(),
        kyc_verified: true,
        duty: Duty::Online,
        current: Some(taken()),
        next: Some(Commitment::Held { offer: offer() }),
        outcomes: (1..).zip(ends).map(ended).collect::<VecDeque<_>>(),
        version: 300,
    }
}
fn booking() -> Booking {
    let states = [
        OfferState::Pending,
        OfferState::Accepted,
        OfferState::Declined,
        OfferState::Expired,
        OfferState::Cancelled,
    ];
    Booking {
        id: BOOKING,
        rider: RIDER,
        city: CityId(1),
        pickup: pickup(),
        destination: destination(),
        need: need(),
        payment_method: "card".into(),
        shown_estimate_minor: Some(1_850),
        state: BookingState::Assigned { offer: OFFER, driver: DRIVER, trip: TRIP },
        attempt: 2,
        offers: states.into_iter().map(|state| (offer(), state)).collect(),
        trip: Some(TRIP),
        created_at: AT,
        updated_at: AT.plus_ms(70_000),
    }
}
fn trip() -> Trip {
    let walk = [TripState::Assigned, TripState::Arrived, TripState::InProgress, TripState::Paused];
    let bys = [Actor::System, Actor::Driver, Actor::Driver, Actor::Rider];
    let mut from = None;
    let transition = |((sequence, to), by)| {
        let at = AT.plus_ms(1_000 * u64::from(sequence));
        Transition { sequence, from: from.replace(to), to, by, reason: "as asked".into(), at }
    };
    Trip {
        id: TRIP,
        booking: BOOKING,
        offer: OFFER,
        rider: RIDER,
        driver: DRIVER,
        pickup: pickup(),
        destination: destination(),
        state: TripState::Paused,
        transitions: (1..).zip(walk).zip(bys).map(transition).collect(),
        odometer_m: Some(7_300),
        release_due: true,
    }
}
fn ping() -> Ping {
    Ping {
        driver: DRIVER,
        point: pickup().point,
        heading_deg: 271,
        speed_cms: 1_111,
        accuracy_m: 8,
        at: AT,
    }
}

fn commands() -> Vec<Command> {
    let (booking, rider, driver, offer_id, trip) = (BOOKING, RIDER, DRIVER, OFFER, TRIP);
    vec![
        Command::RegisterRider { rider, name: "rider-17".into() },
        Command::CreateBooking {
            booking,
            rider,
            city: CityId(1),
            pickup: pickup(),
            destination: destination(),
            need: need(),
            payment_method: "card".into(),
            shown_estimate_minor: Some(1_850),
        },
        Command::OfferStart { offer: offer() },
        Command::OfferEnd { booking, offer: offer_id, fate: OfferFate::Expired },
        Command::ExpireBooking { booking },
        Command::CancelBooking { booking, by: Actor::Rider, reason: "changed my mind".into() },
        Command::Assign { booking, offer: offer_id, driver, trip },
        Command::StepTrip {
            trip,
            step: TripStep::End { odometer_m: Some(7_300) },
            by: Actor::Driver,
            driver: Some(driver),
            rider: Some(rider),
        },
        Command::Released { trip },
        Command::RegisterDriver {
            driver,
            name: "driver-4".into(),
            city: CityId(1),
            vehicle: vehicle(),
            kyc_verified: true,
        },
        Command::SetDuty { driver, online: true },
        Command::Hold { offer: offer() },
        Command::ExpireHold { driver, offer: offer_id },
        Command::Decline { driver, offer: offer_id },
        Command::Accept { driver, offer: offer_id, key: Some(0xfeed_f00d) },
        Command::Confirm { driver, offer: offer_id, trip },
        Command::Release { driver, offer: offer_id, done: true },
    ]
}

fn trip_steps() -> Vec<TripStep> {
    vec![
        TripStep::Arrive,
        TripStep::Start,
        TripStep::Pause,
        TripStep::Resume,
        TripStep::End { odometer_m: Some(7_300) },
        TripStep::Cancel { reason: "no show".into() },
    ]
}

fn booking_states() -> Vec<BookingState> {
    vec![
        BookingState::Open,
        BookingState::Offering,
        BookingState::Assigned { offer: OFFER, driver: DRIVER, trip: TRIP },
        BookingState::Cancelled { by: Actor::System, reason: "changed my mind".into() },
        BookingState::Expired,
        BookingState::Completed,
        BookingState::Paid,
    ]
}

fn whats() -> Vec<What> {
    vec![
        What::Registered,
        What::Standing(DriverStatus::Held),
        What::BookingCreated,
        What::OfferMade { offer: OFFER, driver: DRIVER, attempt: 2 },
        What::OfferEnded { offer: OFFER, how: OfferEnd::Taken },
        What::BookingAssigned { driver: DRIVER, trip: TRIP },
        What::BookingCancelled { by: Actor::Rider },
        What::BookingExpired,
        What::BookingCompleted,
        What::TripMoved {
            from: Some(TripState::Assigned),
            to: TripState::Arrived,
            by: Actor::Driver,
        },
    ]
}

/// By names of our own: a key's debug form is that of its id.
fn keys() -> Vec<(String, Key)> {
    let keys = [
        ("Rider", Key::Rider(RIDER)),
        ("Driver", Key::Driver(DRIVER)),
        ("Booking", Key::Booking(BOOKING)),
        ("Trip", Key::Trip(TRIP)),
        ("RiderAnswer", Key::RiderAnswer(RIDER, 0xfeed_f00d)),
        ("DriverAnswer", Key::DriverAnswer(DRIVER, 0xfeed_f00d)),
    ];
    assert_eq!(keys.len(), variant_count::<Key>(), "a kind of key without its bytes");
    keys.map(|(name, key)| (name.to_owned(), key)).into()
}

fn entities() -> Vec<Entity> {
    vec![
        Entity::Rider(rider()),
        Entity::Driver(Box::new(driver())),
        Entity::Booking(Box::new(booking())),
        Entity::Trip(Box::new(trip())),
    ]
}

/// How many variants an enum has, from what its decoder says to a variant that can't exist.
fn variant_count<T: DeserializeOwned + Debug>() -> usize {
    let number_65535 = [codec::VERSION, 251, 0xff, 0xff];
    let error = codec::decode::<T>(&number_65535).unwrap_err().to_string();
    let (_, count) = error.split_once("variant index 0 <= i < ").expect(&error);
    count.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// One value of each variant, by the variant's name; fails where one is missing or there twice.
fn each_variant<T: DeserializeOwned + Debug>(values: Vec<T>) -> Vec<(String, T)> {
    let named: Vec<(String, T)> = values.into_iter().map(|v| (variant_name(&v), v)).collect();
    let mut names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let enum_name = std::any::type_name::<T>();
    assert_eq!(names.len(), named.len(), "a variant of {enum_name} is there twice: {names:?}");
    assert_eq!(names.len(), variant_count::<T>(), "{enum_name} has another variant than {names:?}");
    named
}

fn variant_name(value: &impl Debug) -> String {
    format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte in {text}");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Compares what goes through the codec with the committed file, both ways, or rewrites it.
fn check<T>(file: &str, values: Vec<(String, T)>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    check_as(file, values, codec::encode, codec::decode);
}

/// The same for values with bytes of their own.
fn check_as<T: PartialEq + Debug>(
    file: &str,
    values: Vec<(String, T)>,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, CodecError>,
) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(file);
    let lines: Vec<String> =
        values.iter().map(|(name, value)| format!("{name} {}\n", hex(&encode(value)))).collect();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, lines.concat()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    for ((name, value), line) in values.iter().zip(&lines) {
        let old = committed.lines().find_map(|old| old.strip_prefix(&format!("{name} ")));
        let Some(old) = old else {
            panic!("{file} has no line for {name}; UPDATE_FIXTURES=1 writes it");
        };
        assert_eq!(format!("{name} {old}\n"), *line, "the bytes of {name} changed ({file})");
        assert_eq!(decode(&unhex(old)).as_ref(), Ok(value), "{name} ({file})");
    }
    assert_eq!(committed.lines().count(), lines.len(), "{file} has a line that nothing writes");
}

#[test]
fn stored_records_keep_their_bytes() {
    check("rider.hex", vec![("Rider".into(), rider())]);
    check("driver.hex", vec![("Driver".into(), driver())]);
    check("booking.hex", vec![("Booking".into(), booking())]);
    check("trip.hex", vec![("Trip".into(), trip())]);
    check("key.hex", keys());
    check_as("key_as_stored.hex", keys(), |key| key.to_bytes(), Key::from_bytes);
}

#[test]
fn states_inside_records_keep_their_bytes() {
    check("booking_state.hex", each_variant(booking_states()));
    let duties = vec![Duty::Offline, Duty::Online];
    check("duty.hex", each_variant(duties));
    check("commitment.hex", each_variant(vec![Commitment::Held { offer: offer() }, taken()]));
    check("trip_state.hex", each_variant(TripState::ALL.to_vec()));
    let kinds = vec![VehicleType::Auto, VehicleType::Sedan, VehicleType::Suv, VehicleType::Bike];
    check("vehicle_type.hex", each_variant(kinds));
    let statuses =
        vec![DriverStatus::Offline, DriverStatus::Free, DriverStatus::Held, DriverStatus::Taken];
    check("driver_status.hex", each_variant(statuses));
    check("actor.hex", each_variant(vec![Actor::Rider, Actor::Driver, Actor::System]));
    check("offer_fate.hex", each_variant(vec![OfferFate::Declined, OfferFate::Expired]));
}

#[test]
fn commands_keep_their_bytes() {
    let idempotency = Some(Idempotency { key: 0xfeed_f00d, body: 0xdead_beef });
    let proposals = each_variant(commands())
        .into_iter()
        .map(|(name, command)| (name, Proposal { idempotency, command }))
        .collect();
    check("proposal.hex", proposals);
    check("trip_step.hex", each_variant(trip_steps()));
}

#[test]
fn outcomes_keep_their_bytes() {
    let mut outcomes: Vec<(String, Outcome)> =
        each_variant(entities()).into_iter().map(|(name, entity)| (name, Ok(entity))).collect();
    let codes = each_variant(Code::ALL.to_vec());
    outcomes.extend(codes.into_iter().map(|(name, code)| (format!("refused-{name}"), Err(code))));
    check("outcome.hex", outcomes);
}

#[test]
fn events_keep_their_bytes() {
    let subject = Key::Trip(TRIP);
    let events = each_variant(whats())
        .into_iter()
        .map(|(name, what)| (name, Event { subject, what }))
        .collect();
    check("event.hex", events);
}

#[test]
fn frames_between_nodes_keep_their_bytes() {
    let routes = each_variant(vec![
        Route::Slot(SLOT),
        Route::Cell(0x0862_a100_7fff_ffff),
        Route::Node(NodeId(3)),
    ]);
    let subjects = each_variant(vec![
        Subject::Anonymous,
        Subject::Rider(RIDER),
        Subject::Driver(DRIVER),
        Subject::Node(NodeId(3)),
    ]);
    let payload = || Bytes::from_static(b"\x01payload");
    let sealed = |route, subject| {
        let mut envelope = Envelope::seal(route, subject, 0xabcd_ef01, 1_500, payload()).unwrap();
        envelope.hops = 1;
        envelope
    };
    let by_route = routes.into_iter().map(|(n, route)| (n, sealed(route, Subject::Anonymous)));
    let by_subject =
        subjects.into_iter().map(|(n, s)| (format!("for-{n}"), sealed(Route::Slot(SLOT), s)));
    check("envelope.hex", by_route.chain(by_subject).collect());

    let mut refusal = Refusal::new(Code::NotOwner, "n2 owns it");
    refusal.owner = Some(NodeId(2));
    let replies = vec![
        ("Ok".into(), Reply::seal(NodeId(1), 2, Ok(payload()))),
        ("Err".into(), Reply::seal(NodeId(1), 2, Err(refusal))),
    ];
    check("reply.hex", replies);
    check("ping.hex", vec![("Ping".into(), ping())]);
}
