//! What is read of an OpenStreetMap file: the streets that cars may use, their nodes, and the
//! restrictions. Two passes: ways and relations, then the nodes that the streets stand on.

use super::rules::{Rule, Via, Void, rule};
use crate::geometry::number;
use crate::law::{self, Drive, Mark};
use crate::report::Read;
use crate::source::{self, Element, Format, SourceError};
use indicatif::ProgressBar;
use proto::Point;
use std::path::Path;

/// A street as it was drawn.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) id: i64,
    /// Indexes into [`Survey::nodes`], in the order of the way.
    pub(crate) nodes: Vec<u32>,
    pub(crate) drive: Drive,
}

/// A node that a street stands on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Node {
    /// Nothing if the file does not say where it is: extracts cut streets at their border.
    pub(crate) at: Option<Point>,
    pub(crate) mark: Mark,
}

/// The streets of a file.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) ways: Vec<Way>,
    /// The ids of `nodes`, rising.
    pub(crate) ids: Vec<i64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rules: Vec<Rule>,
}

impl Survey {
    /// Reads a file. The bar counts its bytes on disk, twice.
    pub(crate) fn of(
        path: &Path,
        format: Format,
        bar: &ProgressBar,
        read: &mut Read,
    ) -> Result<Self, SourceError> {
        let mut drawn: Vec<(i64, Vec<i64>, Drive)> = Vec::new();
        let mut rules = Vec::new();
        source::read(path, format, bar, &mut |element| match element {
            Element::Node { .. } => read.nodes += 1,
            Element::Way { id, refs, tags } => {
                read.ways += 1;
                match law::way(&tags) {
                    Some(Ok(drive)) => drawn.push((id, refs.to_vec(), drive)),
                    Some(Err(why)) => *read.closed.entry(why).or_default() += 1,
                    None => {}
                }
            }
            Element::Relation { members, tags } => {
                let Some(found) = rule(&tags, members) else { return };
                read.restrictions.read += 1;
                match found {
                    Ok(rule) => rules.push(rule),
                    Err(Void::OtherVehicles) => read.restrictions.other_vehicles += 1,
                    Err(Void::AtTimes) => read.restrictions.at_times += 1,
                    Err(Void::Malformed) => read.restrictions.malformed += 1,
                }
            }
        })?;
        let mut ids: Vec<i64> = drawn.iter().flat_map(|(_, refs, _)| refs).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut nodes = vec![Node::default(); ids.len()];
        source::read(path, format, bar, &mut |element| {
            if let Element::Node { id, at, tags } = element
                && let Ok(index) = ids.binary_search(&id)
            {
                nodes[index] = Node { at: Some(at), mark: law::node(&tags) };
            }
        })?;
        read.streets = drawn.len() as u64;
        let index = |id: &i64| number(ids.binary_search(id).expect("every ref was put in"));
        let ways = drawn.into_iter().map(|(id, refs, drive)| {
            let mut nodes: Vec<u32> = refs.iter().map(index).collect();
            nodes.dedup();
            Way { id, nodes, drive }
        });
        Ok(Self { ways: ways.collect(), ids, nodes, rules })
    }

    /// The index of a node by its id.
    pub(crate) fn node(&self, id: i64) -> Option<u32> {
        self.ids.binary_search(&id).ok().map(number)
    }

    /// The nodes at which a rule holds, as flags by index.
    pub(crate) fn via_nodes(&self) -> Vec<bool> {
        let mut held = vec![false; self.nodes.len()];
        for rule in &self.rules {
            if let Via::Node(id) = rule.via
                && let Some(node) = self.node(id)
            {
                held[node as usize] = true;
            }
        }
        held
    }
}
