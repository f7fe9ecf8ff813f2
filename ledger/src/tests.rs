//! What the ledger promises, tried with a toy machine, over a disk that forgets and one that
//! does not.

mod cluster;
mod crashes;
mod directory;
mod events;
mod failures;
mod log_store;
mod promises;
mod storm;
pub(crate) mod toy;

use crate::{Committed, Ledger, Local, MemoryDisk, Refused, Settings};
use proto::units::{Clock, MonoMs};
use proto::{GroupId, NodeId, WallMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use toy::Toy;

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const G1: GroupId = GroupId(1);
const G2: GroupId = GroupId(2);
/// Held by the other node.
const G9: GroupId = GroupId(9);
const SYNC: Duration = Duration::from_millis(10);

/// A clock whose hands are set.
#[derive(Debug)]
struct Hands(AtomicU64);

impl Hands {
    fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(ms)))
    }
    fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn mono(&self) -> MonoMs {
        MonoMs(self.0.load(Ordering::Relaxed))
    }
    fn wall(&self) -> WallMs {
        WallMs(self.0.load(Ordering::Relaxed))
    }
}

fn home(group: GroupId) -> Option<NodeId> {
    Some(if group == G9 { OTHER } else { ME })
}

fn settings() -> Settings {
    Settings::new(ME, vec![G1, G2])
}

/// A ledger on a simulated disk whose syncs take [`SYNC`].
fn on(disk: &MemoryDisk, clock: &Arc<Hands>, settings: Settings) -> Arc<Local> {
    let local =
        Local::open_on_task(settings, disk.open(), SYNC, Arc::clone(clock) as _, home, Toy::boxed);
    Arc::new(local.expect("opens"))
}

async fn set(ledger: &Local, group: GroupId, command: &str) -> Result<Committed, Refused> {
    ledger.propose(group, command.into()).await
}

async fn get(ledger: &Local, group: GroupId, key: &str) -> Result<Option<String>, Refused> {
    let value = ledger.read(group, key.into()).await?;
    Ok(value.map(|bytes| String::from_utf8(bytes).expect("a toy value")))
}

fn some(value: &str) -> Result<Option<String>, Refused> {
    Ok(Some(value.into()))
}
