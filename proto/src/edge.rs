//! The binary protocol of edge gateways: positions up, who is near down, on one TCP connection with
//! many frames under way. A phone's WebSocket takes the same frame of pings as a binary message.
//!
//! # A frame
//!
//! All numbers are little endian. A frame is a header of 16 bytes and a body:
//!
//! | bytes | holds |
//! |---|---|
//! | 0..4 | length of the body, u32, at most [`BODY_MAX`] |
//! | 4 | version, u8: 1 |
//! | 5 | kind, u8, see below |
//! | 6..8 | reserved: 0, not looked at |
//! | 8..12 | number, u32: chosen by who asks, repeated by the answer; [`CONNECTION`] is nobody's |
//! | 12..16 | CRC-32C of bytes 0..12 and the body, u32 |
//!
//! | kind | name | from | answered by | body |
//! |---|---|---|---|---|
//! | 1 | HELLO | client | WELCOME | [`Hello`] |
//! | 2 | WELCOME | node | | [`Welcome`] |
//! | 3 | PINGS | client | PINGED | up to [`PINGS_MAX`] pings of 28 bytes, see [`crate::pings`] |
//! | 4 | PINGED | node | | [`Pinged`] |
//! | 5 | NEAR | client | FOUND | [`Near`] |
//! | 6 | FOUND | node | | [`Found`] |
//! | 7 | REFUSED | node | | [`Refused`] |
//!
//! # A conversation
//!
//! The client says HELLO, at once: it has two seconds, and a quarter of one while many others have
//! not said it either. It waits for WELCOME, and may send frames meanwhile. From then on it sends
//! PINGS and NEAR frames without waiting, as many unanswered as WELCOME allows, and must read what
//! comes: a node stops reading from a client that does not. Each is answered once, in order, by its kind of
//! answer or by REFUSED with its number, after which the connection goes on and nothing of that
//! frame was done. PINGED comes when the pings are in the index:
//! a search that begins then finds them, of drivers whose standing is known there. A driver who is new
//! to a node is found a moment later, when his partition has said how he stands.
//!
//! REFUSED with the number [`CONNECTION`] is about the connection, which is closed after it: a frame
//! failed its checksum, is too long, is of another version; a token is not good or has run out.
//! Frames before it were applied, that frame and all after it were not. So is a connection of which
//! no frame was taken for a minute: one that was refused is no sign of life, PINGS without any is.
//!
//! Whose token may do what:
//!
//! | role | |
//! |---|---|
//! | gateway, operator | everything, for any driver |
//! | driver | his own pings, a hundred to a frame; 20 a second and 400 at once, over all his connections. Two connections, and all drivers together have half of a node's |
//! | rider | nothing: FORBIDDEN |
//!
//! A node that has as many connections as it takes answers HELLO by REFUSED, OVERLOADED, with the
//! time after which to try again; another node may have room.
//!
//! Nothing is repeated by either side. A client whose connection broke sends the newest positions it
//! has on the next one; of a driver's pings the newest wins, whichever way it came.
//!
//! # Not done
//! * No TLS, as on the other ports: a token goes in the clear, so the network must be private or a
//!   proxy stand in front.

mod bodies;
mod fields;
mod intake;

pub use bodies::{Found, HELLO_MAX, Hello, Near, Pinged, Refused, Spotted, Welcome};
pub use intake::Intake;

use crate::code::Code;
use crate::pings::{self, BadPing, PING_BYTES};
use crate::record::cell::Ping;
use crate::units::OutOfRange;

/// The frame layout this build speaks.
pub const VERSION: u8 = 1;
/// The bytes of a header.
pub const HEADER_BYTES: usize = 16;
/// The longest body, in bytes.
pub const BODY_MAX: usize = 256 << 10;
/// The most pings in one frame.
pub const PINGS_MAX: usize = 4_096;
/// The number of a frame that is about the connection.
pub const CONNECTION: u32 = u32::MAX;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A client opens the conversation.
    Hello = 1,
    /// The node takes it up.
    Welcome = 2,
    /// Positions.
    Pings = 3,
    /// How they fared.
    Pinged = 4,
    /// Who is near a point?
    Near = 5,
    /// These are.
    Found = 6,
    /// No.
    Refused = 7,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Hello,
        Self::Welcome,
        Self::Pings,
        Self::Pinged,
        Self::Near,
        Self::Found,
        Self::Refused,
    ];
}

/// A frame as it lies in a buffer. Its checksum held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it says it is; see [`Frame::kind`].
    pub kind_byte: u8,
    /// The asker's number for it.
    pub number: u32,
    /// What it says.
    pub body: &'a [u8],
}

/// Why the bytes of a connection are no frames. It can't go on: where the next one begins is not
/// known for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It is of another layout.
    #[error("frame version {0}, this side speaks {VERSION}")]
    Version(u8),
    /// It is longer than what is taken here.
    #[error("a body of {length} bytes, a frame takes {max} here")]
    TooLong {
        /// Its bytes.
        length: u32,
        /// Those of the longest that is taken.
        max: usize,
    },
    /// A bit of it is not as it was sent.
    #[error("a frame failed its checksum")]
    Checksum,
}

impl BadFrame {
    /// The code it is refused with.
    pub const fn code(self) -> Code {
        match self {
            Self::Version(_) | Self::Checksum => Code::BadPeer,
            Self::TooLong { .. } => Code::TooLarge,
        }
    }
}

/// Why a whole frame makes no sense. The connection can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Of no kind that is known, or of none that is expected here.
    #[error("frames of kind {0} are not taken here")]
    Kind(u8),
    /// Too short or too long for its kind.
    #[error("a body of {0} bytes does not fit its kind")]
    Length(usize),
    /// More pings than a frame takes.
    #[error("{0} pings, a frame takes {PINGS_MAX}")]
    TooMany(usize),
    /// About a place that is not on the globe.
    #[error(transparent)]
    Place(#[from] OutOfRange),
    /// A field has a value that means nothing, or bits that mean nothing yet.
    #[error("`{0}` has a value that means nothing")]
    Value(&'static str),
}

impl BadBody {
    /// The code it is refused with.
    pub const fn code(self) -> Code {
        match self {
            Self::Kind(_) | Self::Length(_) | Self::Value(_) => Code::BadRequest,
            Self::TooMany(_) => Code::TooLarge,
            Self::Place(_) => Code::BadCoordinate,
        }
    }
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes`; nothing if it is not all there. What can be refused is
    /// refused as soon as its header is there.
    pub fn first(bytes: &'a [u8]) -> Result<Option<Self>, BadFrame> {
        Self::first_within(bytes, BODY_MAX)
    }

    /// The same where bodies have at most `max` bytes.
    fn first_within(bytes: &'a [u8], max: usize) -> Result<Option<Self>, BadFrame> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, version, kind_byte, _, _, n0, n1, n2, n3, c0, c1, c2, c3] = *header;
        if version != VERSION {
            return Err(BadFrame::Version(version));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let body = match usize::try_from(length) {
            Ok(length) if length <= max => rest.get(..length),
            Ok(_) | Err(_) => return Err(BadFrame::TooLong { length, max }),
        };
        let Some(body) = body else { return Ok(None) };
        if checksum(header, body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(BadFrame::Checksum);
        }
        Ok(Some(Self { kind_byte, number: u32::from_le_bytes([n0, n1, n2, n3]), body }))
    }

    /// What it is.
    pub fn kind(&self) -> Result<Kind, BadBody> {
        let known = Kind::ALL.iter().find(|kind| **kind as u8 == self.kind_byte);
        known.copied().ok_or(BadBody::Kind(self.kind_byte))
    }
    /// Its bytes in all, header and body.
    pub const fn size(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
    /// The pings of a PINGS frame, each good or bad by itself.
    pub fn pings(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = Result<Ping, BadPing>> + use<'a>, BadBody> {
        if self.kind()? != Kind::Pings {
            return Err(BadBody::Kind(self.kind_byte));
        }
        if !self.body.len().is_multiple_of(PING_BYTES) {
            return Err(BadBody::Length(self.body.len()));
        }
        let pings = pings::each(self.body);
        match pings.len() {
            too_many if too_many > PINGS_MAX => Err(BadBody::TooMany(too_many)),
            _ => Ok(pings),
        }
    }
}

fn checksum(header: &[u8; HEADER_BYTES], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), body)
}

/// Appends a frame with what `body` appends.
///
/// # Panics
/// If that is more than [`BODY_MAX`]. No kind of body can be, so it is a bug.
pub fn put(kind: Kind, number: u32, to: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0; HEADER_BYTES]);
    body(to);
    let length = to.len() - start - HEADER_BYTES;
    assert!(length <= BODY_MAX, "a body of {length} bytes");
    let mut header = [0; HEADER_BYTES];
    // It fits: the assertion above is far below four bytes' worth.
    header[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    (header[4], header[5]) = (VERSION, kind as u8);
    header[8..12].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(&header, &to[start + HEADER_BYTES..]);
    header[12..].copy_from_slice(&sum.to_le_bytes());
    to[start..start + HEADER_BYTES].copy_from_slice(&header);
}

/// Appends a PINGS frame.
///
/// # Panics
/// If there are more than [`PINGS_MAX`].
pub fn put_pings(number: u32, some: &[Ping], to: &mut Vec<u8>) {
    assert!(some.len() <= PINGS_MAX, "{} pings in a frame", some.len());
    put(Kind::Pings, number, to, |to| {
        for ping in some {
            pings::put(ping, to);
        }
    });
}

#[cfg(test)]
mod tests;
