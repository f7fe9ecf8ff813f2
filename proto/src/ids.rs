//! Ids. Bookings, trips and offers have 128-bit ids that carry their rider's hash slot; riders and
//! drivers are 64-bit numbers, the hash of the name they were registered under.
//!
//! Layout of a 128-bit id, most significant bit first:
//!
//! ```text
//! version 4 | region 12 | hash slot 16 | milliseconds since 1970 48 | random 48
//! ```
//!
//! The text form is a prefix and 26 digits of Crockford base32 (13 for 64-bit ids), so text order
//! equals numeric order, and for one rider both equal time order.

use crate::slot::{Slot, frozen_hash};
use crate::units::WallMs;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The layout version written into the top four bits of every 128-bit id.
const LAYOUT: u128 = 1;
/// The only region there is so far.
const REGION: u128 = 1;
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Why a text is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text does not begin with the prefix of its kind.
    #[error("must begin with `{0}`")]
    Prefix(&'static str),
    /// The text has the wrong number of digits after the prefix.
    #[error("must have {want} digits after the prefix, has {got}")]
    Length {
        /// Digits this kind of id has.
        want: usize,
        /// Digits found.
        got: usize,
    },
    /// A character is no Crockford base32 digit, or the number does not fit.
    #[error("has a character that is no base32 digit")]
    Digit,
    /// The id was made by a layout this build does not know.
    #[error("was made by an unknown id layout")]
    Layout,
}

fn encode(mut raw: u128, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(raw & 31) as usize];
        raw >>= 5;
    }
    text.into_iter().map(char::from).collect()
}

fn decode(text: &str, prefix: &'static str, digits: usize, bits: u32) -> Result<u128, IdError> {
    let body = text.strip_prefix(prefix).ok_or(IdError::Prefix(prefix))?;
    if body.len() != digits {
        return Err(IdError::Length { want: digits, got: body.len() });
    }
    let mut raw: u128 = 0;
    for byte in body.bytes() {
        let upper = byte.to_ascii_uppercase();
        let digit = DIGITS.iter().position(|d| *d == upper).ok_or(IdError::Digit)?;
        if raw >> (bits - 5) != 0 {
            return Err(IdError::Digit); // more bits than the id has
        }
        raw = (raw << 5) | digit as u128;
    }
    Ok(raw)
}

macro_rules! wide_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u128);

        impl $name {
            /// Makes an id from the slot of its rider, the time, and 48 random bits.
            pub const fn mint(slot: Slot, at: WallMs, random: u64) -> Self {
                let ms = at.0 as u128 & 0xffff_ffff_ffff;
                let random = random as u128 & 0xffff_ffff_ffff;
                Self(LAYOUT << 124 | REGION << 112 | (slot.0 as u128) << 96 | ms << 48 | random)
            }
            /// The hash slot of the rider this belongs to; it names the owning group.
            pub const fn slot(self) -> Slot {
                Slot(((self.0 >> 96) & 0xffff) as u16)
            }
            /// When it was made, by the clock of the node that made it.
            pub const fn minted_at(self) -> WallMs {
                WallMs(((self.0 >> 48) & 0xffff_ffff_ffff) as u64)
            }
            /// Takes 128 bits as an id, unchecked; for keys that were made by [`Self::to_raw`].
            pub const fn from_raw(raw: u128) -> Self {
                Self(raw)
            }
            /// The 128 bits.
            pub const fn to_raw(self) -> u128 {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, encode(self.0, 26))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let raw = decode(text, $prefix, 26, 128)?;
                if raw >> 124 != LAYOUT { Err(IdError::Layout) } else { Ok(Self(raw)) }
            }
        }
    };
}

wide_id!(
    /// A rider's ask for a ride.
    BookingId, "bkg_"
);
wide_id!(
    /// An assignment carried out, from accept to end.
    TripId, "trp_"
);
wide_id!(
    /// A proposal of one booking to one driver.
    OfferId, "off_"
);

macro_rules! party_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// The id of whoever or whatever goes by `name`: its frozen hash. Two names with one
            /// hash are refused where names are taken, so the map needs no directory.
            pub fn of_name(name: &str) -> Self {
                Self(frozen_hash(name.as_bytes()))
            }
            /// Takes a number as an id.
            pub const fn from_raw(raw: u64) -> Self {
                Self(raw)
            }
            /// The number.
            pub const fn to_raw(self) -> u64 {
                self.0
            }
            /// The hash slot that owns its records.
            pub fn slot(self) -> Slot {
                Slot::of(&self.0.to_be_bytes())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, encode(self.0 as u128, 13))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let raw = decode(text, $prefix, 13, 64)?;
                u64::try_from(raw).map(Self).map_err(|_| IdError::Digit)
            }
        }
    };
}

party_id!(
    /// Someone who books rides.
    RiderId, "rdr_"
);
party_id!(
    /// Someone who carries them.
    DriverId, "drv_"
);
party_id!(
    /// A queue zone: a place, such as an airport, where drivers wait their turn.
    ZoneId, "zon_"
);

/// A member of the cluster, for as long as its disk lives. A wiped disk comes back as a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for NodeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix('n').unwrap_or(text);
        digits.parse().map(Self).map_err(|_| IdError::Digit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_form_is_frozen() {
        let id = BookingId::mint(Slot(0xabcd), WallMs(1_700_000_000_000), 42);
        assert_eq!(id.to_string(), "bkg_0G06NWT0CBSZJPG0000000001A");
        assert_eq!(id.slot(), Slot(0xabcd));
        assert_eq!(id.minted_at(), WallMs(1_700_000_000_000));
        assert_eq!(DriverId::from_raw(7).to_string(), "drv_0000000000007");
    }

    #[test]
    fn every_slip_in_an_id_has_its_own_error() {
        assert_eq!("trp_00".parse::<BookingId>(), Err(IdError::Prefix("bkg_")));
        assert_eq!("bkg_00".parse::<BookingId>(), Err(IdError::Length { want: 26, got: 2 }));
        assert_eq!("bkg_0000000000000000000000000U".parse::<BookingId>(), Err(IdError::Digit));
        assert_eq!("bkg_00000000000000000000000000".parse::<BookingId>(), Err(IdError::Layout));
        assert_eq!("bkg_ZZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<BookingId>(), Err(IdError::Digit));
        assert_eq!("drv_ZZZZZZZZZZZZZ".parse::<DriverId>(), Err(IdError::Digit));
    }

    proptest! {
        #[test]
        fn text_and_number_agree(slot: u16, ms in 0u64..1 << 48, random in 0u64..1 << 48, raw: u64) {
            let id = TripId::mint(Slot(slot), WallMs(ms), random);
            prop_assert_eq!(id.to_string().parse::<TripId>(), Ok(id));
            let driver = DriverId::from_raw(raw);
            prop_assert_eq!(driver.to_string().parse::<DriverId>(), Ok(driver));
        }

        #[test]
        fn ids_of_one_rider_sort_by_time(a in 0u64..1 << 47, later in 1u64..1 << 40, r1: u64, r2: u64) {
            let first = OfferId::mint(Slot(3), WallMs(a), r1);
            let second = OfferId::mint(Slot(3), WallMs(a + later), r2);
            prop_assert!(first < second && first.to_string() < second.to_string());
        }
    }
}
