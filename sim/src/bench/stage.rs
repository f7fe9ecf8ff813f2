//! What a bench needs before it begins: nodes that are ready, and drivers who are registered and on
//! duty, for a search names nobody else.

use super::BenchError;
use super::line::{self, Line};
use super::machine::Usage;
use super::progress::Steps;
use crate::client::client_of;
use crate::cluster::{Cluster, ClusterError, Plan};
use crate::counters::Counters;
use crate::demo::raise_file_limit;
use crate::dice::Dice;
use proto::client::{Client, Patience};
use proto::units::Clock;
use proto::{DriverId, NodeId, Point};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Registrations under way at once. Each waits for a sync that it shares with all others.
const CLERKS: usize = 256;
/// How often somebody who is to ask again is asked for again, and how long the pause is.
const TRIES_MAX: usize = 600;
const PAUSE: Duration = Duration::from_millis(50);
/// How long nodes may take to find each other.
const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Nodes of this bench alone; they end with it.
pub(super) struct Stage {
    cluster: Mutex<Cluster>,
    client: Client,
    /// Kept until the nodes have ended.
    _directory: TempDir,
}

impl Stage {
    /// Starts nodes and waits until they serve.
    pub(super) async fn start(
        nodes: usize,
        flags: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BenchError> {
        raise_file_limit();
        let system = |what: &str, source| BenchError::System { what: what.into(), source };
        let directory = tempfile::Builder::new().prefix("hansom-bench-").tempdir();
        let directory = directory.map_err(|source| system("make a directory", source))?;
        let program = std::env::current_exe();
        let plan = Plan {
            program: program.map_err(|source| system("find this program", source))?,
            nodes,
            directory: directory.path().into(),
            flags,
            key: "a secret of the bench".into(),
            edge: true,
        };
        let cluster = Cluster::start(plan)?;
        let patience = Patience::default();
        let client = client_of(cluster.doors().clone(), patience, clock)
            .map_err(|error| BenchError::Talk(error.to_string()))?;
        let stage = Self { cluster: Mutex::new(cluster), client, _directory: directory };
        for seat in 0..nodes {
            stage.ready(seat).await.map_err(|error| stage.with_logs(error))?;
        }
        Ok(stage)
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ready(&self, seat: usize) -> Result<(), BenchError> {
        let waiting = async {
            while self.text_of(seat, "/readyz").await.is_none() {
                self.cluster().ended()?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, ClusterError>(())
        };
        let waited = tokio::time::timeout(READY_WITHIN, waiting).await;
        let late = || BenchError::Talk(format!("no node was ready in {READY_WITHIN:?}"));
        Ok(waited.map_err(|_| late())??)
    }

    /// An error with what the nodes said last.
    pub(super) fn with_logs(&self, error: BenchError) -> BenchError {
        BenchError::Failed { source: Box::new(error), tails: self.cluster().tails() }
    }

    async fn text_of(&self, seat: usize, path: &str) -> Option<String> {
        let door = self.cluster().doors().at(seat).to_string();
        let asked = tokio::time::timeout(LOOK_WITHIN, self.client.text_of(&door, path)).await;
        asked.ok()?.ok().filter(|(status, _)| *status == 200).map(|(_, text)| text)
    }

    /// Where phones reach the nodes.
    pub(super) fn doors(&self) -> Vec<SocketAddr> {
        let doors = self.cluster().doors().clone();
        (0..doors.seats()).map(|seat| doors.at(seat)).collect()
    }

    /// Where edge gateways reach them.
    pub(super) fn edges(&self) -> Vec<SocketAddr> {
        self.cluster().edges()
    }

    /// What the nodes have used so far.
    pub(super) fn usage(&self) -> Usage {
        Usage::of_all(&self.cluster().processes())
    }

    /// How many pings the cells of each node have applied so far.
    pub(super) async fn applied(&self) -> Vec<f64> {
        let mut each = Vec::new();
        for seat in 0..self.doors().len() {
            let text = self.text_of(seat, "/metrics").await.unwrap_or_default();
            let counters = Counters::parse(&text);
            each.push(counters.sum("hansom_pings_applied_total").unwrap_or_default());
        }
        each
    }

    /// Kills a node with SIGKILL.
    pub(super) fn kill(&self, seat: usize) {
        self.cluster().kill(seat);
    }

    /// Starts a killed node again, and waits until it serves.
    pub(super) async fn revive(&self, seat: usize) -> Result<(), BenchError> {
        self.cluster().spawn(seat)?;
        self.ready(seat).await
    }

    /// Who owns the cell of a place.
    pub(super) async fn owner(&self, place: Point) -> Result<Option<NodeId>, BenchError> {
        let asked = self.client.lookup(&format!("{},{}", place.lat(), place.lng())).ask().await;
        asked.map(|lookup| lookup.owner).map_err(|error| BenchError::Talk(error.to_string()))
    }

    /// Registers so many drivers and puts them on duty.
    pub(super) async fn register(&self, drivers: usize) -> Result<Vec<DriverId>, BenchError> {
        let steps = Steps::new(drivers as u64, "registering drivers");
        let doors = self.doors();
        let mut clerks = JoinSet::new();
        for clerk in 0..CLERKS.min(drivers) {
            let (door, steps) = (doors[clerk % doors.len()], steps.clone());
            clerks.spawn(async move {
                let broken = |source| BenchError::System { what: "register".into(), source };
                let mut line = Line::open(door).await.map_err(broken)?;
                for number in (clerk..drivers).step_by(CLERKS) {
                    register(&mut line, number).await?;
                    steps.up();
                }
                Ok::<_, BenchError>(())
            });
        }
        while let Some(done) = clerks.join_next().await {
            let done = done.map_err(|error| BenchError::Talk(error.to_string()));
            done.flatten().map_err(|error| self.with_logs(error))?;
        }
        Ok((0..drivers).map(|number| DriverId::of_name(&name(number))).collect())
    }
}

fn name(number: usize) -> String {
    format!("bench {number}")
}

async fn register(line: &mut Line, number: usize) -> Result<(), BenchError> {
    let name = name(number);
    let driver = DriverId::of_name(&name);
    let mut dice = Dice::of(number as u64, "register");
    let body = format!(
        "{{\"name\":\"{name}\",\"vehicle\":{{\"type\":\"SEDAN\",\"seats\":4}},\"kyc_verified\":true}}"
    );
    settle(line, "/v1/drivers", &format!("idempotency-key: {}\r\n", dice.key()), &body).await?;
    let headers = format!("idempotency-key: {}\r\nx-driver-id: {driver}\r\n", dice.key());
    settle(line, &format!("/v1/drivers/{driver}/online"), &headers, "{}").await
}

/// Asks until the answer is definite.
async fn settle(line: &mut Line, path: &str, headers: &str, body: &str) -> Result<(), BenchError> {
    let mut request = Vec::new();
    line::put(path, headers, body, &mut request);
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        let asked = line.ask(&request).await;
        let broken = |source| BenchError::System { what: format!("ask for {path}"), source };
        let (status, body) = asked.map_err(broken)?;
        match status {
            200..300 => return Ok(()),
            429 | 503 => last = String::from_utf8_lossy(body).into_owned(),
            refused => {
                let body = String::from_utf8_lossy(body);
                return Err(BenchError::Talk(format!("{path}: {refused} {body}")));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(BenchError::Talk(format!("{path}: asked {TRIES_MAX} times, the last answer was {last}")))
}
