//! The facts a member gossips about itself, as text under short keys.

use crate::config::NAME_LEN_MAX;
use crate::foundation::Foundation;
use crate::member::Member;
use crate::ring::WEIGHT_MAX;
use proto::NodeId;

const PEER: &str = "peer";
const HTTP: &str = "http";
const ZONE: &str = "zone";
/// How much of the ring it takes; said again when that changes.
pub(crate) const WEIGHT: &str = "weight";
const VERSION: &str = "version";
/// The split table's version; said again when that changes.
pub(crate) const SPLIT: &str = "split";
/// The initial nodes and the number of partitions; absent until a joiner has learned them.
pub(crate) const FOUNDATION: &str = "foundation";
/// Present once a member has said goodbye.
pub(crate) const LEFT: &str = "left";

/// A live process as gossip shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// What it says of itself.
    pub(crate) member: Member,
    /// The foundation it stands on, if it knows one.
    pub(crate) foundation: Option<Foundation>,
    /// Whether it has said goodbye.
    pub(crate) left: bool,
}

/// What a member says when it starts.
pub(crate) fn announce(me: &Member, foundation: Option<&Foundation>) -> Vec<(String, String)> {
    let Member { id: _, generation: _, peer, http, zone, weight, version, split_version } = me;
    let mut facts = vec![
        (PEER.to_owned(), peer.to_string()),
        (HTTP.to_owned(), http.to_string()),
        (ZONE.to_owned(), zone.clone()),
        (WEIGHT.to_owned(), weight.to_string()),
        (VERSION.to_owned(), version.clone()),
        (SPLIT.to_owned(), split_version.to_string()),
    ];
    facts.extend(foundation.map(|known| (FOUNDATION.to_owned(), known.to_string())));
    facts
}

/// Reads a member's facts; none while they have not all arrived, or if they make no sense.
pub(crate) fn read<'a>(
    id: NodeId,
    generation: u64,
    fact: impl Fn(&str) -> Option<&'a str>,
) -> Option<Sighting> {
    let name = |key| fact(key).filter(|text| text.len() <= NAME_LEN_MAX).map(str::to_owned);
    let member = Member {
        id,
        generation,
        peer: fact(PEER)?.parse().ok()?,
        http: fact(HTTP)?.parse().ok()?,
        zone: name(ZONE)?,
        weight: fact(WEIGHT)?.parse().ok().filter(|weight| *weight <= WEIGHT_MAX)?,
        version: name(VERSION)?,
        split_version: fact(SPLIT)?.parse().ok()?,
    };
    let foundation = match fact(FOUNDATION) {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some(Sighting { member, foundation, left: fact(LEFT).is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::almost::almost;
    use std::collections::{BTreeMap, BTreeSet};

    fn member() -> Member {
        Member {
            id: NodeId(4),
            generation: 9,
            peer: "127.0.0.1:7104".parse().unwrap(),
            http: "[::1]:8104".parse().unwrap(),
            zone: "a".to_owned(),
            weight: 2,
            version: "0.1.0".to_owned(),
            split_version: 77,
        }
    }

    fn facts() -> BTreeMap<String, String> {
        let foundation =
            Foundation { initial: BTreeSet::from([NodeId(1), NodeId(2)]), partitions: 64 };
        announce(&member(), Some(&foundation)).into_iter().collect()
    }

    fn read_from(facts: &BTreeMap<String, String>) -> Option<Sighting> {
        read(NodeId(4), 9, |key| facts.get(key).map(String::as_str))
    }

    #[test]
    fn what_is_announced_is_read() {
        let seen = read_from(&facts()).unwrap();
        assert_eq!(seen.member, member());
        assert_eq!(seen.foundation.unwrap().to_string(), "64:1,2");
        assert!(!seen.left);
    }

    #[test]
    fn a_member_with_a_fact_missing_is_not_seen() {
        for missing in [PEER, HTTP, ZONE, WEIGHT, VERSION, SPLIT] {
            let mut facts = facts();
            facts.remove(missing);
            assert_eq!(read_from(&facts), None, "{missing}");
        }
    }

    #[test]
    fn a_member_with_a_senseless_fact_is_not_seen() {
        let long = "z".repeat(NAME_LEN_MAX + 1);
        let bad = [(PEER, "nowhere"), (WEIGHT, "17"), (WEIGHT, "-1"), (ZONE, &long), (SPLIT, "")];
        let founded = [(FOUNDATION, "0:1"), (FOUNDATION, "64:"), (FOUNDATION, "64")];
        for (key, value) in bad.into_iter().chain(founded) {
            let mut facts = facts();
            facts.insert(key.to_owned(), value.to_owned());
            assert_eq!(read_from(&facts), None, "{key}={value}");
        }
    }

    #[test]
    fn a_joiner_without_a_foundation_and_a_leaver_are_seen_as_such() {
        let mut facts = facts();
        facts.remove(FOUNDATION);
        facts.insert(LEFT.to_owned(), "1".to_owned());
        let seen = read_from(&facts).unwrap();
        assert_eq!((seen.foundation, seen.left), (None, true));
    }

    #[test]
    fn fuzz_facts() {
        let texts = facts().into_values().map(String::into_bytes).collect();
        let some =
            (proptest::sample::select(facts().into_keys().collect::<Vec<_>>()), almost(texts));
        proptest!(|(changed in proptest::collection::vec(some, 1..4))| {
            let mut facts = facts();
            for (key, value) in changed {
                facts.insert(key, String::from_utf8_lossy(&value).into_owned());
            }
            // What is believed is what would be announced again.
            if let Some(Sighting { member, foundation, .. }) = read_from(&facts) {
                let again: BTreeMap<String, String> =
                    announce(&member, foundation.as_ref()).into_iter().collect();
                let again = read_from(&again).map(|seen| (seen.member, seen.foundation));
                prop_assert_eq!(again, Some((member, foundation)));
            }
        });
    }
}
