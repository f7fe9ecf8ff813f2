//! How a booking is dispatched, as it goes out: its offers, its attempts, and the whole story.

use crate::auth::Identity;
use actors::booking::attempts;
use proto::record::explain::{Asked, Considered, Dropped, Explanation, Fate, Searched};
use proto::record::{Attempt, AttemptError, AttemptStatus, Booking, Offer, OfferState};
use serde::Serialize;
use utoipa::ToSchema;

/// An offer as its booking sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeView {
    offer_id: String,
    /// Left out where it concerns neither who asks nor the driver who comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_id: Option<String>,
    attempt: u16,
    rank: u16,
    status: &'static str,
    distance_m: u32,
    eta_sec: u32,
    /// What the matcher ordered by: milliseconds of cost, less is better.
    score: i64,
    created_at_ms: u64,
    expires_at_ms: u64,
}

impl MadeView {
    /// All offers of a booking, as `asker` may see them.
    pub(super) fn all(booking: &Booking, asker: Identity) -> Vec<Self> {
        let made = |(offer, state): &(Offer, OfferState)| {
            let comes = matches!(
                state,
                OfferState::Accepted | OfferState::Reassigned { .. } | OfferState::Promised
            );
            let named = comes
                || match asker {
                    Identity::Believed | Identity::Gateway | Identity::Operator => true,
                    Identity::Driver(own) => own == offer.driver,
                    Identity::Rider(_) => false,
                };
            Self {
                offer_id: offer.id.to_string(),
                driver_id: named.then(|| offer.driver.to_string()),
                attempt: offer.attempt,
                rank: offer.rank,
                status: offer_status(*state),
                distance_m: offer.distance_m,
                eta_sec: offer.eta_s,
                score: offer.cost_ms,
                created_at_ms: offer.created_at.0,
                expires_at_ms: offer.created_at.plus_ms(offer.ttl_ms.into()).0,
            }
        };
        booking.offers.iter().map(made).collect()
    }
}

const fn offer_status(state: OfferState) -> &'static str {
    match state {
        OfferState::Pending => "PENDING",
        OfferState::Accepted => "ACCEPTED",
        OfferState::Declined => "DECLINED",
        OfferState::Expired => "EXPIRED",
        OfferState::Cancelled => "CANCELLED",
        OfferState::Reassigned { .. } => "REASSIGNED",
        OfferState::Promised => "PROMISED",
        OfferState::Lapsed { .. } => "LAPSED",
    }
}

/// One radius of a search, by one leader of the booking's partition.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AttemptView {
    attempt_number: u16,
    search_radius_m: u32,
    /// The most that one search brought.
    candidates_found: u16,
    offers_created: usize,
    offers_pending: usize,
    offers_declined: usize,
    /// `SEARCHING`, `OFFERS_SENT`, `EXPIRED`, `CANCELLED` or `ASSIGNED`.
    status: &'static str,
    started_at_ms: u64,
    completed_at_ms: Option<u64>,
    /// `NOBODY_FOUND`, `NOBODY_ACCEPTED` or `LEADER_CHANGED`.
    error_code: Option<&'static str>,
    /// Who decided, and knows more for a day.
    node: String,
    term: u64,
}

impl AttemptView {
    /// All attempts of a booking, oldest first.
    pub(in crate::http) fn all(booking: &Booking) -> Vec<Self> {
        booking.attempts.iter().map(|attempt| Self::of(booking, attempt)).collect()
    }

    fn of(booking: &Booking, attempt: &Attempt) -> Self {
        let count = |wanted: Option<OfferState>| {
            let offers = attempts::offers(booking, attempt);
            offers.filter(|(_, state)| wanted.is_none_or(|wanted| wanted == *state)).count()
        };
        Self {
            attempt_number: attempt.number,
            search_radius_m: attempt.radius_m,
            candidates_found: attempt.candidates_found,
            offers_created: count(None),
            offers_pending: count(Some(OfferState::Pending)),
            offers_declined: count(Some(OfferState::Declined)),
            status: match attempt.status {
                AttemptStatus::Searching => "SEARCHING",
                AttemptStatus::OffersSent => "OFFERS_SENT",
                AttemptStatus::Expired => "EXPIRED",
                AttemptStatus::Cancelled => "CANCELLED",
                AttemptStatus::Assigned => "ASSIGNED",
            },
            started_at_ms: attempt.started_at.0,
            completed_at_ms: attempt.ended_at.map(|at| at.0),
            error_code: attempt.error.map(|error| match error {
                AttemptError::NobodyFound => "NOBODY_FOUND",
                AttemptError::NobodyAccepted => "NOBODY_ACCEPTED",
                AttemptError::LeaderChanged => "LEADER_CHANGED",
            }),
            node: attempt.node.to_string(),
            term: attempt.term,
        }
    }
}

/// An owner of cells that was asked.
#[derive(Debug, Serialize, ToSchema)]
struct AskedView {
    node: String,
    /// Ring keys of its cells within the circle.
    cells: Vec<String>,
    hops: u8,
    /// How many candidates it named; nothing if it did not answer in time.
    candidates: Option<u16>,
}

impl From<Asked> for AskedView {
    fn from(asked: Asked) -> Self {
        let Asked { node, ring_keys, hops, found } = asked;
        let cells = ring_keys.into_iter().map(|key| format!("{key:x}")).collect();
        Self { node: node.to_string(), cells, hops, candidates: found }
    }
}

/// A driver who could be offered the booking.
#[derive(Debug, Serialize, ToSchema)]
struct ConsideredView {
    driver_id: String,
    rank: u16,
    distance_m: u32,
    eta_sec: u32,
    cost_ms: i64,
    /// He came free after the search.
    woken: bool,
    /// `NOT_ASKED`, `ASKED`, `GRANTED`, `LOST`, `BUSY` or `SILENT`.
    claim: &'static str,
    /// Who won the claim, or whom he was busy with, where that is known.
    other_booking_id: Option<String>,
    offer_id: Option<String>,
}

impl From<Considered> for ConsideredView {
    fn from(considered: Considered) -> Self {
        let Considered { driver, rank, distance_m, eta_s, cost_ms, woken, fate, offer } =
            considered;
        let (claim, other) = match fate {
            Fate::NotAsked => ("NOT_ASKED", None),
            Fate::Asked => ("ASKED", None),
            Fate::Granted => ("GRANTED", None),
            Fate::Lost(to) => ("LOST", to),
            Fate::Busy(with) => ("BUSY", with),
            Fate::Silent => ("SILENT", None),
        };
        Self {
            driver_id: driver.to_string(),
            rank,
            distance_m,
            eta_sec: eta_s,
            cost_ms,
            woken,
            claim,
            other_booking_id: other.map(|booking| booking.to_string()),
            offer_id: offer.map(|offer| offer.to_string()),
        }
    }
}

/// A driver who was seen and could not be offered it.
#[derive(Debug, Serialize, ToSchema)]
struct DroppedView {
    driver_id: String,
    /// `UNKNOWN`, `OFFLINE`, `BUSY`, `STALE`, `VEHICLE`, `CAPABILITY`, `SEATS`, `TOO_FAR`,
    /// `OFFERED_BEFORE`, `SILENT` or `PICKUP_CAP`: the first that applied.
    filter: &'static str,
    distance_m: u32,
}

/// One search.
#[derive(Debug, Serialize, ToSchema)]
struct SearchView {
    attempt_number: u16,
    search_radius_m: u32,
    /// How old the booking was.
    age_ms: u32,
    /// Other bookings that waited there.
    waiting: u32,
    /// Some owner did not answer in time.
    partial: bool,
    asked: Vec<AskedView>,
    /// Best first; those who came free later stand at the end.
    considered: Vec<ConsideredView>,
    /// Nearest first, at most 32.
    dropped: Vec<DroppedView>,
    more_dropped: bool,
}

impl From<Searched> for SearchView {
    fn from(searched: Searched) -> Self {
        let dropped = |dropped: Dropped| DroppedView {
            driver_id: dropped.driver.to_string(),
            filter: dropped.filter.as_str(),
            distance_m: dropped.distance_m,
        };
        Self {
            attempt_number: searched.attempt,
            search_radius_m: searched.radius_m,
            age_ms: searched.age_ms,
            waiting: searched.waiting,
            partial: searched.partial,
            asked: searched.asked.into_iter().map(Into::into).collect(),
            considered: searched.considered.into_iter().map(Into::into).collect(),
            dropped: searched.dropped.into_iter().map(dropped).collect(),
            more_dropped: searched.more_dropped,
        }
    }
}

/// What one node knows, of one term in which it decided.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct StoryView {
    node: String,
    term: u64,
    /// It still looks for a driver.
    under_way: bool,
    /// Older searches that it remembers no more.
    searches_forgotten: u32,
    searches: Vec<SearchView>,
}

impl From<Explanation> for StoryView {
    fn from(story: Explanation) -> Self {
        Self {
            node: story.node.to_string(),
            term: story.term,
            under_way: story.under_way,
            searches_forgotten: story.forgotten,
            searches: story.searches.into_iter().map(Into::into).collect(),
        }
    }
}
