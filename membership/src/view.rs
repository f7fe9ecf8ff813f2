//! Who is here and who owns what, as one immutable value that is swapped whole: a request reads
//! one view from beginning to end and never sees half of a change.

use crate::cover::{KeyNear, Surroundings};
use crate::foundation::Foundation;
use crate::member::Member;
use crate::ready::{Expect, NotReady};
use crate::ring::Ring;
use crate::split::SplitTable;
use h3o::CellIndex;
use proto::{NodeId, Point};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a view is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The member that looks.
    pub me: NodeId,
    /// The live members. Of two with one id the higher generation stays.
    pub members: Vec<Member>,
    /// What it must see to be ready.
    pub expect: Expect,
    /// The foundation, if it is known.
    pub foundation: Option<Foundation>,
    /// Which cells are split.
    pub splits: Arc<SplitTable>,
    /// A reason not to be ready that no list of members shows.
    pub fault: Option<NotReady>,
}

/// The cluster as one member sees it at one moment.
#[derive(Debug, Clone)]
pub struct View {
    parts: Parts,
    ring: Arc<Ring>,
    /// The owners of the keys that splits have made.
    placed: Arc<BTreeMap<u64, NodeId>>,
    around: Arc<Surroundings>,
    /// Whether this view or one before it was ready.
    was_ready: bool,
}

impl View {
    /// A view of these parts.
    pub fn new(parts: Parts) -> Self {
        Self::reusing(parts, None)
    }

    /// A view that keeps the last one's ring if nothing about it has changed.
    pub(crate) fn reusing(mut parts: Parts, last: Option<&Self>) -> Self {
        let mut newest: BTreeMap<NodeId, Member> = BTreeMap::new();
        for member in parts.members.drain(..) {
            let known = newest.get(&member.id).map_or(0, |known| known.generation);
            if member.generation >= known {
                newest.insert(member.id, member);
            }
        }
        parts.members = newest.into_values().collect();
        let seats = |members: &[Member]| -> Vec<(NodeId, u32, String)> {
            members.iter().map(|m| (m.id, m.weight, m.zone.clone())).collect()
        };
        let ring = match last {
            Some(last) if seats(&last.parts.members) == seats(&parts.members) => {
                Arc::clone(&last.ring)
            }
            Some(_) | None => Arc::new(Ring::new(seats(&parts.members))),
        };
        let (placed, around) = match last {
            Some(last) if Arc::ptr_eq(&ring, &last.ring) && parts.splits == last.parts.splits => {
                (Arc::clone(&last.placed), Arc::clone(&last.around))
            }
            Some(_) | None => (Arc::new(placed(&ring, &parts.splits)), Arc::default()),
        };
        let was_ready = last.is_some_and(|last| last.was_ready);
        let mut view = Self { parts, ring, placed, around, was_ready };
        view.was_ready |= view.ready().is_ok();
        view
    }

    /// What it is made of.
    pub(crate) fn to_parts(&self) -> Parts {
        self.parts.clone()
    }

    /// The split table, to be shared.
    pub(crate) fn split_table(&self) -> Arc<SplitTable> {
        Arc::clone(&self.parts.splits)
    }

    /// Whether this shows the same as `other`.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.parts == other.parts
    }

    /// A cluster of one, for `--single` and for tests.
    pub fn single(me: Member, partitions: u16) -> Self {
        Self::new(Parts {
            me: me.id,
            foundation: Some(Foundation { initial: BTreeSet::from([me.id]), partitions }),
            members: vec![me],
            expect: Expect::Itself,
            splits: Arc::default(),
            fault: None,
        })
    }

    /// The member that looks.
    pub const fn me(&self) -> NodeId {
        self.parts.me
    }

    /// The live members in order of id, each once; `me` is always among them.
    pub fn members(&self) -> &[Member] {
        &self.parts.members
    }

    /// A live member.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let at = self.parts.members.binary_search_by_key(&id, |member| member.id).ok()?;
        self.parts.members.get(at)
    }

    /// The ring of the live members.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The ring's checksum.
    pub fn ring_version(&self) -> u64 {
        self.ring.version()
    }

    /// The split table's checksum.
    pub fn split_version(&self) -> u64 {
        self.parts.splits.version()
    }

    /// The initial nodes and partitions, once known. They never change after that.
    pub const fn foundation(&self) -> Option<&Foundation> {
        self.parts.foundation.as_ref()
    }

    /// The key that owns a cell, r8 or finer.
    pub fn ring_key(&self, cell: CellIndex) -> u64 {
        self.parts.splits.ring_key(cell)
    }

    /// The cells that are split.
    pub fn splits(&self) -> &SplitTable {
        &self.parts.splits
    }

    /// The member that owns a ring key.
    pub fn cell_owner(&self, ring_key: u64) -> Option<NodeId> {
        self.placed.get(&ring_key).copied().or_else(|| self.ring.lookup(ring_key))
    }

    /// The preference list of a ring key: its owner, then the next members on the ring, at most
    /// `n` in all.
    pub fn cell_owners(&self, ring_key: u64, n: usize) -> Vec<NodeId> {
        let mut owners = self.ring.lookup_n(ring_key, n);
        if let Some(owner) = self.placed.get(&ring_key) {
            owners.retain(|node| node != owner);
            owners.insert(0, *owner);
            owners.truncate(n);
        }
        owners
    }

    /// The ring keys that may hold a place within `radius_m` of `center`, nearest first, then in
    /// order of key. They cover the whole circle; radii above
    /// [`RADIUS_MAX_M`](crate::cover::RADIUS_MAX_M) count as that.
    pub fn keys_within(&self, center: Point, radius_m: u32) -> Vec<KeyNear> {
        let owner = |key| self.cell_owner(key);
        self.around.keys(center, radius_m, &self.parts.splits, owner)
    }

    /// The same by owner.
    pub fn owners_within(&self, center: Point, radius_m: u32) -> BTreeMap<NodeId, Vec<u64>> {
        let mut owners: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for near in self.keys_within(center, radius_m) {
            owners.entry(near.owner).or_default().push(near.ring_key);
        }
        owners
    }

    /// Whether this member may serve, or why not.
    pub fn ready(&self) -> Result<(), NotReady> {
        if let Some(fault) = self.parts.fault {
            return Err(fault);
        }
        let live: Vec<NodeId> = self.parts.members.iter().map(|member| member.id).collect();
        self.parts.expect.check(&live, self.parts.foundation.as_ref())
    }

    /// Whether this member serves clients, or why not. One that was ready and has lost sight of the
    /// others goes on: phones tell each side of a cut anew where cars are, and what is durable is
    /// decided by the quorum of a partition, which may be on the side of fewer nodes.
    pub fn serves(&self) -> Result<(), NotReady> {
        match self.ready() {
            Err(NotReady::TooFew { .. }) if self.was_ready => Ok(()),
            ready => ready,
        }
    }
}

/// The owners of the keys that splits have made. The children of one cell are the hottest there
/// are, and seven of them hashed one by one often meet at one member: they are shared out instead.
fn placed(ring: &Ring, splits: &SplitTable) -> BTreeMap<u64, NodeId> {
    let mut placed = BTreeMap::new();
    for cell in splits.cells() {
        let children = cell.resolution().succ().map(|finer| cell.children(finer).collect());
        let children: Vec<CellIndex> = children.unwrap_or_default();
        // All seven, so that splitting one further moves no other.
        let keys: Vec<u64> = children.iter().copied().map(u64::from).collect();
        let owners = children.into_iter().zip(ring.spread(&keys));
        let kept = owners.filter(|(child, _)| !splits.splits(*child));
        placed.extend(kept.filter_map(|(child, owner)| Some((u64::from(child), owner?))));
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use h3o::{LatLng, Resolution};

    fn member(id: u64, generation: u64, weight: u32) -> Member {
        let address = "127.0.0.1:1".parse().unwrap();
        Member {
            id: NodeId(id),
            generation,
            peer: address,
            http: address,
            zone: String::new(),
            weight,
            version: String::new(),
            split_version: 0,
        }
    }

    fn parts(ids: &[u64], initial: &[u64], expect: Expect) -> Parts {
        Parts {
            me: NodeId(1),
            members: ids.iter().map(|id| member(*id, 1, 1)).collect(),
            expect,
            foundation: Some(Foundation {
                initial: initial.iter().map(|id| NodeId(*id)).collect(),
                partitions: 64,
            }),
            splits: Arc::default(),
            fault: None,
        }
    }

    fn ready(ids: &[u64], initial: &[u64], expect: Expect) -> Result<(), NotReady> {
        View::new(parts(ids, initial, expect)).ready()
    }

    #[test]
    fn who_was_ready_goes_on_serving() {
        let few = || parts(&[1], &[1, 2, 3], Expect::MajorityOfInitial);
        let alone = View::new(few());
        assert_eq!(alone.serves(), Err(NotReady::TooFew { seen: 1, expected: 2 }));
        let both = parts(&[1, 2], &[1, 2, 3], Expect::MajorityOfInitial);
        let ready = View::reusing(both, Some(&alone));
        assert_eq!(ready.serves(), Ok(()));
        let cut_off = View::reusing(few(), Some(&ready));
        assert!(cut_off.ready().is_err());
        assert_eq!(cut_off.serves(), Ok(()));
        let still = View::reusing(few(), Some(&cut_off));
        assert_eq!(still.serves(), Ok(()));
        let superseded = Parts { fault: Some(NotReady::Superseded { generation: 2 }), ..few() };
        assert!(View::reusing(superseded, Some(&still)).serves().is_err());
    }

    #[test]
    fn an_initial_node_is_ready_with_a_majority_of_the_initial_nodes() {
        let expect = Expect::MajorityOfInitial;
        assert_eq!(ready(&[1], &[1, 2, 3], expect), Err(NotReady::TooFew { seen: 1, expected: 2 }));
        assert_eq!(ready(&[1, 3], &[1, 2, 3], expect), Ok(()));
        assert_eq!(
            ready(&[1, 2, 8, 9], &[1, 2, 3, 4, 5], expect),
            Err(NotReady::TooFew { seen: 2, expected: 3 }),
            "joined nodes make no majority"
        );
        assert!(ready(&[1, 2], &[1, 2, 3, 4], expect).is_err(), "half is no majority");
    }

    #[test]
    fn a_joined_node_is_ready_with_one_other_and_a_foundation() {
        assert_eq!(
            ready(&[1], &[2], Expect::Another),
            Err(NotReady::TooFew { seen: 1, expected: 2 })
        );
        assert_eq!(ready(&[1, 2], &[2], Expect::Another), Ok(()));
        let unfounded = Parts { foundation: None, ..parts(&[1, 2], &[2], Expect::Another) };
        assert_eq!(View::new(unfounded).ready(), Err(NotReady::Unfounded));
    }

    #[test]
    fn a_single_node_is_ready_alone_and_a_fault_comes_first() {
        assert_eq!(ready(&[1], &[1], Expect::Itself), Ok(()));
        let fault = Some(NotReady::Superseded { generation: 9 });
        let parts = Parts { fault, ..parts(&[1], &[1], Expect::Itself) };
        assert_eq!(View::new(parts).ready(), Err(NotReady::Superseded { generation: 9 }));
    }

    #[test]
    fn of_two_generations_the_higher_stays() {
        let mut two = parts(&[1], &[1], Expect::Itself);
        two.members.extend([member(2, 7, 1), member(2, 6, 1), member(0, 1, 1)]);
        let view = View::new(two);
        let ids: Vec<(u64, u64)> = view.members().iter().map(|m| (m.id.0, m.generation)).collect();
        assert_eq!(ids, [(0, 1), (1, 1), (2, 7)]);
        assert_eq!(view.member(NodeId(2)).map(|m| m.generation), Some(7));
        assert_eq!(view.member(NodeId(3)), None);
    }

    #[test]
    fn the_owners_of_a_circle_own_its_keys_and_share_them_out() {
        let view = View::new(parts(&[1, 2, 3], &[1], Expect::Itself));
        let manhattan = Point::from_degrees(40.7580, -73.9855).unwrap();
        let owners = view.owners_within(manhattan, 5_000);
        let keys: Vec<u64> = owners.values().flatten().copied().collect();
        assert!((4..=12).contains(&keys.len()), "5 km touch a handful of r6 cells: {keys:?}");
        for (owner, keys) in &owners {
            assert!(keys.iter().all(|key| view.cell_owner(*key) == Some(*owner)));
        }
        let here = LatLng::new(manhattan.lat(), manhattan.lng()).unwrap().to_cell(Resolution::Nine);
        assert!(keys.contains(&view.ring_key(here)));
    }

    #[test]
    fn the_parts_of_a_split_cell_are_shared_out_and_the_rest_stays_where_it_was() {
        let whole = View::new(parts(&[1, 2, 3], &[1], Expect::Itself));
        let manhattan = LatLng::new(40.7580, -73.9855).unwrap();
        for coarse in manhattan.to_cell(Resolution::Six).grid_disk::<Vec<_>>(3) {
            let fine = coarse.center_child(Resolution::Seven).unwrap();
            let splits = Arc::new(SplitTable::new([coarse, fine]).unwrap());
            let split = View::new(Parts { splits, ..whole.parts.clone() });
            for cell in [coarse, fine] {
                let mut owned: BTreeMap<NodeId, usize> = BTreeMap::new();
                for child in cell.children(cell.resolution().succ().unwrap()) {
                    let key = u64::from(child);
                    let owner = split.cell_owner(key).unwrap();
                    let owners = split.cell_owners(key, 2);
                    assert!(child == fine || owners[0] == owner);
                    assert!(owners.len() == 2 && owners[1] != owners[0]);
                    *owned.entry(owner).or_default() += usize::from(child != fine);
                }
                assert!(owned.values().all(|keys| *keys <= 3), "{owned:?}");
            }
            for other in coarse.grid_disk::<Vec<_>>(1).into_iter().filter(|cell| *cell != coarse) {
                let key = u64::from(other);
                assert_eq!(split.cell_owner(key), whole.cell_owner(key));
                assert_eq!(split.cell_owners(key, 2), whole.ring.lookup_n(key, 2));
            }
        }
    }

    #[test]
    fn a_change_of_the_ring_or_of_the_table_shows_in_what_was_asked_before() {
        let place = Point::from_degrees(40.7580, -73.9855).unwrap();
        let coarse = LatLng::new(place.lat(), place.lng()).unwrap().to_cell(Resolution::Six);
        let splits = Arc::new(SplitTable::new([coarse]).unwrap());
        let mut last = View::new(parts(&[1, 2], &[1], Expect::Itself));
        let split = Parts { splits, ..parts(&[1, 2], &[1], Expect::Itself) };
        let joined =
            Parts { members: parts(&[1, 2, 3], &[1], Expect::Itself).members, ..split.clone() };
        for next in [split, joined, parts(&[1], &[1], Expect::Itself)] {
            assert!(!last.keys_within(place, 3_000).is_empty());
            last = View::reusing(next.clone(), Some(&last));
            let afresh = View::new(next);
            assert_eq!(last.keys_within(place, 3_000), afresh.keys_within(place, 3_000));
            for key in coarse.children(Resolution::Seven).map(u64::from) {
                assert_eq!(last.cell_owner(key), afresh.cell_owner(key));
            }
        }
    }

    #[test]
    fn a_change_that_the_ring_does_not_see_keeps_the_ring() {
        let first = View::new(parts(&[1, 2], &[1], Expect::Itself));
        let mut restarted = parts(&[1], &[1], Expect::Itself);
        restarted.members.push(member(2, 2, 1));
        let next = View::reusing(restarted, Some(&first));
        assert!(Arc::ptr_eq(&first.ring, &next.ring) && !next.same(&first));
        let third = View::reusing(parts(&[1], &[1], Expect::Itself), Some(&next));
        assert!(third.ring_version() != next.ring_version());
        assert_eq!(third.ring(), View::new(parts(&[1], &[1], Expect::Itself)).ring());
    }
}
