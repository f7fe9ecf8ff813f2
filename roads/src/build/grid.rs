//! Streets as edges, one for each direction that may be driven, and which of them meet where.

use super::streets::Street;
use crate::geometry::number;

/// A street in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) street: u32,
    /// Whether it runs from the street's second end to its first.
    pub(crate) back: bool,
    /// The junction it leaves.
    pub(crate) tail: u32,
    /// The junction it reaches.
    pub(crate) head: u32,
    /// How long it takes, in milliseconds.
    pub(crate) ms: u32,
    /// The same street in the other direction.
    pub(crate) twin: Option<u32>,
}

/// Edges, and which of them leave and reach each junction.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) streets: Vec<Street>,
    pub(crate) edges: Vec<Edge>,
    first_out: Vec<u32>,
    out: Vec<u32>,
    first_into: Vec<u32>,
    into: Vec<u32>,
}

impl Grid {
    /// The edges of streets whose ends are below `junctions`.
    pub(crate) fn of(streets: Vec<Street>, junctions: usize) -> Self {
        let mut edges: Vec<Edge> = Vec::with_capacity(streets.len() * 2);
        for (index, street) in streets.iter().enumerate() {
            let (street_no, [a, b], first) = (number(index), street.ends, number(edges.len()));
            let both = street.ahead_ms.is_some() && street.back_ms.is_some();
            let mut add = |ms: Option<u32>, back, (tail, head), twin| {
                if let Some(ms) = ms {
                    let twin = both.then_some(twin);
                    edges.push(Edge { street: street_no, back, tail, head, ms, twin });
                }
            };
            add(street.ahead_ms, false, (a, b), first + 1);
            add(street.back_ms, true, (b, a), first);
        }
        let (first_out, out) = grouped(&edges, junctions, |edge| edge.tail);
        let (first_into, into) = grouped(&edges, junctions, |edge| edge.head);
        Self { streets, edges, first_out, out, first_into, into }
    }

    /// The edges that leave a junction.
    pub(crate) fn out(&self, junction: u32) -> &[u32] {
        let at = junction as usize;
        &self.out[self.first_out[at] as usize..self.first_out[at + 1] as usize]
    }

    /// The edges that reach a junction.
    pub(crate) fn into(&self, junction: u32) -> &[u32] {
        let at = junction as usize;
        &self.into[self.first_into[at] as usize..self.first_into[at + 1] as usize]
    }

    pub(crate) fn edge(&self, edge: u32) -> Edge {
        self.edges[edge as usize]
    }

    pub(crate) fn street(&self, edge: u32) -> &Street {
        &self.streets[self.edge(edge).street as usize]
    }

    /// The source's id of the way that the edge is a piece of.
    pub(crate) fn way(&self, edge: u32) -> i64 {
        self.street(edge).way
    }
}

/// The numbers of `edges` by `key`, as offsets and members.
fn grouped(edges: &[Edge], keys: usize, key: impl Fn(&Edge) -> u32) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0_u32; keys + 1];
    for edge in edges {
        first[key(edge) as usize + 1] += 1;
    }
    for at in 0..keys {
        first[at + 1] += first[at];
    }
    let (mut next, mut members) = (first.clone(), vec![0; edges.len()]);
    for (index, edge) in edges.iter().enumerate() {
        let place = &mut next[key(edge) as usize];
        members[*place as usize] = number(index);
        *place += 1;
    }
    (first, members)
}
