//! Turn restrictions as relations say them (<https://wiki.openstreetmap.org/wiki/Relation:restriction>).

use crate::source::{Member, MemberKind, Tags};

/// The vehicles that we are, from the most particular.
const KEYS: [&str; 3] = ["restriction:motorcar", "restriction:motor_vehicle", "restriction"];
/// Words in `except` that free us.
const US: [&str; 3] = ["motorcar", "motor_vehicle", "vehicle"];

/// Which way a rule says one turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Left,
    Right,
    Straight,
    U,
    /// Any, as `no_entry`, `no_exit`.
    Any,
}

/// Through what it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Via {
    /// One junction, by the node's id.
    Node(i64),
    /// Ways, by their ids, in no particular order.
    Ways(Vec<i64>),
}

/// One restriction, in ids of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Whether nothing else is allowed (`only_*`), or this is not (`no_*`).
    pub(crate) only: bool,
    pub(crate) turn: Turn,
    pub(crate) from: Vec<i64>,
    pub(crate) via: Via,
    pub(crate) to: Vec<i64>,
}

/// Why a restriction says nothing to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Void {
    /// It is for lorries, buses, ..., or makes an exception for cars.
    OtherVehicles,
    /// It holds at certain hours only.
    AtTimes,
    /// Members are missing, or the value is unknown.
    Malformed,
}

/// The restriction that a relation is, if it is one.
pub(crate) fn rule(tags: &Tags<'_>, members: &[Member<'_>]) -> Option<Result<Rule, Void>> {
    let kind = tags.get("type")?;
    (kind == "restriction" || kind.starts_with("restriction:")).then(|| read(tags, members))
}

fn read(tags: &Tags<'_>, members: &[Member<'_>]) -> Result<Rule, Void> {
    let Some(value) = tags.first(&KEYS) else {
        let some = |end: &str| {
            tags.0.iter().any(|(key, _)| key.starts_with("restriction") && key.ends_with(end))
        };
        let why = if some(":conditional") { Void::AtTimes } else { Void::OtherVehicles };
        return Err(if some("") { why } else { Void::Malformed });
    };
    if tags.first(&["day_on", "hour_on"]).is_some() {
        return Err(Void::AtTimes);
    }
    let freed = tags.get("except").unwrap_or_default();
    if freed.split([';', ',']).any(|word| US.contains(&word.trim())) {
        return Err(Void::OtherVehicles);
    }
    let (only, turn) = match value.split_once('_') {
        Some(("no", turn)) => (false, turn),
        Some(("only", turn)) => (true, turn),
        _ => return Err(Void::Malformed),
    };
    let turn = match turn {
        "left_turn" => Turn::Left,
        "right_turn" => Turn::Right,
        "straight_on" => Turn::Straight,
        "u_turn" => Turn::U,
        "entry" | "exit" => Turn::Any,
        _ => return Err(Void::Malformed),
    };
    let all = |role: &str, kind: MemberKind| -> Vec<i64> {
        let fits = |member: &&Member<'_>| member.role == role && member.kind == kind;
        members.iter().filter(fits).map(|member| member.id).collect()
    };
    let (from, to) = (all("from", MemberKind::Way), all("to", MemberKind::Way));
    let (nodes, ways) = (all("via", MemberKind::Node), all("via", MemberKind::Way));
    let via = match (nodes.as_slice(), ways.is_empty()) {
        ([node], true) => Via::Node(*node),
        ([], false) => Via::Ways(ways),
        _ => return Err(Void::Malformed),
    };
    let many = from.len() > 1 || to.len() > 1;
    if from.is_empty() || to.is_empty() || (many && only) {
        return Err(Void::Malformed);
    }
    Ok(Rule { only, turn, from, via, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(
        tags: &[(&str, &str)],
        roles: &[(MemberKind, i64, &str)],
    ) -> Option<Result<Rule, Void>> {
        let members: Vec<_> =
            roles.iter().map(|(kind, id, role)| Member { kind: *kind, id: *id, role }).collect();
        rule(&Tags(tags.to_vec()), &members)
    }

    const MEMBERS: [(MemberKind, i64, &str); 3] =
        [(MemberKind::Way, 1, "from"), (MemberKind::Node, 2, "via"), (MemberKind::Way, 3, "to")];

    #[test]
    fn a_rule_is_for_us_unless_it_says_otherwise() {
        for (tags, expected) in [
            (&[("restriction", "no_left_turn")][..], Ok((false, Turn::Left))),
            (&[("restriction", "only_straight_on")], Ok((true, Turn::Straight))),
            (
                &[("restriction:motorcar", "no_u_turn"), ("restriction", "no_left_turn")],
                Ok((false, Turn::U)),
            ),
            (&[("restriction:hgv", "no_left_turn")], Err(Void::OtherVehicles)),
            (&[("restriction", "no_left_turn"), ("except", "psv")], Ok((false, Turn::Left))),
            (
                &[("restriction", "no_left_turn"), ("except", "psv;motorcar")],
                Err(Void::OtherVehicles),
            ),
            (&[("restriction:conditional", "no_left_turn @ (07:00-09:00)")], Err(Void::AtTimes)),
            (&[("restriction", "no_left_turn"), ("hour_on", "07:00")], Err(Void::AtTimes)),
            (&[("restriction", "no_hovering")], Err(Void::Malformed)),
        ] {
            let all = [&[("type", "restriction")], tags].concat();
            let got = parse(&all, &MEMBERS).unwrap().map(|rule| (rule.only, rule.turn));
            assert_eq!(got, expected, "{tags:?}");
        }
        assert_eq!(parse(&[("type", "route")], &MEMBERS), None);
    }

    #[test]
    fn members_must_make_a_way_through() {
        let tags = [("type", "restriction"), ("restriction", "no_left_turn")];
        assert_eq!(parse(&tags, &MEMBERS[..2]), Some(Err(Void::Malformed)));
        let ways = [
            (MemberKind::Way, 1, "from"),
            (MemberKind::Way, 7, "via"),
            (MemberKind::Way, 8, "via"),
            (MemberKind::Way, 3, "to"),
        ];
        let rule = parse(&tags, &ways).unwrap().unwrap();
        assert_eq!(rule.via, Via::Ways(vec![7, 8]));
        let both = [&ways[..], &MEMBERS[1..2]].concat();
        assert_eq!(parse(&tags, &both), Some(Err(Void::Malformed)));
    }
}
