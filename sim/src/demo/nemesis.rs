//! Who starts the nodes also kills one: half-way through the demand, with SIGKILL, and starts it
//! again on the same disk five seconds later. Five seconds of wall time at any speed: a restart
//! does not get faster because the city does.

use super::{Failure, READY_WITHIN_S};
use crate::client::Client;
use crate::cluster::{Cluster, ClusterError};
use crate::counters::Counters;
use crate::progress::Voice;
use crate::report::Kill;
use crate::tally::Tally;
use crate::wire;
use proto::units::Clock;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long a killed node stays away.
const AWAY: Duration = Duration::from_secs(5);
/// How often readiness and life are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// After the restarted node is ready and seen by all, requests that left before may still be on
/// their way; for so long the ring counts as changing.
const SETTLE: Duration = Duration::from_secs(1);

/// Holds the processes.
#[derive(Debug)]
pub(super) struct Nemesis {
    cluster: Mutex<Cluster>,
    clock: Arc<dyn Clock>,
    before: Mutex<Counters>,
}

impl Nemesis {
    pub(super) fn new(cluster: Cluster, clock: Arc<dyn Clock>) -> Self {
        Self { cluster: Mutex::new(cluster), clock, before: Mutex::default() }
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn http(&self) -> Vec<SocketAddr> {
        self.cluster().http()
    }

    pub(super) fn tails(&self) -> String {
        self.cluster().tails()
    }

    /// What the killed node had counted before its end.
    pub(super) fn before_the_kill(&self) -> Counters {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every node is ready.
    pub(super) async fn all_ready(&self, client: &Client) -> Result<(), Failure> {
        for node in 0..self.http().len() {
            self.ready(node, client).await?;
        }
        Ok(())
    }

    async fn ready(&self, node: usize, client: &Client) -> Result<(), ClusterError> {
        let began = self.clock.mono();
        loop {
            self.cluster().ended()?;
            let says = match timeout(LOOK_WITHIN, client.text_of(node, "/readyz")).await {
                Ok(Ok(_ready)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_slow) => "nothing".into(),
            };
            if self.clock.mono().since(began) > READY_WITHIN_S * 1000 {
                let (node, within_s) = (node + 1, READY_WITHIN_S);
                return Err(ClusterError::NotReady { node, within_s, says });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when a node has ended that nobody killed.
    pub(super) async fn watch(&self) -> ClusterError {
        loop {
            let ended = self.cluster().ended();
            if let Err(error) = ended {
                return error;
            }
            tokio::time::sleep(LOOK_EVERY * 4).await;
        }
    }

    /// Kills the victim after a while and brings it back.
    pub(super) async fn strike(
        &self,
        victim: Option<usize>,
        after: Duration,
        client: &Client,
        tally: &Tally,
        voice: &Voice,
    ) -> Result<Option<Kill>, Failure> {
        let Some(victim) = victim else { return Ok(None) };
        let began = self.clock.mono();
        tokio::time::sleep(after).await;
        if let Ok(Ok(text)) = timeout(LOOK_WITHIN, client.text_of(victim, "/metrics")).await {
            *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Counters::parse(&text);
        }
        tally.set_stable(false);
        let killed = self.clock.mono();
        self.cluster().kill(victim);
        voice.say(&format!("node {} was killed", victim + 1));
        tokio::time::sleep(AWAY).await;
        let started = self.clock.mono();
        self.cluster().spawn(victim)?;
        self.ready(victim, client).await?;
        let ready_after_ms = self.clock.mono().since(started);
        voice.say(&format!("node {} is back, ready after {ready_after_ms} ms", victim + 1));
        self.seen_by_all(client).await;
        tokio::time::sleep(SETTLE).await;
        tally.set_stable(true);
        Ok(Some(Kill {
            node: victim + 1,
            at_ms: killed.since(began),
            away_ms: started.since(killed),
            ready_after_ms,
        }))
    }

    /// Waits until every node sees all members. Bounded, for it only tells apart two columns.
    async fn seen_by_all(&self, client: &Client) {
        let nodes = self.http().len();
        let began = self.clock.mono();
        for node in 0..nodes {
            while self.clock.mono().since(began) < READY_WITHIN_S * 1000 {
                let asked = timeout(LOOK_WITHIN, client.text_of(node, "/v1/cluster")).await;
                if let Ok(Ok(text)) = asked
                    && let Ok(cluster) = serde_json::from_str::<wire::Cluster>(&text)
                    && cluster.ready
                    && cluster.members.len() == nodes
                {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}
