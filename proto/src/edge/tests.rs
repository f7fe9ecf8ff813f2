use super::*;
use crate::ids::{DriverId, NodeId};
use crate::record::cell::PingCounts;
use crate::record::driver::{Capabilities, DriverStatus, VehicleType};
use crate::units::{Point, WallMs};
use proptest::prelude::*;

const COUNTS: PingCounts = PingCounts { applied: 1, stale: 2, refused: 3, lost: 4 };

fn ping(driver: u64) -> Ping {
    Ping {
        driver: DriverId::from_raw(driver),
        point: Point::from_e7(407_500_000, -739_800_000).expect("on the globe"),
        heading_deg: 90,
        speed_cms: 1_000,
        accuracy_m: 5,
        at: WallMs(1_700_000_000_000),
    }
}

fn near() -> Near {
    Near {
        center: Point::from_e7(1, -1).expect("on the globe"),
        radius_m: 5_000,
        max: 20,
        free_only: true,
        kind: Some(VehicleType::Suv),
        seats: 3,
        capabilities: Capabilities(0b101),
        fresh_ms: 15_000,
    }
}

fn spotted() -> Spotted {
    Spotted {
        driver: DriverId::from_raw(7),
        point: Point::from_e7(2, -2).expect("on the globe"),
        distance_m: 1_234,
        at: WallMs(0x0102_0304_0506),
        status: DriverStatus::Held,
        kind: Some(VehicleType::Bike),
    }
}

/// One frame of each kind, end to end.
fn one_of_each() -> Vec<u8> {
    let mut bytes = Vec::new();
    Hello { version: 1, token: "abc" }.put(1, &mut bytes);
    Welcome { node: NodeId(3), pings_max: 4_096, unanswered_max: 256 }.put(1, &mut bytes);
    put_pings(2, &[ping(1), ping(2)], &mut bytes);
    Pinged(COUNTS).put(2, &mut bytes);
    near().put(3, &mut bytes);
    Found { partial: true, drivers: vec![spotted(), spotted()] }.put(3, &mut bytes);
    let refusal = crate::code::Refusal::new(Code::Overloaded, "später");
    Refused::of(&refusal).put(CONNECTION, &mut bytes);
    bytes
}

fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some(frame) = Frame::first(bytes).expect("good frames") {
        bytes = &bytes[frame.size()..];
        frames.push(frame);
    }
    assert!(bytes.is_empty(), "{} bytes left", bytes.len());
    frames
}

/// Reads a frame as whatever it says it is.
fn read(frame: &Frame<'_>) -> Result<(), BadBody> {
    match frame.kind()? {
        Kind::Hello => Hello::get(frame.body).map(drop),
        Kind::Welcome => Welcome::get(frame.body).map(drop),
        Kind::Pings => frame.pings().map(|pings| pings.for_each(drop)),
        Kind::Pinged => Pinged::get(frame.body).map(drop),
        Kind::Near => Near::get(frame.body).map(drop),
        Kind::Found => Found::get(frame.body).map(drop),
        Kind::Refused => Refused::get(frame.body).map(drop),
    }
}

#[test]
fn each_kind_comes_back_as_it_went() {
    let bytes = one_of_each();
    let frames = frames(&bytes);
    let kinds: Vec<Kind> = frames.iter().map(|frame| frame.kind().unwrap()).collect();
    assert_eq!(kinds, Kind::ALL);
    assert_eq!(Hello::get(frames[0].body), Ok(Hello { version: 1, token: "abc" }));
    let welcome = Welcome { node: NodeId(3), pings_max: 4_096, unanswered_max: 256 };
    assert_eq!(Welcome::get(frames[1].body), Ok(welcome));
    let pings: Vec<Ping> = frames[2].pings().unwrap().map(Result::unwrap).collect();
    assert_eq!(pings, [ping(1), ping(2)]);
    assert_eq!(Pinged::get(frames[3].body), Ok(Pinged(COUNTS)));
    assert_eq!(Near::get(frames[4].body), Ok(near()));
    let found = Found { partial: true, drivers: vec![spotted(), spotted()] };
    assert_eq!(Found::get(frames[5].body), Ok(found));
    let refused = Refused::get(frames[6].body).unwrap();
    assert_eq!((refused.code(), refused.detail.as_str()), (Some(Code::Overloaded), "später"));
    assert_eq!(frames[6].number, CONNECTION);
}

#[test]
fn the_bytes_of_a_near_frame_are_these() {
    let mut bytes = Vec::new();
    near().put(0x0102_0304, &mut bytes);
    #[rustfmt::skip]
    let golden = [
        28, 0, 0, 0, 1, 5, 0, 0, 4, 3, 2, 1,
        1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
        0x88, 0x13, 0, 0, 20, 0, 1, 3, 3, 0, 0, 0,
        5, 0, 0, 0, 0x98, 0x3a, 0, 0,
    ];
    assert_eq!(bytes[..12], golden[..12]);
    assert_eq!(bytes[16..], golden[12..]);
    assert_eq!(bytes[12..16], crc32c::crc32c(&golden).to_le_bytes());
}

#[test]
fn a_flipped_bit_is_never_taken_for_what_was_sent() {
    let mut good = Vec::new();
    put_pings(9, &[ping(1)], &mut good);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A length that grew waits for bytes that never come.
        match Frame::first(&bytes) {
            Err(_) => {}
            Ok(None) => assert!(bit < 32, "bit {bit} makes a frame incomplete"),
            Ok(Some(frame)) => panic!("bit {bit}: {frame:?}"),
        }
    }
}

#[test]
fn what_is_too_long_or_of_another_version_is_refused_by_its_header_alone() {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&(256 * 1024 + 1_u32).to_le_bytes());
    header[4] = VERSION;
    assert_eq!(Frame::first(&header), Err(BadFrame::TooLong { length: 262_145, max: BODY_MAX }));
    header[4] = 2;
    assert_eq!(Frame::first(&header), Err(BadFrame::Version(2)));
    assert_eq!(Frame::first(&header[..15]), Ok(None));
}

#[test]
fn before_hello_nothing_is_taken_that_is_longer() {
    for (longer, taken) in [(0, true), (1, false)] {
        let mut bytes = Vec::new();
        put(Kind::Hello, 1, &mut bytes, |to| to.resize(to.len() + HELLO_MAX + longer, b'a'));
        let mut intake = Intake::up_to(HELLO_MAX);
        let room = intake.room();
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
        intake.filled(length);
        let frame = intake.take().map(|frame| frame.map(|frame| frame.body.len()));
        let too_long = BadFrame::TooLong { length: 4_101, max: 4_100 };
        assert_eq!(frame, if taken { Ok(Some(HELLO_MAX)) } else { Err(too_long) });
    }
}

#[test]
fn a_frame_of_pings_is_whole_pings_and_not_too_many() {
    let of = |bytes: usize| {
        let mut to = Vec::new();
        put(Kind::Pings, 0, &mut to, |to| to.resize(to.len() + bytes, 0));
        Frame::first(&to).unwrap().unwrap().pings().map(|pings| pings.len())
    };
    assert_eq!(of(0), Ok(0));
    assert_eq!(of(PINGS_MAX * PING_BYTES), Ok(PINGS_MAX));
    assert_eq!(of(PING_BYTES + 1), Err(BadBody::Length(29)));
    assert_eq!(of((PINGS_MAX + 1) * PING_BYTES), Err(BadBody::TooMany(PINGS_MAX + 1)));
}

#[test]
fn what_means_nothing_yet_is_refused() {
    let mut bytes = Vec::new();
    near().put(0, &mut bytes);
    for (at, bad, field) in
        [(14, 2, "flags"), (15, 5, "vehicle kind"), (17, 1, "reserved"), (15, 0, "vehicle kind")]
    {
        let mut body = bytes[HEADER_BYTES..].to_vec();
        body[at] = bad;
        assert_eq!(Near::get(&body), Err(BadBody::Value(field)), "{at}");
    }
    assert_eq!(Hello::get(&[1, 0, 0, 0, 0xff]), Err(BadBody::Value("token")));
    // It says more drivers than it has; nothing is set aside for them.
    assert_eq!(Found::get(&[0, 0, 0xff, 0xff]), Err(BadBody::Length(4)));
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(
        kind in 0_u8..9, body in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = read(&Frame { kind_byte: kind, number: 0, body: &body });
    }

    #[test]
    fn any_bytes_are_frames_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Frame::first(&bytes);
    }

    #[test]
    fn a_changed_body_is_read_or_refused(at: usize, to: u8, cut: usize) {
        let bytes = one_of_each();
        for frame in frames(&bytes) {
            let mut body = frame.body.to_vec();
            let length = body.len();
            if let Some(byte) = body.get_mut(at % length) {
                *byte = to;
            }
            body.truncate(cut % (length + 1));
            let _ = read(&Frame { body: &body, ..frame });
        }
    }

    #[test]
    fn a_stream_gives_the_same_frames_however_it_is_cut(pieces in prop::collection::vec(1_usize..90, 1..40)) {
        let bytes = one_of_each();
        let (mut left, mut pieces) = (&bytes[..], pieces.into_iter().cycle());
        let (mut intake, mut kinds) = (Intake::up_to(HELLO_MAX), Vec::new());
        while !left.is_empty() {
            let (piece, rest) = left.split_at(pieces.next().unwrap_or(1).min(left.len()));
            left = rest;
            intake.room()[..piece.len()].copy_from_slice(piece);
            intake.filled(piece.len());
            while let Some(frame) = intake.take().unwrap() {
                kinds.push(frame.kind().unwrap());
            }
            if kinds == [Kind::Hello] {
                intake.widen();
            }
        }
        prop_assert_eq!(kinds, Kind::ALL);
    }
}
