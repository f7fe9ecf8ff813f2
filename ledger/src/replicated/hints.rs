//! Who leads a group, as far as this node can know: what its own replica has heard, else what others said
//! and what the plan has. A wrong hint costs a forward; none, or one that names the dead, costs an answer.

use super::Replicated;
use proto::{GroupId, NodeId};

impl Replicated {
    /// Who probably leads a group; nothing while it is being decided.
    pub(super) fn probable_leader(&self, group: GroupId) -> Option<NodeId> {
        let me = self.0.me();
        if self.0.leadership.borrow().contains_key(&group) {
            return Some(me);
        }
        let heard = self.0.heard().get(&group).copied().filter(|leader| *leader != me);
        let known = self.0.known();
        if self.has_voters(group) {
            let wanted = known.plan.get(&group).is_some_and(|it| it.contains(&me));
            if let Some(word) =
                replicas_word(heard, wanted, |node| (self.0.living)().contains(&node))
            {
                return word;
            }
        }
        let living = (self.0.living)();
        let planned = known.plan.get(&group).into_iter().flatten().copied();
        heard.into_iter().chain(planned).find(|node| *node != me && living.contains(node))
    }

    /// Takes what somebody else says of a group's leader, unless a replica here hears him itself.
    pub(super) fn hear_of(&self, group: GroupId, leader: Option<NodeId>) {
        if !self.has_voters(group) {
            let mut heard = self.0.heard();
            match leader {
                Some(leader) => heard.insert(group, leader),
                None => heard.remove(&group),
            };
        }
    }

    /// Whether there is a replica here that was ever told who votes.
    fn has_voters(&self, group: GroupId) -> bool {
        self.here(group).is_some_and(|here| !here.replica.members().voters.is_empty())
    }
}

/// What a replica's word is on who leads; nothing if others know better. A replica knows, and while it does
/// not, nobody here should guess. But one that was dismissed never hears again: whom it heard last may have
/// died since.
fn replicas_word(
    heard: Option<NodeId>,
    wanted: bool,
    lives: impl FnOnce(NodeId) -> bool,
) -> Option<Option<NodeId>> {
    (wanted || heard.is_some_and(lives)).then_some(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_was_dismissed_does_not_name_the_dead() {
        let (led, nobody) = (Some(NodeId(2)), None);
        let (lives, dead) = (|_| true, |_| false);
        assert_eq!(replicas_word(led, true, dead), Some(led), "it hears of the next one soon");
        assert_eq!(replicas_word(nobody, true, dead), Some(nobody));
        assert_eq!(replicas_word(led, false, lives), Some(led));
        assert_eq!(replicas_word(led, false, dead), None);
        assert_eq!(replicas_word(nobody, false, lives), None);
    }
}
