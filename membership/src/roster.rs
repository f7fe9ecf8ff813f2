//! From what gossip shows to who counts as a member. Pure: sightings and ticks in, members out.
//!
//! * Of two generations of one id the higher counts, at once: for 100 to 400 ms after a restart
//!   both are live.
//! * A member appears as soon as it stands on this cluster's foundation. One that stands on
//!   another is a stranger; one that knows none yet is still joining.
//! * A goodbye removes at once. Silence removes after [`REMOVAL_TICKS`]: a process that has just
//!   been resumed sees everyone fall silent, twice, for some 100 ms.
//! * After a pause of this very process nobody is removed for [`HOLD_TICKS`]: the silence was ours.

use crate::facts::Sighting;
use crate::foundation::Foundation;
use crate::member::Member;
use crate::ready::NotReady;
use proto::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// How many ticks in a row a member must be missing before it is dropped. Two: the second silence
/// after a pause lasts one or two ticks, and each tick here delays the news of a death as much.
pub(crate) const REMOVAL_TICKS: u32 = 2;
/// How many ticks after a pause of this process nobody is dropped. Both false silences were
/// measured to be over within 300 ms; ten ticks are a second.
pub(crate) const HOLD_TICKS: u32 = 10;

/// Who counts as a member.
#[derive(Debug)]
pub(crate) struct Roster {
    me: Member,
    foundation: Option<Foundation>,
    shown: BTreeMap<NodeId, Shown>,
    strangers: BTreeSet<NodeId>,
    superseded: Option<u64>,
    hold_ticks: u32,
}

#[derive(Debug)]
struct Shown {
    member: Member,
    /// For how many ticks it has been missing; none while it is seen.
    missing: Option<u32>,
}

impl Roster {
    /// This member alone.
    pub(crate) fn new(me: Member, foundation: Option<Foundation>) -> Self {
        Self {
            me,
            foundation,
            shown: BTreeMap::new(),
            strangers: BTreeSet::new(),
            superseded: None,
            hold_ticks: 0,
        }
    }

    /// Notes which split table this member has.
    pub(crate) const fn set_split_version(&mut self, version: u64) {
        self.me.split_version = version;
    }

    /// Notes how much of the ring this member takes; false if that is no news.
    pub(crate) const fn set_weight(&mut self, weight: u32) -> bool {
        let news = self.me.weight != weight;
        self.me.weight = weight;
        news
    }

    /// The members, this one included, in order of id.
    pub(crate) fn members(&self) -> Vec<Member> {
        let mut members: BTreeMap<NodeId, &Member> =
            self.shown.iter().map(|(id, shown)| (*id, &shown.member)).collect();
        members.insert(self.me.id, &self.me);
        members.into_values().cloned().collect()
    }

    /// What the cluster was founded with, once known; it never changes after that.
    pub(crate) const fn foundation(&self) -> Option<&Foundation> {
        self.foundation.as_ref()
    }

    /// The live processes that stand on another foundation.
    pub(crate) const fn strangers(&self) -> &BTreeSet<NodeId> {
        &self.strangers
    }

    /// Why this member is not ready whatever else it sees.
    pub(crate) fn fault(&self) -> Option<NotReady> {
        self.superseded.map(|generation| NotReady::Superseded { generation })
    }

    /// Takes in the live processes, this one not among them.
    pub(crate) fn see(&mut self, sightings: Vec<Sighting>) {
        let newest = self.newest(sightings);
        self.learn(&newest);
        self.strangers.clear();
        let mut seen = BTreeSet::new();
        for (id, sighting) in newest {
            if sighting.left {
                self.shown.remove(&id);
            } else if sighting.foundation.is_some() && sighting.foundation == self.foundation {
                self.shown.insert(id, Shown { member: sighting.member, missing: None });
                seen.insert(id);
            } else if sighting.foundation.is_some() && self.foundation.is_some() {
                self.strangers.insert(id);
            }
        }
        for (id, shown) in &mut self.shown {
            if !seen.contains(id) {
                shown.missing.get_or_insert(0);
            }
        }
    }

    /// Lets a gossip interval pass.
    pub(crate) fn tick(&mut self) {
        if self.hold_ticks > 0 {
            self.hold_ticks -= 1;
            return;
        }
        self.shown.retain(|_, shown| {
            shown.missing = shown.missing.map(|ticks| ticks + 1);
            shown.missing.is_none_or(|ticks| ticks < REMOVAL_TICKS)
        });
    }

    /// Notes that this process has just been resumed.
    pub(crate) const fn resume(&mut self) {
        self.hold_ticks = HOLD_TICKS;
    }

    /// The highest generation of each id. Notes whether another process runs under this one's.
    fn newest(&mut self, sightings: Vec<Sighting>) -> BTreeMap<NodeId, Sighting> {
        let mut newest: BTreeMap<NodeId, Sighting> = BTreeMap::new();
        self.superseded = None;
        for sighting in sightings {
            let (id, generation) = (sighting.member.id, sighting.member.generation);
            if id == self.me.id {
                if generation >= self.me.generation {
                    self.superseded = self.superseded.max(Some(generation));
                }
            } else if newest.get(&id).is_none_or(|known| known.member.generation < generation) {
                newest.insert(id, sighting);
            }
        }
        newest
    }

    /// Adopts the foundation that all others agree on, if this member has none.
    fn learn(&mut self, newest: &BTreeMap<NodeId, Sighting>) {
        if self.foundation.is_none() {
            let mut told =
                newest.values().filter(|s| !s.left).filter_map(|s| s.foundation.as_ref());
            let first = told.next();
            if told.all(|other| Some(other) == first) {
                self.foundation = first.cloned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, generation: u64) -> Member {
        let address = "127.0.0.1:1".parse().unwrap();
        Member {
            id: NodeId(id),
            generation,
            peer: address,
            http: address,
            zone: String::new(),
            weight: 1,
            version: String::new(),
            split_version: 0,
        }
    }

    fn founded(text: &str) -> Option<Foundation> {
        Some(text.parse().unwrap())
    }

    fn sighting(id: u64, generation: u64) -> Sighting {
        Sighting { member: member(id, generation), foundation: founded("4:1,2,3"), left: false }
    }

    fn roster() -> Roster {
        Roster::new(member(1, 1), founded("4:1,2,3"))
    }

    fn shown(roster: &Roster) -> Vec<(u64, u64)> {
        roster.members().iter().map(|m| (m.id.0, m.generation)).collect()
    }

    #[test]
    fn a_member_appears_at_once_and_disappears_after_two_silent_ticks() {
        let mut roster = roster();
        roster.see(vec![sighting(2, 1), sighting(3, 1)]);
        assert_eq!(shown(&roster), [(1, 1), (2, 1), (3, 1)]);
        roster.see(vec![sighting(2, 1)]);
        roster.tick();
        assert_eq!(shown(&roster).len(), 3, "one silent tick is forgiven");
        roster.see(vec![sighting(2, 1)]);
        roster.tick();
        assert_eq!(shown(&roster), [(1, 1), (2, 1)]);
    }

    #[test]
    fn a_silence_that_ends_starts_from_nought_the_next_time() {
        let mut roster = roster();
        for _ in 0..5 {
            roster.see(vec![sighting(2, 1)]);
            roster.see(vec![]);
            roster.tick();
            assert_eq!(shown(&roster), [(1, 1), (2, 1)]);
        }
    }

    #[test]
    fn the_higher_generation_counts_whatever_the_order() {
        let mut roster = roster();
        roster.see(vec![sighting(2, 7), sighting(2, 6)]);
        assert_eq!(shown(&roster), [(1, 1), (2, 7)]);
        roster.see(vec![sighting(2, 7), sighting(2, 8)]);
        assert_eq!(shown(&roster), [(1, 1), (2, 8)]);
    }

    #[test]
    fn a_goodbye_removes_at_once_but_not_the_next_generation() {
        let mut roster = roster();
        roster.see(vec![sighting(2, 1), sighting(3, 1)]);
        let gone = Sighting { left: true, ..sighting(2, 1) };
        roster.see(vec![gone.clone(), sighting(3, 1)]);
        assert_eq!(shown(&roster), [(1, 1), (3, 1)]);
        roster.see(vec![gone, sighting(2, 2), sighting(3, 1)]);
        assert_eq!(shown(&roster), [(1, 1), (2, 2), (3, 1)]);
    }

    #[test]
    fn nobody_is_removed_for_a_second_after_a_pause() {
        let mut roster = roster();
        roster.see(vec![sighting(2, 1)]);
        roster.resume();
        roster.see(vec![]);
        for _ in 0..HOLD_TICKS {
            roster.tick();
            assert_eq!(shown(&roster), [(1, 1), (2, 1)]);
        }
        roster.tick();
        roster.tick();
        assert_eq!(shown(&roster), [(1, 1)]);
    }

    #[test]
    fn who_stands_on_another_foundation_is_a_stranger() {
        let mut roster = roster();
        let stranger = Sighting { foundation: founded("8:1,2,3"), ..sighting(2, 1) };
        let joiner = Sighting { foundation: None, ..sighting(4, 1) };
        roster.see(vec![stranger, sighting(3, 1), joiner]);
        assert_eq!(shown(&roster), [(1, 1), (3, 1)]);
        assert_eq!(roster.strangers(), &BTreeSet::from([NodeId(2)]));
    }

    #[test]
    fn a_joiner_learns_the_foundation_that_all_agree_on_and_keeps_it() {
        let mut joiner = Roster::new(member(9, 1), None);
        let other = Sighting { foundation: founded("8:2"), ..sighting(2, 1) };
        joiner.see(vec![sighting(1, 1), other.clone()]);
        assert_eq!(joiner.foundation(), None, "two foundations are none");
        joiner.see(vec![sighting(1, 1), sighting(3, 1)]);
        assert_eq!(joiner.foundation().cloned(), founded("4:1,2,3"));
        assert_eq!(shown(&joiner), [(1, 1), (3, 1), (9, 1)]);
        joiner.see(vec![other]);
        assert_eq!(joiner.foundation().cloned(), founded("4:1,2,3"));
    }

    #[test]
    fn another_process_under_the_same_id_is_a_fault_unless_it_is_older() {
        let mut roster = roster();
        roster.see(vec![sighting(1, 0)]);
        assert_eq!(roster.fault(), None);
        roster.see(vec![sighting(1, 1)]);
        assert_eq!(roster.fault(), Some(NotReady::Superseded { generation: 1 }));
        roster.see(vec![sighting(1, 5), sighting(1, 3)]);
        assert_eq!(roster.fault(), Some(NotReady::Superseded { generation: 5 }));
        roster.see(vec![]);
        assert_eq!(roster.fault(), None);
    }
}
