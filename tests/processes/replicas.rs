//! Where the replicas of partitions are, as the nodes say, and whether they are equal.

use crate::nodes::{Cluster, WITHIN, eventually, number, within};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A partition as one node sees it.
#[derive(Debug)]
pub(crate) struct Partition {
    group: u64,
    pub(crate) leader: Option<u64>,
    wanted: Vec<u64>,
    /// Nothing from a node without a replica of it, here and below.
    voters: Option<Vec<u64>>,
    /// Up to which command, and the digest of the state there.
    state: Option<(u64, String)>,
}

impl Cluster {
    /// What a node says of each partition: its leader, where its replicas should be with the
    /// preferred leader first, and where they are.
    pub(crate) async fn partitions(&self, node: u64) -> Option<Vec<Partition>> {
        let view = self.ask(node, "GET /v1/cluster/partitions").try_send().await?;
        let nodes =
            |list: &Value| -> Option<Vec<u64>> { list.as_array()?.iter().map(number).collect() };
        let partitions = view.json["partitions"].as_array()?.iter();
        let partition = |partition: &Value| {
            let digest = partition["digest"].as_str().map(ToOwned::to_owned);
            Some(Partition {
                group: partition["group"].as_u64()?,
                leader: number(&partition["leader"]),
                wanted: nodes(&partition["wanted"])?,
                voters: nodes(&partition["voters"]),
                state: partition["applied"].as_u64().zip(digest),
            })
        };
        partitions.map(partition).collect()
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
        let running = self.running();
        let mut together: BTreeSet<u64> = BTreeSet::new();
        let mut known: BTreeMap<(u64, u64), (u64, String)> = BTreeMap::new();
        eventually("every partition's replicas are at one command, and equal", async || {
            let mut at: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
            for node in &running {
                for Partition { group, state, .. } in self.partitions(*node).await? {
                    let Some((applied, digest)) = state else { continue };
                    at.entry(group).or_default().insert(applied);
                    let first = known.entry((group, applied));
                    let (other, theirs) = first.or_insert((*node, digest.clone()));
                    assert_eq!(
                        digest, *theirs,
                        "partition {group} at {applied} differs on nodes {node} and {other}"
                    );
                }
            }
            #[expect(clippy::print_stderr, reason="x")]
            {eprintln!("{:?}", at.iter().filter(|(g, a)| a.len() > 1 && !together.contains(g)).collect::<Vec<_>>());}
            let at_one = at.iter().filter(|(_, applied)| applied.len() == 1);
            together.extend(at_one.map(|(group, _)| *group));
            (!at.is_empty() && at.keys().all(|group| together.contains(group))).then_some(())
        })
        .await;
    }
}
