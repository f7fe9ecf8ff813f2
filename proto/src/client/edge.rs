//! The connection of an edge gateway: positions up and who is near down, in the frames of
//! [`crate::edge`].
//!
//! [`EdgeClient`] asks one thing at a time. Split in two it sends without waiting for answers, as
//! many frames as the node allows, which is how a gateway passes on the positions of many drivers.
//! Connections are not mended: on any error but [`EdgeError::Refused`] of one frame, connect again,
//! here or to another node, and send the newest positions.
//!
//! ```no_run
//! use proto::client::edge::{EdgeClient, EdgeError};
//! use proto::record::cell::Ping;
//!
//! async fn pass_on(pings: &[Ping]) -> Result<u32, EdgeError> {
//!     let mut edge = EdgeClient::connect("10.0.0.1:7201", None).await?;
//!     Ok(edge.pings(pings).await?.applied)
//! }
//! ```

use crate::edge::{
    self, BadBody, BadFrame, CONNECTION, Found, Hello, Intake, Kind, Near, Pinged, Refused,
    VERSION, Welcome,
};
use crate::record::cell::{Ping, PingCounts};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::timeout;

/// How long it may take to connect and be welcomed.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one answer may take. A node waits for an owner for a second, and for several of them one
/// after the other if many frames are before this one.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Queued frames are written when there are so many bytes of them.
const QUEUE_BYTES: usize = 64 << 10;
/// The most frames that are ever unanswered, whatever a node allows.
const UNANSWERED_MAX: u32 = 65_536;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The connection was not made, or broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The node refused this frame, or the connection.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What came is no frame.
    #[error(transparent)]
    BadFrame(#[from] BadFrame),
    /// What came is a frame that makes no sense.
    #[error(transparent)]
    BadBody(#[from] BadBody),
    /// The node closed the connection.
    #[error("the node closed the connection")]
    Closed,
    /// The node did not answer in time.
    #[error("the node did not answer in time")]
    Timeout,
    /// More pings or frames at once than the node takes; nothing was sent.
    #[error("{0} at once are more than the node takes")]
    TooMany(usize),
}

/// What a node answers to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To pings: how they fared.
    Pinged(PingCounts),
    /// To a look around: who is near.
    Found(Found),
    /// No; nothing of that frame was done.
    Refused(Refused),
}

/// A connection that asks one thing at a time.
#[derive(Debug)]
pub struct EdgeClient {
    sender: EdgeSender,
    receiver: EdgeReceiver,
    welcome: Welcome,
}

impl EdgeClient {
    /// Connects to the edge port of a node, as the holder of a token where the cluster wants one.
    pub async fn connect(to: impl ToSocketAddrs, token: Option<&str>) -> Result<Self, EdgeError> {
        let connecting = timeout(CONNECT_WITHIN, Self::open(to, token.unwrap_or_default()));
        connecting.await.map_err(|_| EdgeError::Timeout)?
    }

    async fn open(to: impl ToSocketAddrs, token: &str) -> Result<Self, EdgeError> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut hello = Vec::new();
        Hello { version: u16::from(VERSION), token }.put(0, &mut hello);
        write.write_all(&hello).await?;
        let room = Arc::new(Semaphore::new(0));
        let mut receiver = EdgeReceiver { read, intake: Intake::default(), room };
        let welcome = receiver.welcome().await?;
        let unanswered_max = welcome.unanswered_max.clamp(1, UNANSWERED_MAX);
        receiver.room.add_permits(usize::try_from(unanswered_max).unwrap_or(1));
        let room = Arc::clone(&receiver.room);
        let pings_max = usize::try_from(welcome.pings_max).unwrap_or(0).min(edge::PINGS_MAX);
        let queue = Vec::new();
        let sender = EdgeSender { write, room, queue, next: 1, pings_max, unanswered_max };
        Ok(Self { sender, receiver, welcome })
    }

    /// What the node said when it took up the conversation.
    pub const fn welcome(&self) -> Welcome {
        self.welcome
    }
    /// The two ends, for many frames under way.
    pub fn split(self) -> (EdgeSender, EdgeReceiver) {
        (self.sender, self.receiver)
    }
    /// Reports positions, and waits until a search can find them.
    pub async fn pings(&mut self, pings: &[Ping]) -> Result<PingCounts, EdgeError> {
        let number = self.sender.send(pings).await?;
        match self.answer(number).await? {
            Answer::Pinged(counts) => Ok(counts),
            Answer::Found(_) => Err(BadBody::Kind(Kind::Found as u8).into()),
            Answer::Refused(refused) => Err(refused.into()),
        }
    }
    /// Looks around.
    pub async fn near(&mut self, near: &Near) -> Result<Found, EdgeError> {
        let number = self.sender.near(near).await?;
        match self.answer(number).await? {
            Answer::Found(found) => Ok(found),
            Answer::Pinged(_) => Err(BadBody::Kind(Kind::Pinged as u8).into()),
            Answer::Refused(refused) => Err(refused.into()),
        }
    }

    async fn answer(&mut self, number: u32) -> Result<Answer, EdgeError> {
        let answering = timeout(ANSWER_WITHIN, async {
            loop {
                let (of, answer) = self.receiver.next().await?;
                // Another number answers what was given up before.
                if of == number {
                    return Ok(answer);
                }
            }
        });
        answering.await.map_err(|_| EdgeError::Timeout)?
    }
}

/// The end of a connection that asks.
#[derive(Debug)]
pub struct EdgeSender {
    write: OwnedWriteHalf,
    /// One permit for each frame that may yet be sent; the receiver gives them back.
    room: Arc<Semaphore>,
    /// Frames that were not written yet.
    queue: Vec<u8>,
    next: u32,
    pings_max: usize,
    unanswered_max: u32,
}

impl EdgeSender {
    /// Sends positions and gives the frame's number. Waits while too many frames are unanswered, so
    /// somebody else must receive meanwhile.
    pub async fn send(&mut self, pings: &[Ping]) -> Result<u32, EdgeError> {
        let number = self.queue(pings).await?;
        self.flush().await?;
        Ok(number)
    }
    /// The same without writing at once: several frames leave together, with [`flush`](Self::flush)
    /// or when there are some 64 KiB.
    pub async fn queue(&mut self, pings: &[Ping]) -> Result<u32, EdgeError> {
        if pings.len() > self.pings_max {
            return Err(EdgeError::TooMany(pings.len()));
        }
        let number = self.number().await?;
        edge::put_pings(number, pings, &mut self.queue);
        if self.queue.len() >= QUEUE_BYTES {
            self.flush().await?;
        }
        Ok(number)
    }
    /// Asks who is near, and gives the frame's number.
    pub async fn near(&mut self, near: &Near) -> Result<u32, EdgeError> {
        let number = self.number().await?;
        near.put(number, &mut self.queue);
        self.flush().await?;
        Ok(number)
    }
    /// Sends `count` frames that were encoded before, under numbers of the caller's choice, in one
    /// write.
    pub async fn send_encoded(&mut self, frames: &[u8], count: u32) -> Result<(), EdgeError> {
        if count > self.unanswered_max {
            return Err(EdgeError::TooMany(usize::try_from(count).unwrap_or(usize::MAX)));
        }
        self.flush().await?;
        self.make_room(count).await?;
        Ok(self.write.write_all(frames).await?)
    }
    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<(), EdgeError> {
        if !self.queue.is_empty() {
            self.write.write_all(&self.queue).await?;
            self.queue.clear();
        }
        Ok(())
    }

    async fn number(&mut self) -> Result<u32, EdgeError> {
        self.make_room(1).await?;
        let number = self.next;
        self.next = match number.wrapping_add(1) {
            CONNECTION => 0,
            next => next,
        };
        Ok(number)
    }

    async fn make_room(&mut self, count: u32) -> Result<(), EdgeError> {
        match self.room.try_acquire_many(count) {
            Ok(permits) => {
                permits.forget();
                return Ok(());
            }
            Err(TryAcquireError::Closed) => return Err(EdgeError::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        // What is waited for may be the answers to the queued frames.
        self.flush().await?;
        self.room.acquire_many(count).await.map_err(|_| EdgeError::Closed)?.forget();
        Ok(())
    }
}

/// The end of a connection that hears the answers.
#[derive(Debug)]
pub struct EdgeReceiver {
    read: OwnedReadHalf,
    intake: Intake,
    room: Arc<Semaphore>,
}

impl EdgeReceiver {
    /// The next answer and the number of its frame; answers come in the order of the frames. Waits
    /// for as long as there is none. Nothing is lost if the wait is dropped.
    pub async fn next(&mut self) -> Result<(u32, Answer), EdgeError> {
        loop {
            if let Some(frame) = self.intake.take()? {
                let number = frame.number;
                let answer = match frame.kind()? {
                    Kind::Pinged => Answer::Pinged(Pinged::get(frame.body)?.0),
                    Kind::Found => Answer::Found(Found::get(frame.body)?),
                    Kind::Refused => Answer::Refused(Refused::get(frame.body)?),
                    Kind::Hello | Kind::Welcome | Kind::Pings | Kind::Near => {
                        return Err(BadBody::Kind(frame.kind_byte).into());
                    }
                };
                if let Answer::Refused(refused) = &answer
                    && number == CONNECTION
                {
                    return Err(refused.clone().into());
                }
                self.room.add_permits(1);
                return Ok((number, answer));
            }
            self.read().await?;
        }
    }

    async fn welcome(&mut self) -> Result<Welcome, EdgeError> {
        loop {
            if let Some(frame) = self.intake.take()? {
                return match frame.kind()? {
                    Kind::Welcome => Ok(Welcome::get(frame.body)?),
                    Kind::Refused => Err(Refused::get(frame.body)?.into()),
                    Kind::Hello | Kind::Pings | Kind::Pinged | Kind::Near | Kind::Found => {
                        Err(BadBody::Kind(frame.kind_byte).into())
                    }
                };
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), EdgeError> {
        match self.read.read(self.intake.room()).await? {
            0 => Err(EdgeError::Closed),
            bytes => {
                self.intake.filled(bytes);
                Ok(())
            }
        }
    }
}

impl Drop for EdgeReceiver {
    fn drop(&mut self) {
        // Whoever waits to send would wait for ever.
        self.room.close();
    }
}
