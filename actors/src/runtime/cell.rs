//! The cell shell: one ring key's supply and demand board. It asks the drivers' partitions how
//! drivers stand, in batches, and wakes waiting bookings when a car comes free.

use super::Runtime;
use crate::cell::board::{Board, WAKE_MAX};
use crate::cell::index::{PingOutcome, Query, Restood, Supply};
use crate::geo;
use h3o::CellIndex;
use proto::record::ask::{Fix, Found, Wake};
use proto::record::cell::{Demand, Ping, PingCounts};
use proto::record::driver::Standing;
use proto::{BookingId, DriverId, NodeId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a cell sweeps, verifies and looks whether it is still needed, in milliseconds.
const TICK_MS: u64 = 500;
/// A standing is believed this long before its partition is asked again, in milliseconds. It
/// bounds how long a cell may misjudge a driver whose change of standing was lost on the way.
const VERIFY_MS: u64 = 5_000;
/// Drivers not heard of for this long are dropped, in milliseconds. Far above any freshness that
/// is searched for, so that nobody flickers.
const EXPIRE_MS: u64 = 60_000;
/// Drivers swept or verified in one tick: 512 ids and standings are a frame of some 20 KB.
const SWEEP_MAX: usize = 512;
/// Ticks without a driver or a post before the shell leaves: a minute.
const EMPTY_TICKS: u32 = 120;

pub(super) enum Message {
    Pings { pings: Vec<(Ping, CellIndex)>, reply: oneshot::Sender<PingCounts> },
    Search { query: Query, post: Option<Demand>, reply: oneshot::Sender<Found> },
    Withdraw(BookingId),
    Restand(Vec<Standing>),
    Forget(DriverId),
    Fixes { drivers: Vec<DriverId>, reply: oneshot::Sender<Vec<Fix>> },
    Tick,
}

pub(super) struct Shell {
    pub(super) runtime: Runtime,
    pub(super) ring_key: u64,
}

pub(super) struct State {
    supply: Supply,
    board: Board,
    empty_ticks: u32,
}

impl Actor for Shell {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        myself.send_after(Duration::from_millis(TICK_MS), || Message::Tick);
        Ok(State { supply: Supply::new(VERIFY_MS), board: Board::new(), empty_ticks: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.runtime.world().clock.mono();
        match message {
            Message::Pings { pings, reply } => {
                let (counts, unknown) = apply(&mut state.supply, &pings, now);
                let _caller_gone = reply.send(counts);
                if unknown {
                    self.verify(state);
                }
            }
            Message::Search { query, post, reply } => {
                let waiting = post.map_or(0, |demand| {
                    let Demand { booking, pickup, radius_m, .. } = demand;
                    let waiting = state.board.waiting_near(pickup, radius_m, booking, now);
                    state.board.post(demand, now);
                    waiting
                });
                let (candidates, dropped) = match post {
                    Some(_) => state.supply.search_and_tell(&query, now),
                    None => (state.supply.search(&query, now), Vec::new()),
                };
                let _caller_gone = reply.send(Found { candidates, waiting, dropped });
            }
            Message::Withdraw(booking) => {
                state.board.withdraw(booking);
            }
            Message::Restand(standings) => {
                for standing in standings {
                    self.restand(state, &standing);
                }
            }
            Message::Forget(driver) => {
                state.supply.forget(driver);
            }
            Message::Fixes { drivers, reply } => {
                let fix = |driver| {
                    let seen = state.supply.fix(driver)?;
                    Some(Fix { driver, point: seen.point, at: seen.at })
                };
                let _caller_gone = reply.send(drivers.into_iter().filter_map(fix).collect());
            }
            Message::Tick => self.tick(&myself, state),
        }
        Ok(())
    }
}

/// Applies pings; says how they fared and whether somebody's standing must be asked.
fn apply(
    supply: &mut Supply,
    pings: &[(Ping, CellIndex)],
    now: proto::MonoMs,
) -> (PingCounts, bool) {
    let (mut counts, mut ask) = (PingCounts::default(), false);
    for (ping, cell) in pings {
        match supply.ping_in(ping, *cell, now) {
            PingOutcome::Applied { unknown, .. } => {
                counts.applied += 1;
                ask |= unknown;
            }
            PingOutcome::Stale => counts.stale += 1,
            PingOutcome::Left { .. } | PingOutcome::Full => counts.refused += 1,
        }
    }
    (counts, ask)
}

impl Shell {
    fn restand(&self, state: &mut State, standing: &Standing) {
        let world = self.runtime.world();
        let now = world.clock.mono();
        let Restood::Freed(car) = state.supply.restand(standing, now) else { return };
        let eta_ms =
            |distance_m| geo::eta_ms(distance_m, world.policy.speed_cms, world.policy.detour_pct);
        let mut by_node: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        for (booking, candidate) in state.board.wake(&car, standing, eta_ms, WAKE_MAX, now) {
            if let Some(node) = world.partitions.leader(booking.slot()) {
                by_node.entry(node).or_default().push((booking, candidate));
            }
        }
        for (node, woken) in by_node {
            let runtime = self.runtime.clone();
            tokio::spawn(async move {
                // A booking that was not woken searches again within a second.
                let ask = Wake { node, woken };
                let _lost = runtime.world().router.ask(ask, runtime.background()).await;
            });
        }
    }

    fn tick(&self, myself: &ActorRef<Message>, state: &mut State) {
        let now = self.runtime.world().clock.mono();
        state.supply.expire(now, EXPIRE_MS, SWEEP_MAX);
        state.board.expire(now);
        self.verify(state);
        let empty = state.supply.is_empty() && state.board.is_empty();
        state.empty_ticks = if empty { state.empty_ticks + 1 } else { 0 };
        if state.empty_ticks >= EMPTY_TICKS {
            self.runtime.0.cells.retire(self.ring_key, myself);
        } else {
            myself.send_after(Duration::from_millis(TICK_MS), || Message::Tick);
        }
    }

    /// Has the partitions of drivers asked whose standing is unknown or old. Whoever finds the
    /// verifier's queue full stays unknown, can't be found, and is named again in a moment.
    fn verify(&self, state: &mut State) {
        let now = self.runtime.world().clock.mono();
        for driver in state.supply.unverified(now, SWEEP_MAX) {
            self.runtime.0.verifier.ask(driver, self.ring_key);
        }
    }
}

impl Runtime {
    pub(super) fn tell_cell(&self, ring_key: u64, message: Message) {
        let spawn = || (Shell { runtime: self.clone(), ring_key }, ());
        self.0.cells.tell(ring_key, message, spawn);
    }
}
