//! A driver's WebSocket, on any node: pings up, offers and trip changes down.
//!
//! When it opens, the driver's partition is told where he is reached (Attach), and answers what is
//! before him, so a phone that comes back misses nothing. [`crate::sessions`] says it again from
//! then on; what this socket has shown already is not shown twice.

use super::App;
use super::answer::Reply;
use super::api;
use super::call::{Call, Id};
use super::problem::Problem;
use super::pushes::Down;
use super::requests::Fix;
use crate::sockets::Connection;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::IntoResponse;
use proto::code::{Code, Refusal};
use proto::record::ask::{Attach, Push};
use proto::{DriverId, OfferId, WallMs};
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The largest message a phone may send, in bytes: a batch of a hundred pings.
const MESSAGE_MAX: usize = 16 << 10;
/// The buffer a socket reads into, in bytes: some twenty pings. The library's own choice, 128 KiB,
/// is half a gigabyte for 4,000 phones.
const READ_BUFFER: usize = 4 << 10;
/// The most pings in one message.
const PINGS_MAX: usize = 100;
/// How often it is found out whether the phone is still there.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How long a message may take to get into the phone's connection. A phone that takes longer is
/// gone, or will be better off with a new connection.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// So many bad messages in a row, and the socket is closed: a broken client, not a slip.
const BAD_MAX: u32 = 16;
/// How many offers a socket remembers having shown: a driver has one at a time.
const SHOWN_MAX: usize = 32;

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
#[utoipa::path(
    get,
    path = "/v1/drivers/{id}/stream",
    tag = "drivers",
    params(("id" = String, Path), api::ByDriver),
    responses((status = 101, description = "The socket is open"), api::Stream),
)]
pub(super) async fn open(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Reply {
    call.identity().owns_driver(driver)?;
    let upgrade = upgrade.map_err(|error| Problem::bad("WebSocket", error.body_text()))?;
    let connection = app.sockets.open(driver, app.node, app.clock.wall());
    let session = connection.session;
    let context = call.context();
    // An unknown driver is refused before the upgrade, where a client sees the problem; one whose
    // partition is down is not: his socket waits for it, and is made known to it when it is back.
    let attach = app.router.served(Attach { driver, session }, context).await;
    let before = match attach.result {
        Ok(before) => before,
        Err(refusal) if refusal.code.retryable() => Vec::new(),
        Err(refusal) => {
            return Err(Problem { refusal, served: Some((attach.by, attach.hops)) });
        }
    };
    let held = Held { app, driver, connection, shown: VecDeque::new(), bad: 0 };
    let response = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| held.talk(socket, before));
    Ok(response.into_response())
}

/// One open socket.
struct Held {
    app: App,
    driver: DriverId,
    connection: Connection,
    /// The last offers that were shown.
    shown: VecDeque<OfferId>,
    bad: u32,
}

impl Held {
    async fn talk(mut self, mut socket: WebSocket, before: Vec<Push>) {
        if let Err(End::Closed(code, reason)) = self.converse(&mut socket, before).await {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = timeout(SEND_WITHIN, socket.send(Message::Close(Some(frame)))).await;
        }
    }

    async fn converse(&mut self, socket: &mut WebSocket, before: Vec<Push>) -> Result<(), End> {
        send(socket, &Down::hello(self.driver, self.app.node)).await?;
        for push in before {
            self.show(socket, push).await?;
        }
        let mut every = interval(BEAT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every.tick().await; // the first is at once
        loop {
            tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(message)) => self.hear(socket, message).await?,
                    Some(Err(_)) | None => return Err(End::Gone),
                },
                push = self.connection.queue.recv() => match push {
                    Some(push) => self.show(socket, push).await?,
                    None => return Err(End::Gone),
                },
                _ = every.tick() => {
                    let beat = socket.send(Message::Ping(Default::default()));
                    timeout(SEND_WITHIN, beat).await.map_err(|_| End::Gone)?.map_err(|_| End::Gone)?;
                }
            }
        }
    }

    /// Shows the phone something; an offer that it was shown before is not shown again.
    async fn show(&mut self, socket: &mut WebSocket, push: Push) -> Result<(), End> {
        if let Push::Offer(offer) = &push {
            if self.shown.contains(&offer.id) {
                return Ok(());
            }
            if self.shown.len() == SHOWN_MAX {
                self.shown.pop_front();
            }
            self.shown.push_back(offer.id);
        }
        send(socket, &Down::push(self.app.clock.wall(), &push)).await
    }

    async fn hear(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), End> {
        let refused = match message {
            Message::Text(text) => self.take(&text, self.app.clock.wall()),
            Message::Binary(_) => Err(Refusal::new(Code::BadRequest, "messages are JSON text")),
            Message::Ping(_) | Message::Pong(_) => return Ok(()), // answered underneath
            Message::Close(_) => return Err(End::Gone),
        };
        match refused {
            Ok(()) => self.bad = 0,
            Err(refusal) => {
                self.bad += 1;
                tell(socket, &refusal).await?;
                if self.bad >= BAD_MAX {
                    return Err(End::Closed(close_code::POLICY, "too many bad messages"));
                }
            }
        }
        Ok(())
    }

    fn take(&self, text: &str, now: WallMs) -> Result<(), Refusal> {
        let up: Up = serde_json::from_str(text)
            .map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
        let fixes = match up {
            Up::Ping(fix) => vec![fix],
            Up::Pings { pings } => pings,
        };
        if fixes.len() > PINGS_MAX {
            let detail = format!("{} pings, a message takes {PINGS_MAX}", fixes.len());
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        for fix in fixes {
            let ping = fix.check(self.driver, now).map_err(|problem| problem.refusal)?;
            self.app.pings.take(ping);
        }
        Ok(())
    }
}

async fn tell(socket: &mut WebSocket, refusal: &Refusal) -> Result<(), End> {
    let (code, detail) = (refusal.code.as_str(), refusal.detail.clone());
    send(socket, &Down::Error { code, detail }).await
}

async fn send(socket: &mut WebSocket, down: &Down) -> Result<(), End> {
    let text = serde_json::to_string(down).map_err(|_| End::Gone)?;
    match timeout(SEND_WITHIN, socket.send(Message::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
