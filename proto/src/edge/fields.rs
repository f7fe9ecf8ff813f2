//! How the fields of bodies are read and written.

use super::BadBody;
use crate::record::driver::{DriverStatus, VehicleType};
use crate::units::Point;

/// How kinds of vehicles are written; 0 is any, or not known.
const VEHICLES: [(u8, VehicleType); 4] = [
    (1, VehicleType::Auto),
    (2, VehicleType::Sedan),
    (3, VehicleType::Suv),
    (4, VehicleType::Bike),
];
/// How a driver's status is written.
const STATUSES: [(u8, DriverStatus); 4] = [
    (0, DriverStatus::Offline),
    (1, DriverStatus::Free),
    (2, DriverStatus::Held),
    (3, DriverStatus::Taken),
];

/// The byte of a value in a table that has all of them.
fn byte<T: PartialEq>(table: &[(u8, T)], value: &T) -> u8 {
    table.iter().find(|(_, each)| each == value).map_or(u8::MAX, |(byte, _)| *byte)
}

fn value<T: Copy>(table: &[(u8, T)], byte: u8, field: &'static str) -> Result<T, BadBody> {
    let known = table.iter().find(|(each, _)| *each == byte);
    known.map(|(_, value)| *value).ok_or(BadBody::Value(field))
}

pub(super) fn vehicle(byte: u8) -> Result<Option<VehicleType>, BadBody> {
    match byte {
        0 => Ok(None),
        kind => value(&VEHICLES, kind, "vehicle kind").map(Some),
    }
}

pub(super) fn vehicle_byte(kind: Option<VehicleType>) -> u8 {
    kind.map_or(0, |kind| byte(&VEHICLES, &kind))
}

/// What a status byte means.
pub(super) fn status(byte: u8) -> Result<DriverStatus, BadBody> {
    value(&STATUSES, byte, "status")
}

pub(super) fn status_byte(status: DriverStatus) -> u8 {
    byte(&STATUSES, &status)
}

/// A body as it is read, front to end.
pub(super) struct Reader<'a> {
    whole: usize,
    pub(super) left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { whole: body.len(), left: body }
    }
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], BadBody> {
        let (taken, left) =
            self.left.split_first_chunk::<N>().ok_or(BadBody::Length(self.whole))?;
        self.left = left;
        Ok(*taken)
    }
    pub(super) fn u8(&mut self) -> Result<u8, BadBody> {
        self.take().map(u8::from_le_bytes)
    }
    pub(super) fn u16(&mut self) -> Result<u16, BadBody> {
        self.take().map(u16::from_le_bytes)
    }
    pub(super) fn u32(&mut self) -> Result<u32, BadBody> {
        self.take().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Result<u64, BadBody> {
        self.take().map(u64::from_le_bytes)
    }
    pub(super) fn point(&mut self) -> Result<Point, BadBody> {
        let (lat, lng) = (self.take()?, self.take()?);
        Ok(Point::from_e7(i32::from_le_bytes(lat), i32::from_le_bytes(lng))?)
    }
    pub(super) fn zeros<const N: usize>(&mut self) -> Result<(), BadBody> {
        match self.take::<N>()?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(BadBody::Value("reserved")),
        }
    }
    /// One bit, all others of the byte being 0.
    pub(super) fn flag(&mut self) -> Result<bool, BadBody> {
        match self.u8()? {
            flags @ (0 | 1) => Ok(flags == 1),
            _ => Err(BadBody::Value("flags")),
        }
    }
    /// The rest as text of at most so many bytes.
    pub(super) fn text(self, max: usize, field: &'static str) -> Result<&'a str, BadBody> {
        if self.left.len() > max {
            return Err(BadBody::Length(self.whole));
        }
        std::str::from_utf8(self.left).map_err(|_| BadBody::Value(field))
    }
    pub(super) fn end(self) -> Result<(), BadBody> {
        match self.left {
            [] => Ok(()),
            _ => Err(BadBody::Length(self.whole)),
        }
    }
}

pub(super) fn put_point(point: Point, to: &mut Vec<u8>) {
    let (lat_e7, lng_e7) = point.to_e7();
    to.extend_from_slice(&lat_e7.to_le_bytes());
    to.extend_from_slice(&lng_e7.to_le_bytes());
}
