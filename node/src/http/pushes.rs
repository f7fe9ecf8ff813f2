//! The JSON that goes down a driver's socket.

use super::views::{OfferView, trip_status};
use proto::record::ask::Push;
use proto::record::driver::OfferEnd;
use proto::{DriverId, NodeId, WallMs};
use serde::Serialize;

/// What goes down a driver's socket.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Down {
    Hello { driver_id: String, node: String },
    Offer(OfferView),
    OfferEnded { offer_id: String, reason: &'static str },
    Trip { trip_id: String, status: &'static str },
    Error { code: &'static str, detail: String },
}

impl Down {
    pub(super) fn hello(driver: DriverId, node: NodeId) -> Self {
        Self::Hello { driver_id: driver.to_string(), node: node.to_string() }
    }
    pub(super) fn push(now: WallMs, push: &Push) -> Self {
        match push {
            Push::Offer(offer) => Self::Offer(OfferView::at(now, offer)),
            Push::OfferEnded { offer, how } => {
                Self::OfferEnded { offer_id: offer.to_string(), reason: offer_end(*how) }
            }
            Push::Trip { trip, state } => {
                Self::Trip { trip_id: trip.to_string(), status: trip_status(*state) }
            }
        }
    }
}

/// The name of how an offer ended.
pub(super) const fn offer_end(how: OfferEnd) -> &'static str {
    match how {
        OfferEnd::Expired => "EXPIRED",
        OfferEnd::Declined => "DECLINED",
        OfferEnd::Taken => "TAKEN",
        OfferEnd::Done => "DONE",
    }
}
