//! What the keeper of a queue makes of what it sees: from sights of cars and words of drivers'
//! records to the steps of the register, and to whose turn it is. Soft state: another keeper begins
//! with the order alone, and believes for a while that everybody is still where he was.
//!
//! A driver *comes* when he is seen in the zone, free. He *leaves* when his record says that he is off
//! duty or has a trip, or when whole looks have not seen him in the zone for longer than the grace: the
//! keeper's own delays are not his absence. Who has been seen outside is not asked
//! meanwhile; who has merely not been seen is, for as long as any driver counts as fresh, because the
//! death of the node that knew where he is must not cost him his turn.
//!
//! Refusals are counted in the driver's own record, and compared with the count at his place, so that
//! none is lost or counted twice whoever dies.

use super::changes;
use crate::cell::meets;
use proto::record::booking::Need;
use proto::record::driver::{Commitment, Driver, DriverStatus, Standing};
use proto::record::queue::{Queue, QueueStep};
use proto::{BookingId, DriverId, MonoMs, Point, WallMs};
use std::collections::{BTreeMap, BTreeSet};

/// Steps of one command at most; what is more waits for the next look.
pub const STEPS_MAX: usize = 256;
/// Records read after one look at most.
pub const READS_MAX: usize = 128;
/// A record of somebody who is not seen is read again after this long, in milliseconds: only it says
/// that he went off duty.
const READ_AGAIN_MS: u64 = 5_000;
/// A record that did not come is asked for again after this long, in milliseconds.
const ASK_AGAIN_MS: u64 = 1_000;
/// So long a queue waits for the record of the driver whose turn it is, in milliseconds: a takeover
/// of his partition, with room. Then it is the next one's turn.
pub const PATIENCE_MS: u64 = 6_000;
/// Whoever was named to one booking is named to no other for so long, in milliseconds: until his
/// record says that he has the offer.
pub const NAMED_MS: u64 = 1_500;

/// The numbers that a zone and the policy give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a place is kept, in milliseconds.
    pub grace_ms: u64,
    /// From how many refusals on one is sent to the tail.
    pub refusals: u16,
    /// How long somebody who is not seen counts as there, in milliseconds.
    pub fresh_ms: u64,
}

/// A driver as the cells see him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Who.
    pub driver: DriverId,
    /// Where.
    pub point: Point,
    /// When his phone measured it.
    pub at: WallMs,
    /// Whether that is in the zone.
    pub inside: bool,
    /// How he stands.
    pub status: DriverStatus,
    /// The version of the record behind that.
    pub version: u64,
}

/// What a driver's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// How he stands, and what he can do.
    pub standing: Standing,
    /// How many offers he has refused, ever.
    pub refused: u32,
    /// Whether he has a trip. One who has merely said yes may yet be told that the booking is another's.
    pub rides: bool,
}

impl From<&Driver> for Word {
    fn from(driver: &Driver) -> Self {
        let rides = matches!(driver.current, Some(Commitment::Taken { trip: Some(_), .. }));
        Self { standing: driver.standing(), refused: driver.refused, rides }
    }
}

/// What is known of somebody who waits.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// When he was last seen in the zone; at first, when this keeper began.
    inside_at: MonoMs,
    /// Whether he was seen outside since.
    outside: bool,
    /// Where he was seen last, and when by his phone.
    place: Option<(Point, WallMs)>,
    /// When he was seen last.
    seen_at: Option<MonoMs>,
    /// The newest that is known of how he stands, with the version of his record.
    status: Option<(u64, DriverStatus)>,
    word: Option<Word>,
    /// When his record last came.
    read_at: Option<MonoMs>,
    /// When it was asked for, if it has not come since.
    asked_at: Option<MonoMs>,
    /// Since when his record does not come.
    silent_since: Option<MonoMs>,
    /// For which booking he was named, and until when that counts.
    named: Option<(BookingId, MonoMs)>,
}

impl Known {
    const fn since(now: MonoMs) -> Self {
        Self {
            inside_at: now,
            outside: false,
            place: None,
            seen_at: None,
            status: None,
            word: None,
            read_at: None,
            asked_at: None,
            silent_since: None,
            named: None,
        }
    }

    fn stands(&mut self, version: u64, status: DriverStatus) {
        if self.status.is_none_or(|(known, _)| known <= version) {
            self.status = Some((version, status));
        }
    }

    fn has_left(&self, looked_at: Option<MonoMs>, rules: &Rules) -> bool {
        let ended = |word: Word| word.rides || word.standing.status == DriverStatus::Offline;
        self.word.is_some_and(ended) || self.unseen_ms(looked_at) > rules.grace_ms
    }

    /// How long before the last whole look he was last seen in the zone.
    fn unseen_ms(&self, looked_at: Option<MonoMs>) -> u64 {
        looked_at.map_or(0, |looked_at| looked_at.since(self.inside_at))
    }

    /// Whether his record says more, or something newer, than is known of it.
    fn is_unread(&self, now: MonoMs) -> bool {
        if let Some(asked_at) = self.asked_at {
            return now.since(asked_at) >= ASK_AGAIN_MS;
        }
        let Some(read_at) = self.read_at else { return true };
        let read = self.word.map(|word| word.standing.version);
        let unseen = self.seen_at.is_none_or(|seen_at| seen_at < now);
        read < self.status.map(|(version, _)| version)
            || unseen && now.since(read_at) >= READ_AGAIN_MS
    }
}

/// For what a driver is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// For which booking.
    pub booking: BookingId,
    /// What it needs.
    pub need: &'a Need,
    /// Who is not to be named.
    pub not: &'a BTreeSet<DriverId>,
    /// Whose records have been read for this question.
    pub read: &'a BTreeSet<DriverId>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// His, and his record says that he is free.
    Take(DriverId),
    /// Probably his: his record must be read first.
    Read(DriverId),
    /// His, and his record does not come; it is waited for.
    Wait,
    /// Nobody waits who could serve it.
    Nobody,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Watch {
    known: BTreeMap<DriverId, Known>,
    /// Who was seen in the zone and has no place yet: when first, by this keeper's clock and then by
    /// his phone's.
    coming: BTreeMap<DriverId, (MonoMs, WallMs)>,
    /// Who has left and is still seen: the newest version of his record that was known. A cell that has
    /// not heard of it yet would bring him back.
    left: BTreeMap<DriverId, u64>,
    has_looked: bool,
    /// When all cells of the zone last answered.
    looked_at: Option<MonoMs>,
}

impl Watch {
    /// Follows the register: who has a place is known, who has none is not.
    pub fn follow(&mut self, queue: &Queue, now: MonoMs) {
        let here: BTreeSet<DriverId> = queue.places.iter().map(|place| place.driver).collect();
        let gone = self.known.iter().filter(|(driver, _)| !here.contains(*driver));
        self.left.extend(gone.filter_map(|(driver, known)| Some((*driver, known.status?.0))));
        self.known.retain(|driver, _| here.contains(driver));
        for driver in here {
            self.known.entry(driver).or_insert(Known::since(now));
            self.coming.remove(&driver);
        }
    }

    /// Whether anything was seen yet. Before that nobody's turn can be told.
    pub const fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// Takes what the cells see; `whole` if all have answered, so that who is not there is absent.
    pub fn looked(&mut self, now: MonoMs, sights: &[Sight], whole: bool) {
        self.has_looked = true;
        if whole {
            self.looked_at = Some(now);
        }
        let mut left = BTreeMap::new();
        let mut coming = BTreeMap::new();
        for sight in sights {
            let Sight { driver, point, at, inside, status, version } = *sight;
            if let Some(known) = self.known.get_mut(&driver) {
                known.stands(version, status);
                (known.place, known.seen_at, known.outside) =
                    (Some((point, at)), Some(now), !inside);
                if inside {
                    known.inside_at = now;
                }
                continue;
            }
            let outdated = self.left.get(&driver).copied().filter(|newest| version < *newest);
            if let Some(newest) = outdated {
                left.insert(driver, newest);
            } else if inside && status == DriverStatus::Free {
                let first = self.coming.get(&driver).copied().unwrap_or((now, at));
                coming.insert(driver, first);
            }
        }
        (self.coming, self.left) = (coming, left);
    }

    /// Whose records are to be read now; whoever is named is asked about again in a while.
    pub fn to_read(&mut self, now: MonoMs) -> Vec<DriverId> {
        let unread = self.known.iter_mut().filter(|(_, known)| known.is_unread(now));
        let asked = unread.take(READS_MAX).map(|(driver, known)| {
            known.asked_at = Some(now);
            *driver
        });
        asked.collect()
    }

    /// Takes what a driver's record says, or that it did not come.
    pub fn read(&mut self, now: MonoMs, driver: DriverId, word: Option<Word>) {
        let Some(known) = self.known.get_mut(&driver) else { return };
        let Some(word) = word else {
            known.silent_since.get_or_insert(now);
            known.asked_at = Some(now);
            return;
        };
        (known.silent_since, known.asked_at, known.read_at) = (None, None, Some(now));
        known.stands(word.standing.version, word.standing.status);
        if known.word.is_none_or(|old| old.standing.version <= word.standing.version) {
            known.word = Some(word);
        }
    }

    /// What follows for the register, at most [`STEPS_MAX`]: those who leave, those who refused, in
    /// the order of the queue; then those who come, in the order in which they were first seen.
    pub fn steps(&self, queue: &Queue, rules: &Rules) -> Vec<QueueStep> {
        let of_known = queue.places.iter().filter_map(|place| {
            let (driver, known) = (place.driver, self.known.get(&place.driver)?);
            if known.has_left(self.looked_at, rules) {
                return Some(QueueStep::Leave(driver));
            }
            let refused = known.word?.refused;
            Some(QueueStep::Refused { driver, refused, limit: rules.refusals })
        });
        let mut coming: Vec<(MonoMs, WallMs, DriverId)> =
            self.coming.iter().map(|(driver, (now, at))| (*now, *at, *driver)).collect();
        coming.sort_unstable();
        let arrive = coming.into_iter().map(|(.., driver)| QueueStep::Arrive(driver));
        let steps = of_known.chain(arrive).filter(|step| changes(queue, *step));
        steps.take(STEPS_MAX).collect()
    }

    /// Whose turn it is to be offered a booking: the first who could serve it.
    pub fn pick(&self, now: MonoMs, queue: &Queue, rules: &Rules, wanted: Wanted<'_>) -> Pick {
        let Wanted { booking, need, not, read } = wanted;
        for driver in queue.places.iter().map(|place| place.driver) {
            let Some(known) = self.known.get(&driver) else { continue };
            let elsewhere = known.outside || known.unseen_ms(self.looked_at) > rules.fresh_ms;
            let for_another =
                known.named.is_some_and(|(other, until)| other != booking && now < until);
            // A vehicle stays what it is: who can't serve it needs no reading.
            let unfit = known.word.is_some_and(|Word { standing, .. }| {
                standing.seats_free > 0 && !meets(&standing, need)
            });
            if not.contains(&driver) || elsewhere || for_another || unfit {
                continue;
            }
            if let Some(since) = known.silent_since {
                match now.since(since) < PATIENCE_MS {
                    true if read.contains(&driver) => return Pick::Wait,
                    true => return Pick::Read(driver),
                    false => continue,
                }
            }
            match known.status {
                // Another offer is before him.
                Some((_, DriverStatus::Held)) => {}
                Some(_) | None if !read.contains(&driver) => return Pick::Read(driver),
                Some((_, DriverStatus::Free)) => return Pick::Take(driver),
                Some((_, DriverStatus::Offline | DriverStatus::Taken)) | None => {}
            }
        }
        Pick::Nobody
    }

    /// Notes that a driver was named to a booking, and says where he was seen last and when by his
    /// phone.
    pub fn name(
        &mut self,
        now: MonoMs,
        driver: DriverId,
        booking: BookingId,
    ) -> Option<(Point, WallMs)> {
        let known = self.known.get_mut(&driver)?;
        known.named = Some((booking, now.plus_ms(NAMED_MS)));
        known.place
    }

    /// The newest version of a driver's record that is known of, and how he stands by it.
    pub fn status(&self, driver: DriverId) -> Option<(u64, DriverStatus)> {
        self.known.get(&driver)?.status
    }
}
