//! turmoil's sockets behind the node's network.

use futures_util::future::BoxFuture;
use membership::Datagrams;
use node::net::{BoxStream, Listener, Net};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

/// The network of the host that uses it.
#[derive(Debug)]
pub(crate) struct Simulated;

/// turmoil binds unspecified addresses only: a host has one interface.
fn here(at: SocketAddr) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, at.port()).into()
}

impl Net for Simulated {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(to).await?) as BoxStream) })
    }
    fn bind(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            Ok(Box::new(Doorstep(TcpListener::bind(here(at)).await?)) as Box<dyn Listener>)
        })
    }
    fn datagrams(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            Ok(Box::new(Letterbox(UdpSocket::bind(here(at)).await?)) as Box<dyn Datagrams>)
        })
    }
}

struct Doorstep(TcpListener);

impl Listener for Doorstep {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(stream) as BoxStream, from))
        })
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Letterbox(UdpSocket);

impl Datagrams for Letterbox {
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
