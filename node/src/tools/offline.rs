//! `hansom ledger`: what an operator asks of a node's data directory while no node has it open.

use super::print;
use actors::fault::Faults;
use actors::machine::Machine;
use ledger::replicated::META;
use ledger::replicated::offline::{self, GroupOnDisk, OfflineError, OnDisk};
use proto::machine::StateMachine;
use proto::record::Key;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be asked of a data directory that no node has open.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum LedgerCommand {
    /// Show what it holds: terms, indexes, voters, entities, a partition a line.
    Inspect(Directory),
    /// Check it: every checksum, number and digest is read, every log replayed. Says what is
    /// damaged, and exits with 1 if anything is.
    Verify(Directory),
    /// Make this node go on alone after a majority of disks was lost for good. What the others
    /// had agreed on and this one had not heard of is lost; the cluster says so in /healthz for
    /// ever. Do this on one node only, the one whose `inspect` shows the highest indexes.
    UnsafeRecover(Recovery),
}

/// Which directory.
#[derive(Debug, Clone, clap::Args)]
pub struct Directory {
    /// A node's data directory, as in --data-dir.
    pub dir: PathBuf,
}

/// Which directory, and whether it is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Recovery {
    /// The survivor's data directory, as in --data-dir.
    pub dir: PathBuf,
    /// Do it. Without this, only what would happen is said.
    #[arg(long)]
    pub i_accept_losses: bool,
}

/// Runs a command.
pub fn run(command: LedgerCommand) -> ExitCode {
    let done = match command {
        LedgerCommand::Inspect(Directory { dir }) => inspect(&dir).map(|found| table(&found)),
        LedgerCommand::Verify(Directory { dir }) => inspect(&dir).map(|found| verdict(&found)),
        LedgerCommand::UnsafeRecover(Recovery { dir, i_accept_losses: false }) => {
            inspect(&dir).map(|found| warning(&found))
        }
        LedgerCommand::UnsafeRecover(Recovery { dir, i_accept_losses: true }) => {
            offline::go_on_alone(&dir).map(|groups| {
                format!(
                    "this node alone now decides in {groups} partitions; start it as before, then \
                     let new nodes join with --seeds, under ids that were never used"
                )
            })
        }
    };
    print::finish("hansom ledger", done)
}

fn inspect(dir: &std::path::Path) -> Result<OnDisk, OfflineError> {
    let machine = |_| Box::new(Machine::with_faults(Faults::default())) as Box<dyn StateMachine>;
    offline::inspect(dir, machine)
}

/// What an entity's key names.
fn kind(key: &[u8]) -> &'static str {
    match Key::from_bytes(key) {
        Ok(Key::Rider(_)) => "riders",
        Ok(Key::Driver(_)) => "drivers",
        Ok(Key::Booking(_)) => "bookings",
        Ok(Key::Trip(_)) => "trips",
        Ok(Key::RiderAnswer(..) | Key::DriverAnswer(..)) => "kept answers",
        Ok(Key::RiderBooking(..) | Key::DriverTrip(..)) => "entries of lists",
        Ok(Key::OldRiderAnswer(..) | Key::OldDriverAnswer(..)) => "old answers",
        Ok(Key::TripTrail(..)) => "pieces of trails",
        Ok(Key::Queue(_)) => "queues",
        Err(_) => "unknown",
    }
}

fn counts<'a>(groups: impl Iterator<Item = &'a GroupOnDisk>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for group in groups.filter(|group| group.group != META) {
        for key in &group.keys {
            *counts.entry(kind(key)).or_default() += 1;
        }
    }
    let texts: Vec<String> = counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn table(found: &OnDisk) -> String {
    let header = [
        "partition",
        "vote",
        "last index",
        "term",
        "entries",
        "snapshot to",
        "voters",
        "digest",
        "holds",
    ];
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let rows = found.groups.iter().map(|group| {
        let voters = group.voters.iter().flatten().map(ToString::to_string);
        [
            group.group.to_string(),
            group.vote.clone().unwrap_or_default(),
            number(group.last.map(|(index, _)| index)),
            number(group.last.map(|(_, term)| term)),
            group.entries.to_string(),
            number(group.snapshot),
            voters.collect::<Vec<_>>().join(" "),
            format!("{:016x}", group.fingerprint.1),
            if group.group == META {
                "the cluster".to_owned()
            } else {
                counts([group].into_iter())
            },
        ]
    });
    let table = print::list(header, rows);
    let founders: Vec<String> = found.founders.iter().map(ToString::to_string).collect();
    let disk = found.disk.map_or("none".to_owned(), |disk| format!("{:032x}", disk.0));
    format!(
        "{}\ndisk {disk}, began with {}\n{table}\nif all of the logs is committed: {}",
        found.identity,
        founders.join(" "),
        counts(found.groups.iter())
    )
}

fn verdict(found: &OnDisk) -> String {
    let entries: usize = found.groups.iter().map(|group| group.entries).sum();
    let snapshots = found.groups.iter().filter(|group| group.snapshot.is_some()).count();
    format!(
        "{}: whole. {} partitions, {snapshots} snapshots, {entries} log entries read and replayed: {}",
        found.identity,
        found.groups.len(),
        counts(found.groups.iter())
    )
}

fn warning(found: &OnDisk) -> String {
    format!(
        "{}\n\nNothing was done. With --i-accept-losses this node becomes the only voter of its {} \
         partitions. Use it only if a majority of the disks of some partition is gone for good:\n\
         * what the others had agreed on and this disk had not heard of is lost, acknowledged or not;\n\
         * if another old node still runs, or is recovered as well, the two become two clusters;\n\
         * /healthz of this cluster says `lossy` from then on.",
        table(found),
        found.groups.len()
    )
}
