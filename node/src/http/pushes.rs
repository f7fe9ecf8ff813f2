//! The JSON that goes down a driver's socket.

use super::cursors;
use super::views::{OfferView, actor, trip_status};
use crate::follow::{News, Told, Why};
use proto::record::driver::OfferEnd;
use proto::{DriverId, NodeId, WallMs};
use serde::Serialize;
use utoipa::ToSchema;

/// What goes down a driver's socket. `cursor`, where there is one, is where to go on after it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Down {
    /// The first message.
    Hello {
        driver_id: String,
        /// The node that holds the socket.
        node: String,
        /// It begins with how things are: no cursor was sent, or none that can be gone on from.
        afresh: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// An offer to answer.
    Offer {
        #[serde(flatten)]
        offer: Box<OfferView>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// An offer of a ride to follow the one that he is on, to answer the same way.
    NextOffer {
        #[serde(flatten)]
        offer: Box<OfferView>,
        /// He has said yes; it is told again because the stream begins with how things are.
        accepted: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// An offer that can't be answered any more. It may never have been shown.
    OfferEnded {
        offer_id: String,
        booking_id: String,
        /// `FILLED_BY_ANOTHER_DRIVER`, `EXPIRED`, `DECLINED` or `CANCELLED`; of a ride that was to
        /// follow his own, `WITHDRAWN` where the booking goes without him.
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// His trip moved, whoever moved it.
    Trip {
        trip_id: String,
        booking_id: String,
        /// The number of the step, from 1.
        sequence: u32,
        from: Option<&'static str>,
        status: &'static str,
        /// `RIDER`, `DRIVER` or `SYSTEM`.
        by: &'static str,
        reason: String,
        at_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// Nothing happened for a while; older cursors may be too old one day.
    Cursor {
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// A message was not understood or not taken.
    Error { code: &'static str, detail: String },
}

impl Down {
    /// What a driver is told, by `node` at `now`.
    pub(super) fn of(now: WallMs, node: NodeId, driver: DriverId, told: Told) -> Self {
        let cursor = told.place.map(|place| cursors::of_driver(now, &place));
        match told.news {
            News::Hello { afresh } => {
                let (driver_id, node) = (driver.to_string(), node.to_string());
                Self::Hello { driver_id, node, afresh, cursor }
            }
            News::Offer(offer) => {
                let offer = Box::new(OfferView::at(now, &offer));
                Self::Offer { offer, cursor }
            }
            News::Next { offer, accepted } => {
                let offer = Box::new(OfferView::at(now, &offer));
                Self::NextOffer { offer, accepted, cursor }
            }
            News::OfferEnded { offer, booking, why } => Self::OfferEnded {
                offer_id: offer.to_string(),
                booking_id: booking.to_string(),
                reason: reason(why),
                cursor,
            },
            News::Trip { trip, booking, step } => Self::Trip {
                trip_id: trip.to_string(),
                booking_id: booking.to_string(),
                sequence: step.sequence,
                from: step.from.map(trip_status),
                status: trip_status(step.to),
                by: actor(step.by),
                reason: step.reason,
                at_ms: step.at.0,
                cursor,
            },
            News::Still => Self::Cursor { cursor },
        }
    }
}

const fn reason(why: Why) -> &'static str {
    match why {
        Why::Filled => "FILLED_BY_ANOTHER_DRIVER",
        Why::Expired => "EXPIRED",
        Why::Declined => "DECLINED",
        Why::Cancelled => "CANCELLED",
        Why::Withdrawn => "WITHDRAWN",
    }
}

/// The name of how an offer ended, as its booking's stream says it.
pub(super) const fn offer_end(how: OfferEnd) -> &'static str {
    match how {
        OfferEnd::Expired => "EXPIRED",
        OfferEnd::Declined => "DECLINED",
        OfferEnd::Taken => "TAKEN",
        OfferEnd::Done => "DONE",
    }
}
