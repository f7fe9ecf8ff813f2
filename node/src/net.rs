//! The network as a trait: connect and listen. Production plugs TCP in, the simulation its own
//! streams; nothing else in this crate names a socket type.

use futures_util::future::BoxFuture;
use membership::Datagrams;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A stream of whatever kind the network gives.
pub type BoxStream = Box<dyn Stream>;

/// Where streams come from.
pub trait Net: Send + Sync + fmt::Debug + 'static {
    /// Opens a stream to an address.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>>;
    /// Listens on an address; port 0 takes any free one.
    fn bind(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;
    /// Binds an address for datagrams.
    fn datagrams(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>>;
}

/// Where others' streams arrive.
pub trait Listener: Send + 'static {
    /// The next stream and who opened it.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>>;
    /// The address that was bound.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// TCP and UDP by way of the operating system, without Nagle's delay.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Net for Tcp {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
    fn bind(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = tokio::net::TcpListener::bind(at).await?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
    fn datagrams(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(
            async move { Ok(Box::new(membership::Udp::bind(at).await?) as Box<dyn Datagrams>) },
        )
    }
}

/// The same from an address of this host: peers see a node come from where they know it, also where
/// the host has several.
#[derive(Debug, Clone, Copy)]
pub struct TcpFrom(pub SocketAddr);

impl Net for TcpFrom {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>> {
        let TcpFrom(mut from) = *self;
        from.set_port(0);
        // From loopback there is no way to elsewhere, nor back.
        if from.ip().is_loopback() != to.ip().is_loopback() || from.is_ipv4() != to.is_ipv4() {
            return Tcp.connect(to);
        }
        Box::pin(async move {
            let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.bind(from)?;
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
    fn bind(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Tcp.bind(at)
    }
    fn datagrams(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Tcp.datagrams(at)
    }
}

/// Datagrams of whatever kind the network gives.
pub(crate) struct AnyDatagrams(pub(crate) Box<dyn Datagrams>);

impl Datagrams for AnyDatagrams {
    fn send_to<'a>(&'a self, datagram: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        self.0.send_to(datagram, to)
    }
    fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        self.0.recv_from(buffer)
    }
}

impl Listener for tokio::net::TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = tokio::net::TcpListener::accept(self).await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as BoxStream, from))
        })
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        tokio::net::TcpListener::local_addr(self)
    }
}
