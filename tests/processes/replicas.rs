//! Where the replicas of partitions are, as the nodes say, and whether they are equal.

use crate::client::Ask;
use crate::nodes::{Cluster, POLL, WITHIN, eventually, number, within};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// For how long replicas are compared when a test is over.
const AT_END: Duration = Duration::from_secs(1);

/// A partition as one node sees it.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) group: u64,
    pub(crate) leader: Option<u64>,
    pub(crate) wanted: Vec<u64>,
    /// Nothing from a node without a replica of it, here and below.
    voters: Option<Vec<u64>>,
    /// Up to which command, and the digest of the state there.
    state: Option<(u64, String)>,
}

impl Cluster {
    /// What a node says of each partition: its leader, where its replicas should be with the
    /// preferred leader first, and where they are.
    pub(crate) async fn partitions(&self, node: u64) -> Option<Vec<Partition>> {
        parse(&self.ask(node, "GET /v1/cluster/partitions").try_send().await?.json)
    }

    /// How many partitions each node leads, as the first that runs has heard.
    pub(crate) async fn leads(&self) -> BTreeMap<u64, usize> {
        let mut leads = BTreeMap::new();
        for partition in self.partitions(self.running()[0]).await.unwrap_or_default() {
            if let Some(leader) = partition.leader {
                *leads.entry(leader).or_default() += 1;
            }
        }
        leads
    }

    /// Waits until every partition has its replicas where they should be and is led by whom it
    /// should be, and every node knows: nothing moves any more.
    pub(crate) async fn spread(&self) {
        const TIMES: u32 = 3;
        for node in self.running() {
            let at_home = async || {
                let partitions = self.partitions(node).await?;
                let at_home = |partition: &Partition| {
                    let Partition { leader, wanted, voters, .. } = partition;
                    let leads = *leader == Some(node);
                    let set = |nodes: &[u64]| nodes.iter().copied().collect::<BTreeSet<_>>();
                    *leader == wanted.first().copied()
                        && (!leads || voters.as_ref().is_some_and(|v| set(v) == set(wanted)))
                };
                partitions.iter().all(at_home).then_some(())
            };
            let what = format!("node {node} sees every partition where it should be");
            within(WITHIN * TIMES, &what, at_home).await;
        }
    }

    /// Waits until every partition was seen with all replicas that run at one command. Replicas
    /// that have applied the same must be the same, here and on the way.
    pub(crate) async fn equal(&self) {
        let mut compared = Compared::default();
        eventually("every partition's replicas are at one command, and equal", async || {
            let mut said = Vec::new();
            for node in self.running() {
                said.push((node, self.partitions(node).await?));
            }
            compared.look(said).then_some(())
        })
        .await;
    }
}

/// What was compared so far.
#[derive(Default)]
struct Compared {
    /// The digest of each partition at each command, and on which node it was seen first.
    known: BTreeMap<(u64, u64), (u64, String)>,
    /// The partitions whose replicas were all seen at one command.
    together: BTreeSet<u64>,
}

impl Compared {
    /// Takes what nodes say now, fails if two differ, and says whether that was all.
    fn look(&mut self, said: Vec<(u64, Vec<Partition>)>) -> bool {
        let mut at: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        // Partitions that a node should hold, and has nothing of yet.
        let mut lacking = BTreeSet::new();
        for (node, partitions) in said {
            for Partition { group, state, wanted, .. } in partitions {
                let Some((applied, digest)) = state else {
                    lacking.extend(wanted.contains(&node).then_some(group));
                    continue;
                };
                at.entry(group).or_default().insert(applied);
                let first = self.known.entry((group, applied));
                let (theirs, other) = first.or_insert_with(|| (node, digest.clone()));
                assert_eq!(
                    digest, *other,
                    "partition {group} at {applied} differs on nodes {node} and {theirs}"
                );
            }
        }
        let at_one = |(group, applied): &(&u64, &BTreeSet<u64>)| {
            applied.len() == 1 && !lacking.contains(*group)
        };
        self.together.extend(at.iter().filter(at_one).map(|(group, _)| *group));
        let mut seen = at.keys().chain(&lacking);
        !at.is_empty() && seen.all(|group| self.together.contains(group))
    }
}

/// Compares what can be compared when a test is over, whatever it was about. Nodes may stand still.
pub(crate) fn compare_at_end(nodes: Vec<(u64, SocketAddr)>) {
    let comparing = async move {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut compared = Compared::default();
        loop {
            let mut said = Vec::new();
            for (node, at) in &nodes {
                let ask = Ask::new(&client, *at, "GET /v1/cluster/partitions");
                let answer = timeout(AT_END / 4, ask.try_send()).await.ok().flatten();
                said.extend(answer.and_then(|answer| Some((*node, parse(&answer.json)?))));
            }
            if compared.look(said) {
                return;
            }
            sleep(POLL).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // On a thread of its own: this one may be inside a runtime, which can't wait for another.
    let compared = std::thread::spawn(move || {
        let _ = runtime.block_on(async { timeout(AT_END, comparing).await });
    });
    compared.join().unwrap_or_else(|differ| resume_unwind(differ));
}

fn parse(view: &Value) -> Option<Vec<Partition>> {
    let nodes =
        |list: &Value| -> Option<Vec<u64>> { list.as_array()?.iter().map(number).collect() };
    let partition = |partition: &Value| {
        let voters = nodes(&partition["voters"]);
        // A replica without members was called into being by a late word, and holds nothing.
        // One of group 0 holds nothing before it was told how the cluster was founded.
        let founded = partition["group"] != 0 || partition["values"] != 0;
        let holds = founded && voters.as_ref().is_some_and(|voters| !voters.is_empty());
        let digest = partition["digest"].as_str().map(ToOwned::to_owned);
        Some(Partition {
            group: partition["group"].as_u64()?,
            leader: number(&partition["leader"]),
            wanted: nodes(&partition["wanted"])?,
            voters,
            state: partition["applied"].as_u64().zip(digest).filter(|_| holds),
        })
    };
    view["partitions"].as_array()?.iter().map(partition).collect()
}
