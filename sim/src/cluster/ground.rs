//! Where nodes live: which addresses they have, and how a program is started there. Loopback is
//! enough for most runs; whoever wants to cut links needs other ground.

use crate::ports;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a node lives.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where it listens for clients.
    pub(crate) http: SocketAddr,
    /// Where it listens for other nodes.
    pub(crate) peer: SocketAddr,
    /// Where others reach it, if that differs.
    pub(crate) advertised: Option<SocketAddr>,
    /// Where it listens for gateways, if it does.
    pub(crate) edge: SocketAddr,
    /// Its disk, if it is not a directory beside its log.
    pub(crate) data: Option<PathBuf>,
}

impl Place {
    /// Where other nodes reach it.
    pub(crate) fn reached(&self) -> SocketAddr {
        self.advertised.unwrap_or(self.peer)
    }
}

/// Gives nodes places.
pub(crate) trait Ground: Send + fmt::Debug {
    /// A place for a node that never was there and will hold this seat.
    fn settle(&mut self, id: usize, seat: usize) -> io::Result<Place>;
    /// A node has gone for good.
    fn leave(&mut self, id: usize);
    /// Runs a program as this node. Its process is the program's own.
    fn command(&self, id: usize, program: &Path) -> Command;
}

/// Free ports of 127.0.0.1.
#[derive(Debug, Default)]
pub(crate) struct Loopback {
    /// Every address that was ever given away, so that none has two owners.
    taken: Vec<SocketAddr>,
}

impl Loopback {
    fn port(&mut self) -> io::Result<SocketAddr> {
        let address = ports::free(&self.taken)?;
        self.taken.push(address);
        Ok(address)
    }
}

impl Ground for Loopback {
    fn settle(&mut self, _id: usize, _seat: usize) -> io::Result<Place> {
        let (http, peer, edge) = (self.port()?, self.port()?, self.port()?);
        Ok(Place { http, peer, advertised: None, edge, data: None })
    }

    fn leave(&mut self, _id: usize) {}

    fn command(&self, _id: usize, program: &Path) -> Command {
        Command::new(program)
    }
}
