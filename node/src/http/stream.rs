//! A driver's WebSocket, on any node: pings up, offers and trip changes down.
//!
//! When it opens, the driver's partition is told where he is reached (Attach), so that offers are
//! pushed here; [`crate::sessions`] says it again from then on. What is shown, and in which order,
//! [`crate::follow`] says, which reads the log of his partition: so what a push did not bring is
//! shown all the same, and a phone that comes back with its last `cursor`, here or at another node,
//! is told what it missed.

mod binary;

use super::App;
use super::answer::Reply;
use super::api;
use super::call::{Asked, Call, Id};
use super::cursors;
use super::events::{LastEvent, Since};
use super::problem::Problem;
use super::pushes::Down;
use super::requests::Fix;
use crate::follow::{Line, SOCKETS_MAX, Told};
use crate::sockets::Connection;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use binary::{Answer, Unfit, made};
use proto::code::{Code, Refusal};
use proto::edge::Refused;
use proto::record::ask::Attach;
use proto::{DriverId, WallMs};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The largest message a phone may send, in bytes: a batch of a hundred pings.
const MESSAGE_MAX: usize = 16 << 10;
/// The buffer a socket reads into, in bytes: some twenty pings. The library's own choice, 128 KiB,
/// is half a gigabyte for 4,000 phones.
const READ_BUFFER: usize = 4 << 10;
/// How often it is found out whether the phone is still there, and its token still good.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Every so many beats, five minutes, the phone is told where it is, so that it does not come back
/// from far behind.
const BEATS_A_CURSOR: u32 = 60;
/// How long a message may take to get into the phone's connection. A phone that takes longer is
/// gone, or will be better off with a new connection.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// How long a phone has to read why its socket was closed.
const LINGER: Duration = Duration::from_secs(2);
/// So many bad messages in a row, and the socket is closed: a broken client, not a slip.
const BAD_MAX: u32 = 16;

/// What a phone says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Up {
    Ping(Fix),
    Pings { pings: Vec<Fix> },
}

/// Why a socket is closed by this side.
enum End {
    Gone,
    Closed(u16, &'static str),
}

/// A WebSocket: positions up, offers and trip changes down.
///
/// **Up**, JSON texts: `{"type":"ping","lat":..,"lng":..,"ts":..}`, or up to a hundred of them as
/// `{"type":"pings","pings":[..]}`; 20 a second, and 400 at once. Or, as a binary message, one PINGS
/// frame of the edge protocol (`proto::edge` has it byte by byte): up to a hundred pings of 28 bytes,
/// all this driver's, counted as the others are. It is answered by a binary message, a PINGED frame
/// once a search would see them, or REFUSED, and the next message is read after that; what is no
/// frame gets an `error`.
///
/// **Down**, JSON texts with a `type`, in this order and each once:
///
/// | type | when | fields |
/// |---|---|---|
/// | `hello` | first | `driver_id`, `node`, `afresh`: what follows is how things are, not what was missed |
/// | `offer` | one is put before him, at once | as in `GET /v1/drivers/{id}/offers` |
/// | `offer_ended` | it can't be answered any more, perhaps was never shown | `offer_id`, `booking_id`, `reason`: `FILLED_BY_ANOTHER_DRIVER`, `EXPIRED`, `DECLINED`, `CANCELLED` |
/// | `trip` | his trip moved, whoever moved it | `trip_id`, `booking_id`, `sequence` (from 1), `from`, `status`, `by`, `reason`, `at_ms` |
/// | `cursor` | every five minutes | |
/// | `error` | a message was not taken | `code`, `detail` |
///
/// Most come with a `cursor`. A phone that comes back, to any node, with the last as `?cursor=` (or
/// `Last-Event-ID`) is told all that it missed, in order, and goes on. With none, with one that is
/// not known, or is older than 20 hours, it begins afresh. The socket is closed with 1008 when the
/// token runs out or after 16 bad messages in a row, with 1013 when the phone reads too slowly or
/// opens a ninth socket at this node.
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/stream",
    tag = "drivers",
    params(("id" = String, Path), Since, LastEvent, api::ByDriver),
    responses((status = 101, description = "The socket is open"), api::Stream),
)]
pub(super) async fn open(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    Asked(since): Asked<Since>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let upgrade = upgrade.map_err(|error| Problem::bad("WebSocket", error.body_text()))?;
    let place = since.place(&headers)?;
    let after = place.and_then(|(_, text)| cursors::driver_after(app.clock.wall(), &text));
    let connection = app.sockets.open(driver, app.node, app.clock.wall());
    let session = connection.session;
    let context = call.context();
    // An unknown driver is refused before the upgrade, where a client sees the problem; one whose
    // partition is down is not: his socket waits for it, and is made known to it when it is back.
    let attach = app.router.served(Attach { driver, session }, context).await;
    if let Err(refusal) = attach.result
        && !refusal.code.retryable()
    {
        return Err(Problem { refusal, served: Some((attach.by, attach.hops)) });
    }
    // Only now: where pushes go is known, so that an offer's end comes here if its rider calls off
    // while the log is read.
    let line = app.streams.of_driver(driver, after).ok_or_else(|| {
        let detail = format!("{SOCKETS_MAX} sockets are open here, ask another node");
        Refusal::new(Code::Overloaded, detail)
    })?;
    let until = call.until();
    let held = Held { app, driver, connection, line, until, bad: 0 };
    let response = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| held.talk(socket));
    Ok(response.into_response())
}

/// One open socket.
struct Held {
    app: App,
    driver: DriverId,
    connection: Connection,
    line: Line,
    /// When its token runs out.
    until: Option<WallMs>,
    bad: u32,
}

impl Held {
    async fn talk(mut self, mut socket: WebSocket) {
        let ended = self.converse(&mut socket).await;
        // From here on he is at another door, or at none.
        drop(self);
        if let Err(End::Closed(code, reason)) = ended {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = timeout(SEND_WITHIN, socket.send(Message::Close(Some(frame)))).await;
            // What is closed before all of it was read is reset, and the reset overtakes the reason.
            let rest = async { while let Some(Ok(_)) = socket.recv().await {} };
            let _ = timeout(LINGER, rest).await;
        }
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let mut every = interval(BEAT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every.tick().await; // the first is at once
        let mut beats = 0;
        // What the last frame is answered with; until it is sent, no more is read.
        let mut answer: Option<Answer> = None;
        loop {
            tokio::select! {
                message = socket.recv(), if answer.is_none() => match message {
                    Some(Ok(message)) => answer = self.hear(socket, message).await?,
                    Some(Err(_)) | None => return Err(End::Gone),
                },
                frame = made(&mut answer) => {
                    answer = None;
                    send(socket, Message::binary(frame)).await?;
                }
                told = self.line.news.recv() => match told {
                    Some(told) => self.show(socket, told).await?,
                    None => {
                        return Err(End::Closed(close_code::AGAIN, "come back with the last cursor"));
                    }
                },
                push = self.connection.queue.recv() => match push {
                    Some(push) => {
                        self.line.pushed(push);
                        // Whoever pushed is answered when the next push is asked for: what this one
                        // says has been written then.
                        while let Ok(told) = self.line.news.try_recv() {
                            self.show(socket, told).await?;
                        }
                    }
                    None => return Err(End::Gone),
                },
                _ = every.tick() => {
                    beats += 1;
                    self.beat(socket, beats).await?;
                }
            }
        }
    }

    async fn beat(&self, socket: &mut WebSocket, beats: u32) -> Result<(), End> {
        if self.until.is_some_and(|until| until < self.app.clock.wall()) {
            return Err(End::Closed(close_code::POLICY, "the token has run out"));
        }
        if beats.is_multiple_of(BEATS_A_CURSOR) {
            self.line.still();
        }
        let beat = socket.send(Message::Ping(Default::default()));
        timeout(SEND_WITHIN, beat).await.map_err(|_| End::Gone)?.map_err(|_| End::Gone)
    }

    async fn show(&self, socket: &mut WebSocket, told: Told) -> Result<(), End> {
        let (now, node) = (self.app.clock.wall(), self.app.node);
        say(socket, &Down::of(now, node, self.driver, told)).await
    }

    /// Takes a message; gives what it is to be answered with, if that takes a while.
    async fn hear(
        &mut self,
        socket: &mut WebSocket,
        message: Message,
    ) -> Result<Option<Answer>, End> {
        let now = self.app.clock.wall();
        let taken: Result<Option<Answer>, Unfit> = match message {
            Message::Text(text) => {
                self.take(&text, now).map(|()| None).map_err(|refusal| (None, refusal))
            }
            Message::Binary(frame) => self.take_frame(&frame, now).map(Some),
            Message::Ping(_) | Message::Pong(_) => return Ok(None), // answered underneath
            Message::Close(_) => return Err(End::Gone),
        };
        match taken {
            Ok(answer) => {
                self.bad = 0;
                Ok(answer)
            }
            Err((number, refusal)) => {
                self.bad += 1;
                tell(socket, number, &refusal).await?;
                if self.bad >= BAD_MAX {
                    return Err(End::Closed(close_code::POLICY, "too many bad messages"));
                }
                Ok(None)
            }
        }
    }

    fn take(&self, text: &str, now: WallMs) -> Result<(), Refusal> {
        let up: Up = serde_json::from_str(text)
            .map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
        let fixes = match up {
            Up::Ping(fix) => vec![fix],
            Up::Pings { pings } => pings,
        };
        self.app.rates.admit_pings(self.driver, fixes.len())?;
        for fix in fixes {
            let ping = fix.check(self.driver, now).map_err(|problem| problem.refusal)?;
            self.app.pings.take(ping);
        }
        Ok(())
    }
}

/// Says why a message was not taken: in a frame, if it was one.
async fn tell(socket: &mut WebSocket, number: Option<u32>, refusal: &Refusal) -> Result<(), End> {
    match number {
        None => {
            let (code, detail) = (refusal.code.as_str(), refusal.detail.clone());
            say(socket, &Down::Error { code, detail }).await
        }
        Some(number) => {
            let mut frame = Vec::new();
            Refused::of(refusal).put(number, &mut frame);
            send(socket, Message::binary(frame)).await
        }
    }
}

async fn say(socket: &mut WebSocket, down: &Down) -> Result<(), End> {
    let text = serde_json::to_string(down).map_err(|_| End::Gone)?;
    send(socket, Message::text(text)).await
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND_WITHIN, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
