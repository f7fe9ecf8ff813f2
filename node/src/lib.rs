//! One process of the cluster.
//!
//! * [`config`]: what it is started with, checked before a port is bound.
//! * [`mod@node`]: the start-up, from the data directory to the open door.
//! * [`peer`]: calls between nodes. [`router`]: which of them a request goes to.
//! * [`http`]: the client's side, HTTP and WebSocket; [`auth`]: who a token says asks. [`pings`], [`sockets`], [`follow`]: its hot paths.
//! * `eta`: how long drives take. `edge`: the binary protocol of edge gateways.
//! * [`cluster`]: who is here and who owns what; [`tools`]: the commands that ask a node for it.
//! * [`mod@bench`]: how fast it is, beside what the machine gives.
//! * [`clock`], [`mint`], [`net`]: time, chance and network, each in one file behind a trait.
//! * [`metrics`], [`log`]: what it tells its operator.

pub mod auth;
pub mod bench;
pub mod clock;
pub mod cluster;
pub mod config;
mod edge;
mod eta;
pub mod follow;
pub mod http;
pub mod log;
pub mod metrics;
pub mod mint;
pub mod net;
pub mod node;
pub mod peer;
pub mod pings;
pub mod policy;
pub mod router;
mod sessions;
pub mod sockets;
mod splits;
mod stories;
pub mod tools;

pub use config::{Args, Config};
pub use node::{Build, Node, Seams, run, run_as};
