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
use std::fmt;
use std::iter::empty;
use std::str::FromStr;
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
    /// The `id` of the last event that was seen, from whichever node; the header wins.
    cursor: Option<String>,
}

/// Where a browser goes on by itself.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its field is only described; the handler reads the header")]
pub(super) struct LastEvent {
    /// The `id` of the last event that was seen.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}

/// A place in the log as clients see it: `12.0`, or `12` for all of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor(Mark);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Mark { index, n: u32::MAX } => write!(f, "{index}"),
            Mark { index, n } => write!(f, "{index}.{n}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, n) = match text.split_once('.') {
            Some((index, n)) => (index, n.parse()?),
            None => (text, u32::MAX),
        };
        Ok(Self(Mark { index: index.parse()?, n }))
    }
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
/// from the pickup or, after the start, the destination. `end`: nothing more will come. A stream is
/// closed after a minute; come back with the last `id`, to any node, and nothing is missed.
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
    let after = after(&headers, since)?;
    let served = app.router.served(GetBooking { booking }, call.context()).await;
    let problem = |refusal| Problem { refusal, served: Some((served.by, served.hops)) };
    let booking = served.result.map_err(problem)?;
    // Those who were only asked to drive may read the booking, and need not know where he is.
    call.identity().concerns(booking.rider, empty())?;
    let news = app.streams.open(&booking, after).ok_or_else(|| {
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

/// The place that the client was told up to.
fn after(headers: &HeaderMap, since: Since) -> Result<Option<Mark>, Problem> {
    let (field, text) = match headers.get("last-event-id") {
        Some(id) => {
            let field = "header Last-Event-ID";
            let text = id.to_str().map_err(|_| Problem::bad(field, "is not text"))?;
            (field, text.to_owned())
        }
        None => match since.cursor {
            Some(text) => ("cursor", text),
            None => return Ok(None),
        },
    };
    // A browser that has seen no id yet sends none, and some an empty one.
    if text.is_empty() {
        return Ok(None);
    }
    let cursor: Cursor = text.parse().map_err(|error| Problem::bad(field, error))?;
    Ok(Some(cursor.0))
}

/// An event as it is sent.
fn shown(down: Down) -> Event {
    let event = |name: &str, mark: Mark| Event::default().event(name).id(Cursor(mark).to_string());
    match down {
        Down::Afresh { mark, now } => {
            json(event("booking", mark), &StoryView::of("SNAPSHOT", Some(now)))
        }
        Down::End { mark, now } => json(event("end", mark), &StoryView::of("END", Some(now))),
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
            What::BookingAssigned { driver, trip } => Self {
                driver_id: Some(driver.to_string()),
                trip_id: Some(trip.to_string()),
                ..told
            },
            What::BookingCancelled { by } => Self { by: Some(actor(*by)), ..told },
            What::TripMoved { from, to, by } => Self {
                from: from.map(trip_status),
                to: Some(trip_status(*to)),
                by: Some(actor(*by)),
                ..told
            },
            What::Registered
            | What::Standing(_)
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nonsense_is_none() {
        for (index, n) in [(0, 0), (12, 3), (7, u32::MAX), (u64::MAX, 1)] {
            let cursor = Cursor(Mark { index, n });
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "x", "1.", ".1", "1.2.3", "-1", "18446744073709551616"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
