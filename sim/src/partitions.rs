//! Where the replicas of partitions are, as the nodes say (`GET /v1/cluster/partitions`), and what
//! is missing. A leader knows its group's members best, so its word counts, and among those who
//! say that they lead, the one of the highest term: a deposed leader may not know it yet.

mod equal;

pub(crate) use equal::Equality;

use crate::client::Client;
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// How long a node may take to say what it knows.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A voter that has applied all but so many of its leader's entries counts as caught up: the two
/// were asked one after the other, and the load goes on.
const LAG_MAX: u64 = 128;

/// What one node says of one partition. The lower four are known to those alone that hold a
/// replica of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Partition {
    pub(crate) group: u16,
    pub(crate) leader: Option<String>,
    #[serde(default)]
    pub(crate) wanted: Vec<String>,
    pub(crate) term: Option<u64>,
    pub(crate) voters: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) applied: Option<u64>,
    /// Of the state after that.
    #[serde(default)]
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    partitions: Vec<Partition>,
}

/// Why a partition is not whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nobody leads it.
    NoLeader,
    /// Its voters are not those that it should have.
    Members {
        /// Who votes.
        voters: Vec<String>,
        /// Who should.
        wanted: Vec<String>,
    },
    /// It should have more voters than anybody wants.
    Few {
        /// How many are wanted.
        wanted: usize,
    },
    /// A voter does not run.
    Dead(String),
    /// A voter says nothing, or does not know that it votes.
    Silent(String),
    /// A voter has not caught up.
    Lags(String),
}

/// A partition that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lacking {
    /// Which.
    pub group: u16,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}: ", self.group)?;
        match &self.why {
            Why::NoLeader => f.write_str("nobody leads it"),
            Why::Members { voters, wanted } => {
                write!(f, "votes {}, wanted {}", voters.join(" "), wanted.join(" "))
            }
            Why::Few { wanted } => write!(f, "only {wanted} voters are wanted"),
            Why::Dead(node) => write!(f, "{node} votes and is dead"),
            Why::Silent(node) => write!(f, "{node} votes and says nothing of it"),
            Why::Lags(node) => write!(f, "{node} has not caught up"),
        }
    }
}

/// All partitions, from the words of all nodes that were asked.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    /// What each node said.
    said: BTreeMap<String, BTreeMap<u16, Partition>>,
}

impl Partitions {
    /// Asks these nodes, by door and name, all at once.
    pub(crate) async fn ask(client: &Client, nodes: &[(SocketAddr, String)]) -> Self {
        let asked = stream::iter(nodes).map(|(door, name)| async move {
            let text = timeout(ANSWER_WITHIN, client.text_at(*door, "/v1/cluster/partitions"));
            let answer: Answer = serde_json::from_str(&text.await.ok()?.ok()?).ok()?;
            Some((name.clone(), answer.partitions))
        });
        let said: Vec<_> = asked.buffer_unordered(nodes.len().max(1)).collect().await;
        Self::of(said.into_iter().flatten())
    }

    fn of(said: impl IntoIterator<Item = (String, Vec<Partition>)>) -> Self {
        let by_group = |partitions: Vec<Partition>| {
            partitions.into_iter().map(|partition| (partition.group, partition)).collect()
        };
        let said = said.into_iter().map(|(name, partitions)| (name, by_group(partitions)));
        Self { said: said.collect() }
    }

    /// All groups that anybody named.
    pub(crate) fn groups(&self) -> BTreeSet<u16> {
        self.said.values().flat_map(|partitions| partitions.keys().copied()).collect()
    }

    /// Who leads a group, by his own word, and that word.
    fn leader(&self, group: u16) -> Option<(&str, &Partition)> {
        let claims = self.said.iter().filter_map(|(name, partitions)| {
            let word = partitions.get(&group)?;
            (word.leader.as_deref() == Some(name)).then_some((name.as_str(), word))
        });
        claims.max_by_key(|(_, word)| word.term)
    }

    /// The groups that a node leads; group 0, of which no client asks anything, is left out.
    pub(crate) fn led_by(&self, node: &str) -> Vec<u16> {
        let groups = self.groups().into_iter().filter(|group| *group != 0);
        groups.filter(|g| self.leader(*g).is_some_and(|(name, _)| name == node)).collect()
    }

    /// Whether a node votes anywhere, or should, by the words of those who lead.
    pub(crate) fn holds(&self, node: &str) -> bool {
        let is_it = |other: &String| other == node;
        self.groups().into_iter().filter_map(|group| self.leader(group)).any(|(_, word)| {
            word.wanted.iter().any(is_it) || word.voters.iter().flatten().any(is_it)
        })
    }

    /// Every partition that has not `replicas` living, caught-up voters, and just those that it
    /// should have. `living` are the names of the nodes that run.
    pub(crate) fn lacking(&self, living: &BTreeSet<String>, replicas: usize) -> Vec<Lacking> {
        let groups = self.groups();
        if groups.is_empty() {
            return vec![Lacking { group: 0, why: Why::NoLeader }];
        }
        let lack = |group| Some(Lacking { group, why: self.why(group, living, replicas)? });
        groups.into_iter().filter_map(lack).collect()
    }

    fn why(&self, group: u16, living: &BTreeSet<String>, replicas: usize) -> Option<Why> {
        let Some((_, word)) = self.leader(group) else { return Some(Why::NoLeader) };
        let voters: BTreeSet<&String> = word.voters.iter().flatten().collect();
        if let Some(dead) = voters.iter().find(|voter| !living.contains(**voter)) {
            return Some(Why::Dead((*dead).clone()));
        }
        if voters != word.wanted.iter().collect() {
            let voters = voters.into_iter().cloned().collect();
            return Some(Why::Members { voters, wanted: word.wanted.clone() });
        }
        if voters.len() < replicas {
            return Some(Why::Few { wanted: voters.len() });
        }
        voters.into_iter().find_map(|voter| {
            let own = self.said.get(voter).and_then(|partitions| partitions.get(&group));
            let Some(own) = own.filter(|own| own.voters.is_some()) else {
                return Some(Why::Silent(voter.clone()));
            };
            let behind = word.applied.unwrap_or(0).saturating_sub(own.applied.unwrap_or(0));
            (behind > LAG_MAX || own.term < word.term).then(|| Why::Lags(voter.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(nodes: &[&str]) -> Vec<String> {
        nodes.iter().map(|node| (*node).to_owned()).collect()
    }

    /// What a replica says of group 7.
    fn says(leader: &str, term: u64, voters: &[&str], applied: u64) -> Vec<Partition> {
        vec![Partition {
            group: 7,
            leader: Some(leader.into()),
            wanted: names(&["n2", "n1", "n3"]),
            term: Some(term),
            voters: Some(names(voters)),
            applied: Some(applied),
            digest: None,
        }]
    }

    const ALL: [&str; 3] = ["n1", "n2", "n3"];

    fn judged(said: [(&str, Vec<Partition>); 3], living: &[&str]) -> Vec<Why> {
        let said = Partitions::of(said.map(|(name, partitions)| (name.to_owned(), partitions)));
        let living = names(living).into_iter().collect();
        said.lacking(&living, 3).into_iter().map(|lacking| lacking.why).collect()
    }

    fn healthy() -> [(&'static str, Vec<Partition>); 3] {
        ALL.map(|node| (node, says("n2", 5, &ALL, 900)))
    }

    #[test]
    fn three_living_voters_who_agree_are_whole() {
        assert_eq!(judged(healthy(), &ALL), []);
    }

    #[test]
    fn each_lack_is_named() {
        assert_eq!(judged(healthy(), &["n1", "n2"]), [Why::Dead("n3".into())]);
        let mut lagging = healthy();
        lagging[2].1 = says("n2", 5, &ALL, 900 - LAG_MAX - 1);
        assert_eq!(judged(lagging, &ALL), [Why::Lags("n3".into())]);
        let mut silent = healthy();
        silent[0].1.clear();
        assert_eq!(judged(silent, &ALL), [Why::Silent("n1".into())]);
        let two = ALL.map(|node| (node, says("n2", 5, &ALL[..2], 900)));
        assert!(matches!(judged(two, &ALL)[..], [Why::Members { .. }]));
        let unled = ALL.map(|node| (node, says("n4", 5, &ALL, 900)));
        assert_eq!(judged(unled, &ALL), [Why::NoLeader]);
        let nothing = ALL.map(|node| (node, vec![]));
        assert_eq!(judged(nothing, &ALL), [Why::NoLeader], "who knows nothing is not whole");
    }

    #[test]
    fn fewer_voters_than_replicas_are_few_even_if_nobody_wants_more() {
        let one = Partition { wanted: names(&["n2"]), ..says("n2", 5, &["n2"], 1).remove(0) };
        let said = Partitions::of([("n2".to_owned(), vec![one])]);
        let living = names(&ALL).into_iter().collect();
        assert_eq!(said.lacking(&living, 3)[0].why, Why::Few { wanted: 1 });
        assert_eq!(said.lacking(&living, 1), []);
    }

    #[test]
    fn a_deposed_leader_is_not_believed() {
        let mut said = healthy();
        said[0].1 = says("n1", 4, &ALL, 900);
        assert_eq!(judged(said.clone(), &ALL), [Why::Lags("n1".into())]);
        let said = Partitions::of(said.map(|(name, partitions)| (name.to_owned(), partitions)));
        assert_eq!((said.led_by("n2"), said.led_by("n1")), (vec![7], vec![]));
    }

    #[test]
    fn the_contract_is_read() {
        let text = r#"{"node":"n1","partitions":[
            {"group":1,"leader":"n2","term":5,"wanted":["n2"],"voters":["n2"],"learners":[]},
            {"group":2,"leader":null,"wanted":["n2"],"term":null,"voters":null,"learners":null}]}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.partitions[0].voters, Some(names(&["n2"])));
        assert_eq!((answer.partitions[1].term, answer.partitions[1].applied), (None, None));
    }
}
