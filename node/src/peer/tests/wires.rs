//! A network of pipes within the process, and a clock that is moved by hand.

use crate::net::{BoxStream, Listener, Net};
use futures_util::future::BoxFuture;
use membership::Datagrams;
use proto::units::{Clock, MonoMs, WallMs};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Room for what two nodes have on the wire.
const PIPE_BYTES: usize = 64 << 10;

/// Streams by address; whoever does not listen refuses.
#[derive(Debug, Default)]
pub(super) struct Wires(Mutex<BTreeMap<SocketAddr, Port>>);

#[derive(Debug, Default)]
struct Port {
    dials: usize,
    swallows: bool,
    listener: Option<mpsc::Sender<BoxStream>>,
}

struct Plug {
    at: SocketAddr,
    streams: mpsc::Receiver<BoxStream>,
}

impl Wires {
    /// How often an address was dialled.
    pub(super) fn dials(&self, at: SocketAddr) -> usize {
        self.0.lock().unwrap().get(&at).map_or(0, |port| port.dials)
    }
    /// Answers no dial there until somebody listens.
    pub(super) fn swallow(&self, at: SocketAddr) {
        self.0.lock().unwrap().entry(at).or_default().swallows = true;
    }
}

impl Net for Wires {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            let (swallows, listener) = {
                let mut ports = self.0.lock().unwrap();
                let port = ports.entry(to).or_default();
                port.dials += 1;
                (port.swallows, port.listener.clone())
            };
            if swallows {
                std::future::pending::<()>().await;
            }
            let refused = || io::Error::from(ErrorKind::ConnectionRefused);
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let listener = listener.ok_or_else(refused)?;
            listener.send(Box::new(far)).await.map_err(|_| refused())?;
            Ok(Box::new(near) as BoxStream)
        })
    }
    fn bind(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, streams) = mpsc::channel(16);
            let mut ports = self.0.lock().unwrap();
            let port = ports.entry(at).or_default();
            (port.swallows, port.listener) = (false, Some(sender));
            Ok(Box::new(Plug { at, streams }) as Box<dyn Listener>)
        })
    }
    fn datagrams(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async { Err(ErrorKind::Unsupported.into()) })
    }
}

impl Listener for Plug {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async {
            let stream = self.streams.recv().await.ok_or(ErrorKind::NotConnected)?;
            Ok((stream, self.at))
        })
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

/// Time stands still until it is told.
#[derive(Debug, Default)]
pub(super) struct Hand(AtomicU64);

impl Hand {
    pub(super) fn forward_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn mono(&self) -> MonoMs {
        MonoMs(self.0.load(Ordering::Relaxed))
    }
    fn wall(&self) -> WallMs {
        WallMs(self.0.load(Ordering::Relaxed))
    }
}
