//! The trip shell: takes a trip's steps in order, and sees to it that a driver whose trip is over
//! is released, however often that takes.

use super::driver::Reply;
use super::{REDRIVE_MS, Runtime, World};
use crate::policy::StartRule;
use crate::trip::Mover;
use proto::TripId;
use proto::code::{Code, Refusal};
use proto::record::Trip;
use proto::record::ask::ReleaseDriver;
use proto::record::command::{CodeRule, Command, Idempotency, TripStep};
use proto::record::party::{PINS, Pin};
use proto::record::trip::Ended;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::warn;

/// A shell without a step for this long leaves, in milliseconds.
const IDLE_MS: u64 = 10_000;

pub(super) enum Message {
    Step {
        command: Box<Command>,
        idempotency: Option<Idempotency>,
        reply: Reply<Trip>,
    },
    /// This node has just begun to lead its partition, and the trip has something due.
    TakeUp,
    /// The driver has been released.
    Released,
    Idle,
}

pub(super) struct Shell {
    pub(super) runtime: Runtime,
    pub(super) id: TripId,
}

#[derive(Default)]
pub(super) struct State {
    releasing: bool,
    stepped_since_idle: bool,
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
        myself.send_after(Duration::from_millis(IDLE_MS), || Message::Idle);
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Step { command, idempotency, reply } => {
                state.stepped_since_idle = true;
                let stepped =
                    self.runtime.propose_trip(self.id.slot(), idempotency, *command).await;
                match &stepped {
                    Ok(trip) => self.follow_up(&myself, state, trip),
                    // It may have happened all the same.
                    Err(refusal) if refusal.code.retryable() => {
                        let pause = Duration::from_millis(REDRIVE_MS.1);
                        myself.send_after(pause, || Message::TakeUp);
                    }
                    Err(_) => {}
                }
                let _caller_gone = reply.send(stepped);
            }
            Message::TakeUp => match self.runtime.trip(self.id).await {
                Ok(trip) => self.follow_up(&myself, state, &trip),
                Err(refusal) if refusal.code == Code::NotOwner => {
                    self.runtime.0.trips.retire(self.id, &myself);
                }
                Err(refusal) => {
                    warn!(trip = %self.id, %refusal, "a trip could not be taken up");
                    let pause = Duration::from_millis(REDRIVE_MS.1);
                    myself.send_after(pause, || Message::TakeUp);
                }
            },
            Message::Released => {
                let command = Command::Released { trip: self.id };
                match self.runtime.propose_trip(self.id.slot(), None, command).await {
                    Ok(_) => self.runtime.0.trips.retire(self.id, &myself),
                    Err(_) => {
                        let pause = Duration::from_millis(REDRIVE_MS.1);
                        myself.send_after(pause, || Message::Released);
                    }
                }
            }
            Message::Idle => {
                if state.releasing || state.stepped_since_idle {
                    state.stepped_since_idle = false;
                    myself.send_after(Duration::from_millis(IDLE_MS), || Message::Idle);
                } else {
                    self.runtime.0.trips.retire(self.id, &myself);
                }
            }
        }
        Ok(())
    }
}

impl Shell {
    /// Sees to what a trip that is over leaves to be done.
    fn follow_up(&self, myself: &ActorRef<Message>, state: &mut State, trip: &Trip) {
        self.release_if_due(myself, state, trip);
        self.runtime.tell_aboard(trip);
        self.runtime.unwatch(trip);
        if let Some(booking) = trip.replaced_by {
            // If this is lost with the node, the next leader finds the booking open.
            self.runtime.take_up_booking(booking);
        }
    }

    /// Tells the driver's shell until it has stored that he is free.
    fn release_if_due(&self, myself: &ActorRef<Message>, state: &mut State, trip: &Trip) {
        if !trip.release_due || state.releasing {
            return;
        }
        state.releasing = true;
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        let ask = ReleaseDriver {
            driver: trip.driver,
            offer: trip.offer,
            ended: Some(Ended {
                trip: trip.id,
                state: trip.state,
                earned: crate::trip::earned(trip),
            }),
        };
        tokio::spawn(async move {
            let mut pause_ms = REDRIVE_MS.0;
            while let Err(refusal) =
                runtime.world().router.ask(ask.clone(), runtime.background()).await
            {
                if refusal.code == Code::DriverNotFound {
                    break; // There is nobody to release.
                }
                if myself.get_status() > ractor::ActorStatus::Running {
                    return; // Whoever leads the partition next takes the release up again.
                }
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(REDRIVE_MS.1);
            }
            let _shell_gone = myself.cast(Message::Released);
        });
    }
}

impl Runtime {
    pub(super) fn tell_trip(&self, id: TripId, message: Message) {
        self.0.trips.tell(id, message, || (Shell { runtime: self.clone(), id }, ()));
    }

    /// What starts a trip that is born now.
    pub(super) fn start_code(&self) -> CodeRule {
        let World { policy, mint, .. } = self.world();
        let digits = || Pin(u16::try_from(mint.random() % u64::from(PINS)).unwrap_or_default());
        match policy.load().start_code {
            StartRule::None => CodeRule::None,
            StartRule::PerTrip => CodeRule::Trip(digits()),
            StartRule::Pin => CodeRule::RiderOr(digits()),
        }
    }

    /// Takes a step of a trip.
    pub(super) async fn step_trip(
        &self,
        trip: TripId,
        step: TripStep,
        mover: Mover,
        idempotency: Option<Idempotency>,
    ) -> Result<Trip, Refusal> {
        let World { mint, clock, .. } = self.world();
        let Mover { by, driver, rider } = mover;
        let calls_off =
            by == proto::record::Actor::Driver && matches!(step, TripStep::Cancel { .. });
        let rebook = calls_off.then(|| mint.booking(trip.slot(), clock.wall()));
        let command = Box::new(Command::StepTrip { trip, step, by, driver, rider, rebook });
        let (reply, answer) = oneshot::channel();
        self.tell_trip(trip, Message::Step { command, idempotency, reply });
        answer.await.unwrap_or_else(|_| Err(Refusal::new(Code::Retry, "the trip's shell died")))
    }
}
