//! Gossip, the ring and the live view: who is here, and who owns a cell.
#![warn(missing_docs)]

pub mod config;
pub mod cover;
pub mod datagrams;
mod facts;
pub mod foundation;
pub mod generation;
mod gossip;
pub mod member;
pub mod membership;
pub mod placement;
pub mod ready;
pub mod ring;
mod roster;
pub mod seal;
pub mod split;
pub mod view;

pub use config::{Bootstrap, Config, ConfigError};
pub use datagrams::{BoxFuture, Datagrams, Udp};
pub use foundation::Foundation;
pub use generation::{GenerationError, next_generation};
pub use gossip::{GOSSIP_INTERVAL, GossipCounts};
pub use member::Member;
pub use membership::{Membership, MembershipError};
pub use placement::Placement;
pub use ready::{Expect, NotReady};
pub use ring::Ring;
pub use seal::{ClusterKey, Purpose};
pub use split::SplitTable;
pub use view::{Parts, View};
