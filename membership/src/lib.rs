//! Gossip, the ring and the live view: who is here, and who owns a cell.
//!
//! # What a node gets from it
//!
//! [`Membership::start`] joins the cluster; [`Membership::view`] is then at any moment one
//! immutable [`View`]: the live members, the ring over them, and whether this node may serve. A
//! request takes one view and keeps to it. Two kinds of ownership come from here, and they are
//! not alike:
//!
//! | | soft state: cells | durable state: partitions |
//! |---|---|---|
//! | owner | [`View::cell_owner`]: the ring over *live* members | its group's leader; `ledger` agrees on the replicas with [`Ring::lookup_n`] |
//! | when a member dies | its cells pass to others within a second | a replica takes over, see `ledger` |
//! | two members may disagree | yes, for a gossip round or as long as a network is split | about who leads, for a moment; only one can commit |
//!
//! # The protocol
//!
//! Every 100 ms a member exchanges digests with three others and with them heartbeat counters and
//! small facts: addresses, zone, weight, version, split table version, foundation (chitchat's
//! scuttlebutt reconciliation). Nobody is pinged: a member is silent when its counter has not risen,
//! by anybody's account, for eight times the mean interval, and is dropped from the view when the
//! silence has lasted two ticks. Measured: five members see one of them crash after
//! 0.50 to 0.79 s, all of them, median 0.67 s. A goodbye ([`Membership::stop`]) takes 0.1 s.
//!
//! * **Who is who.** A [`NodeId`](proto::NodeId) is a disk; its generation, [persisted](generation)
//!   and rising, is a start of it. Gossip never takes back a generation it has seen die, and for
//!   some 100 ms after a restart shows both: the higher one counts.
//! * **Who is heard.** Datagrams are [sealed](seal) with a key derived from the cluster's secret,
//!   the cluster's name sealed in. One that does not open is dropped and counted.
//! * **Who is counted.** Members that stand on the same [`Foundation`], the initial nodes and the
//!   number of partitions. Initial nodes have it from their command line, literally equal; a joiner
//!   learns it from whoever answers, announces it, and only then enters the others' rings. A node
//!   that was given another list is a stranger to all: it would look for bookings where they are not.
//! * **Who is ready.** An initial node with a *majority* of the initial nodes (with itself), a
//!   joined one with at least one other member, `--single` alone. See [`NotReady`] for the reasons.
//!   A node that is not ready stays in the others' rings: readiness is about what it sees, not
//!   about what it owns. One that has just started owns nothing until it can serve
//!   ([`Membership::take_weight`]).
//! * **After a pause** (SIGSTOP, a stalled machine) a process sees everyone fall silent although the
//!   silence was its own. It knows the pause from its clock and drops nobody for a second; the two
//!   ticks of patience alone hide most of it. Without both it loses its view every time.
//!
//! # What is agreed, and what is not
//!
//! Nothing here is agreed in the sense of consensus. Views converge, within some 0.3 s of a join and
//! 0.8 s of a death, if the network lets datagrams through; until then two members may both believe
//! that they own a cell, or neither. That is harmless, because cells only nominate drivers and the
//! partition decides. What *is* the same everywhere, without any message: the ring of a given set
//! of members ([`Ring::version`] tells whether two sets are equal), the ring key of a cell under a
//! given [`SplitTable`].
//!
//! # Running it elsewhere
//!
//! The outside is four values handed to `start`: the configuration, a socket ([`Datagrams`];
//! [`Udp`] in production), a [`Clock`](proto::units::Clock), which is only asked how long a tick
//! took, and a random number generator for nonces. Timers are tokio's, so a simulation that moves
//! tokio's time moves this. chitchat draws from the process's own randomness which peers it gossips
//! with; a replayable simulation must seed that below it.
//!
//! # Not done
//!
//! * Replays. Who records sealed datagrams can send them again. Live members ignore old heartbeats
//!   and versions, but a member that has just started could be shown one that is gone, for as long
//!   as the recording lasts. It would cost forwards that fail, no durable state.
//! * Two seeds of two clusters under one name and secret: a joiner believes the first that answers.
//! * No name lookup: seeds are addresses.
//! * Which split table counts is for the caller to agree on. Members that differ in it refuse each
//!   other's forwards for the cells concerned; who differs for 5 s is logged, nothing repairs it.
//! * Load is not gossiped, and the ring does not follow it. A weight changes when a node begins to
//!   serve.
//! * A message is one datagram of 65,507 bytes: about 200 members, then joins would stall. Counted
//!   as `oversized`.
//! * A wiped data directory starts again at generation 1, which others may have seen die and will
//!   not take back within an hour. A wiped disk is a new node id.
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
pub mod ready;
pub mod ring;
mod roster;
pub mod seal;
pub mod split;
pub mod view;

pub use config::{Bootstrap, Config, ConfigError};
pub use cover::KeyNear;
pub use datagrams::{BoxFuture, Datagrams, Udp};
pub use foundation::Foundation;
pub use generation::{GenerationError, next_generation};
pub use gossip::{GOSSIP_INTERVAL, GossipCounts};
pub use member::Member;
pub use membership::{Membership, MembershipError};
pub use ready::{Expect, NotReady};
pub use ring::Ring;
pub use seal::{ClusterKey, Purpose, Seal};
pub use split::{SplitError, SplitTable};
pub use view::{Parts, View};
