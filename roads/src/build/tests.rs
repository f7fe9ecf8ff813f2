//! The restrictions of Porto, read a second time without the builder, against the drives it allows.
//! Only where `HANSOM_DATA` says where the data are.

use super::{Survey, ordered, surveyed};
use crate::geometry::{between, metres};
use crate::report::Read;
use crate::roads::{Roads, Settings};
use crate::source::{Element, Format, MemberKind, read};
use indicatif::ProgressBar;
use proto::Point;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A turn that a sign forbids: on the way to the junction, the junction, and on the way from it.
struct Forbidden {
    before: Point,
    junction: Point,
    after: Point,
}

/// The plainest restrictions of a file: `no_*` at a node where both ways end, for everybody.
fn plain(path: &Path) -> Vec<Forbidden> {
    let bar = ProgressBar::hidden();
    let (mut nodes, mut ways, mut rules) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    read(path, Format::Pbf, &bar, &mut |element| match element {
        Element::Node { id, at, .. } => {
            nodes.insert(id, at);
        }
        Element::Way { id, refs, .. } => {
            ways.insert(id, refs.to_vec());
        }
        Element::Relation { members, tags } => {
            let no = tags.get("restriction").is_some_and(|value| value.starts_with("no_"));
            let all = ["except", "day_on", "hour_on"].iter().all(|key| tags.get(key).is_none());
            let of = |role: &str| -> Vec<_> {
                members.iter().filter(|it| it.role == role).map(|it| (it.kind, it.id)).collect()
            };
            if let ([(_, from)], [(MemberKind::Node, via)], [(_, to)]) =
                (&of("from")[..], &of("via")[..], &of("to")[..])
                && no
                && all
                && from != to
            {
                rules.push((*from, *via, *to));
            }
        }
    })
    .unwrap();
    let beside = |way: i64, via: i64| -> Option<Point> {
        let refs: &Vec<i64> = ways.get(&way)?;
        let at = match refs.as_slice() {
            [first, second, ..] if *first == via => second,
            [.., second, last] if *last == via => second,
            _ => return None,
        };
        nodes.get(at).copied()
    };
    let found = rules.iter().filter_map(|(from, via, to)| {
        let junction = *nodes.get(via)?;
        let (before, after) = (beside(*from, *via)?, beside(*to, *via)?);
        let halfway = |place| between(place, junction, 0.5);
        Some(Forbidden { before: halfway(before), junction, after: halfway(after) })
    });
    found.collect()
}

/// How many of the forbidden turns are driven, and how many could be looked at.
fn driven(roads: &Roads, forbidden: &[Forbidden]) -> (usize, usize) {
    let mut looked_at = 0;
    let turns = forbidden.iter().filter(|Forbidden { before, junction, after }| {
        let on_road = |place: &Point| roads.snap(*place).is_ok_and(|snap| snap.off_m == 0);
        if !on_road(before) || !on_road(after) {
            return false;
        }
        looked_at += 1;
        let straight_m = metres(*before, *junction) + metres(*junction, *after);
        let route = roads.route(*before, *after).unwrap();
        let over_it = route.stops.iter().any(|(_, place)| place == junction);
        over_it && route.length_m() < straight_m + 3.0
    });
    (turns.count(), looked_at)
}

#[test]
fn no_turn_that_a_sign_in_porto_forbids_is_driven() {
    let Some(data) = std::env::var_os("HANSOM_DATA").map(PathBuf::from) else {
        println!("HANSOM_DATA is not set: Porto's restrictions were not tried");
        return;
    };
    let path = data.join("osm/porto_portugal.osm.pbf");
    let forbidden = plain(&path);
    assert!(forbidden.len() > 100, "{}", forbidden.len());
    let bar = ProgressBar::hidden();
    let mut survey = Survey::of(&path, Format::Pbf, &bar, &mut Read::default()).unwrap();
    let roads = |survey: &Survey| {
        let (network, _) = surveyed(survey, false, Read::default()).unwrap();
        Roads::new(ordered(network), &Settings::default())
    };
    let (turned, looked_at) = driven(&roads(&survey), &forbidden);
    assert_eq!(turned, 0, "of {looked_at}");
    // And without its signs the same city would be driven that way.
    survey.rules.clear();
    let (turned, looked_at) = driven(&roads(&survey), &forbidden);
    println!(
        "{looked_at} forbidden turns looked at, {turned} of them driven where nothing forbids"
    );
    assert!(turned > 100, "{turned} of {looked_at}");
}
