//! Who starts the nodes also kills them: this holds the processes, and knows how to wait until what
//! was killed is back and every partition has all its replicas. What is done when is
//! [`super::script`]'s.

use super::READY_WITHIN_S;
use crate::client::Client;
use crate::cluster::{Cluster, ClusterError};
use crate::counters::Counters;
use crate::doors::Doors;
use crate::partitions::{Lacking, Partitions};
use proto::client::Cluster as Seen;
use proto::units::{Clock, MonoMs};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How often readiness and life are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often all nodes are asked where all replicas are.
const PARTITIONS_EVERY: Duration = Duration::from_millis(250);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// As many replicas as nodes keep of each partition if nothing else is said, and there are enough.
const REPLICAS: usize = 3;

/// Holds the processes.
#[derive(Debug)]
pub(crate) struct Nemesis {
    cluster: Mutex<Cluster>,
    pub(crate) clock: Arc<dyn Clock>,
    before: Mutex<Counters>,
}

impl Nemesis {
    pub(crate) fn new(cluster: Cluster, clock: Arc<dyn Clock>) -> Self {
        Self { cluster: Mutex::new(cluster), clock, before: Mutex::default() }
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn doors(&self) -> Doors {
        self.cluster().doors().clone()
    }

    pub(crate) fn seats(&self) -> usize {
        self.cluster().doors().seats()
    }

    pub(crate) fn tails(&self) -> String {
        self.cluster().tails()
    }

    /// What the killed nodes had counted before their ends.
    pub(crate) fn before_the_kills(&self) -> Counters {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what a node has counted, for its next start counts from zero.
    pub(crate) async fn remember(&self, seat: usize, client: &Client) {
        if let Ok(Ok(text)) = timeout(LOOK_WITHIN, client.text_of(seat, "/metrics")).await {
            let counters = Counters::parse(&text);
            self.before.lock().unwrap_or_else(PoisonError::into_inner).add(&counters);
        }
    }

    /// Kills a node with SIGKILL and says when.
    pub(crate) fn kill(&self, seat: usize) -> MonoMs {
        let now = self.clock.mono();
        self.cluster().kill(seat);
        now
    }

    /// Starts a node again and waits until it is ready: when it was started, and how long it took.
    pub(crate) async fn revive(
        &self,
        seat: usize,
        client: &Client,
    ) -> Result<(MonoMs, u64), ClusterError> {
        let started = self.clock.mono();
        self.cluster().spawn(seat)?;
        self.ready(seat, client).await?;
        Ok((started, self.clock.mono().since(started)))
    }

    /// Waits until every node is ready.
    pub(crate) async fn all_ready(&self, client: &Client) -> Result<(), ClusterError> {
        for seat in 0..self.seats() {
            self.ready(seat, client).await?;
        }
        Ok(())
    }

    pub(crate) async fn ready(&self, seat: usize, client: &Client) -> Result<(), ClusterError> {
        let began = self.clock.mono();
        loop {
            self.cluster().ended()?;
            let Err(says) = self.says_ready(seat, client).await else { return Ok(()) };
            if self.clock.mono().since(began) > READY_WITHIN_S * 1000 {
                let (node, within_s) = (self.cluster().name(seat), READY_WITHIN_S);
                return Err(ClusterError::NotReady { node, within_s, says });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a node is ready, at most so long: how long it took, or what it says instead.
    pub(crate) async fn ready_within(
        &self,
        seat: usize,
        client: &Client,
        within_ms: u64,
    ) -> Result<u64, String> {
        let began = self.clock.mono();
        loop {
            let said = self.says_ready(seat, client).await;
            let took_ms = self.clock.mono().since(began);
            match said {
                Ok(()) => return Ok(took_ms),
                Err(says) if took_ms > within_ms => return Err(says),
                Err(_not_yet) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn says_ready(&self, seat: usize, client: &Client) -> Result<(), String> {
        match timeout(LOOK_WITHIN, client.text_of(seat, "/readyz")).await {
            Ok(said) => said.map(drop),
            Err(_slow) => Err("nothing".into()),
        }
    }

    /// Returns when a node has ended that nobody killed.
    pub(crate) async fn watch(&self) -> ClusterError {
        loop {
            let ended = self.cluster().ended();
            if let Err(error) = ended {
                return error;
            }
            tokio::time::sleep(LOOK_EVERY * 4).await;
        }
    }

    /// Waits until every node sees all members. Bounded, for it only tells apart two columns.
    pub(crate) async fn seen_by_all(&self, client: &Client) {
        let nodes = self.seats();
        let began = self.clock.mono();
        for seat in 0..nodes {
            while self.clock.mono().since(began) < READY_WITHIN_S * 1000 {
                let asked = timeout(LOOK_WITHIN, client.text_of(seat, "/v1/cluster")).await;
                if let Ok(Ok(text)) = asked
                    && let Ok(cluster) = serde_json::from_str::<Seen>(&text)
                    && cluster.ready
                    && cluster.members.len() == nodes
                {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// What all living nodes say of the partitions.
    pub(crate) async fn partitions(&self, client: &Client) -> Partitions {
        let doors = self.cluster().reachable();
        Partitions::ask(client, &doors).await
    }

    /// Waits until no partition lacks a replica, at most so long. What is lacking then, and what
    /// the nodes said last.
    pub(crate) async fn whole(
        &self,
        client: &Client,
        within_ms: u64,
    ) -> (Vec<Lacking>, Partitions) {
        let began = self.clock.mono();
        loop {
            let partitions = self.partitions(client).await;
            let living: BTreeSet<String> = self.cluster().living().into_iter().collect();
            let lacking = partitions.lacking(&living, REPLICAS.min(self.seats()));
            if lacking.is_empty() || self.clock.mono().since(began) >= within_ms {
                return (lacking, partitions);
            }
            tokio::time::sleep(PARTITIONS_EVERY).await;
        }
    }
}
