//! What frames say. Each body has a fixed layout, given in a table; what is left of a HELLO and of a
//! REFUSED is text. Bits and values that are not named are refused, so that they can be used later.

use super::fields::{Reader, put_point, status, status_byte, vehicle, vehicle_byte};
use super::{BODY_MAX, BadBody, Kind, put};
use crate::code::{Code, Refusal};
use crate::ids::{DriverId, NodeId};
use crate::pings::AT_MAX;
use crate::record::cell::PingCounts;
use crate::record::driver::{Capabilities, DriverStatus, VehicleType};
use crate::units::{Point, WallMs};

/// The longest token, in bytes; the same as over HTTP.
const TOKEN_MAX: usize = 4_096;
/// The longest body of a HELLO, in bytes.
pub const HELLO_MAX: usize = 4 + TOKEN_MAX;
/// The longest sentence of a refusal, in bytes.
const DETAIL_MAX: usize = 1_024;
/// The bytes of one driver in a FOUND.
const SPOTTED_BYTES: usize = 28;
/// The bytes of a FOUND before its drivers.
const FOUND_BYTES: usize = 4;

/// HELLO: the first frame of a client.
///
/// | bytes | holds |
/// |---|---|
/// | 0..2 | the newest frame version that the client speaks, u16 |
/// | 2..4 | reserved: 0 |
/// | 4.. | its token, as in `Authorization: Bearer`, at most 4,096 bytes; empty where there are none |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The newest frame version that the client speaks.
    pub version: u16,
    /// As whom it asks; empty if the cluster wants no tokens.
    pub token: &'a str,
}

impl<'a> Hello<'a> {
    /// Appends it as a frame. Whoever makes it sees to the length of the token.
    pub fn put(&self, number: u32, to: &mut Vec<u8>) {
        put(Kind::Hello, number, to, |to| {
            to.extend_from_slice(&self.version.to_le_bytes());
            to.extend_from_slice(&[0; 2]);
            to.extend_from_slice(self.token.as_bytes());
        });
    }
    /// Reads a body.
    pub fn get(body: &'a [u8]) -> Result<Self, BadBody> {
        let mut reader = Reader::new(body);
        let version = reader.u16()?;
        reader.zeros::<2>()?;
        Ok(Self { version, token: reader.text(TOKEN_MAX, "token")? })
    }
}

/// WELCOME: the conversation may begin.
///
/// | bytes | holds |
/// |---|---|
/// | 0..8 | the number of the node, u64 |
/// | 8..12 | the most pings it takes in a frame, u32 |
/// | 12..16 | the most frames that should be unanswered at once, u32 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// Who answers.
    pub node: NodeId,
    /// The most pings in a frame.
    pub pings_max: u32,
    /// The most frames that should be unanswered at once.
    pub unanswered_max: u32,
}

impl Welcome {
    /// Appends it as a frame.
    pub fn put(&self, number: u32, to: &mut Vec<u8>) {
        put(Kind::Welcome, number, to, |to| {
            to.extend_from_slice(&self.node.0.to_le_bytes());
            to.extend_from_slice(&self.pings_max.to_le_bytes());
            to.extend_from_slice(&self.unanswered_max.to_le_bytes());
        });
    }
    /// Reads a body.
    pub fn get(body: &[u8]) -> Result<Self, BadBody> {
        let mut reader = Reader::new(body);
        let node = NodeId(reader.u64()?);
        let (pings_max, unanswered_max) = (reader.u32()?, reader.u32()?);
        reader.end()?;
        Ok(Self { node, pings_max, unanswered_max })
    }
}

/// PINGED: how the pings of a frame fared; the four counts add up to their number.
///
/// | bytes | holds |
/// |---|---|
/// | 0..4 | applied, u32 |
/// | 4..8 | stale, u32: not newer than what is known of the driver |
/// | 8..12 | refused, u32: no position, or its owner had no room |
/// | 12..16 | lost, u32: its owner did not answer in time, it may have been applied |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinged(pub PingCounts);

impl Pinged {
    /// Appends it as a frame.
    pub fn put(&self, number: u32, to: &mut Vec<u8>) {
        let PingCounts { applied, stale, refused, lost } = self.0;
        put(Kind::Pinged, number, to, |to| {
            for count in [applied, stale, refused, lost] {
                to.extend_from_slice(&count.to_le_bytes());
            }
        });
    }
    /// Reads a body.
    pub fn get(body: &[u8]) -> Result<Self, BadBody> {
        let mut reader = Reader::new(body);
        let (applied, stale) = (reader.u32()?, reader.u32()?);
        let (refused, lost) = (reader.u32()?, reader.u32()?);
        reader.end()?;
        Ok(Self(PingCounts { applied, stale, refused, lost }))
    }
}

/// NEAR: who is near a point?
///
/// | bytes | holds |
/// |---|---|
/// | 0..8 | the point: latitude and longitude, i32 each, 1e-7 degrees |
/// | 8..12 | how far away at most, u32, metres |
/// | 12..14 | how many at most, u16 |
/// | 14 | flags, u8: bit 0, only drivers who can be matched now |
/// | 15 | kind of vehicle, u8: 0 any, 1 auto, 2 sedan, 3 SUV, 4 bike |
/// | 16 | free seats needed, u8; a number other than 0 needs a kind |
/// | 17..20 | reserved: 0 |
/// | 20..24 | capabilities needed, u32, a mask of [`Capabilities`]; other than 0 needs a kind |
/// | 24..28 | seen within so many milliseconds, u32; 0 as the node's policy is |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// Around where.
    pub center: Point,
    /// How far away at most, in metres.
    pub radius_m: u32,
    /// How many at most.
    pub max: u16,
    /// Only drivers who can be matched now.
    pub free_only: bool,
    /// The kind of vehicle; nothing for any.
    pub kind: Option<VehicleType>,
    /// Free seats needed.
    pub seats: u8,
    /// What the vehicle must be able to do.
    pub capabilities: Capabilities,
    /// Seen within so many milliseconds; 0 as the node's policy is.
    pub fresh_ms: u32,
}

impl Near {
    /// Appends it as a frame.
    pub fn put(&self, number: u32, to: &mut Vec<u8>) {
        let Self { center, radius_m, max, free_only, kind, seats, capabilities, fresh_ms } = *self;
        put(Kind::Near, number, to, |to| {
            put_point(center, to);
            to.extend_from_slice(&radius_m.to_le_bytes());
            to.extend_from_slice(&max.to_le_bytes());
            to.extend_from_slice(&[u8::from(free_only), vehicle_byte(kind), seats, 0, 0, 0]);
            to.extend_from_slice(&capabilities.0.to_le_bytes());
            to.extend_from_slice(&fresh_ms.to_le_bytes());
        });
    }
    /// Reads a body. Whether radius and number are within what a node shows, the node says.
    pub fn get(body: &[u8]) -> Result<Self, BadBody> {
        let mut reader = Reader::new(body);
        let center = reader.point()?;
        let (radius_m, max) = (reader.u32()?, reader.u16()?);
        let (free_only, kind, seats) = (reader.flag()?, vehicle(reader.u8()?)?, reader.u8()?);
        reader.zeros::<3>()?;
        let (capabilities, fresh_ms) = (Capabilities(reader.u32()?), reader.u32()?);
        reader.end()?;
        if kind.is_none() && (seats, capabilities) != (0, Capabilities::default()) {
            return Err(BadBody::Value("vehicle kind"));
        }
        Ok(Self { center, radius_m, max, free_only, kind, seats, capabilities, fresh_ms })
    }
}

/// FOUND: who is near, nearest first.
///
/// | bytes | holds |
/// |---|---|
/// | 0 | flags, u8: bit 0, some owner did not answer in time, there may be more |
/// | 1 | reserved: 0 |
/// | 2..4 | how many drivers, u16 |
/// | 4.. | the drivers, 28 bytes each |
///
/// | bytes of a driver | holds |
/// |---|---|
/// | 0..8 | his number, u64 |
/// | 8..16 | where he was seen last: latitude and longitude, i32 each, 1e-7 degrees |
/// | 16..20 | how far away that is, u32, metres |
/// | 20..26 | when that was measured, u48, milliseconds since 1970 |
/// | 26 | status, u8: 0 off duty, 1 free, 2 an offer is before him, 3 on a trip |
/// | 27 | kind of vehicle, u8, as in [`Near`]; 0 if the node does not say |
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Some owner did not answer in time.
    pub partial: bool,
    /// Nearest first.
    pub drivers: Vec<Spotted>,
}

/// A driver in a [`Found`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spotted {
    /// Who.
    pub driver: DriverId,
    /// Where he was seen last.
    pub point: Point,
    /// From the centre in a straight line, in metres.
    pub distance_m: u32,
    /// When that was measured.
    pub at: WallMs,
    /// Whether he can be matched.
    pub status: DriverStatus,
    /// What he drives, if the node says.
    pub kind: Option<VehicleType>,
}

impl Found {
    /// The most drivers that one frame holds.
    pub const DRIVERS_MAX: usize = (BODY_MAX - FOUND_BYTES) / SPOTTED_BYTES;

    /// Appends it as a frame, with the nearest [`Self::DRIVERS_MAX`].
    pub fn put(&self, number: u32, to: &mut Vec<u8>) {
        let nearest = &self.drivers[..self.drivers.len().min(Self::DRIVERS_MAX)];
        let count = u16::try_from(nearest.len()).unwrap_or(u16::MAX); // the bound is below it
        put(Kind::Found, number, to, |to| {
            to.extend_from_slice(&[u8::from(self.partial), 0]);
            to.extend_from_slice(&count.to_le_bytes());
            for spotted in nearest {
                spotted.put(to);
            }
        });
    }
    /// Reads a body.
    pub fn get(body: &[u8]) -> Result<Self, BadBody> {
        let mut reader = Reader::new(body);
        let partial = reader.flag()?;
        reader.zeros::<1>()?;
        let count = usize::from(reader.u16()?);
        if reader.left.len() != count * SPOTTED_BYTES {
            return Err(BadBody::Length(body.len()));
        }
        let mut drivers = Vec::with_capacity(count);
        for _ in 0..count {
            drivers.push(Spotted::get(&mut reader)?);
        }
        Ok(Self { partial, drivers })
    }
}

impl Spotted {
    fn put(&self, to: &mut Vec<u8>) {
        let Self { driver, point, distance_m, at, status, kind } = *self;
        to.extend_from_slice(&driver.to_raw().to_le_bytes());
        put_point(point, to);
        to.extend_from_slice(&distance_m.to_le_bytes());
        to.extend_from_slice(&at.min(AT_MAX).0.to_le_bytes()[..6]);
        to.extend_from_slice(&[status_byte(status), vehicle_byte(kind)]);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, BadBody> {
        let driver = DriverId::from_raw(reader.u64()?);
        let (point, distance_m) = (reader.point()?, reader.u32()?);
        let [a, b, c, d, e, f] = reader.take()?;
        let at = WallMs(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]));
        let status = status(reader.u8()?)?;
        let kind = vehicle(reader.u8()?)?;
        Ok(Self { driver, point, distance_m, at, status, kind })
    }
}

/// REFUSED: nothing of the frame with this number was done; with the number
/// [`CONNECTION`](super::CONNECTION), the connection is closed.
///
/// | bytes | holds |
/// |---|---|
/// | 0..2 | the stable number of the [`Code`], u16 |
/// | 2..4 | reserved: 0 |
/// | 4..8 | ask again after so many milliseconds, u32; 0 if that makes no sense |
/// | 8.. | a sentence for a person, at most 1,024 bytes |
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused with {code_number}: {detail}")]
pub struct Refused {
    /// The stable number of the code; see [`Refused::code`].
    pub code_number: u16,
    /// Ask again after so many milliseconds; 0 if that makes no sense.
    pub retry_after_ms: u32,
    /// A sentence for a person.
    pub detail: String,
}

impl Refused {
    /// A refusal as it is sent. A sentence that is too long is cut.
    pub fn of(refusal: &Refusal) -> Self {
        let mut detail = refusal.detail.clone();
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX));
        let retry_after_ms = refusal.retry_after_ms.unwrap_or(0);
        Self { code_number: refusal.code as u16, retry_after_ms, detail }
    }
    /// The code, if this build knows it.
    pub fn code(&self) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| *code as u16 == self.code_number)
    }
    /// Appends it as a frame.
    pub fn put(&self, number: u32, to: &mut Vec<u8>) {
        put(Kind::Refused, number, to, |to| {
            to.extend_from_slice(&self.code_number.to_le_bytes());
            to.extend_from_slice(&[0; 2]);
            to.extend_from_slice(&self.retry_after_ms.to_le_bytes());
            to.extend_from_slice(self.detail.as_bytes());
        });
    }
    /// Reads a body.
    pub fn get(body: &[u8]) -> Result<Self, BadBody> {
        let mut reader = Reader::new(body);
        let code_number = reader.u16()?;
        reader.zeros::<2>()?;
        let retry_after_ms = reader.u32()?;
        let detail = reader.text(DETAIL_MAX, "detail")?.to_owned();
        Ok(Self { code_number, retry_after_ms, detail })
    }
}
