//! From a source to a network: streets are read, cut, joined and turned into edges; restrictions
//! into missing turns; what one cannot get to from everywhere is dropped; the rest is put in order
//! for the hierarchy.

mod component;
mod forbid;
mod grid;
mod rules;
mod streets;
mod survey;
#[cfg(test)]
mod tests;
mod turns;

use crate::file::{self, FileError};
use crate::geometry::number;
use crate::hierarchy::{self, Hierarchy};
use crate::map::Map;
use crate::network::Network;
use crate::report::{Read, Report};
use crate::source::{Format, SourceError};
use forbid::Sequence;
use grid::Grid;
use indicatif::ProgressBar;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use streets::Street;
use survey::Survey;
use turns::{Junctions, Prices, Turns};

/// More nodes, edges or turns than this are refused: numbers are 32 bits wide, and memory is not
/// endless.
const ANYTHING_MAX: usize = 1 << 28;

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What was given cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The result cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It has no streets that lead anywhere.
    #[error("no street in it leads anywhere and back")]
    Empty,
    /// It is larger than this program can number.
    #[error("it has {count} {what}, more than {ANYTHING_MAX}: cut out a smaller area first")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
    },
}

/// How to build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One OpenStreetMap file, or two tables in any order.
    pub sources: Vec<PathBuf>,
    /// Whether one drives on the left there.
    pub left_hand: bool,
}

/// Builds a network. The bar's length, position and message are this function's.
pub(crate) fn network(plan: &Plan, bar: &ProgressBar) -> Result<(Network, Report), BuildError> {
    let mut read = Read::default();
    let name = plan.sources.first().and_then(|path| path.file_name()).unwrap_or_default();
    let source = name.to_string_lossy().into_owned();
    let mut formats = Vec::new();
    for path in &plan.sources {
        formats.push(Format::of(path)?);
    }
    let bytes = |path: &PathBuf| path.metadata().map_or(0, |found| found.len());
    let total: u64 = plan.sources.iter().map(bytes).sum();
    bar.set_message("reading");
    let (network, mut report) = match (&formats[..], &plan.sources[..]) {
        ([format @ (Format::Pbf | Format::Xml)], [path]) => {
            bar.set_length(total * 2); // it is read twice
            let survey = Survey::of(path, *format, bar, &mut read)?;
            bar.set_message("cutting streets");
            surveyed(&survey, plan.left_hand, read)?
        }
        ([Format::Nodes, Format::Edges], [nodes, edges])
        | ([Format::Edges, Format::Nodes], [edges, nodes]) => {
            bar.set_length(total);
            mapped(&Map::read(nodes, edges, bar)?)?
        }
        _ => {
            let given = plan.sources.iter().map(|path| path.display().to_string());
            let given = format!("given: {}", given.collect::<Vec<_>>().join(" "));
            return Err(SourceError::Combination { given }.into());
        }
    };
    bar.set_message("finding the order of contraction");
    let network = ordered(Network { source, ..network });
    bar.set_message("contracting");
    report.shortcuts = Hierarchy::of(&network).arcs();
    Ok((network, report))
}

/// Builds a network from a map that is not in files.
pub(crate) fn network_of(map: &Map) -> Result<Network, BuildError> {
    let (network, _) = mapped(map)?;
    Ok(ordered(Network { source: "junctions".into(), ..network }))
}

fn ordered(mut network: Network) -> Network {
    network.order = hierarchy::order(&network);
    network
}

/// Builds a network and writes it to a file.
pub fn build(plan: &Plan, to: &Path, bar: &ProgressBar) -> Result<Report, BuildError> {
    let (network, mut report) = self::network(plan, bar)?;
    bar.set_message("writing");
    report.file_bytes = file::save(&network, to)?;
    Ok(report)
}

fn bounded(what: &'static str, count: usize) -> Result<(), BuildError> {
    if count > ANYTHING_MAX { Err(BuildError::TooLarge { what, count }) } else { Ok(()) }
}

/// From OpenStreetMap.
fn surveyed(
    survey: &Survey,
    left_hand: bool,
    mut read: Read,
) -> Result<(Network, Report), BuildError> {
    bounded("nodes", survey.nodes.len())?;
    let streets = streets::cut(survey, &mut read);
    let grid = Grid::of(streets, survey.nodes.len());
    let forbidden = forbid::sequences(survey, &grid, &mut read);
    let junctions = Junctions {
        blocked: &|junction| survey.nodes[junction as usize].mark.blocked,
        signal: &|junction| survey.nodes[junction as usize].mark.signal,
        about: false,
    };
    let prices = if left_hand { Prices::Left } else { Prices::Right };
    finished(&grid, &forbidden, &junctions, prices, Report { read, ..Report::default() })
}

/// From tables. Both directions between two junctions are one street.
fn mapped(map: &Map) -> Result<(Network, Report), BuildError> {
    let (junctions, roads) = (map.junctions(), map.roads());
    bounded("junctions", junctions.len())?;
    bounded("roads", roads.len())?;
    let (nodes, ways) = (junctions.len() as u64, roads.len() as u64);
    let read = Read { nodes, ways, streets: ways, ..Read::default() };
    let mut streets: BTreeMap<[u32; 2], Street> = BTreeMap::new();
    for road in roads.iter().filter(|road| road.from != road.to) {
        let (ends, back) = if road.from <= road.to {
            ([road.from, road.to], false)
        } else {
            ([road.to, road.from], true)
        };
        let street = streets.entry(ends).or_insert_with(|| Street {
            ends,
            line: ends.map(|end| junctions[end as usize]).to_vec(),
            way: 0,
            ahead_ms: None,
            back_ms: None,
            length_cm: road.metres.saturating_mul(100),
        });
        let slot = if back { &mut street.back_ms } else { &mut street.ahead_ms };
        *slot = Some(slot.map_or(road.ms, |known| known.min(road.ms)));
    }
    let grid = Grid::of(streets.into_values().collect(), junctions.len());
    let none = Junctions { blocked: &|_| false, signal: &|_| false, about: true };
    let report = Report { read, ..Report::default() };
    finished(&grid, &BTreeSet::new(), &none, Prices::Free, report)
}

/// From a grid: turns, the largest component, and everything numbered anew.
fn finished(
    grid: &Grid,
    forbidden: &BTreeSet<Sequence>,
    junctions: &Junctions<'_>,
    prices: Prices,
    mut report: Report,
) -> Result<(Network, Report), BuildError> {
    let turns = turns::turns(grid, forbidden, junctions, prices);
    bounded("turns", turns.head.len())?;
    let within = component::largest(&turns.first_out, &turns.head);
    let network = kept(grid, &turns, &within);
    if network.edge_ms.is_empty() || network.head.is_empty() {
        return Err(BuildError::Empty);
    }
    let km = |edges: &mut dyn Iterator<Item = u64>| edges.sum::<u64>() / 100_000;
    let all =
        km(&mut (0..number(grid.edges.len())).map(|edge| u64::from(grid.street(edge).length_cm)));
    report.edge_km = km(&mut (0..network.edges())
        .map(|edge| u64::from(network.length_cm[network.street_of(edge).0 as usize])));
    report.edge_km_dropped = all - report.edge_km;
    report.streets = u64::from(network.streets());
    report.edges = u64::from(network.edges());
    report.edges_dropped = grid.edges.len() as u64 - report.edges;
    report.states = u64::from(network.states());
    report.turns = network.head.len() as u64;
    Ok((network, report))
}

/// The part of a grid that is within. An edge's first state, the one in which drives begin, is its
/// own if that is within, else the first that is.
fn kept(grid: &Grid, turns: &Turns, within: &[bool]) -> Network {
    let mut begins: BTreeMap<u32, u32> = BTreeMap::new();
    for (state, edge) in turns.edge_of.iter().enumerate().filter(|(state, _)| within[*state]) {
        begins.entry(*edge).or_insert(number(state));
    }
    let firsts: Vec<u32> = begins.values().copied().collect();
    let further = (0..turns.edge_of.len()).map(number).filter(|state| {
        within[*state as usize] && begins[&turns.edge_of[*state as usize]] != *state
    });
    let states: Vec<u32> = firsts.iter().copied().chain(further).collect();
    let mut new_state = vec![u32::MAX; turns.edge_of.len()];
    for (new, old) in states.iter().enumerate() {
        new_state[*old as usize] = number(new);
    }
    let mut network = Network { first_point: vec![0], first_out: vec![0], ..Network::default() };
    let mut new_street: BTreeMap<u32, u32> = BTreeMap::new();
    let mut new_edge: BTreeMap<u32, u32> = BTreeMap::new();
    for edge in begins.keys() {
        let lane = grid.edge(*edge);
        let street = *new_street.entry(lane.street).or_insert_with(|| {
            let street = &grid.streets[lane.street as usize];
            network.line.extend(&street.line);
            network.first_point.push(number(network.line.len()));
            network.length_cm.push(street.length_cm);
            number(network.length_cm.len() - 1)
        });
        new_edge.insert(*edge, number(network.edge_ms.len()));
        network.edge_street.push(street * 2 + u32::from(lane.back));
        network.edge_ms.push(lane.ms);
    }
    for old in states {
        let at = old as usize;
        network.edge_of.push(new_edge[&turns.edge_of[at]]);
        for turn in turns.first_out[at] as usize..turns.first_out[at + 1] as usize {
            if within[turns.head[turn] as usize] {
                network.head.push(new_state[turns.head[turn] as usize]);
                network.turn_ms.push(turns.turn_ms[turn]);
            }
        }
        network.first_out.push(number(network.head.len()));
    }
    network
}
