//! `hansom ring --partitions` and `hansom node drain`.

use super::{Asking, Door, ToolError, ask, print, tell};
use crate::cluster::ClusterView;
use crate::cluster::partitions::{PartitionView, PartitionsView};
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
    #[command(flatten)]
    pub door: Door,
}

/// `hansom node drain`.
pub async fn drain(args: DrainArgs) -> ExitCode {
    print::finish("hansom node drain", drained(args).await)
}

async fn drained(args: DrainArgs) -> Result<String, ToolError> {
    let verb = if args.undo { "activate" } else { "drain" };
    let path = format!("/v1/cluster/nodes/{}/{verb}", args.id);
    let _told: PartitionsView = tell(&args.door, &path).await?;
    let name = format!("n{}", args.id);
    if args.undo || args.no_wait {
        return Ok(format!("{name} is {}", if args.undo { "active" } else { "draining" }));
    }
    let (mut all, mut draining) = (0, false);
    let bar = indicatif::ProgressBar::new(1);
    loop {
        let Some(door) = door_of(&args.door, &name).await? else {
            bar.finish_and_clear();
            return Ok(format!("{name} is draining, and not up: others take its replicas over"));
        };
        match ask::<PartitionsView>(&door, "/v1/cluster/partitions", &[]).await {
            Ok(view) if view.node != name => {
                let problem = format!("{} answers there, not {name}; {}", view.node, ask_it(&name));
                return Err(ToolError::Refused { node: door.node, problem });
            }
            Ok(view) => {
                // It may hear of it a moment later.
                draining |= stands(&view, &name, "draining");
                if draining && !stands(&view, &name, "draining") {
                    let problem = format!("{name} drains no more: somebody has taken it back");
                    return Err(ToolError::Refused { node: door.node, problem });
                }
                let left = votes(&view, &name);
                all = all.max(left);
                bar.set_length(all as u64);
                bar.set_position((all - left) as u64);
                if left == 0 {
                    bar.finish_and_clear();
                    return Ok(format!("{name} holds no replica any more; stop it when you like"));
                }
            }
            Err(error @ ToolError::Unreachable { .. }) => bar.suspend(|| print::talk(error)),
            Err(error @ ToolError::Refused { .. }) => return Err(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where the node itself answers that is to leave; nothing if it is not up. Others know who votes only where
/// they have a replica too.
async fn door_of(asked: &Door, name: &str) -> Result<Option<Door>, ToolError> {
    let cluster: ClusterView = ask(asked, "/v1/cluster", &[]).await?;
    if cluster.node == name {
        return Ok(Some(asked.clone()));
    }
    let Some(leaver) = cluster.members.into_iter().find(|member| member.node == name) else {
        return Ok(None);
    };
    if asked.node.starts_with("https:") {
        let problem =
            format!("behind TLS nobody but {} can be asked; {}", cluster.node, ask_it(name));
        return Err(ToolError::Refused { node: asked.node.clone(), problem });
    }
    let node = format!("http://{}", leaver.http);
    Ok(Some(Door { node, bearer: asked.bearer.clone() }))
}

fn ask_it(name: &str) -> String {
    format!("the drain goes on: run this again with --node at {name}, or with --no-wait")
}

fn stands(view: &PartitionsView, name: &str, standing: &str) -> bool {
    view.nodes.iter().any(|node| node.node == name && node.standing == standing)
}

/// In how many partitions a node votes.
fn votes(view: &PartitionsView, name: &str) -> usize {
    let held = |p: &&PartitionView| {
        p.voters.as_ref().is_some_and(|voters| voters.iter().any(|voter| voter == name))
    };
    view.partitions.iter().filter(held).count()
}

/// `hansom ring --partitions`.
pub(super) async fn ring(asking: &Asking) -> ExitCode {
    let found = ask(&asking.door, "/v1/cluster/partitions", &[]).await;
    super::finish("hansom ring", asking, found, table)
}

fn table(view: &PartitionsView) -> String {
    let nodes = view.nodes.iter().map(|node| {
        let alive = if node.alive { "yes" } else { "no" };
        let (votes, level) = (node.votes_in.to_string(), node.level.to_string());
        [node.node.clone(), node.standing.clone(), alive.to_owned(), votes, level]
    });
    let nodes = print::list(["node", "standing", "alive", "votes in", "knows level"], nodes);
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let size = |n: Option<usize>| n.map_or_else(String::new, |n| n.to_string());
    let mut short = 0;
    let partitions = view.partitions.iter().map(|partition| {
        let voters = partition.voters.as_deref();
        let (mut is, mut should) = (voters.unwrap_or_default().to_vec(), partition.wanted.clone());
        is.sort();
        should.sort();
        short += usize::from(voters.is_some() && is != should);
        [
            format!("g{}", partition.group),
            partition.leader.clone().unwrap_or("none known".to_owned()),
            voters.map_or("not here".to_owned(), |voters| voters.join(" ")),
            partition.wanted.join(" "),
            number(partition.term),
            size(partition.entries),
            size(partition.values),
        ]
    });
    let header = ["partition", "leader", "voters", "should be", "term", "entries", "values"];
    let partitions = print::list(header, partitions);
    let moving = match short {
        0 => "every replica seen here is where it should be".to_owned(),
        n => format!("{n} partitions are not yet where they should be"),
    };
    let PartitionsView { node, version, level, .. } = view;
    format!(
        "as {node} sees it, version {version}, feature level {level}\n{nodes}\n{partitions}\n{moving}"
    )
}
