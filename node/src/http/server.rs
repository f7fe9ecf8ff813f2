//! Connections of clients: how many, and for how long they may say nothing.

use crate::net::{self, BoxStream};
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// A connection on which a client says nothing for so long is closed, be it idle, half-open or
/// dribbling a header. Phones on a WebSocket ping every second.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// The pause after the operating system refused to accept, for want of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts at most so many connections at once; the others wait in the operating system's queue.
pub(crate) struct Door {
    listener: Box<dyn net::Listener>,
    permits: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(listener: Box<dyn net::Listener>, connections_max: usize) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(connections_max)) }
    }
}

impl Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                std::future::pending().await // nobody closes the semaphore
            };
            match self.listener.accept().await {
                Ok((stream, from)) => return (Guest::new(stream, permit), from),
                Err(error) => {
                    tracing::warn!(%error, "client connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One client's connection.
pub(crate) struct Guest {
    stream: BoxStream,
    patience: Pin<Box<Sleep>>,
    /// Whether the time of silence runs anew with the next read.
    heard: bool,
    _permit: OwnedSemaphorePermit,
}

impl Guest {
    fn new(stream: BoxStream, permit: OwnedSemaphorePermit) -> Self {
        Self { stream, patience: Box::pin(sleep(SILENCE_MAX)), heard: false, _permit: permit }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.heard = true;
            return Poll::Ready(result);
        }
        if std::mem::take(&mut self.heard) {
            self.patience.set(sleep(SILENCE_MAX));
        }
        ready!(self.patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
