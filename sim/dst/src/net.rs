//! turmoil's sockets behind the node's network. turmoil delivers every datagram of a healthy link
//! once, so loss and duplication are made here.

use crate::dice::Dice;
use futures_util::future::BoxFuture;
use membership::Datagrams;
use node::net::{BoxStream, Listener, Net};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

/// Of a hundred datagrams that a machine sends so many are lost, and as many come twice; machines
/// that are not named send well.
#[derive(Debug, Clone, Default)]
pub struct Air(Arc<Mutex<BTreeMap<usize, u32>>>);

impl Air {
    fn poor(&self) -> MutexGuard<'_, BTreeMap<usize, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Sets how a machine sends; 0 is well.
    pub fn set(&self, machine: usize, percent: u32) {
        self.poor().insert(machine, percent);
    }
    fn of(&self, machine: usize) -> u32 {
        self.poor().get(&machine).copied().unwrap_or(0)
    }
}

/// The network of the host that uses it.
#[derive(Debug)]
pub struct Simulated {
    /// Which machine it is.
    pub machine: usize,
    /// How well machines send.
    pub air: Air,
    /// What chance this start of the machine has.
    pub chance: u64,
}

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
            let socket = UdpSocket::bind(here(at)).await?;
            let dice = Mutex::new(Dice::of(self.chance, "air"));
            let (machine, air) = (self.machine, self.air.clone());
            Ok(Box::new(Letterbox { socket, machine, air, dice }) as Box<dyn Datagrams>)
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

struct Letterbox {
    socket: UdpSocket,
    machine: usize,
    air: Air,
    dice: Mutex<Dice>,
}

impl Letterbox {
    /// How often a datagram arrives.
    fn copies(&self) -> usize {
        let poor = self.air.of(self.machine);
        if poor == 0 {
            return 1;
        }
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        if dice.percent(poor) { 0 } else { 1 + usize::from(dice.percent(poor)) }
    }
}

impl Datagrams for Letterbox {
    fn send_to<'a>(&'a self, datagram: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            for _ in 0..self.copies() {
                self.socket.send_to(datagram, to).await?;
            }
            Ok(())
        })
    }
    fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(self.socket.recv_from(buffer))
    }
}
