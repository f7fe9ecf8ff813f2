//! The three ledgers that the bench asks: the shipped ones on real files, in one process, around a
//! machine that only keeps values.

use super::{BenchError, LedgerArgs};
use crate::clock::SystemClock;
use ledger::replicated::{DiskId, Parts, Settings};
use ledger::{
    BoxFuture, Identity, Lane, Ledger, LogStore, MemoryPages, Peers, Receive, Replicated,
    Unreachable,
};
use proto::codec::CodecError;
use proto::machine::{Applied, Level, StateMachine};
use proto::units::Clock;
use proto::{NodeId, WallMs};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Hands frames to the others in this process.
struct Wires {
    me: NodeId,
    all: Arc<OnceLock<BTreeMap<NodeId, Replicated>>>,
}

impl Peers for Wires {
    fn call(
        &self,
        to: NodeId,
        _: Lane,
        frame: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, Unreachable>> {
        Box::pin(async move {
            let there = self.all.get().and_then(|all| all.get(&to));
            let why = format!("{} is not up yet", self.me);
            let there = there.ok_or(Unreachable { to, why })?;
            Ok(there.receive(frame).await)
        })
    }
}

/// A machine of values under keys: the first eight bytes of a command are the key.
#[derive(Default)]
struct Registers(BTreeMap<Vec<u8>, Vec<u8>>);

impl StateMachine for Registers {
    fn apply(&mut self, _: WallMs, _: Level, command: &[u8]) -> Applied {
        let key = command.get(..8).unwrap_or_default().to_vec();
        self.0.insert(key.clone(), command.to_vec());
        Applied {
            outcome: Vec::new(),
            changed: vec![key],
            events: Vec::new(),
            archived: Vec::new(),
        }
    }
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }
    fn scan(&self, _: Option<&[u8]>, _: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }
    fn open_work(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// Opens them and waits until leadership has settled where the plan wants it.
pub(super) async fn start(args: &LedgerArgs, dir: &Path) -> Result<Vec<Replicated>, BenchError> {
    let initial: BTreeSet<NodeId> = [1, 2, 3].map(NodeId).into();
    let all = Arc::new(OnceLock::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut ledgers = BTreeMap::new();
    for node in initial.clone() {
        let identity = Identity { cluster: "bench".to_owned(), node };
        let open = |name: &str| {
            LogStore::open(&dir.join(format!("{node}-{name}")), &identity)
                .map_err(|error| BenchError::Ledger(error.to_string()))
        };
        let mut settings = Settings::founder(node, initial.clone(), args.partitions);
        settings.sync_delay = Duration::from_millis(args.sync_delay_ms);
        settings.seed = node.0;
        let living = initial.clone();
        let parts = Parts {
            log: open("log")?,
            snapshots: open("snapshots")?,
            pages: Arc::new(MemoryPages::default()),
            simulated: None,
            clock: Arc::clone(&clock),
            disk: DiskId(node.0.into()),
            peers: Arc::new(Wires { me: node, all: Arc::clone(&all) }),
            living: Arc::new(move || living.clone()),
            new_machine: Arc::new(|_| Box::new(Registers::default())),
        };
        let opened = Replicated::open(settings, parts).await;
        ledgers.insert(node, opened.map_err(|error| BenchError::Ledger(error.to_string()))?);
    }
    let list: Vec<Replicated> = ledgers.values().cloned().collect();
    let _ = all.set(ledgers);
    for _ in 0..1_200 {
        let known = list.first().map(|ledger| ledger.known().borrow().clone());
        let settled = known.is_some_and(|known| {
            !known.plan.is_empty()
                && known.plan.iter().all(|(group, nodes)| {
                    let leads =
                        |ledger: &Replicated| ledger.leadership().borrow().contains_key(group);
                    let preferred =
                        nodes.first().and_then(|node| initial.iter().position(|n| n == node));
                    preferred.and_then(|at| list.get(at)).is_some_and(leads)
                })
        });
        if settled {
            return Ok(list);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(BenchError::Leaderless)
}
