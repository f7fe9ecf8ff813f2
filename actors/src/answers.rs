//! The one idempotency table. The first answer to a client's key is kept beside the party whose
//! partition served it, for the party's last [`KEYS_MAX`] keys or [`RETENTION_MS`], whichever
//! ends first. The same key and body get the same answer without being applied again; the same
//! key with another body is refused. What was answered more than a few minutes ago is kept in the
//! archive; what is here says where.

use proto::codec;
use proto::record::Key;
use proto::record::command::{Answer, Entity, Idempotency, Outcome};
use proto::{Code, DriverId, RiderId, WallMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many keys of one party are remembered.
pub const KEYS_MAX: usize = 64;
/// How long, in milliseconds: 24 hours.
pub const RETENTION_MS: u64 = 24 * 60 * 60 * 1000;

/// Whose partition an answer is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A rider's: also for his bookings and trips.
    Rider(RiderId),
    /// A driver's.
    Driver(DriverId),
}

impl Party {
    const fn key(self, key: u64) -> Key {
        match self {
            Self::Rider(id) => Key::RiderAnswer(id, key),
            Self::Driver(id) => Key::DriverAnswer(id, key),
        }
    }
    const fn old_key(self, key: u64) -> Key {
        match self {
            Self::Rider(id) => Key::OldRiderAnswer(id, key),
            Self::Driver(id) => Key::OldDriverAnswer(id, key),
        }
    }
}

/// The answers of all parties of a partition.
#[derive(Debug, Default)]
pub struct Answers {
    by_key: BTreeMap<(Party, u64), Answer>,
    /// Each party's keys, oldest first.
    order: BTreeMap<Party, VecDeque<u64>>,
    /// All of them, oldest first.
    by_age: BTreeSet<(WallMs, Party, u64)>,
    /// Those whose entity is still here, oldest first.
    at_hand: BTreeSet<(WallMs, Party, u64)>,
}

/// What leaves for the archive: the key of the answer that stays without it, the key it is found
/// under from now on, and the outcome as it is stored.
pub type PutAway = (Key, Key, Vec<u8>);

impl Answers {
    /// The first answer to this key, or that it was used for something else, or nothing.
    pub fn known(&self, party: Party, asked: Idempotency, now: WallMs) -> Option<Outcome> {
        let answer = self.by_key.get(&(party, asked.key))?;
        if now.since(answer.at) > RETENTION_MS {
            return None;
        }
        Some(match (answer.body == asked.body, &answer.outcome) {
            (false, _) => Err(Code::KeyReused),
            (true, Some(outcome)) => outcome.clone(),
            (true, None) => Ok(Entity::Kept(party.old_key(asked.key))),
        })
    }

    /// Keeps a first answer and drops what is too old or too many; tells which keys changed.
    pub fn keep(
        &mut self,
        party: Party,
        asked: Idempotency,
        at: WallMs,
        outcome: &Outcome,
    ) -> Vec<Key> {
        let answer = Answer { body: asked.body, at, outcome: Some(outcome.clone()) };
        let mut changed = self.put(party, asked.key, answer);
        let Self { by_key, order, by_age, at_hand } = self;
        let keys = order.entry(party).or_default();
        while let Some(oldest) = keys.front().copied() {
            let age_ms =
                by_key.get(&(party, oldest)).map_or(u64::MAX, |answer| at.since(answer.at));
            if keys.len() <= KEYS_MAX && age_ms <= RETENTION_MS {
                break;
            }
            keys.pop_front();
            if let Some(answer) = by_key.remove(&(party, oldest)) {
                by_age.remove(&(answer.at, party, oldest));
                at_hand.remove(&(answer.at, party, oldest));
            }
            changed.push(party.key(oldest));
        }
        changed
    }

    fn put(&mut self, party: Party, key: u64, answer: Answer) -> Vec<Key> {
        self.by_age.insert((answer.at, party, key));
        if matches!(answer.outcome, Some(Ok(_))) {
            self.at_hand.insert((answer.at, party, key));
        }
        if let Some(old) = self.by_key.insert((party, key), answer) {
            // A key that outlived its retention and was used again: its place is now the newest.
            self.by_age.remove(&(old.at, party, key));
            self.at_hand.remove(&(old.at, party, key));
            self.order.entry(party).or_default().retain(|known| *known != key);
        }
        self.order.entry(party).or_default().push_back(key);
        vec![party.key(key)]
    }

    /// Forgets at most `max` answers that are too old, of parties that ask nothing any more; tells
    /// which keys changed.
    pub fn forget_old(&mut self, now: WallMs, max: usize) -> Vec<Key> {
        let Self { by_key, order, by_age, at_hand } = self;
        let mut changed = Vec::new();
        while changed.len() < max
            && let Some((at, party, key)) = by_age.first().copied()
            && now.since(at) > RETENTION_MS
        {
            by_age.pop_first();
            at_hand.remove(&(at, party, key));
            by_key.remove(&(party, key));
            if let Some(keys) = order.get_mut(&party) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    order.remove(&party);
                }
            }
            changed.push(party.key(key));
        }
        changed
    }

    /// Puts the entities of at most `max` answers away that were given more than `stay_ms` ago: they
    /// are most of an answer, and asked for again, if at all, within seconds.
    pub fn put_away(&mut self, now: WallMs, stay_ms: u64, max: usize) -> Vec<PutAway> {
        let mut left = Vec::new();
        while left.len() < max
            && let Some((at, party, key)) = self.at_hand.first().copied()
            && now.since(at) >= stay_ms
        {
            self.at_hand.pop_first();
            let answer = self.by_key.get_mut(&(party, key));
            if let Some(outcome) = answer.and_then(|answer| answer.outcome.take()) {
                left.push((party.key(key), party.old_key(key), codec::encode(&outcome)));
            }
        }
        left
    }

    /// A kept answer.
    pub fn get(&self, party: Party, key: u64) -> Option<&Answer> {
        self.by_key.get(&(party, key))
    }

    /// All keys in key order of their kind, for snapshots.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.by_key.keys().map(|(party, key)| party.key(*key))
    }

    /// Puts a stored answer back, in its place by time.
    pub fn restore(&mut self, party: Party, key: u64, answer: Answer) {
        let Self { by_key, order, by_age, at_hand } = self;
        let at = answer.at;
        by_age.insert((at, party, key));
        if matches!(answer.outcome, Some(Ok(_))) {
            at_hand.insert((at, party, key));
        }
        by_key.insert((party, key), answer);
        let keys = order.entry(party).or_default();
        let place = keys.partition_point(|known| {
            by_key.get(&(party, *known)).is_some_and(|other| (other.at, *known) < (at, key))
        });
        keys.insert(place, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTY: Party = Party::Rider(RiderId::from_raw(1));

    fn asked(key: u64, body: u64) -> Idempotency {
        Idempotency { key, body }
    }

    #[test]
    fn the_first_answer_is_given_again_and_another_body_is_refused() {
        let mut answers = Answers::default();
        answers.keep(PARTY, asked(7, 1), WallMs(10), &Err(Code::RiderBusy));
        assert_eq!(answers.known(PARTY, asked(7, 1), WallMs(11)), Some(Err(Code::RiderBusy)));
        assert_eq!(answers.known(PARTY, asked(7, 2), WallMs(11)), Some(Err(Code::KeyReused)));
        assert_eq!(answers.known(PARTY, asked(8, 1), WallMs(11)), None);
    }

    #[test]
    fn the_last_64_keys_of_a_day_are_remembered() {
        let mut answers = Answers::default();
        for key in 0..=KEYS_MAX as u64 {
            answers.keep(PARTY, asked(key, 1), WallMs(key), &Err(Code::RiderBusy));
        }
        assert_eq!(answers.known(PARTY, asked(0, 1), WallMs(99)), None);
        assert!(answers.known(PARTY, asked(1, 1), WallMs(99)).is_some());
        let late = WallMs(RETENTION_MS + 2);
        assert_eq!(answers.known(PARTY, asked(1, 1), late), None);
        let dropped =
            answers.keep(PARTY, asked(99, 1), WallMs(2 * RETENTION_MS), &Err(Code::RiderBusy));
        assert_eq!(dropped.len(), 1 + KEYS_MAX);
    }

    #[test]
    fn who_asks_nothing_any_more_is_forgotten_too() {
        let mut answers = Answers::default();
        for key in 0..5 {
            answers.keep(PARTY, asked(key, 1), WallMs(key), &Err(Code::RiderBusy));
        }
        assert!(answers.forget_old(WallMs(RETENTION_MS), 9).is_empty());
        let gone = answers.forget_old(WallMs(RETENTION_MS + 4), 3);
        assert_eq!(gone, [0, 1, 2].map(|key| PARTY.key(key)));
        assert_eq!(answers.forget_old(WallMs(2 * RETENTION_MS), 9).len(), 2);
        assert!(answers.order.is_empty() && answers.keys().next().is_none());
    }

    #[test]
    fn what_was_answered_a_while_ago_is_found_in_the_archive() {
        let rider = || proto::record::Rider {
            id: RiderId::from_raw(1),
            name: "ada".into(),
            active: None,
            profile: proto::record::Profile::default(),
            ban: None,
        };
        let outcome: Outcome = Ok(Entity::Rider(rider()));
        let mut answers = Answers::default();
        answers.keep(PARTY, asked(1, 1), WallMs(10), &outcome);
        answers.keep(PARTY, asked(2, 1), WallMs(11), &Err(Code::RiderBusy));
        assert!(answers.put_away(WallMs(109), 100, 9).is_empty());
        let old = Key::OldRiderAnswer(RiderId::from_raw(1), 1);
        let left = answers.put_away(WallMs(200), 100, 9);
        assert_eq!(left, [(PARTY.key(1), old, codec::encode(&outcome))], "a refusal stays");
        assert_eq!(answers.known(PARTY, asked(1, 1), WallMs(200)), Some(Ok(Entity::Kept(old))));
        assert_eq!(answers.known(PARTY, asked(1, 2), WallMs(200)), Some(Err(Code::KeyReused)));
        assert!(answers.put_away(WallMs(300), 100, 9).is_empty(), "once");
    }

    #[test]
    fn a_restored_table_forgets_in_the_same_order() {
        let mut first = Answers::default();
        for key in [5, 3, 9, 1] {
            first.keep(PARTY, asked(key, 1), WallMs(100 - key), &Err(Code::RiderBusy));
        }
        let mut second = Answers::default();
        for key in [9, 5, 1, 3] {
            second.restore(PARTY, key, first.get(PARTY, key).cloned().expect("kept"));
        }
        let order: Vec<u64> = second.order[&PARTY].iter().copied().collect();
        assert_eq!(order, [9, 5, 3, 1]);
    }
}
