//! Every reason a request may be refused. A code is part of the public interface: numbers and
//! names are appended, never reused. The HTTP status of each is decided in `node`.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal, $retry:ident;)*) => {
        /// Why a request was refused. A refusal changed nothing, with two exceptions: a wrong start code
        /// ([`Code::InvalidOtp`]) is one try less, and after
        /// [`Code::Retry`] the request may still take effect, and sending it again with the same
        /// idempotency key is safe.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum Code { $($(#[doc = $doc])* $name = $number,)* }

        impl Code {
            /// All codes, in order.
            pub const ALL: &[Code] = &[$(Code::$name,)*];
            /// The stable name, as clients see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
            /// Whether the same request, unchanged and with the same idempotency key, may succeed
            /// if sent again after a pause.
            pub const fn retryable(self) -> bool {
                match self { $(Code::$name => codes!(@$retry),)* }
            }
            /// What the code means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),*),)* }
            }
        }
    };
    (@retry) => { true };
    (@final) => { false };
}

codes! {
    // 1xxx: the cluster. Ask again, maybe elsewhere.
    /// The receiver does not own this key; the sender's ring is older or newer.
    NotOwner = 1001, "NOT_OWNER", retry;
    /// The owner could not be reached or did not answer in time; the request may have happened.
    Retry = 1002, "RETRY", retry;
    /// A queue is full; nothing was done.
    Overloaded = 1003, "OVERLOADED", retry;
    /// This node has not yet joined enough of the cluster to serve.
    NotReady = 1004, "NOT_READY", retry;
    /// The peer speaks another version, belongs to another cluster or failed its checksum.
    BadPeer = 1005, "BAD_PEER", final;
    // 2xxx: the request itself. Mend it first.
    /// The request is not well formed.
    BadRequest = 2001, "BAD_REQUEST", final;
    /// A coordinate is not on the globe.
    BadCoordinate = 2002, "BAD_COORDINATE", final;
    /// The body or frame is larger than this endpoint takes.
    TooLarge = 2003, "TOO_LARGE", final;
    /// The idempotency key was used before with another body.
    KeyReused = 2004, "IDEMPOTENCY_KEY_REUSED", final;
    /// There is no such path.
    NoSuchPath = 2005, "NO_SUCH_PATH", final;
    /// The path exists, the method does not.
    NoSuchMethod = 2006, "NO_SUCH_METHOD", final;
    // 3xxx: parties.
    /// No driver has this id.
    DriverNotFound = 3001, "DRIVER_NOT_FOUND", final;
    /// No rider has this id.
    RiderNotFound = 3002, "RIDER_NOT_FOUND", final;
    /// The name is registered with other details, or its id belongs to another name.
    NameTaken = 3003, "NAME_TAKEN", final;
    /// The driver's identity has not been verified.
    KycRequired = 3004, "KYC_REQUIRED", final;
    /// The driver is committed to another offer or trip.
    DriverBusy = 3005, "DRIVER_BUSY", final;
    /// The driver is off duty.
    DriverOffline = 3006, "DRIVER_OFFLINE", final;
    /// The rider already has an active booking.
    RiderBusy = 3007, "RIDER_HAS_ACTIVE_BOOKING", final;
    // 4xxx: bookings and offers.
    /// No booking has this id.
    BookingNotFound = 4001, "BOOKING_NOT_FOUND", final;
    /// The booking has a driver; cancel the trip instead.
    BookingAssigned = 4002, "BOOKING_ALREADY_ASSIGNED", final;
    /// The booking has ended.
    BookingEnded = 4003, "BOOKING_ENDED", final;
    /// No such offer was made to this driver.
    OfferNotFound = 4004, "OFFER_NOT_FOUND", final;
    /// The offer's time ran out, or it was declined.
    OfferExpired = 4005, "OFFER_EXPIRED", final;
    /// The booking was filled or cancelled before this answer.
    OfferTaken = 4006, "OFFER_TAKEN", final;
    /// The offer was accepted before, by a request with another key.
    OfferAlreadyAccepted = 4007, "OFFER_ALREADY_ACCEPTED", final;
    // 5xxx: trips.
    /// No trip has this id.
    TripNotFound = 5001, "TRIP_NOT_FOUND", final;
    /// The party has no trip under way.
    NoActiveTrip = 5002, "NO_ACTIVE_TRIP", final;
    /// The trip belongs to another driver.
    UnauthorizedDriver = 5003, "UNAUTHORIZED_DRIVER", final;
    /// The trip or booking belongs to another party.
    Unauthorized = 5004, "UNAUTHORIZED", final;
    /// The trip has been started before.
    TripAlreadyStarted = 5005, "TRIP_ALREADY_STARTED", final;
    /// The trip has not been started.
    TripNotStarted = 5006, "TRIP_NOT_STARTED", final;
    /// The trip has ended before.
    TripAlreadyEnded = 5007, "TRIP_ALREADY_ENDED", final;
    /// The trip is completed and can't be cancelled.
    TripAlreadyCompleted = 5008, "TRIP_ALREADY_COMPLETED", final;
    /// The trip is cancelled.
    TripCancelled = 5009, "TRIP_CANCELLED", final;
    /// A trip under way ends; it can't be cancelled.
    CannotCancelInProgress = 5010, "CANNOT_CANCEL_IN_PROGRESS", final;
    /// The trip is paused already.
    TripAlreadyPaused = 5011, "TRIP_ALREADY_PAUSED", final;
    /// The trip is not paused.
    TripNotPaused = 5012, "TRIP_NOT_PAUSED", final;
    // Stored by their place in this list, so later ones stand at its end.
    /// No node has this id.
    NodeNotFound = 2007, "NODE_NOT_FOUND", final;
    /// Too few nodes would be left to hold every replica.
    TooFewNodes = 2008, "TOO_FEW_NODES", final;
    /// No token that this cluster knows came with the request.
    Unauthenticated = 2009, "UNAUTHENTICATED", final;
    /// The token's holder may not do this, or not for this party.
    Forbidden = 2010, "FORBIDDEN", final;
    /// This subject asks too often; nothing was done.
    RateLimited = 1006, "RATE_LIMITED", retry;
    /// The rider is banned for a while.
    RiderBanned = 3008, "RIDER_BANNED", final;
    /// The driver is banned for a while.
    DriverBanned = 3009, "DRIVER_BANNED", final;
    /// The code that starts the trip is missing or wrong.
    InvalidOtp = 5013, "INVALID_OTP", final;
    /// Too many wrong codes: only an operator can start this trip now.
    OtpTriesExceeded = 5014, "OTP_TRIES_EXCEEDED", final;
    /// The trip is not over, so there is nothing to charge yet.
    TripNotOver = 5015, "TRIP_NOT_OVER", final;
    /// The driver told nobody where he is in the last minute.
    DriverNotSeen = 3010, "DRIVER_NOT_SEEN", final;
    /// The policy was set by somebody else since it was read.
    PolicyChanged = 2011, "POLICY_CHANGED", final;
    /// No queue zone has this id.
    ZoneNotFound = 2012, "ZONE_NOT_FOUND", final;
    /// The driver waits in no queue.
    NotQueued = 3011, "NOT_QUEUED", final;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal as it travels: the code, and what helps the caller go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// The same for a person, about this very request; may be empty.
    pub detail: String,
    /// Who probably owns the key.
    pub owner: Option<crate::NodeId>,
    /// When to ask again, if that makes sense; milliseconds.
    pub retry_after_ms: Option<u32>,
}

/// The pause suggested with a retryable refusal when nothing better is known, in milliseconds.
pub const RETRY_AFTER_MS: u32 = 200;

impl Refusal {
    /// A refusal with a sentence for a person.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_ms = code.retryable().then_some(RETRY_AFTER_MS);
        Self { code, detail: detail.into(), owner: None, retry_after_ms }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.meaning().trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_names_are_unique() {
        let numbers: BTreeSet<u16> = Code::ALL.iter().map(|c| *c as u16).collect();
        let names: BTreeSet<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
    }

    #[test]
    fn only_the_cluster_is_worth_asking_again() {
        for code in Code::ALL {
            let cluster = (1000..2000).contains(&(*code as u16)) && *code != Code::BadPeer;
            assert_eq!(code.retryable(), cluster, "{code}");
        }
    }
}
