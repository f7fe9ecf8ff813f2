//! What a build read, kept and dropped, as a value and as a table.

use crate::law::Closed;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::collections::BTreeMap;

/// What was read of the source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Read {
    /// Nodes of an OpenStreetMap file, junctions of a table.
    pub nodes: u64,
    /// Ways of an OpenStreetMap file, rows of a table of roads.
    pub ways: u64,
    /// Those of the ways that cars may use.
    pub streets: u64,
    /// Ways that could be taken for streets and were left out, by reason.
    pub closed: BTreeMap<Closed, u64>,
    /// Nodes of streets that no car gets past.
    pub barriers: u64,
    /// Nodes of streets with a traffic light.
    pub signals: u64,
    /// Turn restrictions.
    pub restrictions: Restrictions,
}

/// What became of the turn restrictions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Restrictions {
    /// Relations that call themselves restrictions.
    pub read: u64,
    /// Those that forbid a turn that could be made otherwise.
    pub effective: u64,
    /// Those of the effective ones that lead through ways, not one node.
    pub through_ways: u64,
    /// Those that forbid what one-ways or barriers forbid already.
    pub already_impossible: u64,
    /// Those between ways that cars do not use, or that the file lacks.
    pub not_streets: u64,
    /// Those for other vehicles, or with an exception for cars.
    pub other_vehicles: u64,
    /// Those for certain hours only.
    pub at_times: u64,
    /// Those where it cannot be said which turn is meant.
    pub ambiguous: u64,
    /// Those whose members or value are wrong.
    pub malformed: u64,
}

/// What a build made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// From what.
    pub read: Read,
    /// Streets between junctions.
    pub streets: u64,
    /// Streets in one direction.
    pub edges: u64,
    /// Those that were dropped, since one cannot get there from everywhere and away again.
    pub edges_dropped: u64,
    /// Kilometres of street, each direction for itself.
    pub edge_km: u64,
    /// Kilometres of those dropped.
    pub edge_km_dropped: u64,
    /// What a query walks over: edges, and an edge again for each restriction one can be amid.
    pub states: u64,
    /// Turns from state to state.
    pub turns: u64,
    /// Arcs of the contraction hierarchy.
    pub shortcuts: u64,
    /// The size of the file, in bytes.
    pub file_bytes: u64,
    /// How long it all took, in milliseconds.
    pub took_ms: u64,
    /// The most memory that the process has held, in kB, as Linux counts it (VmHWM).
    pub peak_kb: Option<u64>,
}

/// A table of two columns: names to the left, figures to the right.
pub(crate) fn figures(rows: &[(String, String)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    for (name, figure) in rows {
        table.add_row([name, figure]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

impl Report {
    /// For people.
    pub fn table(&self) -> Table {
        let Read { nodes, ways, streets, closed, barriers, signals, restrictions: r } = &self.read;
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, figure: u64| rows.push((name.to_owned(), figure.to_string()));
        row("nodes read", *nodes);
        row("ways read", *ways);
        row("  streets for cars", *streets);
        for (why, count) in closed {
            let why = match why {
                Closed::NotForCars => "  dropped: paths, tracks, areas, under construction",
                Closed::Ferry => "  dropped: ferries",
                Closed::NoAccess => "  dropped: private or closed to cars",
                Closed::Reversible => "  dropped: direction changes with the hour",
            };
            row(why, *count);
        }
        row("barriers on streets", *barriers);
        row("traffic lights on streets", *signals);
        row("turn restrictions read", r.read);
        row("  effective", r.effective);
        row("    of these through ways", r.through_ways);
        row("  already impossible (one-ways, barriers)", r.already_impossible);
        row("  between ways that are no streets here", r.not_streets);
        row("  for other vehicles", r.other_vehicles);
        row("  at certain hours only", r.at_times);
        row("  ambiguous", r.ambiguous);
        row("  malformed", r.malformed);
        row("streets between junctions", self.streets);
        row("edges (a street in one direction)", self.edges);
        row("  dropped: not reached from everywhere", self.edges_dropped);
        row("kilometres of edges", self.edge_km);
        row("  dropped", self.edge_km_dropped);
        row("states (edges, and edges amid a restriction)", self.states);
        row("turns", self.turns);
        row("arcs of the hierarchy", self.shortcuts);
        row("file, kB", self.file_bytes.div_ceil(1_000));
        row("took, ms", self.took_ms);
        if let Some(peak_kb) = self.peak_kb {
            row("peak memory (VmHWM), MB", peak_kb.div_ceil(1_000));
        }
        figures(&rows)
    }
}
