//! What a node keeps: its directory or a simulated disk, the count of its starts, and the ledger on them.

use super::start::StartError;
use super::{Build, Storage};
use crate::config::Config;
use crate::mint::SeededMint;
use crate::peer::replicas::LedgerPeers;
use crate::stories::{self, StoryBook};
use actors::runtime::world::Mint;
use ledger::replicated::{DiskId, Parts, Retention, Settings, remembered};
use ledger::{LogStore, MemoryPages, MemoryStore, Pages, Replicated, SledPages, StoreError};
use membership::generation::next_generation;
use membership::{Bootstrap, Foundation, Membership};
use proto::units::Clock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Raises the count of starts in the data directory.
pub(super) fn count_start(config: &Config, storage: &Storage) -> Result<u64, StartError> {
    match storage {
        Storage::Directory => {
            let dir = &config.data_dir;
            std::fs::create_dir_all(dir)
                .map_err(|source| StartError::DataDir { dir: dir.clone(), source })?;
            Ok(next_generation(dir)?)
        }
        Storage::Memory { generation, .. } => Ok(*generation),
    }
}

/// The ledger's stores, open.
pub(super) enum Stores {
    Disk { log: LogStore, snapshots: LogStore, pages: SledPages },
    Memory { log: MemoryStore, snapshots: MemoryStore, sync_takes: Duration, retention: Retention },
}

impl Stores {
    pub(super) fn foundation(&self) -> Result<Option<Foundation>, StoreError> {
        match self {
            Self::Disk { log, .. } => remembered(log),
            Self::Memory { log, .. } => remembered(log),
        }
    }
}

/// Opens the stores. The disk is read off the runtime's threads.
pub(super) async fn open_stores(config: &Config, storage: Storage) -> Result<Stores, StartError> {
    match storage {
        Storage::Memory { log, snapshots, sync_takes, retention, .. } => {
            Ok(Stores::Memory { log, snapshots, sync_takes, retention })
        }
        Storage::Directory => {
            let data = config.data_dir.clone();
            let identity = ledger::Identity { cluster: config.cluster.clone(), node: config.node };
            let opening = tokio::task::spawn_blocking(move || {
                let open = |name| {
                    let dir = data.join(name);
                    LogStore::open(&dir, &identity)
                        .map_err(|source| StartError::Directory { dir, source })
                };
                let (log, snapshots) = (open("log")?, open("snapshots")?);
                let dir = data.join("pages");
                let pages = SledPages::open(&dir)
                    .map_err(|source| StartError::Directory { dir, source: source.into() })?;
                Ok(Stores::Disk { log, snapshots, pages })
            });
            opening.await.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))
        }
    }
}

/// Opens what is kept of dispatches, beside the stores.
pub(super) fn open_stories(
    config: &Config,
    stores: &Stores,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<StoryBook>, StartError> {
    let dir = config.data_dir.join("stories");
    let pages: Result<Box<dyn Pages>, StoreError> = match stores {
        Stores::Disk { .. } => SledPages::open_with(&dir, stories::CACHE_BYTES)
            .map(|pages| Box::new(pages) as Box<dyn Pages>),
        Stores::Memory { .. } => Ok(Box::new(MemoryPages::default())),
    };
    pages
        .and_then(|pages| StoryBook::open(pages, Arc::clone(clock)))
        .map_err(|source| StartError::Directory { dir, source: source.into() })
}

/// Starts the replicas that live here, and the founding or joining of those that do not yet.
pub(super) async fn open_ledger(
    config: &Config,
    stores: Stores,
    membership: &Membership,
    peers: Arc<LedgerPeers>,
    clock: &Arc<dyn Clock>,
    mint: &Arc<SeededMint>,
    build: Build,
) -> Result<Replicated, StartError> {
    let (initial, partitions) = match &config.bootstrap {
        Bootstrap::Initial { nodes, partitions } => (nodes.keys().copied().collect(), *partitions),
        Bootstrap::Single { partitions } => ([config.node].into(), *partitions),
        // Known from the start if this node has been let in before.
        Bootstrap::Seeds(_) => {
            let partitions = membership.view().foundation().map_or(0, |known| known.partitions);
            (BTreeSet::new(), partitions)
        }
    };
    let mut settings = Settings::founder(config.node, initial, partitions);
    settings.zone.clone_from(&config.zone);
    settings.replicas = config.replicas;
    settings.grace_ms = config.replace_after_ms;
    settings.seed = mint.random();
    settings.level = build.level;
    settings.faults = config.ledger_faults;
    let (view, faults) = (membership.watch(), config.faults);
    let living =
        move || view.borrow().members().iter().map(|member| member.id).collect::<BTreeSet<_>>();
    let machine = move |_| (build.machine)(faults);
    let disk = DiskId(u128::from(mint.random()) << 64 | u128::from(mint.random()));
    let (clock, living, new_machine) = (Arc::clone(clock), Arc::new(living), Arc::new(machine));
    Ok(match stores {
        Stores::Disk { log, snapshots, pages } => {
            let (simulated, pages) = (None, Arc::new(pages));
            let parts =
                Parts { log, snapshots, pages, simulated, clock, disk, peers, living, new_machine };
            Replicated::open(settings, parts).await?
        }
        Stores::Memory { log, snapshots, sync_takes, retention } => {
            settings.retention = retention;
            let (simulated, pages) = (Some(sync_takes), Arc::new(MemoryPages::default()));
            let parts =
                Parts { log, snapshots, pages, simulated, clock, disk, peers, living, new_machine };
            Replicated::open(settings, parts).await?
        }
    })
}
