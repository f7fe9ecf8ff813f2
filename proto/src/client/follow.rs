//! A booking, followed to its end, from node to node.

use super::call::Request;
use super::carrier::{Answered, Stream};
use super::failure::{Failure, Problem, Unreadable};
use super::views::{Position, Story};
use super::{Client, Verdict, read};
use crate::ids::BookingId;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::time::Duration;
use tokio::time::timeout;

/// A node on which nothing is heard for so long is left for another: one that lives says something
/// every ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// The pause before a stream is opened again that ended with nothing said: the node has too many, or
/// its reader was too slow for it.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest event that is read, in bytes: a booking with 64 offers and its trip have some 40 KB.
const EVENT_MAX: usize = 1 << 20;

/// Something that a followed booking's stream says.
#[derive(Debug, Clone, PartialEq)]
pub struct RideNews {
    /// Where to go on after it, also in another process.
    pub cursor: String,
    /// What.
    pub said: Said,
}

/// What a stream says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The booking is so, or something happened to it.
    Booking(Box<Story>),
    /// Its trip moved.
    Trip(Box<Story>),
    /// Where the driver is.
    Position(Position),
    /// The booking has ended; nothing more comes.
    End(Box<Story>),
    /// The same, and the booking that [`Story::booking_id`] names goes on for it.
    Replaced(Box<Story>),
    /// Something newer than this client.
    Unknown,
}

/// A booking that is followed; see [`Client::follow`].
#[derive(Debug)]
pub struct Follow {
    client: Client,
    booking: BookingId,
    cursor: Option<String>,
    open: Option<Stream>,
    /// What came and is no whole event yet.
    text: Vec<u8>,
    /// Nothing was said since the stream was opened.
    silent: bool,
    ended: bool,
}

impl Client {
    /// Follows a booking: everything that happens to it and to its trip, once and in order, and where
    /// its driver is. Begins with how things are, or after the cursor of what was heard last. Nothing
    /// is asked before [`Follow::next`].
    pub fn follow(&self, booking: BookingId, cursor: Option<String>) -> Follow {
        let client = self.clone();
        let text = Vec::new();
        Follow { client, booking, cursor, open: None, text, silent: false, ended: false }
    }

    /// Opens a stream at some node.
    async fn open(&self, request: &Request) -> Result<Stream, Failure> {
        let opened = |answered: &mut Answered| match answered.stream.take() {
            Some(stream) => (Problem::default(), Verdict::Settled(Ok(stream))),
            None => {
                let (problem, verdict) = read::<IgnoredAny>(answered);
                let verdict = match verdict {
                    Verdict::Settled(Err(failure)) => Verdict::Settled(Err(failure)),
                    Verdict::Settled(Ok(_)) => Verdict::Settled(Err(Unreadable {
                        status: answered.status,
                        detail: "it is no stream of events".to_owned(),
                    }
                    .into())),
                    Verdict::Again { first_ms, asked_ms, why } => {
                        Verdict::Again { first_ms, asked_ms, why }
                    }
                };
                (problem, verdict)
            }
        };
        self.persist(request, &mut (), opened).await
    }
}

impl Follow {
    /// What comes next; nothing after the end. Where a node fails, another is asked to go on: nothing
    /// is missed and nothing said twice. If none does for as long as the client's patience lasts,
    /// that is the error, and asking again goes on.
    pub async fn next(&mut self) -> Result<Option<RideNews>, Failure> {
        while !self.ended {
            if let Some(news) = self.take_event()? {
                (self.cursor, self.silent) = (Some(news.cursor.clone()), false);
                self.ended = matches!(news.said, Said::End(_) | Said::Replaced(_));
                return Ok(Some(news));
            }
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    self.text.clear();
                    if std::mem::replace(&mut self.silent, true) {
                        tokio::time::sleep(PAUSE).await;
                    }
                    let request = self.request();
                    self.open.insert(self.client.open(&request).await?)
                }
            };
            match timeout(SILENCE_MAX, open.next()).await {
                Ok(Ok(Some(piece))) if self.text.len() + piece.len() <= EVENT_MAX => {
                    self.text.extend_from_slice(&piece);
                }
                // It ended, broke, is silent, or says too much: another goes on with it.
                Ok(Ok(Some(_) | None) | Err(_)) | Err(_) => self.open = None,
            }
        }
        Ok(None)
    }

    /// Where it goes on.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn request(&self) -> Request {
        let cursor = self.cursor.as_deref().map(|cursor| format!("?cursor={cursor}"));
        let path = format!("/v1/bookings/{}/stream{}", self.booking, cursor.unwrap_or_default());
        let request = Request::follow(path).of(self.booking.slot());
        Request { key: self.client.new_key(), ..request }
    }

    /// The first whole event of what came.
    fn take_event(&mut self) -> Result<Option<RideNews>, Failure> {
        while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            if let Some(news) = event_of(&String::from_utf8_lossy(&event))? {
                return Ok(Some(news));
            }
        }
        Ok(None)
    }
}

/// Reads an event; nothing if it is a comment.
fn event_of(text: &str) -> Result<Option<RideNews>, Failure> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let (Some(name), Some(cursor)) = (field("event"), field("id")) else { return Ok(None) };
    let data = field("data").unwrap_or_default();
    let said = match name {
        "booking" => Said::Booking(parsed(data)?),
        "trip" => Said::Trip(parsed(data)?),
        "position" => Said::Position(parsed(data)?),
        "end" => Said::End(parsed(data)?),
        "replaced" => Said::Replaced(parsed(data)?),
        _ => Said::Unknown,
    };
    Ok(Some(RideNews { cursor: cursor.to_owned(), said }))
}

fn parsed<T: DeserializeOwned>(data: &str) -> Result<T, Failure> {
    serde_json::from_str(data)
        .map_err(|error| Unreadable { status: 200, detail: error.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Config;
    use crate::ids::DriverId;
    use crate::slot::Slot;
    use crate::units::{Clock, MonoMs, WallMs};
    use axum::Router;
    use axum::http::{StatusCode, Uri};
    use axum::response::IntoResponse;
    use std::sync::{Arc, Mutex};
    use tokio::net::TcpListener;

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn mono(&self) -> MonoMs {
            MonoMs(0)
        }
        fn wall(&self) -> WallMs {
            WallMs(0)
        }
    }

    /// A node that answers as a function of how often it was asked says; notes the queries.
    async fn node<R: IntoResponse>(
        answer: impl Fn(usize) -> R + Clone + Send + Sync + 'static,
    ) -> (String, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let queries = Arc::clone(&asked);
        let router = Router::new().fallback(move |uri: Uri| {
            let (answer, asked) = (answer.clone(), Arc::clone(&asked));
            async move {
                let members = uri.path() == "/v1/cluster";
                if members {
                    return StatusCode::NOT_FOUND.into_response();
                }
                let count = {
                    let mut asked = asked.lock().unwrap();
                    asked.push(uri.query().unwrap_or("").to_owned());
                    asked.len()
                };
                answer(count).into_response()
            }
        });
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(door, router).await });
        (address, queries)
    }

    fn event(name: &str, id: u64, data: &str) -> String {
        format!("event: {name}\nid: {id}.0\ndata: {data}\n\n")
    }

    #[tokio::test]
    async fn a_stream_that_breaks_goes_on_where_it_was_and_ends_once() {
        let booking = BookingId::mint(Slot(1), WallMs(1), 2);
        let driver = DriverId::from_raw(3);
        let at =
            format!(r#"{{"driver_id":"{driver}","lat":1.5,"lng":2.0,"seen_at_ms":7,"eta_sec":9}}"#);
        let (address, queries) = node(move |asked| match asked {
            // It breaks in the middle of an event.
            1 => {
                let whole = event("booking", 4, r#"{"what":"SNAPSHOT"}"#);
                (StatusCode::OK, format!(":following\n\n{whole}event: trip\nid: 5.0\nda"))
            }
            2 => (StatusCode::SERVICE_UNAVAILABLE, r#"{"code":"RETRY"}"#.to_owned()),
            3 => {
                let moved = event("trip", 5, r#"{"what":"MOVED","to":"DRIVER_ASSIGNED"}"#);
                let end = event("end", 6, r#"{"what":"END"}"#);
                (StatusCode::OK, moved + &event("position", 5, &at) + &event("rain", 5, "") + &end)
            }
            _ => (StatusCode::NOT_FOUND, r#"{"code":"BOOKING_NOT_FOUND"}"#.to_owned()),
        })
        .await;
        let client = Client::new(Config::new(vec![address], 7), Arc::new(Still)).unwrap();
        let mut follow = client.follow(booking, None);
        let mut told = Vec::new();
        while let Some(news) = follow.next().await.unwrap() {
            told.push(match news.said {
                Said::Booking(story) | Said::Trip(story) | Said::End(story) => {
                    story.what.unwrap_or_default()
                }
                Said::Position(position) => format!("{} s", position.eta_sec),
                Said::Replaced(_) => panic!("nothing replaces it"),
                Said::Unknown => "?".to_owned(),
            });
        }
        assert_eq!(told, ["SNAPSHOT", "MOVED", "9 s", "?", "END"]);
        assert_eq!(*queries.lock().unwrap(), ["", "cursor=4.0", "cursor=4.0"]);
        assert_eq!(follow.next().await.unwrap(), None);
        assert_eq!(follow.cursor(), Some("6.0"));
        // A refusal is told as it is.
        let refused = client.follow(booking, Some("9.0".into())).next().await.unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{refused}");
    }
}
