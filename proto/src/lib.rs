//! The words every other crate speaks: ids, units, error codes, records, the one codec and the
//! peer envelope. It depends on nothing of ours and reads no clock; only the client opens a socket.
//!
//! * [`ids`]: who and what. 128-bit ids carry the hash slot that owns them, so any node routes
//!   from the id alone.
//! * [`slot`]: the frozen hash, hash slots and the groups (partitions) that hold them.
//! * [`units`]: times, distances, coordinates; integers only.
//! * [`code`]: every reason a request may be refused, each with a stable number.
//! * [`codec`]: the only place where values become bytes.
//! * [`record`]: what is stored and what crosses the wire between nodes.
//! * [`edge`]: the binary protocol of edge gateways, frame by frame.
//! * [`envelope`]: the one frame a request travels in between nodes.
//! * [`pings`]: positions as bytes of a fixed size.
//! * [`machine`]: the contract between the ledger, which sees bytes, and the state behind them.
//! * `almost`, with the feature `fuzz`: bytes for tests of decoders.
//! * `client`, with the feature of that name: how programs use a cluster from outside.
#![warn(missing_docs)]

#[cfg(feature = "fuzz")]
pub mod almost;
#[cfg(feature = "client")]
pub mod client;
pub mod code;
pub mod codec;
pub mod edge;
pub mod envelope;
pub mod ids;
pub mod machine;
pub mod pings;
pub mod record;
pub mod slot;
pub mod units;

pub use code::Code;
pub use ids::{BookingId, DriverId, NodeId, OfferId, RiderId, TripId, ZoneId};
pub use slot::{GroupId, Slot};
pub use units::{MonoMs, Point, WallMs};
