//! `hansom bench ledger`: how many transitions a second three ledgers agree on and make durable,
//! beside a bare loop that appends and syncs. The ledgers are the shipped ones on real files; the
//! network between them is left out, so that what is measured is consensus, codec and disk.

mod three;

use crate::clock::SystemClock;
use crate::tools::print;
use ledger::{Ledger, Replicated};
use proto::GroupId;
use proto::units::Clock;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom bench ledger
  hansom bench ledger --sync-delay-ms 4 --json")]
pub struct LedgerArgs {
    /// For how long each row is measured.
    #[arg(long, default_value_t = 5, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Partitions, each a group of three.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub partitions: u16,
    /// Added to every sync: a slow disk.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub sync_delay_ms: u64,
    /// Where files go; a directory below it is made, and removed at the end [default: the
    /// system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Proposals under way in each row.
const IN_FLIGHT: [usize; 3] = [1, 64, 1_024];
/// Values of one partition while its snapshots are looked at, and proposals under way then.
const LIVE: u64 = 100_000;
const LIVE_IN_FLIGHT: usize = 16;
/// Bytes of a command: a booking's.
const COMMAND_BYTES: usize = 300;
/// Keys of each partition.
const KEYS: u64 = 1_000;
/// Before anything is counted, in each row.
const WARM: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    what: String,
    in_flight: usize,
    transitions_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    entries_per_sync: f64,
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    partitions: u16,
    sync_delay_ms: u64,
    raw_syncs_per_s: f64,
    rows: Vec<Row>,
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("cannot use {dir}: {source}", dir = dir.display())]
    Dir { dir: PathBuf, source: std::io::Error },
    #[error("cannot open a ledger: {0}")]
    Ledger(String),
    #[error("the ledgers did not settle on leaders within 60 s")]
    Leaderless,
}

/// Measures and prints.
pub async fn run(args: LedgerArgs) -> ExitCode {
    let shown = measure(&args).await.map(|report| {
        if args.json {
            serde_json::to_string_pretty(&report).unwrap_or_default()
        } else {
            table(&report)
        }
    });
    print::finish("hansom bench ledger", shown)
}

fn table(report: &Report) -> String {
    let header =
        ["", "in flight", "transitions/s", "p50 ms", "p99 ms", "entries per sync", "failed"];
    let rows = report.rows.iter().map(|row| {
        [
            row.what.clone(),
            row.in_flight.to_string(),
            format!("{:.0}", row.transitions_per_s),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            format!("{:.1}", row.entries_per_sync),
            row.failed.to_string(),
        ]
    });
    let table = print::list(header, rows);
    format!(
        "three ledgers, {} partitions, {COMMAND_BYTES}-byte commands, {} ms added to each sync\n{table}\n\
         a bare loop of append and fdatasync beside them: {:.0} a second",
        report.partitions, report.sync_delay_ms, report.raw_syncs_per_s
    )
}

async fn measure(args: &LedgerArgs) -> Result<Report, BenchError> {
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = base.join(format!("hansom-bench-{}", std::process::id()));
    let scratch = Scratch::make(dir)?;
    let seconds = Duration::from_secs(args.seconds);
    let steps = IN_FLIGHT.len() as u64 + 3;
    let bar = indicatif::ProgressBar::new(steps * args.seconds);
    let raw = raw_loop(&scratch.0, seconds.min(Duration::from_secs(2)))?;
    bar.inc(args.seconds);
    let ledgers = three::start(args, &scratch.0).await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let load = Load { groups: args.partitions, keys: KEYS, in_flight };
        rows.push(row(&ledgers, args, load, format!("{} partitions", args.partitions)).await);
        bar.inc(args.seconds);
    }
    // One partition with many values, its log quiet, then while snapshots of it are taken.
    fill(&ledgers).await;
    let load = Load { groups: 1, keys: LIVE, in_flight: LIVE_IN_FLIGHT };
    rows.push(row(&ledgers, args, load, format!("{LIVE} values in one")).await);
    bar.inc(args.seconds);
    let painting = tokio::spawn(paint(ledgers.clone()));
    rows.push(row(&ledgers, args, load, "the same, snapshots being taken".to_owned()).await);
    painting.abort();
    bar.inc(args.seconds);
    bar.finish_and_clear();
    for ledger in &ledgers {
        ledger.stop().await;
    }
    Ok(Report {
        partitions: args.partitions,
        sync_delay_ms: args.sync_delay_ms,
        raw_syncs_per_s: raw,
        rows,
    })
}

/// A directory that goes when this does.
struct Scratch(PathBuf);

impl Scratch {
    fn make(dir: PathBuf) -> Result<Self, BenchError> {
        std::fs::create_dir_all(&dir)
            .map_err(|source| BenchError::Dir { dir: dir.clone(), source })?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what is left is in a temporary directory
    }
}

/// What the disk gives to one who appends and syncs, a command at a time.
fn raw_loop(dir: &Path, lasts: Duration) -> Result<f64, BenchError> {
    let path = dir.join("raw");
    let failed = |source| BenchError::Dir { dir: dir.into(), source };
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
    let clock = SystemClock::new();
    let (begun, mut times) = (clock.mono(), 0u32);
    let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    while clock.mono().since(begun) < lasts_ms {
        file.write_all(&[7; COMMAND_BYTES]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        times += 1;
    }
    Ok(f64::from(times) / lasts.as_secs_f64())
}

/// What is proposed.
#[derive(Debug, Clone, Copy)]
struct Load {
    groups: u16,
    keys: u64,
    in_flight: usize,
}

/// The one group whose snapshots are looked at.
const FILLED: GroupId = GroupId(1);

fn command(key: u64) -> Vec<u8> {
    let mut command = key.to_be_bytes().to_vec();
    command.resize(COMMAND_BYTES, 7);
    command
}

fn leader(ledgers: &[Replicated], group: GroupId) -> Option<&Replicated> {
    ledgers.iter().find(|ledger| ledger.leadership().borrow().contains_key(&group))
}

/// Gives one partition its values.
async fn fill(ledgers: &[Replicated]) {
    let mut fillers = tokio::task::JoinSet::new();
    for filler in 0..256 {
        let ledgers = ledgers.to_vec();
        fillers.spawn(async move {
            for key in (filler..LIVE).step_by(256) {
                while match leader(&ledgers, FILLED) {
                    Some(leader) => leader.propose(FILLED, command(key)).await.is_err(),
                    None => true,
                } {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    fillers.join_all().await;
}

/// Has every replica of that partition take one snapshot after another.
async fn paint(ledgers: Vec<Replicated>) {
    loop {
        for ledger in &ledgers {
            // One that is refused has no replica, which here none has not.
            let _ = ledger.take_snapshot(FILLED).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn row(ledgers: &[Replicated], args: &LedgerArgs, load: Load, what: String) -> Row {
    let in_flight = load.in_flight;
    let (stop, counting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let clock = Arc::new(SystemClock::new());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..in_flight {
        let (ledgers, stop, counting) =
            (ledgers.to_vec(), Arc::clone(&stop), Arc::clone(&counting));
        let clock = Arc::clone(&clock);
        writers.spawn(async move {
            let (mut took_us, mut failed, mut n) = (Vec::new(), 0u64, writer as u64);
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let group = GroupId(1 + u16::try_from(n % u64::from(load.groups)).unwrap_or(0));
                let command = command(n.wrapping_mul(2_654_435_761) % load.keys);
                let Some(leader) = leader(&ledgers, group) else {
                    failed += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let begun = clock.precise_us();
                let done = leader.propose(group, command).await;
                let took = clock.precise_us() - begun;
                match (done, counting.load(Ordering::Relaxed)) {
                    (Ok(_), true) => took_us.push(took),
                    (Err(_), true) => failed += 1,
                    (_, false) => {}
                }
            }
            (took_us, failed)
        });
    }
    tokio::time::sleep(WARM).await;
    let syncs = || -> u64 { ledgers.iter().map(|ledger| ledger.counts().syncs).sum() };
    let before = syncs();
    counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    counting.store(false, Ordering::Relaxed);
    let synced = syncs() - before;
    stop.store(true, Ordering::Relaxed);
    let (mut took_us, mut failed) = (Vec::new(), 0);
    for (took, lost) in writers.join_all().await {
        took_us.extend(took);
        failed += lost;
    }
    took_us.sort_unstable();
    let at = |percent: usize| -> f64 {
        let index = (took_us.len() * percent / 100).min(took_us.len().saturating_sub(1));
        took_us.get(index).map_or(0.0, |us| *us as f64 / 1_000.0)
    };
    Row {
        what,
        in_flight,
        transitions_per_s: took_us.len() as f64 / args.seconds as f64,
        p50_ms: at(50),
        p99_ms: at(99),
        // Every transition is an entry on each of the three.
        entries_per_sync: 3.0 * took_us.len() as f64 / (synced.max(1)) as f64,
        failed,
    }
}
