//! Positions as bytes of a fixed size: what edge gateways and phones send, and nodes pass on.
//!
//! A ping is 28 bytes, all numbers little endian:
//!
//! | bytes | holds | unit, range |
//! |---|---|---|
//! | 0..8 | driver, u64 | the number of his id |
//! | 8..12 | latitude, i32 | 1e-7 degrees, -900,000,000 to 900,000,000 |
//! | 12..16 | longitude, i32 | 1e-7 degrees, -1,800,000,000 to 1,800,000,000 |
//! | 16..22 | when it was measured, u48 | milliseconds since 1970 (until the year 10889) |
//! | 22..24 | heading, u16 | degrees clockwise from north, 0 to 359 |
//! | 24..26 | speed, u16 | centimetres a second |
//! | 26..28 | accuracy, u16 | radius in metres |
//!
//! A batch is such pings end to end, nothing between or around them. Its length says how many.

use crate::ids::DriverId;
use crate::record::cell::Ping;
use crate::units::{OutOfRange, Point, WallMs};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The bytes of one ping.
pub const PING_BYTES: usize = 28;
/// The latest time a ping can say, in milliseconds since 1970.
pub const AT_MAX: WallMs = WallMs((1 << 48) - 1);
/// A heading is below this, in degrees.
const FULL_CIRCLE_DEG: u16 = 360;

/// Why 28 bytes are no ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPing {
    /// It is nowhere on the globe.
    #[error(transparent)]
    Place(#[from] OutOfRange),
    /// It goes in no direction.
    #[error("a heading is 0 to 359 degrees, this is {0}")]
    Heading(u16),
}

/// Appends a ping. A time beyond [`AT_MAX`] is written as that, a heading as the direction it means.
pub fn put(ping: &Ping, to: &mut Vec<u8>) {
    let Ping { driver, point, heading_deg, speed_cms, accuracy_m, at } = *ping;
    let (lat_e7, lng_e7) = point.to_e7();
    let mut bytes = [0; PING_BYTES];
    bytes[..8].copy_from_slice(&driver.to_raw().to_le_bytes());
    bytes[8..12].copy_from_slice(&lat_e7.to_le_bytes());
    bytes[12..16].copy_from_slice(&lng_e7.to_le_bytes());
    bytes[16..22].copy_from_slice(&at.min(AT_MAX).0.to_le_bytes()[..6]);
    bytes[22..24].copy_from_slice(&(heading_deg % FULL_CIRCLE_DEG).to_le_bytes());
    bytes[24..26].copy_from_slice(&speed_cms.to_le_bytes());
    bytes[26..].copy_from_slice(&accuracy_m.to_le_bytes());
    to.extend_from_slice(&bytes);
}

/// The ping that these bytes say.
pub fn get(bytes: &[u8; PING_BYTES]) -> Result<Ping, BadPing> {
    let point = Point::from_e7(
        i32::from_le_bytes(part::<8, 4>(bytes)),
        i32::from_le_bytes(part::<12, 4>(bytes)),
    )?;
    // Two bytes of what follows are cut off again: one load instead of six.
    let at = WallMs(u64::from_le_bytes(part::<16, 8>(bytes)) & AT_MAX.0);
    let heading_deg = u16::from_le_bytes(part::<22, 2>(bytes));
    if heading_deg >= FULL_CIRCLE_DEG {
        return Err(BadPing::Heading(heading_deg));
    }
    Ok(Ping {
        driver: DriverId::from_raw(u64::from_le_bytes(part::<0, 8>(bytes))),
        point,
        heading_deg,
        speed_cms: u16::from_le_bytes(part::<24, 2>(bytes)),
        accuracy_m: u16::from_le_bytes(part::<26, 2>(bytes)),
        at,
    })
}

/// `N` bytes from the `AT`th; that they are there is seen by the compiler.
const fn part<const AT: usize, const N: usize>(bytes: &[u8; PING_BYTES]) -> [u8; N] {
    const { assert!(AT + N <= PING_BYTES, "it lies within a ping") };
    let mut part = [0; N];
    let mut i = 0;
    while i < N {
        part[i] = bytes[AT + i];
        i += 1;
    }
    part
}

/// Bytes that are no batch: not a whole number of pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are not a whole number of pings of {PING_BYTES}")]
pub struct BadLength(pub usize);

/// Any number of pings as bytes. How many there may be is for the frame around them to say.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PingBatch(Bytes);

impl PingBatch {
    /// Takes bytes as a batch, if they are whole pings. Whether each makes sense shows in
    /// [`iter`](Self::iter).
    pub fn new(bytes: Bytes) -> Result<Self, BadLength> {
        match bytes.len().is_multiple_of(PING_BYTES) {
            true => Ok(Self(bytes)),
            false => Err(BadLength(bytes.len())),
        }
    }
    /// These pings.
    pub fn from_pings(pings: &[Ping]) -> Self {
        let mut bytes = Vec::with_capacity(pings.len() * PING_BYTES);
        for ping in pings {
            put(ping, &mut bytes);
        }
        Self(bytes.into())
    }
    /// How many pings.
    pub fn len(&self) -> usize {
        self.0.len() / PING_BYTES
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The pings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Ping, BadPing>> + '_ {
        each(&self.0)
    }
    /// The bytes.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// The pings in `bytes`, in order; an incomplete one at the end is left out.
pub fn each(bytes: &[u8]) -> impl ExactSizeIterator<Item = Result<Ping, BadPing>> + '_ {
    let (whole, _rest) = bytes.as_chunks::<PING_BYTES>();
    whole.iter().map(get)
}

impl fmt::Debug for PingBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PingBatch({} pings)", self.len())
    }
}

impl<'de> Deserialize<'de> for PingBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{CodecError, decode, encode};
    use proptest::prelude::*;

    prop_compose! {
        fn any_ping()(
            driver: u64,
            lat in -900_000_000..=900_000_000,
            lng in -1_800_000_000..=1_800_000_000,
            at in 0..=AT_MAX.0,
            heading_deg in 0..360_u16,
            speed_cms: u16,
            accuracy_m: u16,
        ) -> Ping {
            let point = Point::from_e7(lat, lng).expect("on the globe");
            let driver = DriverId::from_raw(driver);
            Ping { driver, point, heading_deg, speed_cms, accuracy_m, at: WallMs(at) }
        }
    }

    proptest! {
        #[test]
        fn pings_come_back_as_they_went(pings in prop::collection::vec(any_ping(), 0..50)) {
            let batch = PingBatch::from_pings(&pings);
            prop_assert_eq!(batch.len(), pings.len());
            let stored: PingBatch = decode(&encode(&batch)).unwrap();
            let back: Result<Vec<Ping>, BadPing> = stored.iter().collect();
            prop_assert_eq!(back, Ok(pings));
        }

        #[test]
        fn any_28_bytes_are_a_ping_or_refused(bytes: [u8; PING_BYTES]) {
            if let Ok(ping) = get(&bytes) {
                let mut again = Vec::new();
                put(&ping, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn the_bytes_of_a_ping_are_these() {
        let ping = Ping {
            driver: DriverId::from_raw(0x0102_0304_0506_0708),
            point: Point::from_e7(0x1112_1314, -2).unwrap(),
            heading_deg: 0x0101,
            speed_cms: 0x4142,
            accuracy_m: 0x5152,
            at: WallMs(0x2122_2324_2526),
        };
        let mut bytes = Vec::new();
        put(&ping, &mut bytes);
        #[rustfmt::skip]
        let golden = [
            8, 7, 6, 5, 4, 3, 2, 1,
            0x14, 0x13, 0x12, 0x11,
            0xfe, 0xff, 0xff, 0xff,
            0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
            0x01, 0x01,
            0x42, 0x41,
            0x52, 0x51,
        ];
        assert_eq!(bytes, golden);
    }

    #[test]
    fn what_is_nowhere_or_goes_nowhere_is_refused() {
        let mut bytes = [0; PING_BYTES];
        bytes[8..12].copy_from_slice(&900_000_001_i32.to_le_bytes());
        assert_eq!(get(&bytes), Err(BadPing::Place(OutOfRange)));
        let mut bytes = [0; PING_BYTES];
        bytes[22..24].copy_from_slice(&360_u16.to_le_bytes());
        assert_eq!(get(&bytes), Err(BadPing::Heading(360)));
    }

    #[test]
    fn a_batch_that_ends_within_a_ping_is_none() {
        let cut = Bytes::from_static(&[0; PING_BYTES - 1]);
        assert_eq!(PingBatch::new(cut.clone()), Err(BadLength(27)));
        assert!(matches!(decode::<PingBatch>(&encode(&cut)), Err(CodecError::Malformed(_))));
    }
}
