//! Which arcs of a hierarchy a shortest drive can use: those that take as long as the shortest drive
//! between their ends. The others are left out of queries, which read every arc above a place.
//! (Perfect customization: Dibbelt, Strasser and Wagner, 2016. The crate `cch` has none.)

use crate::geometry::number;
use cch::{Cch, Metric};

/// No arc.
const NONE: u32 = u32::MAX;

/// The shortest times between the ends of every arc, upward and downward.
///
/// From the top down: a shortest drive between the ends of an arc is the arc, or its first arc leads
/// to another neighbour above. All of those are neighbours of one another, and their times are known.
pub(crate) fn shortest(cch: &Cch, metric: &Metric) -> (Vec<u32>, Vec<u32>) {
    let (mut up, mut down) = (metric.forward.clone(), metric.backward.clone());
    let arcs_of = |node: u32| {
        cch.up_first_out[node as usize] as usize..cch.up_first_out[node as usize + 1] as usize
    };
    let mut arc_to = vec![NONE; cch.node_count()];
    for bottom in (0..number(cch.node_count())).rev() {
        let arcs = arcs_of(bottom);
        for arc in arcs.clone() {
            arc_to[cch.up_head[arc] as usize] = number(arc);
        }
        for lower in arcs.clone() {
            let (lower_up, lower_down) = (metric.forward[lower], metric.backward[lower]);
            let (mut best_up, mut best_down) = (lower_up, lower_down);
            for upper in arcs_of(cch.up_head[lower]) {
                let across = arc_to[cch.up_head[upper] as usize];
                if across == NONE {
                    continue;
                }
                let across = across as usize;
                up[across] = up[across].min(lower_up.saturating_add(up[upper]));
                down[across] = down[across].min(down[upper].saturating_add(lower_down));
                best_up = best_up.min(metric.forward[across].saturating_add(down[upper]));
                best_down = best_down.min(up[upper].saturating_add(metric.backward[across]));
            }
            up[lower] = up[lower].min(best_up);
            down[lower] = down[lower].min(best_down);
        }
        for top in &cch.up_head[arcs] {
            arc_to[*top as usize] = NONE;
        }
    }
    (up, down)
}
