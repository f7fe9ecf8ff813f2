//! The trail shell of a partition: gathers what the phones of its trips recorded, and proposes it as one
//! batch a second. A phone has its answer when its points are durable.

use super::{Runtime, store};
use proto::code::{Code, Refusal};
use proto::record::ask::{AddTrail, ReadTrail};
use proto::record::command::Command;
use proto::record::trail::TrailPiece;
use proto::record::{Key, Trip};
use proto::{DriverId, GroupId, MonoMs, TripId, WallMs, codec};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::time::Duration;
use tokio::sync::oneshot;

/// A partition's batches are so far apart at least, in milliseconds.
const EVERY_MS: u64 = 1_000;
/// The largest batch, in bytes: some 12,000 points of cars on their way, and below what the log takes
/// as one command.
const BATCH_BYTES_MAX: usize = 128 << 10;
/// What a piece takes beside its points, at most, in bytes.
const ENTRY_BYTES: usize = 40;
/// A shell without a point for this long leaves.
const IDLE: Duration = Duration::from_secs(30);

pub(super) enum Message {
    Add { trip: TripId, driver: DriverId, piece: TrailPiece, reply: oneshot::Sender<Stored> },
    Flush,
    Idle,
}

/// Whether points are durable.
type Stored = Result<(), Refusal>;

pub(super) struct Shell {
    pub(super) runtime: Runtime,
    pub(super) group: GroupId,
}

#[derive(Default)]
pub(super) struct State {
    pieces: Vec<(TripId, DriverId, TrailPiece)>,
    bytes: usize,
    waiters: Vec<oneshot::Sender<Stored>>,
    /// When the last batch was proposed.
    flushed_at: Option<MonoMs>,
    due: bool,
    used_since_idle: bool,
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
        myself.send_after(IDLE, || Message::Idle);
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add { trip, driver, piece, reply } => {
                // One piece of a trip at a time, so that none takes the others' room.
                let again = state.pieces.iter().any(|(queued, ..)| *queued == trip);
                let bytes = codec::encode(&piece).len() + ENTRY_BYTES;
                if again || state.bytes + bytes > BATCH_BYTES_MAX {
                    let _caller_gone = reply.send(Err(Code::Overloaded.into()));
                    return Ok(());
                }
                state.used_since_idle = true;
                state.bytes += bytes;
                state.pieces.push((trip, driver, piece));
                state.waiters.push(reply);
                if !state.due {
                    state.due = true;
                    let now = self.runtime.world().clock.mono();
                    let rested_ms = state.flushed_at.map_or(EVERY_MS, |at| now.since(at));
                    let wait_ms = EVERY_MS.saturating_sub(rested_ms);
                    myself.send_after(Duration::from_millis(wait_ms), || Message::Flush);
                }
            }
            Message::Flush => self.flush(state).await,
            Message::Idle => {
                if state.used_since_idle || state.due {
                    state.used_since_idle = false;
                    myself.send_after(IDLE, || Message::Idle);
                } else {
                    self.runtime.0.trails.retire(self.group, &myself);
                }
            }
        }
        Ok(())
    }
}

impl Shell {
    async fn flush(&self, state: &mut State) {
        state.due = false;
        state.flushed_at = Some(self.runtime.world().clock.mono());
        state.bytes = 0;
        let pieces = std::mem::take(&mut state.pieces);
        let Some((first, ..)) = pieces.first() else { return };
        let slot = first.slot();
        let stored = self.runtime.propose_for_all(slot, Command::TrailBatch { pieces }).await;
        for waiter in state.waiters.drain(..) {
            let _caller_gone = waiter.send(stored.clone());
        }
    }
}

impl Runtime {
    /// Adds to a trip's trail. What the log decides is whether a point counts; this only keeps out
    /// of it what can't.
    pub(super) async fn add_trail(&self, ask: AddTrail) -> Result<Trip, Refusal> {
        let AddTrail { trip, driver, piece } = ask;
        let before = self.trip(trip).await?;
        if before.driver != driver {
            return Err(Code::UnauthorizedDriver.into());
        }
        if before.state.is_over() || piece.is_empty() {
            return Ok(before);
        }
        let Ok(_place) = self.0.trail_places.try_acquire() else {
            return Err(Code::Overloaded.into());
        };
        self.world().eta.driven(&piece);
        let (reply, stored) = oneshot::channel();
        let group = self.world().partitions.group(trip.slot());
        let message = Message::Add { trip, driver, piece, reply };
        self.0.trails.tell(group, message, || (Shell { runtime: self.clone(), group }, ()));
        let died = || Err(Refusal::new(Code::Retry, "the trail's shell died"));
        stored.await.unwrap_or_else(|_| died())?;
        self.trip(trip).await
    }

    /// A trip's trail, newest piece first.
    pub(super) async fn trail(&self, ask: ReadTrail) -> Result<Vec<(WallMs, TrailPiece)>, Refusal> {
        let ReadTrail { trip, before, max } = ask;
        self.trip(trip).await?;
        let before = before.map(|before| Key::TripTrail(trip, before).to_bytes());
        let page = self.archived(trip.slot(), Key::of_trail(trip), before, max).await?;
        page.into_iter().map(store::piece).collect()
    }
}
