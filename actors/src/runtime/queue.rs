//! The keeper of a queue zone's queue: looks twice a second at who is in the zone, has the register
//! follow, and says whose turn it is. It lives on the node that leads the partition of the zone's id;
//! the next leader begins with the order as it is recorded.

mod look;
mod turn;

pub(super) use turn::{keep_order, more_than_wait};

use self::turn::TURN_MS;
use super::Runtime;
use super::driver::Reply;
use super::registry::Registry;
use crate::policy::Policy;
use crate::queue::watch::{Rules, STEPS_MAX, Sight, Watch, Word};
use crate::queue::zone::QueueZone;
use proto::code::Refusal;
use proto::record::Queue;
use proto::record::ask::{NextInQueue, Turn};
use proto::record::command::Command;
use proto::record::driver::DriverStatus;
use proto::record::queue::QueueStep;
use proto::{Code, DriverId, MonoMs, ZoneId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::debug;

/// How often a zone is looked at. Who comes between two looks is put in order by his phone's clock.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A look that has not come back after this long, in milliseconds, is given up.
const LOOK_LATE_MS: u64 = 3_000;
/// A zone that has been none for so long, in milliseconds, has its queue emptied. A node that starts
/// hears of all policies there have been, one after the other, before it knows the one in force.
const GONE_MS: u64 = 10_000;

pub(super) enum Message {
    /// Look at the zone.
    Look,
    /// What the cells see, and whether all of them have answered.
    Seen(Vec<Sight>, bool),
    /// What records say; nothing of one that did not come.
    Read(Vec<(DriverId, Option<Word>)>),
    /// Whose turn is it? Of no use after that time: whoever asked has gone.
    Next { ask: Box<NextInQueue>, until: MonoMs, reply: Reply<Turn> },
}

pub(super) struct Shell {
    runtime: Runtime,
    zone: ZoneId,
}

#[derive(Default)]
pub(super) struct State {
    /// The register as last committed; nothing until it was read, or if it may be another.
    queue: Option<Queue>,
    watch: Watch,
    looking_since: Option<MonoMs>,
    /// Since when the zone is none.
    gone_since: Option<MonoMs>,
}

/// The queues that are kept here.
pub(super) struct Queues {
    shells: Registry<ZoneId, Message>,
    /// How many wait in each.
    lengths: Mutex<BTreeMap<ZoneId, usize>>,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self { shells: Registry::new(), lengths: Mutex::default() }
    }

    fn lengths(&self) -> MutexGuard<'_, BTreeMap<ZoneId, usize>> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many drivers wait in the queues that are kept here.
    pub(super) fn drivers(&self) -> u64 {
        self.lengths().values().map(|length| *length as u64).sum()
    }

    /// Whether a queue has its keeper here.
    pub(super) fn has(&self, zone: ZoneId) -> bool {
        self.shells.has(zone)
    }

    pub(super) fn stop_those(&self, which: impl Fn(&ZoneId) -> bool) {
        self.shells.stop_those(which);
    }

    pub(super) fn stop(&self) {
        self.shells.stop();
    }
}

impl Actor for Shell {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => self.look(&myself, state).await,
            Message::Seen(sights, whole) => {
                state.looking_since = None;
                state.watch.looked(self.now(), &sights, whole);
                self.move_on(state).await;
                self.read(&myself, state);
            }
            Message::Read(words) => {
                let now = self.now();
                for (driver, word) in words {
                    state.watch.read(now, driver, word);
                }
                self.move_on(state).await;
            }
            Message::Next { ask, until, reply } => {
                let turn = self.next(state, &ask, until).await;
                let _caller_gone = reply.send(Ok(turn));
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Message>,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        self.runtime.0.queues.lengths().remove(&self.zone);
        Ok(())
    }
}

impl Shell {
    fn now(&self) -> MonoMs {
        self.runtime.world().clock.mono()
    }

    /// The zone as the policy has it, and the rules for its queue.
    fn zone(&self, policy: &Policy) -> Option<(QueueZone, Rules)> {
        let zone = policy.queue_zones.get(self.zone)?;
        let (grace_ms, fresh_ms) = (zone.grace_ms.into(), policy.fresh_ms.into());
        Some((zone.clone(), Rules { grace_ms, refusals: zone.refusals, fresh_ms }))
    }

    /// Reads the register if it is not at hand.
    async fn load(&self, myself: Option<&ActorRef<Message>>, state: &mut State) -> bool {
        if let Some(queue) = &state.queue {
            self.runtime.0.queues.lengths().insert(self.zone, queue.places.len());
            return true;
        }
        match self.runtime.queue(self.zone).await {
            Ok(queue) => {
                self.note(state, queue);
                true
            }
            Err(refusal) => {
                debug!(zone = %self.zone, %refusal, "a queue could not be read");
                if let Some(myself) = myself.filter(|_| refusal.code == Code::NotOwner) {
                    // Whoever leads the partition now keeps it.
                    self.runtime.0.queues.shells.retire(self.zone, myself);
                }
                false
            }
        }
    }

    fn note(&self, state: &mut State, queue: Queue) {
        state.watch.follow(&queue, self.now());
        self.runtime.0.queues.lengths().insert(self.zone, queue.places.len());
        state.queue = Some(queue);
    }

    /// Looks at the zone in a task; lets everybody go if it is none any more.
    async fn look(&self, myself: &ActorRef<Message>, state: &mut State) {
        let now = self.now();
        let under_way = |since: MonoMs| now.since(since) < LOOK_LATE_MS;
        if state.looking_since.is_some_and(under_way) || !self.load(Some(myself), state).await {
            return;
        }
        let policy = self.runtime.world().policy.load_full();
        if self.zone(&policy).is_none() {
            let gone = policy.queue_zones.is_none(self.zone);
            state.gone_since = gone.then(|| state.gone_since.unwrap_or(now));
            if state.gone_since.is_some_and(|since| now.since(since) >= GONE_MS) {
                self.close(myself, state).await;
            }
            return;
        }
        state.gone_since = None;
        state.looking_since = Some(now);
        let (runtime, myself, zone) = (self.runtime.clone(), myself.clone(), self.zone);
        tokio::spawn(async move {
            let (sights, whole) = runtime.sights(&policy, zone).await;
            let _shell_gone = myself.cast(Message::Seen(sights, whole));
        });
    }

    /// The zone is none any more: empties its queue, some places at a time, and leaves.
    async fn close(&self, myself: &ActorRef<Message>, state: &mut State) {
        let places = state.queue.as_ref().map_or(&[][..], |queue| &queue.places);
        let steps: Vec<QueueStep> =
            places.iter().take(STEPS_MAX).map(|place| QueueStep::Leave(place.driver)).collect();
        if steps.is_empty() {
            self.runtime.0.queues.shells.retire(self.zone, myself);
        } else {
            self.propose(state, steps).await;
        }
    }

    /// Has the register follow what is known.
    async fn move_on(&self, state: &mut State) {
        let policy = self.runtime.world().policy.load_full();
        let Some((_, rules)) = self.zone(&policy) else { return };
        let Some(queue) = &state.queue else { return };
        let steps = state.watch.steps(queue, &rules);
        if !steps.is_empty() {
            self.propose(state, steps).await;
        }
    }

    async fn propose(&self, state: &mut State, steps: Vec<QueueStep>) {
        self.count_trips(state, &steps);
        let zone = self.zone;
        match self.runtime.propose_queue(Command::MoveQueue { zone, steps }).await {
            Ok(queue) => self.note(state, queue),
            Err(refusal) => {
                debug!(%zone, %refusal, "a queue was not moved, or perhaps it was");
                state.queue = None;
            }
        }
    }

    /// Counts those who leave with a trip, and how long they waited.
    fn count_trips(&self, state: &State, steps: &[QueueStep]) {
        let now = self.runtime.world().clock.wall();
        let tally = &self.runtime.0.tally;
        for step in steps {
            let QueueStep::Leave(driver) = step else { continue };
            let taken = |(_, status)| status == DriverStatus::Taken;
            let queue =
                state.queue.as_ref().filter(|_| state.watch.status(*driver).is_some_and(taken));
            let place = queue.and_then(|queue| queue.places.get(queue.position(*driver)?));
            if let Some(place) = place {
                tally.queue_trips.fetch_add(1, Ordering::Relaxed);
                tally.queue_waited_ms.fetch_add(now.since(place.since), Ordering::Relaxed);
            }
        }
    }

    /// Reads the records of those of whom something new is to be learned, in a task.
    fn read(&self, myself: &ActorRef<Message>, state: &mut State) {
        let drivers = state.watch.to_read(self.now());
        if drivers.is_empty() {
            return;
        }
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        tokio::spawn(async move {
            let words = runtime.words(drivers).await;
            let _shell_gone = myself.cast(Message::Read(words));
        });
    }
}

impl Runtime {
    /// Has the queues looked at whose partitions are led here, again and again.
    pub(super) async fn tend_queues(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let world = self.world();
            let policy = world.policy.load_full();
            let led = |zone: &ZoneId| world.partitions.leader(zone.slot()) == Some(world.node);
            let mut zones: BTreeSet<ZoneId> =
                policy.queue_zones.iter().map(QueueZone::id).filter(led).collect();
            // One that is no zone any more has still to be emptied.
            zones.extend(self.0.queues.lengths().keys());
            zones.into_iter().for_each(|zone| self.tell_queue(zone, Message::Look));
        }
    }

    /// Sends to the keeper of a queue, spawning it if need be.
    pub(super) fn tell_queue(&self, zone: ZoneId, message: Message) {
        let shell = || (Shell { runtime: self.clone(), zone }, ());
        self.0.queues.shells.tell(zone, message, shell);
    }

    /// Asks the keeper whose turn it is.
    pub(super) async fn next_in_queue(&self, ask: NextInQueue) -> Result<Turn, Refusal> {
        let (reply, answer) = oneshot::channel();
        let until = self.world().clock.mono().plus_ms(TURN_MS.into());
        self.tell_queue(ask.zone, Message::Next { ask: Box::new(ask), until, reply });
        answer.await.unwrap_or_else(|_| Err(Refusal::new(Code::Retry, "the queue's keeper died")))
    }
}
