//! What the clients saw, in the order they saw it: the evidence for [`crate::checker`]. Only what
//! a client can swear to is written down: when it first asked, when it had the answer in hand, and
//! which answer. Nothing here comes from a node's logs or metrics.

use crate::readback::{BookingAtEnd, TripAtEnd};
use proto::client::BookingStatus;
use proto::client::text::serialize as as_text;
use proto::units::{Clock, MonoMs};
use proto::{BookingId, DriverId, OfferId, RiderId, TripId};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// A move of a trip that its driver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// At the pickup.
    Arrive,
    /// The rider is aboard.
    Start,
    /// At the destination.
    End,
}

impl Step {
    /// The last part of its path, and its name in the report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arrive => "arrive",
            Self::Start => "start",
            Self::End => "end",
        }
    }
}

/// The most changes of driver that a policy allows a booking.
const CHANGES_MAX: u64 = 8;
/// How often a booking may wait in vain for a driver who is on another ride.
const LAPSES_MAX: u64 = 1;

/// An answer that showed how far a record had come: a read, or the acknowledgement of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Which.
    pub record: String,
    /// When it was first asked, in milliseconds of the run.
    pub asked_ms: u64,
    /// How many steps it had come. Steps are never taken back.
    pub step: u64,
    /// What it was then.
    pub state: String,
}

impl Shown {
    /// A booking waits, may wait for a driver on another ride, and in vain; is assigned, to a better
    /// driver once more or several times, is over.
    pub fn booking(asked_ms: u64, id: BookingId, booking: &BookingAtEnd) -> Self {
        let BookingAtEnd { status, driver, trip, changes, lapses } = booking;
        let waits = 2 * (*lapses).min(LAPSES_MAX);
        let step = match status {
            BookingStatus::Pending => waits,
            BookingStatus::Promised => 1 + waits,
            BookingStatus::Assigned => 2 + 2 * LAPSES_MAX + (*changes).min(CHANGES_MAX),
            BookingStatus::Cancelled | BookingStatus::RequestExpired | BookingStatus::Completed => {
                3 + 2 * LAPSES_MAX + CHANGES_MAX
            }
            BookingStatus::Paid => 4 + 2 * LAPSES_MAX + CHANGES_MAX,
        };
        let with = match (driver, trip) {
            (Some(driver), Some(trip)) => format!(", driver {driver}, trip {trip}"),
            _ => String::new(),
        };
        Self { record: format!("booking {id}"), asked_ms, step, state: format!("{status:?}{with}") }
    }

    /// A trip goes through its transitions.
    pub fn trip(asked_ms: u64, id: TripId, trip: &TripAtEnd) -> Self {
        let TripAtEnd { booking, driver, status, path, reassigned: _ } = trip;
        let step = u64::try_from(path.len()).unwrap_or(u64::MAX);
        let state = format!("{status:?}, booking {booking}, driver {driver}");
        Self { record: format!("trip {id}"), asked_ms, step, state }
    }
}

/// One thing that one client saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A driver was registered.
    DriverAcked {
        /// Who.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
    },
    /// A booking was created.
    BookingAcked {
        /// Which.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
        /// Whose.
        #[serde(serialize_with = "as_text")]
        rider: RiderId,
        /// When the rider first asked, in milliseconds of the run.
        asked_ms: u64,
    },
    /// A rider got no answer to his booking within the client's patience with the cluster.
    BookingUnsettled {
        /// Whose.
        #[serde(serialize_with = "as_text")]
        rider: RiderId,
    },
    /// A rider asked to call his booking off. From now on it may be over.
    CancelAsked {
        /// Which.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
    },
    /// A booking was called off.
    CancelAcked {
        /// Which.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
    },
    /// An offer reached a driver's client for the first time.
    OfferSeen {
        /// Which.
        #[serde(serialize_with = "as_text")]
        offer: OfferId,
        /// For which booking.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
        /// Whose client.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
    },
    /// A driver's yes was answered with a trip.
    AcceptAcked {
        /// To which offer.
        #[serde(serialize_with = "as_text")]
        offer: OfferId,
        /// Of which booking.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
        /// The trip.
        #[serde(serialize_with = "as_text")]
        trip: TripId,
        /// Whose.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
    },
    /// A driver asked to move a trip, for the first time. From now on it may have moved.
    StepAsked {
        /// Which.
        #[serde(serialize_with = "as_text")]
        trip: TripId,
        /// Who.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
        /// How.
        step: Step,
    },
    /// A trip was moved.
    StepAcked {
        /// Which.
        #[serde(serialize_with = "as_text")]
        trip: TripId,
        /// Who.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
        /// How.
        step: Step,
    },
    /// An answer showed a record.
    Shown(Shown),
    /// A request was refused, finally. Not a crime; for whoever reads the history.
    Refused {
        /// Method and path.
        request: String,
        /// Why.
        code: String,
        /// The same in a sentence.
        detail: String,
    },
    /// A request got no final answer in time.
    Unsettled {
        /// Method and path.
        request: String,
    },
}

/// Something seen, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Milliseconds since the run began, by the clients' one clock.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// The record. One for all clients, so that what one saw before the other stands before it.
#[derive(Debug)]
pub struct History {
    clock: Arc<dyn Clock>,
    began: MonoMs,
    // As long as the run: about eight entries of 100 bytes a booking, 13 MB for the whole hour.
    seen: Mutex<Vec<Seen>>,
}

impl History {
    /// An empty one that begins now.
    pub fn begin(clock: Arc<dyn Clock>) -> Self {
        let began = clock.mono();
        Self { clock, began, seen: Mutex::default() }
    }

    /// Now, in milliseconds of the run.
    pub fn now_ms(&self) -> u64 {
        self.ms(self.clock.mono())
    }

    /// A moment of the process's clock, in milliseconds of the run.
    pub fn ms(&self, at: MonoMs) -> u64 {
        at.since(self.began)
    }

    /// Writes down what was seen now.
    pub fn note(&self, what: What) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that times do not fall.
        let at_ms = self.now_ms();
        seen.push(Seen { at_ms, what });
    }

    /// Everything so far.
    pub fn read(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
