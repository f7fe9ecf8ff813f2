//! One gateway's connection, from HELLO to its end.

use super::desk::{Desk, refusal};
use super::places::{Place, Places};
use crate::auth::Identity;
use crate::http::{self, App, Asker};
use crate::net::BoxStream;
use proto::code::Refusal;
use proto::edge::{
    self, BadFrame, CONNECTION, Frame, HELLO_MAX, Hello, Intake, Kind, Refused, Welcome,
};
use proto::{Code, NodeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a client may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// How many frames a client should leave unanswered: of 64 pings each, as many as half a million
/// pings a second fill in 30 ms. One that leaves more is read more slowly, nothing else.
const UNANSWERED_MAX: u32 = 256;
/// How often it is looked whether the token is still good and this node still serves, at most.
const CHECK_EVERY_MS: u64 = 1_000;
/// Answers are written when there are so many bytes of them, also while frames are still there.
const ANSWERS_MAX: usize = 64 << 10;
/// How long answers may take to get into the connection.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How long a client that was refused may take to hear it, so that what it still sends does not make
/// the operating system throw the refusal away.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The other side has gone, or does not listen.
    Gone,
    /// This side closes it.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BadFrame> for End {
    fn from(bad: BadFrame) -> Self {
        Self::Refused(Refusal::new(bad.code(), bad.to_string()))
    }
}

struct Connection {
    stream: BoxStream,
    from: SocketAddr,
    intake: Intake,
}

/// A client that was let in.
pub(super) struct Guest {
    connection: Connection,
    asker: Asker,
    _place: Place,
}

/// Hears who somebody is, and lets him in or turns him away. The error names the outcome.
pub(super) async fn enter(
    stream: BoxStream,
    from: SocketAddr,
    app: &App,
    places: &Arc<Places>,
) -> Result<Guest, &'static str> {
    let mut connection = Connection { stream, from, intake: Intake::up_to(HELLO_MAX) };
    match connection.welcome(app, places).await {
        Ok((asker, place)) => Ok(Guest { connection, asker, _place: place }),
        Err(End::Gone) => Err("GONE"),
        Err(End::Refused(refusal)) => {
            connection.turn_away(&refusal).await;
            Err(refusal.code.as_str())
        }
    }
}

impl Guest {
    /// Serves him until his end.
    pub(super) async fn stay(mut self, app: &App) {
        self.connection.intake.widen();
        let mut desk = Desk::new(app, self.asker);
        if let Err(End::Refused(refusal)) = self.connection.converse(&mut desk).await {
            self.connection.turn_away(&refusal).await;
        }
    }
}

impl Connection {
    /// Waits for HELLO and answers it.
    async fn welcome(&mut self, app: &App, places: &Arc<Places>) -> Result<(Asker, Place), End> {
        let late =
            || Refusal::new(Code::BadRequest, format!("no HELLO within {HELLO_WITHIN:?}")).into();
        let (number, asker) =
            timeout(HELLO_WITHIN, self.hello(app)).await.unwrap_or_else(|_| Err(late()))?;
        let place = places.take(asker.identity)?;
        let mut answer = Vec::new();
        welcome(app.node, asker.identity).put(number, &mut answer);
        self.write(&mut answer).await?;
        Ok((asker, place))
    }

    async fn hello(&mut self, app: &App) -> Result<(u32, Asker), End> {
        loop {
            if let Some(frame) = self.intake.take()? {
                return Ok((frame.number, admit(app, &frame)?));
            }
            self.read().await?;
        }
    }

    async fn converse(&mut self, desk: &mut Desk) -> Result<(), End> {
        let idle_ms = desk.app.limits.edge_idle_ms;
        let mut now = desk.app.clock.mono();
        let (mut heard, mut checked) = (now, now);
        loop {
            // Before more is read: frames may have come together with HELLO.
            if self.answer(desk).await? {
                heard = now;
            } else if now.since(heard) >= idle_ms {
                let detail = format!("no frame was taken for {idle_ms} ms");
                return Err(Refusal::new(Code::BadRequest, detail).into());
            }
            let reading = timeout(Duration::from_millis(CHECK_EVERY_MS), self.read()).await;
            if let Ok(read) = reading {
                read?;
            }
            now = desk.app.clock.mono();
            if now.since(checked) >= CHECK_EVERY_MS {
                desk.check()?;
                checked = now;
            }
        }
    }

    /// Answers all whole frames that came. Whether one was taken: a refusal is no sign of life.
    async fn answer(&mut self, desk: &mut Desk) -> Result<bool, End> {
        let now = desk.app.clock.wall();
        let mut any = false;
        loop {
            let end = match self.intake.take() {
                Ok(Some(frame)) => {
                    any |= desk.take(&frame, now).await;
                    None
                }
                Ok(None) => Some(Ok(any)),
                Err(bad) => Some(Err(bad.into())),
            };
            if end.is_some() {
                // What came before is answered, whatever comes after.
                desk.settle().await;
            }
            if desk.answers.len() >= ANSWERS_MAX || end.is_some() {
                self.write(&mut desk.answers).await?;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn read(&mut self) -> Result<(), End> {
        match self.stream.read(self.intake.room()).await {
            Ok(0) | Err(_) => Err(End::Gone),
            Ok(bytes) => {
                self.intake.filled(bytes);
                Ok(())
            }
        }
    }

    /// Writes bytes and forgets them.
    async fn write(&mut self, bytes: &mut Vec<u8>) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_WITHIN, self.stream.write_all(bytes)).await;
        bytes.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Says why this is the end, and gives the other side time to read it.
    async fn turn_away(&mut self, refusal: &Refusal) {
        let Refusal { code, detail, .. } = refusal;
        tracing::debug!(from = %self.from, %code, detail, "edge client refused");
        let mut last = Vec::new();
        Refused::of(refusal).put(CONNECTION, &mut last);
        let _ = timeout(LINGER, async {
            if self.write(&mut last).await.is_ok() && self.stream.shutdown().await.is_ok() {
                let mut ignored = [0; 4_096];
                while matches!(self.stream.read(&mut ignored).await, Ok(1..)) {}
            }
        })
        .await;
    }
}

fn welcome(node: NodeId, identity: Identity) -> Welcome {
    let pings_max = match identity {
        Identity::Believed | Identity::Gateway | Identity::Operator => {
            u32::try_from(edge::PINGS_MAX).unwrap_or(u32::MAX)
        }
        Identity::Driver(_) | Identity::Rider(_) => http::PINGS_MAX,
    };
    Welcome { node, pings_max, unanswered_max: UNANSWERED_MAX }
}

/// Who says HELLO.
fn admit(app: &App, frame: &Frame<'_>) -> Result<Asker, Refusal> {
    if frame.kind().map_err(refusal)? != Kind::Hello {
        return Err(Refusal::new(Code::BadRequest, "the first frame is HELLO"));
    }
    let Hello { version, token } = Hello::get(frame.body).map_err(refusal)?;
    if version == 0 {
        return Err(Refusal::new(Code::BadPeer, "there is no version 0"));
    }
    app.facts.serves().map_err(|why| Refusal::new(Code::NotReady, why))?;
    let token = (!token.is_empty()).then_some(token);
    http::asker(app, token).map_err(|problem| problem.refusal)
}
