//! Ways are cut where they meet, so that what is left leads from junction to junction. (Pieces that
//! only go on as another of the same kind are left alone: joining them saves 7 % of Porto's, which
//! the hierarchy contracts first and at no cost.)

use super::survey::{Survey, Way};
use crate::geometry::{length_m, number, whole};
use crate::report::Read;
use proto::Point;

/// What waiting at a traffic light costs on the average, in milliseconds (OSRM's car profile).
pub(crate) const SIGNAL_MS: u32 = 2_000;

/// A street from one junction to the next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Street {
    /// Where it begins and ends: a junction's number.
    pub(crate) ends: [u32; 2],
    /// Its line, the places of both ends included.
    pub(crate) line: Vec<Point>,
    /// The source's id of the way that it is a piece of.
    pub(crate) way: i64,
    /// How long it takes from the first end to the second in milliseconds; nothing where that is
    /// not allowed.
    pub(crate) ahead_ms: Option<u32>,
    /// The same from the second to the first.
    pub(crate) back_ms: Option<u32>,
    /// In centimetres.
    pub(crate) length_cm: u32,
}

/// The streets of a survey. Their ends are indexes of its nodes.
pub(crate) fn cut(survey: &Survey, read: &mut Read) -> Vec<Street> {
    let held = survey.via_nodes();
    let mut uses = vec![0_u8; survey.nodes.len()];
    for way in &survey.ways {
        for node in &way.nodes {
            uses[*node as usize] = uses[*node as usize].saturating_add(1);
        }
    }
    for (node, _) in survey.nodes.iter().zip(&uses).filter(|(_, uses)| **uses > 0) {
        read.barriers += u64::from(node.mark.blocked);
        read.signals += u64::from(node.mark.signal);
    }
    let cuts = |node: u32| {
        let index = node as usize;
        uses[index] > 1 || survey.nodes[index].mark.blocked || held[index]
    };
    let mut streets = Vec::new();
    for way in &survey.ways {
        // Where the file lacks a node, the way is interrupted.
        for piece in way.nodes.split(|node| survey.nodes[*node as usize].at.is_none()) {
            let mut begin = 0;
            for end in 1..piece.len() {
                if end + 1 == piece.len() || cuts(piece[end]) {
                    streets.push(street(way, &piece[begin..=end], survey));
                    begin = end;
                }
            }
        }
    }
    streets
}

fn street(way: &Way, nodes: &[u32], survey: &Survey) -> Street {
    let line: Vec<Point> =
        nodes.iter().filter_map(|node| survey.nodes[*node as usize].at).collect();
    let within = &nodes[1..nodes.len() - 1];
    let signals = within.iter().filter(|node| survey.nodes[**node as usize].mark.signal).count();
    let (metres, waits_ms) = (length_m(&line), number(signals) * SIGNAL_MS);
    let ms = |cms: u32| {
        let driven_ms = whole(metres * 100_000.0 / f64::from(cms));
        (cms > 0).then(|| driven_ms.saturating_add(waits_ms).max(1))
    };
    Street {
        ends: [nodes[0], nodes[nodes.len() - 1]],
        way: way.id,
        ahead_ms: ms(way.drive.ahead_cms),
        back_ms: ms(way.drive.back_cms),
        length_cm: whole(metres * 100.0),
        line,
    }
}
