//! Which shells live on this node. Our own table rather than ractor's, which is one per process
//! and would let two nodes in one simulation collide.

use ractor::{Actor, ActorRef, ActorRuntime, ActorStatus};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::error;

/// Shells of one kind by key.
pub(super) struct Registry<K, M: Send + 'static> {
    shells: Mutex<BTreeMap<K, ActorRef<M>>>,
}

impl<K: Ord + Copy, M: Send + 'static> Registry<K, M> {
    pub(super) fn new() -> Self {
        Self { shells: Mutex::new(BTreeMap::new()) }
    }

    fn shells(&self) -> MutexGuard<'_, BTreeMap<K, ActorRef<M>>> {
        // Each critical section leaves the map whole, so a poisoned lock is still good.
        self.shells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends to the shell of `key`, spawning it if there is none. The message is dropped, and
    /// with it whatever reply it carries, only if the runtime is going down.
    pub(super) fn tell<A: Actor<Msg = M>>(
        &self,
        key: K,
        message: M,
        spawn: impl FnOnce() -> (A, A::Arguments),
    ) {
        let mut shells = self.shells();
        let message = match shells.get(&key) {
            Some(shell) => match shell.cast(message) {
                Ok(()) => return,
                Err(ractor::MessagingErr::SendErr(message)) => message,
                Err(
                    ractor::MessagingErr::ChannelClosed | ractor::MessagingErr::InvalidActorType,
                ) => {
                    return;
                }
            },
            None => message,
        };
        let (actor, arguments) = spawn();
        match ActorRuntime::spawn_instant(None, actor, arguments) {
            Ok((shell, _join)) => {
                if shell.cast(message).is_ok() {
                    shells.insert(key, shell);
                }
            }
            Err(error) => error!(%error, "a shell could not be spawned"),
        }
    }

    /// Sends to the shell of `key` if it lives; says whether it does.
    pub(super) fn tell_living(&self, key: K, message: M) -> bool {
        self.shells().get(&key).is_some_and(|shell| shell.cast(message).is_ok())
    }

    /// Whether a shell of `key` lives.
    pub(super) fn has(&self, key: K) -> bool {
        let running = |shell: &ActorRef<M>| shell.get_status() <= ActorStatus::Running;
        self.shells().get(&key).is_some_and(running)
    }

    /// Takes a shell off the table. What was sent to it before is still worked off.
    pub(super) fn retire(&self, key: K, shell: &ActorRef<M>) {
        let mut shells = self.shells();
        if shells.get(&key).is_some_and(|known| known.get_id() == shell.get_id()) {
            shells.remove(&key);
        }
        drop(shells);
        // A failure means that it has stopped already.
        let _stopped = shell.drain();
    }

    /// Stops some shells at once, their backlog with them; whoever waits for them is refused.
    pub(super) fn stop_those(&self, which: impl Fn(&K) -> bool) {
        self.shells().retain(|key, shell| {
            let stays = !which(key);
            if !stays {
                shell.stop(None);
            }
            stays
        });
    }

    pub(super) fn len(&self) -> u64 {
        self.shells().len() as u64
    }

    /// Stops all shells, their backlog with them.
    pub(super) fn stop(&self) {
        self.stop_those(|_| true);
    }
}
