//! A driver's WebSocket, on any node: pings up, offers and trip changes down.
//!
//! The socket tells the driver's shell where it is (Attach): when it opens, again every few
//! seconds, and whenever the cluster changes, for a shell that moved or started anew has forgotten
//! it. The answer is what is before the driver, so a phone that comes back misses nothing; what
//! this socket has shown already is not shown twice.

use super::App;
use super::answer::Reply;
use super::call::{Call, Id};
use super::problem::Problem;
use super::requests::Fix;
use super::views::Down;
use crate::sockets::Connection;
use actors::runtime::world::Context;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::IntoResponse;
use proto::code::{Code, Refusal};
use proto::record::ask::{Attach, Push, Session};
use proto::{DriverId, WallMs};
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// The largest message a phone may send, in bytes: a batch of a hundred pings.
const MESSAGE_MAX: usize = 16 << 10;
/// The most pings in one message.
const PINGS_MAX: usize = 100;
/// How often the driver's shell is told where the socket is.
const ATTACH_EVERY: Duration = Duration::from_secs(5);
/// How soon after a refused Attach it is tried again, where that may help.
const ATTACH_AGAIN: Duration = Duration::from_millis(500);
/// After a change of the cluster, sockets attach within this time, each after a random part of it,
/// so that a node that is back does not meet all phones at once.
const SPREAD_MS: u64 = 200;
/// How long a message may take to get into the phone's connection. A phone that takes longer is
/// gone, or will be better off with a new connection.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// So many bad messages in a row, and the socket is closed: a broken client, not a slip.
const BAD_MAX: u32 = 16;
/// How many pushes a socket remembers having shown: a driver has one offer and one trip at a time.
const SHOWN_MAX: usize = 32;

/// What a phone says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Up {
    Ping(Fix),
    Pings { pings: Vec<Fix> },
}

type Attaching = JoinHandle<Result<Vec<Push>, Refusal>>;

/// Why a socket is closed by this side.
enum End {
    Gone,
    Closed(u16, &'static str),
}

pub(super) async fn open(
    State(app): State<App>,
    call: Call,
    Id(driver): Id<DriverId>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Reply {
    let upgrade = upgrade.map_err(|error| Problem::bad("WebSocket", error.body_text()))?;
    let connection = app.sockets.open();
    let epoch = app.clock.wall().0;
    let session = Session { epoch, node: app.node, connection: connection.number };
    let context = call.context();
    // An unknown driver is refused before the upgrade, where a client sees the problem; one whose
    // partition is down is not: his socket waits for it.
    let attach = app.router.served(Attach { driver, session }, context).await;
    let before = match attach.result {
        Ok(before) => Some(before),
        Err(refusal) if refusal.code.retryable() => None,
        Err(refusal) => {
            return Err(Problem { refusal, served: Some((attach.by, attach.hops)) });
        }
    };
    let held = Held { app, driver, session, context, connection, shown: VecDeque::new(), bad: 0 };
    let response = upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| held.talk(socket, before));
    Ok(response.into_response())
}

/// One open socket.
struct Held {
    app: App,
    driver: DriverId,
    session: Session,
    context: Context,
    connection: Connection,
    /// The last pushes that were sent.
    shown: VecDeque<Push>,
    bad: u32,
}

impl Held {
    async fn talk(mut self, mut socket: WebSocket, before: Option<Vec<Push>>) {
        if let Err(End::Closed(code, reason)) = self.converse(&mut socket, before).await {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = timeout(SEND_WITHIN, socket.send(Message::Close(Some(frame)))).await;
        }
    }

    async fn converse(
        &mut self,
        socket: &mut WebSocket,
        before: Option<Vec<Push>>,
    ) -> Result<(), End> {
        send(socket, &Down::hello(self.driver, self.app.node)).await?;
        let mut views = self.app.membership.watch();
        let mut every = interval(ATTACH_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every.tick().await; // the first is at once
        let mut attaching: Option<Attaching> = match before {
            Some(before) => {
                self.show_unseen(socket, before).await?;
                None
            }
            None => Some(self.attach_after(ATTACH_AGAIN)),
        };
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
                    // Also finds out whether the phone is still there.
                    let beat = socket.send(Message::Ping(Default::default()));
                    timeout(SEND_WITHIN, beat).await.map_err(|_| End::Gone)?.map_err(|_| End::Gone)?;
                    attaching.get_or_insert_with(|| self.attach_after(Duration::ZERO));
                }
                Ok(()) = views.changed() => {
                    let spread = Duration::from_millis(self.app.mint.random() % SPREAD_MS);
                    if let Some(running) = attaching.replace(self.attach_after(spread)) {
                        running.abort();
                    }
                }
                answer = settled(&mut attaching) => {
                    attaching = None;
                    match answer {
                        Some(Ok(before)) => self.show_unseen(socket, before).await?,
                        Some(Err(refusal)) if !refusal.code.retryable() => {
                            tell(socket, &refusal).await?;
                            return Err(End::Closed(close_code::POLICY, "the driver cannot attach"));
                        }
                        Some(Err(_)) | None => attaching = Some(self.attach_after(ATTACH_AGAIN)),
                    }
                }
            }
        }
    }

    /// Tells the shell where this socket is, after a pause, without keeping the socket waiting.
    fn attach_after(&self, pause: Duration) -> Attaching {
        let (app, driver, session) = (self.app.clone(), self.driver, self.session);
        let context = self.context;
        tokio::spawn(async move {
            sleep(pause).await;
            app.router.served(Attach { driver, session }, context).await.result
        })
    }

    async fn show_unseen(&mut self, socket: &mut WebSocket, pushes: Vec<Push>) -> Result<(), End> {
        for push in pushes {
            if !self.shown.contains(&push) {
                self.show(socket, push).await?;
            }
        }
        Ok(())
    }

    async fn show(&mut self, socket: &mut WebSocket, push: Push) -> Result<(), End> {
        send(socket, &Down::push(self.app.clock.wall(), &push)).await?;
        if self.shown.len() == SHOWN_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back(push);
        Ok(())
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

/// The answer of the Attach that runs; never, if none does.
async fn settled(attaching: &mut Option<Attaching>) -> Option<Result<Vec<Push>, Refusal>> {
    match attaching {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
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
