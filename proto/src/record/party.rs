//! What riders and drivers have in common.

use crate::units::WallMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A phone number, as the client gave it. Logs never show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phone(pub String);

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last two digits, so that a caller can be told from another.
        let tail = self.0.len().checked_sub(2).filter(|at| *at > 4);
        write!(f, "***{}", tail.and_then(|at| self.0.get(at..)).unwrap_or_default())
    }
}

/// What is known of a party beside his name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Shown to the other party of a trip.
    pub phone: Option<Phone>,
    /// The rider's own code of four digits, where the policy starts trips with one.
    pub pin: Option<Pin>,
}

/// Four digits that only one side should know. Logs never show them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin(pub u16);

/// One more than the greatest pin.
pub const PINS: u16 = 10_000;

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl std::str::FromStr for Pin {
    type Err = NoPin;
    fn from_str(text: &str) -> Result<Self, NoPin> {
        let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or(NoPin)
    }
}

/// No four digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be four digits")]
pub struct NoPin;

/// A party may take part in nothing new for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Until when, by his partition's clock.
    pub until: WallMs,
    /// Why, in the operator's words.
    pub reason: String,
}

/// Whether a ban holds at `now`.
pub fn is_banned(ban: Option<&Ban>, now: WallMs) -> bool {
    ban.is_some_and(|ban| now < ban.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_neither_phones_nor_pins() {
        let profile = Profile { phone: Some(Phone("+49 30 555 0142".into())), pin: Some(Pin(42)) };
        let logged = format!("{profile:?}");
        assert!(!logged.contains("555") && !logged.contains("0042"), "{logged}");
        assert_eq!(format!("{:?} {:?}", Phone("42".into()), Phone("€€€€".into())), "*** ***");
    }

    #[test]
    fn a_pin_is_four_digits() {
        assert_eq!("0042".parse(), Ok(Pin(42)));
        for bad in ["42", "00042", "-042", "+042", "abcd", ""] {
            assert_eq!(bad.parse::<Pin>(), Err(NoPin), "{bad}");
        }
        assert_eq!(Pin(42).to_string(), "0042");
    }
}
