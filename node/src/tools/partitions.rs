//! `hansom ring --partitions` and `hansom node drain`.

use super::{Asking, ToolError, ask, tell};
use crate::cluster::partitions::PartitionsView;
use comfy_table::{Table, presets};
use std::process::ExitCode;
use std::time::Duration;

/// How often the progress of a drain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What can be done about a node of a running cluster.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Have a node hand its replicas over to others, so that it can be stopped for good. It serves
    /// until it has none left. Refused if too few others would be left.
    Drain(DrainArgs),
}

/// Which node, and whom to ask.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom node drain 3
  hansom node drain 3 --undo")]
pub struct DrainArgs {
    /// The node's number.
    pub id: u64,
    /// Let it take replicas again.
    #[arg(long)]
    pub undo: bool,
    /// Do not wait until it has handed everything over.
    #[arg(long)]
    pub no_wait: bool,
    /// Any node of the cluster.
    #[arg(long, env = "HANSOM_NODE", default_value = "http://127.0.0.1:8001", value_name = "URL")]
    pub node: String,
}

/// `hansom node drain`.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "data and talk of a command")]
pub async fn drain(args: DrainArgs) -> ExitCode {
    let verb = if args.undo { "activate" } else { "drain" };
    let path = format!("/v1/cluster/nodes/{}/{verb}", args.id);
    let mut view = match tell::<PartitionsView>(&args.node, &path).await {
        Ok(view) => view,
        Err(error) => {
            eprintln!("hansom node drain: {error}");
            return ExitCode::FAILURE;
        }
    };
    let name = format!("n{}", args.id);
    if args.undo || args.no_wait {
        println!("{name} is {}", if args.undo { "active" } else { "draining" });
        return ExitCode::SUCCESS;
    }
    let votes = |view: &PartitionsView| {
        let held = |p: &&crate::cluster::partitions::PartitionView| {
            p.voters.as_ref().is_some_and(|voters| voters.contains(&name))
        };
        view.partitions.iter().filter(held).count()
    };
    let all = votes(&view).max(1);
    let bar = indicatif::ProgressBar::new(all as u64);
    loop {
        let left = votes(&view);
        bar.set_position(all.saturating_sub(left) as u64);
        if left == 0 {
            bar.finish_and_clear();
            println!("{name} holds no replica any more; stop it when you like");
            return ExitCode::SUCCESS;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        match ask::<PartitionsView>(&args.node, "/v1/cluster/partitions", &[]).await {
            Ok(now) => view = now,
            Err(error @ ToolError::Unreachable { .. }) => bar.suspend(|| eprintln!("{error}")),
            Err(error @ ToolError::Refused { .. }) => {
                eprintln!("hansom node drain: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}

/// `hansom ring --partitions`.
pub(super) async fn ring(asking: &Asking) -> ExitCode {
    let found = ask(&asking.node, "/v1/cluster/partitions", &[]).await;
    super::finish("hansom ring", asking, found, table)
}

fn table(view: &PartitionsView) -> String {
    let mut nodes = Table::new();
    nodes.load_preset(presets::UTF8_FULL_CONDENSED);
    nodes.set_header(["node", "standing", "alive", "votes in", "knows level"]);
    for node in &view.nodes {
        let alive = if node.alive { "yes" } else { "no" };
        let (votes, level) = (node.votes_in.to_string(), node.level.to_string());
        nodes.add_row([&node.node, &node.standing, alive, &votes, &level]);
    }
    let mut partitions = Table::new();
    partitions.load_preset(presets::UTF8_FULL_CONDENSED);
    partitions.set_header([
        "partition",
        "leader",
        "voters",
        "should be",
        "term",
        "entries",
        "values",
    ]);
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let size = |n: Option<usize>| n.map_or_else(String::new, |n| n.to_string());
    let mut short = 0;
    for partition in &view.partitions {
        let voters = partition.voters.as_deref();
        let (mut is, mut should) = (voters.unwrap_or_default().to_vec(), partition.wanted.clone());
        is.sort();
        should.sort();
        short += usize::from(voters.is_some() && is != should);
        partitions.add_row([
            format!("g{}", partition.group),
            partition.leader.clone().unwrap_or("none known".to_owned()),
            voters.map_or("not here".to_owned(), |voters| voters.join(" ")),
            partition.wanted.join(" "),
            number(partition.term),
            size(partition.entries),
            size(partition.values),
        ]);
    }
    let moving = match short {
        0 => "every replica seen here is where it should be".to_owned(),
        n => format!("{n} partitions are not yet where they should be"),
    };
    let PartitionsView { node, version, level, .. } = view;
    format!(
        "as {node} sees it, version {version}, feature level {level}\n{nodes}\n{partitions}\n{moving}"
    )
}
