//! A rider's stream of server-sent events: what happens to his booking and its trip, and where the
//! driver is, on any node.
//!
//! The `id` of an event is a place in the log of the booking's partition, which all nodes share. A
//! client that comes back with it, as `Last-Event-ID` or `?cursor=`, to any node, is told what
//! happened since, nothing twice and nothing left out. Without one, or with one that is beyond the
//! log, the stream begins with how things are. Events older than a day are gone from the log, and
//! are not told to who comes back after that; the state that comes with the newest is whole.

use super::App;
use super::answer::Reply;
use super::api;
use super::call::{Asked, Call, Id};
use super::cursors::Cursor;
use super::problem::Problem;
use super::pushes::offer_end;
use super::views::{BookingView, TripView, actor, trip_status};
use crate::follow::{Down, Records, STREAMS_MAX};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{StreamExt, stream};
use proto::code::{Code, Refusal};
use proto::record::ask::{GetBooking, Mark};
use proto::record::event::What;
use proto::{BookingId, WallMs};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::iter::empty;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use utoipa::{IntoParams, ToSchema};

/// A stream is closed after this time, and its client goes on with another. A client that only
/// listens can't be told from one that is gone, and connections on which nothing is heard are cut
/// after 75 s; this comes before, at the end of an event, and has tokens looked at again.
const LASTS: Duration = Duration::from_mins(1);
/// How often something is sent where nothing happens, so that middlemen keep the connection.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// The pause that a client is told to make before it comes back: with what it takes to find a
/// living node, well within two seconds.
const COME_BACK: Duration = Duration::from_millis(500);

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// The `id` of the last event that was seen, or the `cursor` of the last message, from whichever
    /// node; the header wins.
    cursor: Option<String>,
}

impl Since {
    /// The place that the client was told up to, and where it says so; an empty one is none: a
    /// browser that has seen nothing yet sends none, or that.
    pub(super) fn place(
        self,
        headers: &HeaderMap,
    ) -> Result<Option<(&'static str, String)>, Problem> {
        let place = match headers.get("last-event-id") {
            Some(id) => {
                let field = "header Last-Event-ID";
                let text = id.to_str().map_err(|_| Problem::bad(field, "is not text"))?;
                Some((field, text.to_owned()))
            }
            None => self.cursor.map(|text| ("cursor", text)),
        };
        Ok(place.filter(|(_, text)| !text.is_empty()))
    }
}

/// Where a browser goes on by itself.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its field is only described; the handler reads the header")]
pub(super) struct LastEvent {
    /// The `id` of the last event, or the `cursor` of the last message, that was seen.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}

/// The data of an event of the stream.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) struct StoryView {
    /// What happened: `SNAPSHOT` where the stream begins with how things are.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// The booking that goes on for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trip_id: Option<String>,
    /// How an offer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The state that a trip left.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'static str>,
    /// The state that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// How things are, with the newest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    booking: Option<BookingView>,
    /// The same of the trip, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    trip: Option<TripView>,
}

/// The data of an event `position`.
#[derive(Debug, Serialize)]
struct PositionView {
    driver_id: String,
    lat: f64,
    lng: f64,
    seen_at_ms: u64,
    eta_sec: u32,
}

/// Follows a booking to its end, as server-sent events. `booking` and `trip`: something happened to
/// it. `position`, once a second while a driver is on his way: where he is, and how many seconds
/// from the pickup or, after the start, the destination. `end`: nothing more will come. `replaced`:
/// the same, and the booking of `booking_id` goes on for this one, because its driver called off;
/// follow that. `REASSIGNED` says that the booking goes on with a better driver, who comes with the
/// trip of `trip_id`; the one before has ended. `PROMISED` says that a driver comes when the ride that he
/// is on has ended, and `LOOKS_ON` that he does not. A stream is closed after a minute, and when its rider opens a ninth at this node; come
/// back with the last `id`, to any node, and nothing is missed.
#[utoipa::path(
    get,
    path = "/v1/bookings/{id}/stream",
    tag = "bookings",
    params(("id" = String, Path), Since, LastEvent, api::ByRider),
    responses(
        (status = 200, description = "Events", body = StoryView, content_type = "text/event-stream"),
        api::FollowBooking,
    ),
)]
pub(super) async fn follow(
    State(app): State<App>,
    call: Call,
    Id(booking): Id<BookingId>,
    Asked(since): Asked<Since>,
    headers: HeaderMap,
) -> Reply {
    let after = match since.place(&headers)? {
        Some((field, text)) => {
            let cursor: Cursor = text.parse().map_err(|error| Problem::bad(field, error))?;
            Some(cursor.0)
        }
        None => None,
    };
    let served = app.router.served(GetBooking { booking }, call.context()).await;
    let problem = |refusal| Problem { refusal, served: Some((served.by, served.hops)) };
    let booking = served.result.map_err(problem)?;
    // Those who were only asked to drive may read the booking, and need not know where he is.
    call.identity().concerns(booking.rider, empty())?;
    let news = app.streams.of_booking(&booking, after).ok_or_else(|| {
        let detail = format!("{STREAMS_MAX} streams are open here, ask another node");
        Refusal::new(Code::Overloaded, detail)
    })?;
    let hello = Event::default().comment("following").retry(COME_BACK);
    let events = stream::unfold(news, |mut news: mpsc::Receiver<Down>| async move {
        Some((shown(news.recv().await?), news))
    });
    let events = stream::iter([hello]).chain(events).map(Ok::<_, Infallible>);
    let events = events.take_until(Box::pin(sleep(LASTS)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(BEAT_EVERY)).into_response())
}

/// An event as it is sent.
fn shown(down: Down) -> Event {
    let event = |name: &str, mark: Mark| Event::default().event(name).id(Cursor(mark).to_string());
    match down {
        Down::Afresh { mark, now } => {
            json(event("booking", mark), &StoryView::of("SNAPSHOT", Some(now)))
        }
        Down::End { mark, now } => json(event("end", mark), &StoryView::of("END", Some(now))),
        Down::Replaced { mark, by, now } => {
            let told = StoryView::of("REPLACED", Some(now));
            let told = StoryView { booking_id: Some(by.to_string()), ..told };
            json(event("replaced", mark), &told)
        }
        Down::Happened { happened, now } => {
            let trip = matches!(happened.what, What::TripMoved { .. });
            let name = if trip { "trip" } else { "booking" };
            json(event(name, happened.mark), &StoryView::happened(happened.at, &happened.what, now))
        }
        Down::Position { mark, fix, eta_s } => {
            let position = PositionView {
                driver_id: fix.driver.to_string(),
                lat: fix.point.lat(),
                lng: fix.point.lng(),
                seen_at_ms: fix.at.0,
                eta_sec: eta_s,
            };
            json(event("position", mark), &position)
        }
    }
}

/// JSON text has no line breaks, the one thing that an event's data may not have.
fn json(event: Event, data: &impl Serialize) -> Event {
    event.data(serde_json::to_string(data).unwrap_or_default())
}

impl StoryView {
    fn of(what: &'static str, now: Option<Box<Records>>) -> Self {
        let (booking, trip) = now.map(|now| *now).unzip();
        Self {
            what: Some(what),
            booking: booking.map(BookingView::from),
            trip: trip.flatten().map(TripView::from),
            ..Self::default()
        }
    }

    fn happened(at: WallMs, what: &What, now: Option<Box<Records>>) -> Self {
        let told = Self { at_ms: Some(at.0), ..Self::of(name(what), now) };
        match what {
            What::OfferMade { offer, driver, .. } => Self {
                offer_id: Some(offer.to_string()),
                driver_id: Some(driver.to_string()),
                ..told
            },
            What::OfferEnded { offer, how } => {
                Self { offer_id: Some(offer.to_string()), reason: Some(offer_end(*how)), ..told }
            }
            What::BookingAssigned { driver, trip } | What::BookingReassigned { driver, trip } => {
                Self {
                    driver_id: Some(driver.to_string()),
                    trip_id: Some(trip.to_string()),
                    ..told
                }
            }
            What::BookingPromised { driver, offer } | What::PromiseEnded { driver, offer } => {
                Self {
                    driver_id: Some(driver.to_string()),
                    offer_id: Some(offer.to_string()),
                    ..told
                }
            }
            What::BookingCancelled { by } => Self { by: Some(actor(*by)), ..told },
            What::TripMoved { from, to, by } => Self {
                from: from.map(trip_status),
                to: Some(trip_status(*to)),
                by: Some(actor(*by)),
                ..told
            },
            What::BookingReplaced { by } => Self { booking_id: Some(by.to_string()), ..told },
            What::Registered
            | What::Standing(_)
            | What::OfferPut { .. }
            | What::NextPut { .. }
            | What::NextEnded { .. }
            | What::BookingCreated
            | What::BookingExpired
            | What::BookingCompleted => told,
        }
    }
}

const fn name(what: &What) -> &'static str {
    match what {
        What::Registered => "REGISTERED",
        What::Standing(_) => "STANDING",
        What::BookingCreated => "CREATED",
        What::OfferMade { .. } => "OFFER_MADE",
        What::OfferEnded { .. } => "OFFER_ENDED",
        What::BookingAssigned { .. } => "ASSIGNED",
        What::BookingCancelled { .. } => "CANCELLED",
        What::BookingExpired => "EXPIRED",
        What::BookingCompleted => "COMPLETED",
        What::TripMoved { .. } => "MOVED",
        What::BookingReplaced { .. } => "REPLACED_BY",
        What::OfferPut { .. } => "OFFER_PUT",
        What::BookingReassigned { .. } => "REASSIGNED",
        What::NextPut { .. } => "NEXT_PUT",
        What::NextEnded { .. } => "NEXT_ENDED",
        What::BookingPromised { .. } => "PROMISED",
        What::PromiseEnded { .. } => "LOOKS_ON",
    }
}
