//! The largest part of a graph in which one gets from everywhere to everywhere.

use crate::geometry::number;

/// Whether each node is in the largest strongly connected component; of two that are equally
/// large, the one found first. Tarjan's algorithm (1972), without recursion: a city's
/// streets would be deeper than the stack.
pub(crate) fn largest(first_out: &[u32], head: &[u32]) -> Vec<bool> {
    const UNSEEN: u32 = u32::MAX;
    let nodes = first_out.len() - 1;
    let mut order = vec![UNSEEN; nodes];
    let mut low = vec![0_u32; nodes];
    let mut open = vec![false; nodes]; // not yet in a finished component
    let (mut stack, mut path) = (Vec::new(), Vec::<(u32, u32)>::new());
    let (mut seen, mut best) = (0_u32, Vec::new());
    for root in 0..number(nodes) {
        if order[root as usize] != UNSEEN {
            continue;
        }
        path.push((root, first_out[root as usize]));
        while let Some((node, arc)) = path.pop() {
            let at = node as usize;
            if order[at] == UNSEEN {
                (order[at], low[at], open[at]) = (seen, seen, true);
                seen += 1;
                stack.push(node);
            }
            if arc < first_out[at + 1] {
                path.push((node, arc + 1));
                let next = head[arc as usize];
                if order[next as usize] == UNSEEN {
                    path.push((next, first_out[next as usize]));
                } else if open[next as usize] {
                    low[at] = low[at].min(order[next as usize]);
                }
                continue;
            }
            if let Some((parent, _)) = path.last() {
                low[*parent as usize] = low[*parent as usize].min(low[at]);
            }
            if low[at] == order[at] {
                let from = stack.iter().rposition(|other| *other == node).unwrap_or(0);
                let component = stack.split_off(from);
                for member in &component {
                    open[*member as usize] = false;
                }
                if component.len() > best.len() {
                    best = component;
                }
            }
        }
    }
    let mut within = vec![false; nodes];
    for node in best {
        within[node as usize] = true;
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The naive oracle: who reaches whom, until nothing changes.
    fn reaches(nodes: usize, arcs: &[(usize, usize)]) -> Vec<Vec<bool>> {
        let mut to: Vec<Vec<bool>> =
            (0..nodes).map(|a| (0..nodes).map(|b| a == b).collect()).collect();
        loop {
            let mut changed = false;
            for from in &mut to {
                for (a, b) in arcs {
                    if from[*a] && !from[*b] {
                        (from[*b], changed) = (true, true);
                    }
                }
            }
            if !changed {
                return to;
            }
        }
    }

    proptest! {
        #[test]
        fn the_largest_component_is_the_one_the_oracle_finds(
            nodes in 1_usize..12, arcs in prop::collection::vec((0_usize..12, 0_usize..12), 0..30)
        ) {
            let mut arcs: Vec<_> =
                arcs.into_iter().filter(|(a, b)| *a < nodes && *b < nodes).collect();
            arcs.sort_unstable();
            let first_out: Vec<u32> =
                (0..=nodes).map(|n| number(arcs.iter().filter(|(a, _)| *a < n).count())).collect();
            let head: Vec<u32> = arcs.iter().map(|(_, b)| number(*b)).collect();
            let found = largest(&first_out, &head);
            let to = reaches(nodes, &arcs);
            let size = |a: usize| (0..nodes).filter(|b| to[a][*b] && to[*b][a]).count();
            let most = (0..nodes).map(size).max().unwrap();
            prop_assert_eq!(found.iter().filter(|within| **within).count(), most);
            for a in (0..nodes).filter(|a| found[*a]) {
                for b in (0..nodes).filter(|b| found[*b]) {
                    prop_assert!(to[a][b], "{} does not reach {}", a, b);
                }
            }
        }
    }
}
