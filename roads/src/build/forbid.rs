//! Turn restrictions as sequences of edges that must not be driven one after the other.
//!
//! `no_*` forbids one sequence: the edge of `from` that reaches the junction and the edge of `to`
//! that leaves it, with the edges of the `via` ways between. `only_*` forbids, after each edge of
//! its sequence but the last, everything else: who comes from `from` must follow `via` to `to`.

use super::grid::Grid;
use super::rules::{Rule, Turn, Via};
use super::survey::Survey;
use crate::geometry::{bearing_deg, length_m, number, turn_deg};
use crate::report::Read;
use proto::Point;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A rule leads through no more edges than this; it bounds the search through its ways.
const THROUGH_MAX: usize = 64;
/// A direction is taken over this much of a line, so that a kink at its end does not mislead.
const HEADING_M: f64 = 15.0;

/// Edges in a row that are forbidden; two at least.
pub(crate) type Sequence = Vec<u32>;

/// Why a rule has no effect here.
enum Idle {
    NotStreets,
    Impossible,
    Ambiguous,
}

/// All that a survey's rules forbid on its grid.
pub(crate) fn sequences(survey: &Survey, grid: &Grid, read: &mut Read) -> BTreeSet<Sequence> {
    let mut by_way: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for edge in 0..number(grid.edges.len()) {
        by_way.entry(grid.way(edge)).or_default().push(edge);
    }
    let mut forbidden = BTreeSet::new();
    for rule in &survey.rules {
        let known = |ways: &[i64]| ways.iter().all(|way| by_way.contains_key(way));
        let found = if known(&rule.from) && known(&rule.to) {
            match &rule.via {
                Via::Node(id) => at_node(rule, survey.node(*id), grid),
                Via::Ways(ways) if known(ways) => through(rule, ways, grid, &by_way),
                Via::Ways(_) => Err(Idle::NotStreets),
            }
        } else {
            Err(Idle::NotStreets)
        };
        let before = forbidden.len();
        match found {
            Ok(paths) => {
                for path in paths {
                    if rule.only {
                        all_else(&path, grid, &mut forbidden);
                    } else {
                        forbidden.insert(path);
                    }
                }
                // Only, where there is nothing else; or said twice.
                if forbidden.len() == before {
                    read.restrictions.already_impossible += 1;
                } else {
                    read.restrictions.effective += 1;
                    let through = matches!(rule.via, Via::Ways(_));
                    read.restrictions.through_ways += u64::from(through);
                }
            }
            Err(Idle::NotStreets) => read.restrictions.not_streets += 1,
            Err(Idle::Impossible) => read.restrictions.already_impossible += 1,
            Err(Idle::Ambiguous) => read.restrictions.ambiguous += 1,
        }
    }
    forbidden
}

/// What a rule at a junction names.
fn at_node(rule: &Rule, junction: Option<u32>, grid: &Grid) -> Result<Vec<Sequence>, Idle> {
    let Some(junction) = junction else { return Err(Idle::NotStreets) };
    let into: Vec<u32> = grid.into(junction).to_vec();
    let out: Vec<u32> = grid.out(junction).to_vec();
    let mut paths = Vec::new();
    for from in &rule.from {
        for to in &rule.to {
            let from: Vec<u32> =
                into.iter().copied().filter(|edge| grid.way(*edge) == *from).collect();
            let to: Vec<u32> = out.iter().copied().filter(|edge| grid.way(*edge) == *to).collect();
            if from.is_empty() || to.is_empty() {
                continue;
            }
            paths.extend(pair(rule.turn, &from, &to, grid)?);
        }
    }
    if paths.is_empty() { Err(Idle::Impossible) } else { Ok(paths) }
}

/// Which of these edges are meant. A way that runs on through the junction leaves it open, but the
/// rule says which way it turns.
fn pair(turn: Turn, from: &[u32], to: &[u32], grid: &Grid) -> Result<Vec<Sequence>, Idle> {
    let all = from.iter().flat_map(|f| to.iter().map(move |t| (*f, *t)));
    if turn == Turn::U {
        let back: Vec<Sequence> = all
            .clone()
            .filter(|(f, t)| grid.edge(*f).twin == Some(*t))
            .map(|(f, t)| vec![f, t])
            .collect();
        if !back.is_empty() {
            return Ok(back);
        }
    }
    if let ([f], [t]) = (from, to) {
        return Ok(vec![vec![*f, *t]]);
    }
    let wanted_deg = match turn {
        Turn::Left => -90.0,
        Turn::Right => 90.0,
        Turn::Straight => 0.0,
        Turn::U => 180.0,
        Turn::Any => return Err(Idle::Ambiguous),
    };
    let off = |(f, t): &(u32, u32)| turn_deg(wanted_deg, angle_deg(grid, *f, *t)).abs();
    let nearest = all
        .filter(|(f, t)| grid.edge(*f).twin != Some(*t))
        .min_by(|a, b| off(a).total_cmp(&off(b)));
    nearest.map(|(f, t)| vec![vec![f, t]]).ok_or(Idle::Impossible)
}

/// What a rule through ways names.
fn through(
    rule: &Rule,
    ways: &[i64],
    grid: &Grid,
    by_way: &BTreeMap<i64, Vec<u32>>,
) -> Result<Vec<Sequence>, Idle> {
    let mut paths = Vec::new();
    let starts = rule.from.iter().flat_map(|way| by_way[way].iter().copied());
    for start in starts {
        paths.extend(path(start, rule, ways, grid));
    }
    match paths.len() {
        0 => Err(Idle::Impossible),
        1 => Ok(paths),
        _ if rule.only => Err(Idle::Ambiguous),
        _ => Ok(paths),
    }
}

/// The shortest way from an edge through edges of `ways` to an edge of the rule's `to`.
fn path(start: u32, rule: &Rule, ways: &[i64], grid: &Grid) -> Option<Sequence> {
    let mut waiting = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::from([start]);
    while let Some(path) = waiting.pop_front() {
        let last = path[path.len() - 1];
        if path.len() > THROUGH_MAX {
            return None;
        }
        for next in grid.out(grid.edge(last).head) {
            if grid.edge(last).twin == Some(*next) {
                continue;
            }
            let way = grid.way(*next);
            let longer = || path.iter().copied().chain([*next]).collect::<Sequence>();
            if path.len() > 1 && rule.to.contains(&way) && !ways.contains(&way) {
                return Some(longer());
            }
            if ways.contains(&way) && seen.insert(*next) {
                waiting.push_back(longer());
            }
        }
    }
    None
}

/// Everything but to follow a path.
fn all_else(path: &[u32], grid: &Grid, forbidden: &mut BTreeSet<Sequence>) {
    for length in 1..path.len() {
        let (begun, next) = (&path[..length], path[length]);
        let junction = grid.edge(begun[length - 1]).head;
        for other in grid.out(junction).iter().filter(|other| **other != next) {
            forbidden.insert(begun.iter().copied().chain([*other]).collect());
        }
    }
}

/// How far one turns from the end of one edge to the beginning of another, in degrees; right is
/// above zero.
pub(crate) fn angle_deg(grid: &Grid, from: u32, to: u32) -> f64 {
    let line = |edge: u32, from_head: bool| -> Vec<Point> {
        let line = &grid.street(edge).line;
        if grid.edge(edge).back == from_head {
            line.clone()
        } else {
            line.iter().rev().copied().collect()
        }
    };
    let arrival = heading(&line(from, true)) + 180.0; // its line from the end points back
    turn_deg(arrival, heading(&line(to, false)))
}

/// The direction in which a line begins.
fn heading(line: &[Point]) -> f64 {
    let far = (1..line.len()).find(|end| length_m(&line[..=*end]) >= HEADING_M);
    bearing_deg(line[0], line[far.unwrap_or(line.len() - 1)])
}
