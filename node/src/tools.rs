//! The commands that ask a running node, `hansom ring`, `hansom lookup`, `hansom policy`, `hansom
//! zones`, `hansom node drain` and `hansom client`, and those that ask a data directory, `hansom ledger`.

pub mod client;
pub mod offline;
mod partitions;
mod policy;
pub(crate) mod print;
pub mod token;
mod zones;

pub use partitions::{Action, DrainArgs, drain};
pub use policy::{PolicyArgs, policy};
pub use zones::{ZonesArgs, zones};

use crate::cluster::{ClusterView, LookupView};
use crate::config::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

/// How long a node may take to answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Split cells that are listed; a hundred lines are no answer.
const SPLITS_SHOWN: usize = 40;

/// Which node is asked, and how its answer is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Asking {
    #[command(flatten)]
    pub door: Door,
    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Where a node answers, and as whom it is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Door {
    /// Any node of the cluster; of several, separated by commas, the first is asked.
    #[arg(long, env = "HANSOM_NODE", default_value = "http://127.0.0.1:8001", value_name = "URL")]
    pub node: String,
    #[command(flatten)]
    pub bearer: Bearer,
}

/// As whom something is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Bearer {
    /// A bearer token, where the cluster wants one (`hansom token --help`).
    #[arg(
        long,
        env = "HANSOM_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = secret,
        global = true
    )]
    pub token: Option<Secret>,
}

impl Bearer {
    /// The token; an empty one is none.
    fn text(&self) -> Option<&str> {
        self.token.as_ref().map(|Secret(text)| text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Takes anything: a refusal by clap would show it.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Who is in the cluster, who owns how much of it, and under which versions.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom ring
  hansom ring --partitions
  hansom ring --node http://10.0.0.5:8001 --json")]
pub struct RingArgs {
    /// Show each partition: who leads it, where its replicas are and where they should be.
    #[arg(long)]
    pub partitions: bool,
    #[command(flatten)]
    pub asking: Asking,
}

/// Where an id or a coordinate lives.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom lookup bkg_0G06NWT0CBSZJPG0000000001A
  hansom lookup 40.7580,-73.9855
  hansom lookup -- -33.8688,151.2093    (a latitude that begins with a minus)")]
pub struct LookupArgs {
    /// An id (bkg_, trp_, off_, drv_, rdr_, zon_) or lat,lng.
    #[arg(allow_hyphen_values = true)]
    pub key: String,
    #[command(flatten)]
    pub asking: Asking,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    #[error("{node} does not answer; is it running, and is --node right? ({source})")]
    Unreachable { node: String, source: reqwest::Error },
    #[error("{node} refuses: {problem}")]
    Refused { node: String, problem: String },
}

/// `hansom ring`.
pub async fn ring(args: RingArgs) -> ExitCode {
    if args.partitions {
        return partitions::ring(&args.asking).await;
    }
    let found: Result<ClusterView, ToolError> = ask(&args.asking.door, "/v1/cluster", &[]).await;
    finish("hansom ring", &args.asking, found, ring_table)
}

/// `hansom lookup`.
pub async fn lookup(args: LookupArgs) -> ExitCode {
    let query = [("key", args.key.as_str())];
    let found: Result<LookupView, ToolError> =
        ask(&args.asking.door, "/v1/cluster/lookup", &query).await;
    finish("hansom lookup", &args.asking, found, lookup_table)
}

async fn ask<T: DeserializeOwned>(
    door: &Door,
    path: &str,
    query: &[(&str, &str)],
) -> Result<T, ToolError> {
    exchange(door, reqwest::Method::GET, path, query, None).await
}

async fn tell<T: DeserializeOwned>(door: &Door, path: &str) -> Result<T, ToolError> {
    exchange(door, reqwest::Method::POST, path, &[], None).await
}

async fn exchange<T: DeserializeOwned>(
    door: &Door,
    method: reqwest::Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<serde_json::Value>,
) -> Result<T, ToolError> {
    let node = door.node.split(',').next().unwrap_or_default().to_owned();
    let unreachable = |source| ToolError::Unreachable { node: node.clone(), source };
    let client = reqwest::Client::builder().timeout(WITHIN).build().map_err(unreachable)?;
    let url = format!("{}{path}", node.trim_end_matches('/'));
    let mut request = client.request(method, url).query(query);
    if let Some(token) = door.bearer.text() {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.map_err(unreachable)?;
    if response.status().is_success() {
        return response.json().await.map_err(unreachable);
    }
    let status = response.status();
    let body: serde_json::Value = response.json().await.unwrap_or_default();
    let problem = body["detail"].as_str().map_or(status.to_string(), ToOwned::to_owned);
    let next = if status == 401 { "; --token or HANSOM_TOKEN is where to put it" } else { "" };
    Err(ToolError::Refused { node, problem: format!("{problem}{next}") })
}

fn finish<T: Serialize>(
    command: &str,
    asking: &Asking,
    found: Result<T, ToolError>,
    table: impl FnOnce(&T) -> String,
) -> ExitCode {
    let shown = found.map_err(|error| error.to_string()).and_then(|found| {
        if asking.json {
            serde_json::to_string_pretty(&found).map_err(|error| error.to_string())
        } else {
            Ok(table(&found))
        }
    });
    print::finish(command, shown)
}

fn ring_table(view: &ClusterView) -> String {
    let header = [
        "member",
        "generation",
        "share of ring",
        "partitions",
        "peer",
        "http",
        "zone",
        "knows level",
    ];
    let rows = view.members.iter().map(|member| {
        [
            member.node.clone(),
            member.generation.to_string(),
            format!("{:.1} %", member.share_of_ring * 100.0),
            member.groups.len().to_string(),
            member.peer.clone(),
            member.http.clone(),
            member.zone.clone(),
            member.level.map_or(String::new(), |level| level.to_string()),
        ]
    });
    let members = print::list(header, rows);
    let known = |n: Option<u16>| n.map_or("not yet known".to_owned(), |n| n.to_string());
    let (partitions, level) = (known(view.partitions), known(view.level));
    let ready = if view.ready { "ready" } else { "not ready" };
    let splits = split_table(view);
    format!(
        "cluster {}, as {} sees it ({ready})\n{members}\npartitions {partitions} · feature level {level} · ring {} · split table {}{splits}",
        view.cluster, view.node, view.ring_version, view.split_version
    )
}

/// The cells that are split and why, below the rest; nothing if none is.
fn split_table(view: &ClusterView) -> String {
    if view.splits.is_empty() {
        return String::new();
    }
    let per_second = |n: Option<u64>| n.map_or("configured".to_owned(), |n| format!("{n}/s"));
    let rows = view.splits.iter().take(SPLITS_SHOWN).map(|split| {
        let resolution = format!("r{}", split.resolution);
        [split.cell.clone(), resolution, per_second(split.load), per_second(split.limit)]
    });
    let list = print::list(["split cell", "resolution", "carried", "more than"], rows);
    let more = view.splits.len().saturating_sub(SPLITS_SHOWN);
    let rest = if more > 0 { format!("\nand {more} more") } else { String::new() };
    format!("\n{list}{rest}")
}

fn lookup_table(found: &LookupView) -> String {
    print::record([
        ("key", Some(found.key.clone())),
        ("kind", Some(found.kind.clone())),
        ("slot", found.slot.map(|slot| slot.to_string())),
        ("partition", found.group.map(|group| format!("g{group}"))),
        ("ring key", found.ring_key.clone()),
        ("owner", Some(found.owner.clone().unwrap_or("not yet known".to_owned()))),
        ("address", Some(found.address.clone().unwrap_or("down".to_owned()))),
    ])
}
