//! Prices, and what was charged. Money is in minor units of its currency (cents), shares and
//! multipliers are in basis points: 10,000 is one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One, in basis points.
pub const ONE_BP: u32 = 10_000;

/// A currency by its three letters (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

/// No three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters, as in EUR")]
pub struct NoCurrency;

impl FromStr for Currency {
    type Err = NoCurrency;
    fn from_str(text: &str) -> Result<Self, NoCurrency> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| NoCurrency)?;
        let capital = letters.iter().all(u8::is_ascii_uppercase);
        if capital { Ok(Self(letters)) } else { Err(NoCurrency) }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What rides cost. A booking carries the one it was made under, so that a change of prices never
/// changes a ride that was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// Of all amounts.
    pub currency: Currency,
    /// For getting in.
    pub base_minor: u32,
    /// For a kilometre.
    pub per_km_minor: u32,
    /// For a minute on the way.
    pub per_minute_minor: u32,
    /// For a minute of a pause.
    pub per_paused_minute_minor: u32,
    /// The least a ride costs before tax.
    pub minimum_minor: u32,
    /// Tax on top, in basis points.
    pub tax_bp: u32,
    /// What the platform keeps of the fare before tax, in basis points, at most [`ONE_BP`].
    pub platform_bp: u32,
    /// A rider may call off for nothing until so long after a driver was assigned, in milliseconds.
    pub cancel_free_ms: u32,
    /// What it costs later, tax included.
    pub cancel_fee_minor: u32,
}

/// What a rider is told when he books. Tariff and surge stay as they are here until the ride is
/// paid; distance and duration are an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The prices.
    pub tariff: Tariff,
    /// By what the fare is multiplied, in basis points, at least [`ONE_BP`].
    pub surge_bp: u32,
    /// From pickup to destination by the estimate, in metres.
    pub distance_m: u32,
    /// The same, in seconds.
    pub duration_s: u32,
    /// What the ride costs if the estimate is right, tax included.
    pub total_minor: u64,
}

/// A fare, line by line. The lines add up: base, distance, time, pauses, surge and the rest up to
/// the minimum are the subtotal; with the tax they are the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fare {
    /// For getting in.
    pub base_minor: u64,
    /// For the way.
    pub distance_minor: u64,
    /// For the time on the way.
    pub time_minor: u64,
    /// For pauses.
    pub paused_minor: u64,
    /// What surge adds.
    pub surge_minor: u64,
    /// What is missing to the minimum.
    pub minimum_minor: u64,
    /// The sum so far.
    pub subtotal_minor: u64,
    /// Tax on the subtotal.
    pub tax_minor: u64,
    /// What the rider pays.
    pub total_minor: u64,
    /// What the platform keeps of the subtotal.
    pub platform_minor: u64,
}

/// Where a billed distance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// The trail of positions.
    Trail,
    /// There was no trail worth the name: the quote's estimate.
    Quote,
}

/// What is charged for a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bill {
    /// The ride.
    Ride {
        /// The lines.
        fare: Fare,
        /// How far, in metres.
        distance_m: u32,
        /// Known from where.
        measure: Measure,
        /// How long on the way, pauses left out, in milliseconds.
        moving_ms: u64,
        /// How long paused, in milliseconds.
        paused_ms: u64,
        /// The driver's odometer says something else than the trail.
        odometer_doubted: bool,
    },
    /// The rider called it off too late.
    Cancellation {
        /// The fee, tax included.
        fee_minor: u64,
    },
}

impl Bill {
    /// What the rider pays.
    pub const fn total_minor(&self) -> u64 {
        match self {
            Self::Ride { fare, .. } => fare.total_minor,
            Self::Cancellation { fee_minor } => *fee_minor,
        }
    }
    /// What the driver is left with: the fare before tax without the platform's part, or the whole fee.
    pub const fn driver_minor(&self) -> u64 {
        match self {
            Self::Ride { fare, .. } => fare.subtotal_minor - fare.platform_minor,
            Self::Cancellation { fee_minor } => *fee_minor,
        }
    }
}
