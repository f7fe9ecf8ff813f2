//! Datagrams in and out, as a trait, so that the same gossip runs over UDP, over a simulated
//! network and in a test's memory.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// A boxed future, as traits that are used as objects need.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A bound socket that carries datagrams. Whoever starts a member binds it, at the address that
/// others know the member by.
pub trait Datagrams: Send + Sync + 'static {
    /// Sends one datagram. It may be lost; an error is counted, not retried.
    fn send_to<'a>(&'a self, datagram: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>>;

    /// Waits for a datagram and writes it into `buffer`; says how long it is and who sent it.
    /// Dropping the future loses no datagram.
    fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>>;
}

/// Datagrams over UDP.
#[derive(Debug)]
pub struct Udp(tokio::net::UdpSocket);

impl Udp {
    /// Binds a UDP socket.
    pub async fn bind(at: SocketAddr) -> io::Result<Self> {
        tokio::net::UdpSocket::bind(at).await.map(Self)
    }

    /// Where it is bound; tells the port if it was bound to port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Datagrams for Udp {
    fn send_to<'a>(&'a self, datagram: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.0.send_to(datagram, to).await.map(drop) })
    }

    fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(self.0.recv_from(buffer))
    }
}
