//! Where clients reach the nodes. A seat is a place in the cluster that some node holds. A node
//! that is replaced by another, at other addresses, leaves its seat to it, and clients find the new
//! one there, as behind a load balancer.

use proto::client::Seeds;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// The addresses of all seats. Cheap to clone; all clones see a move.
#[derive(Debug, Clone)]
pub struct Doors(Arc<RwLock<Vec<SocketAddr>>>);

impl Doors {
    /// One door a seat, in order.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Arc::new(RwLock::new(addresses)))
    }

    /// How many seats there are.
    pub fn seats(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Where to knock.
    pub fn at(&self, seat: usize) -> SocketAddr {
        self.0.read().unwrap_or_else(PoisonError::into_inner)[seat]
    }

    /// The seat behind an address, as a client knows it.
    pub fn seat_of(&self, address: &str) -> Option<usize> {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        doors.iter().position(|door| door.to_string() == address)
    }

    /// Another node has the seat.
    pub fn moved(&self, seat: usize, to: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[seat] = to;
    }
}

/// One of the doors, for whoever wants to ask this very node.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Doors, pub(crate) usize);

impl Seeds for Door {
    fn addresses(&self) -> Vec<String> {
        vec![self.0.at(self.1).to_string()]
    }
}

impl Seeds for Doors {
    fn addresses(&self) -> Vec<String> {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        doors.iter().map(SocketAddr::to_string).collect()
    }
}
