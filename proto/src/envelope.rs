//! The one frame in which a request travels between nodes. A relay reads the header only; the
//! payload is a [`Request`](crate::record::ask::Request) that only the owner decodes.

use crate::code::{Code, Refusal};
use crate::ids::{DriverId, NodeId, RiderId};
use crate::slot::Slot;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The envelope layout this build speaks.
pub const VERSION: u8 = 1;
/// The largest payload that is sent or taken, in bytes. A frame is refused before it is written,
/// because an oversized one would cost the connection and every call on it.
pub const PAYLOAD_MAX: usize = 1 << 20;
/// The largest frame, payload and header, in bytes.
pub const FRAME_MAX: usize = PAYLOAD_MAX + 4096;
/// Two members may disagree about the ring for a gossip round; a third hop would only add latency.
pub const HOPS_MAX: u8 = 2;

/// What decides who owns a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Route {
    /// Durable state: the holder of the slot's group.
    Slot(Slot),
    /// Soft state: the ring's owner of a cell's ring key.
    Cell(u64),
    /// One node and no other, as for a connection it holds. Goes there at once, never by a relay.
    Node(NodeId),
}

/// For whom a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Nobody in particular.
    Anonymous,
    /// A rider.
    Rider(RiderId),
    /// A driver.
    Driver(DriverId),
    /// A node, for itself.
    Node(NodeId),
}

/// A request under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Layout version, [`VERSION`].
    pub version: u8,
    /// Whose it is.
    pub route: Route,
    /// How many nodes have forwarded it; at most [`HOPS_MAX`].
    pub hops: u8,
    /// How long the sender still waits, in milliseconds.
    pub deadline_ms: u32,
    /// One id for everything that one client request caused.
    pub trace: u128,
    /// For whom.
    pub subject: Subject,
    /// CRC-32C of the payload, checked where it is decoded.
    pub crc32c: u32,
    /// The request.
    pub payload: Bytes,
}

impl Envelope {
    /// Seals a payload with its checksum; refuses one that is too large.
    pub fn seal(
        route: Route,
        subject: Subject,
        trace: u128,
        deadline_ms: u32,
        payload: Bytes,
    ) -> Result<Self, Refusal> {
        check_size(&payload)?;
        let crc32c = crc32c::crc32c(&payload);
        Ok(Self { version: VERSION, route, hops: 0, deadline_ms, trace, subject, crc32c, payload })
    }
    /// The payload, if version, hops, size and checksum hold.
    pub fn open(&self) -> Result<&Bytes, Refusal> {
        if self.version != VERSION {
            let detail = format!("envelope version {}, this node speaks {VERSION}", self.version);
            return Err(Refusal::new(Code::BadPeer, detail));
        }
        if self.hops > HOPS_MAX {
            return Err(Refusal::new(Code::BadPeer, format!("{} hops", self.hops)));
        }
        check_size(&self.payload)?;
        check_sum(self.crc32c, &self.payload)
    }
}

/// What comes back: who served it, over how many hops, and the answer or the refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The node that served or refused it.
    pub served_by: NodeId,
    /// How many times it was forwarded.
    pub hops: u8,
    /// CRC-32C of the answer; zero for a refusal.
    pub crc32c: u32,
    /// The encoded answer, or why there is none.
    pub result: Result<Bytes, Refusal>,
}

impl Reply {
    /// A reply with its checksum. An answer that is too large becomes a refusal.
    pub fn seal(served_by: NodeId, hops: u8, result: Result<Bytes, Refusal>) -> Self {
        let result = result.and_then(|bytes| check_size(&bytes).map(|()| bytes));
        let crc32c = result.as_ref().map_or(0, |bytes| crc32c::crc32c(bytes));
        Self { served_by, hops, crc32c, result }
    }
    /// The answer, if its checksum holds.
    pub fn open(self) -> Result<Bytes, Refusal> {
        let bytes = self.result?;
        check_sum(self.crc32c, &bytes)?;
        Ok(bytes)
    }
}

fn check_size(payload: &Bytes) -> Result<(), Refusal> {
    if payload.len() > PAYLOAD_MAX {
        let detail = format!("{} bytes, at most {PAYLOAD_MAX} fit in a frame", payload.len());
        return Err(Refusal::new(Code::TooLarge, detail));
    }
    Ok(())
}

fn check_sum(stated: u32, payload: &Bytes) -> Result<&Bytes, Refusal> {
    if crc32c::crc32c(payload) == stated {
        Ok(payload)
    } else {
        Err(Refusal::new(Code::BadPeer, "payload checksum does not match"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Envelope {
        let payload = Bytes::from_static(b"accept");
        Envelope::seal(Route::Slot(Slot(1)), Subject::Anonymous, 7, 500, payload)
            .expect("small enough")
    }

    #[test]
    fn a_flipped_byte_is_refused_at_the_receiver() {
        let mut envelope = sealed();
        assert!(envelope.open().is_ok());
        envelope.payload = Bytes::from_static(b"accepu");
        assert_eq!(envelope.open().map_err(|r| r.code), Err(Code::BadPeer));
    }

    #[test]
    fn a_payload_too_large_is_refused_before_it_is_sent() {
        let payload = Bytes::from(vec![0; PAYLOAD_MAX + 1]);
        let sealed = Envelope::seal(Route::Cell(1), Subject::Anonymous, 7, 500, payload.clone());
        assert_eq!(sealed.map_err(|r| r.code), Err(Code::TooLarge));
        let reply = Reply::seal(NodeId(1), 0, Ok(payload));
        assert_eq!(reply.open().map_err(|r| r.code), Err(Code::TooLarge));
    }

    #[test]
    fn a_third_hop_is_refused() {
        let mut envelope = sealed();
        envelope.hops = HOPS_MAX + 1;
        assert_eq!(envelope.open().map_err(|r| r.code), Err(Code::BadPeer));
    }
}
