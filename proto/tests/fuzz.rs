//! Every decoder of this crate that a stranger, a peer or a damaged disk can reach, fed with bytes
//! that are almost right: it refuses them or reads a value, and what it reads is written and read
//! again as the same. Seeds are the frozen bytes under `proto/fixtures`.
//!
//! `PROPTEST_CASES=1000000 cargo test --release --workspace fuzz` searches for longer.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto::almost::almost;
use proto::client::{Booking, Cluster, Driver as DriverView, Trip};
use proto::codec;
use proto::edge::Intake;
use proto::envelope::{Envelope, Reply};
use proto::pings::PingBatch;
use proto::record::ask::{Followed, Found, Push, Request};
use proto::record::command::{Answer, Outcome, Proposal};
use proto::record::driver::Standing;
use proto::record::event::Event;
use proto::record::explain::Explanation;
use proto::record::{self, Key};
use proto::{BookingId, DriverId, OfferId, RiderId, TripId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::Path;
use std::str::FromStr;

/// Without `PROPTEST_CASES`: a second or so in all.
const CASES: u32 = 2_000;

fn config() -> ProptestConfig {
    match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default(),
        Err(_) => ProptestConfig::with_cases(CASES),
    }
}

/// The frozen bytes of a file.
fn frozen(file: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let hex = text.lines().filter_map(|line| line.split_whitespace().last());
    let byte = |text: &str, at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    hex.map(|text| (0..text.len()).step_by(2).map(|at| byte(text, at)).collect()).collect()
}

fn each(seeds: Vec<Vec<u8>>, read: impl Fn(&[u8])) {
    let mut runner = TestRunner::new(config());
    runner
        .run(&almost(seeds), |bytes| {
            read(&bytes);
            Ok(())
        })
        .unwrap();
}

/// What goes through the codec.
fn coded<T: Serialize + DeserializeOwned + PartialEq + Debug>(file: &str) {
    each(frozen(file), |bytes| {
        if let Ok(value) = codec::decode::<T>(bytes) {
            assert_eq!(codec::decode::<T>(&codec::encode(&value)).as_ref(), Ok(&value), "{file}");
        }
    });
}

#[test]
fn fuzz_what_is_stored() {
    coded::<record::Booking>("booking.hex");
    coded::<record::Driver>("driver.hex");
    coded::<record::Rider>("rider.hex");
    coded::<record::Trip>("trip.hex");
    coded::<Proposal>("proposal.hex");
    coded::<Outcome>("outcome.hex");
    coded::<Event>("event.hex");
    coded::<Answer>("answer.hex");
    each(frozen("key_as_stored.hex"), |bytes| {
        if let Ok(key) = Key::from_bytes(bytes) {
            assert_eq!(Key::from_bytes(&key.to_bytes()), Ok(key));
        }
    });
}

#[test]
fn fuzz_what_travels_between_nodes() {
    coded::<Request>("request.hex");
    coded::<Found>("found.hex");
    coded::<Followed>("followed.hex");
    coded::<Push>("push.hex");
    coded::<Standing>("standing.hex");
    coded::<Explanation>("explanation.hex");
    each(frozen("envelope.hex"), |bytes| {
        if let Ok(envelope) = codec::decode::<Envelope>(bytes) {
            let _checked = envelope.open().map(|payload| codec::decode::<Request>(payload));
        }
    });
    each(frozen("reply.hex"), |bytes| {
        if let Ok(reply) = codec::decode::<Reply>(bytes) {
            let _checked = reply.open();
        }
    });
    each(frozen("ping.hex"), |bytes| {
        if let Ok(batch) = codec::decode::<PingBatch>(bytes) {
            assert_eq!(batch.iter().count(), batch.len());
        }
    });
}

#[test]
fn fuzz_frames_of_gateways() {
    each(vec![vec![0; 64]], |bytes| {
        let mut intake = Intake::up_to(64);
        for piece in bytes.chunks(7) {
            let room = intake.room();
            let length = room.len().min(piece.len());
            room[..length].copy_from_slice(&piece[..length]);
            intake.filled(length);
            while let Ok(Some(_)) = intake.take() {}
        }
    });
}

fn id<T: FromStr + ToString + PartialEq + Debug>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string().parse::<T>().unwrap(), id);
    }
}

#[test]
fn fuzz_ids() {
    let seeds = [
        BookingId::from_str("bk_0000000000000000000000000").map(|id| id.to_string()).ok(),
        Some(DriverId::of_name("dee").to_string()),
        Some(RiderId::of_name("ada").to_string()),
        Some(BookingId::mint(proto::Slot(5), proto::WallMs(7), 9).to_string()),
        Some(TripId::mint(proto::Slot(5), proto::WallMs(7), 9).to_string()),
        Some(OfferId::mint(proto::Slot(5), proto::WallMs(7), 9).to_string()),
    ];
    let seeds = seeds.into_iter().flatten().map(String::into_bytes).collect();
    each(seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        id::<BookingId>(&text);
        id::<DriverId>(&text);
        id::<RiderId>(&text);
        id::<TripId>(&text);
        id::<OfferId>(&text);
    });
}

#[test]
fn fuzz_what_a_client_is_answered() {
    let seeds = [
        r#"{"booking_id":"b","status":"PENDING","driver_id":null,"trip_id":null,"offers":[]}"#,
        r#"{"trip_id":"t","booking_id":"b","transitions":[{"to":"IN_PROGRESS","at_ms":18446744073709551615}]}"#,
        r#"{"cluster":"c","node":"n1","ready":true,"members":[{"node":"n1","generation":1,"groups":[0]}]}"#,
    ];
    each(seeds.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
        let _read = serde_json::from_slice::<Booking>(bytes);
        let _read = serde_json::from_slice::<Trip>(bytes);
        let _read = serde_json::from_slice::<DriverView>(bytes);
        let _read = serde_json::from_slice::<Cluster>(bytes);
    });
}
