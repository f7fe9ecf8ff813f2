//! A driver's stream: how far he has been told, and what an answer or a push adds to it. A plain
//! value.
//!
//! His own log says which offers were put before him, that he took one, and how each ended. The
//! record of its booking says the rest: the steps of the trip, which are numbered, and why an offer
//! was taken back. So an end in his log waits until the booking was read. A push is ahead of the
//! log: its offer is shown at once, and not again where it stands in the log. An offer that can't be
//! answered any more is never shown, only its end: once a rider was told that he has called off, no
//! driver may be asked to come.

use super::table::{Next, Tell};
use actors::booking::change;
use proto::record::ask::{Followed, Followee, Following, Happened, Mark, Now, Push};
use proto::record::driver::OfferEnd;
use proto::record::event::What;
use proto::record::trip::Transition;
use proto::record::{
    Booking, BookingState, Commitment, Driver, DriverStatus, Offer, OfferState, Trip,
};
use proto::{BookingId, DriverId, OfferId, TripId};
use std::collections::VecDeque;

/// How many offers a stream remembers having shown, so that a late push shows none again: as many as
/// his record remembers.
const SHOWN_MAX: usize = 32;

/// An offer before him, or what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) offer: OfferId,
    pub(crate) booking: BookingId,
    /// Steps of its trip that were told; nothing before he took the offer.
    pub(crate) told: Option<u32>,
}

/// How far he was told. A stream at another node goes on from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// In his own log.
    pub(crate) mark: Mark,
    /// What is before him there.
    pub(crate) job: Option<Job>,
    /// An offer beyond that place which was shown already.
    pub(crate) ahead: Option<OfferId>,
}

/// Why an offer can no longer be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Another driver has the booking.
    Filled,
    /// Its time ran out.
    Expired,
    /// He said no, or went off duty.
    Declined,
    /// The booking was called off.
    Cancelled,
    /// The booking that he was to serve next goes without him.
    Withdrawn,
}

/// What goes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It begins: with how things are, or where he was.
    Hello { afresh: bool },
    /// An offer to answer.
    Offer(Box<Offer>),
    /// An offer of a ride to follow his trip, to answer; or what he answered yes to before it began.
    Next { offer: Box<Offer>, accepted: bool },
    /// An offer that ended without a trip of his.
    OfferEnded { offer: OfferId, booking: BookingId, why: Why },
    /// His trip moved.
    Trip { trip: TripId, booking: BookingId, step: Transition },
    /// Nothing happened.
    Still,
}

/// What goes down, and where one goes on after it; nowhere if how things are was told by half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) news: News,
    pub(crate) place: Option<Place>,
}

/// What is known of the booking of what is before him.
#[derive(Debug, Default)]
struct Ride {
    after: Option<Mark>,
    trip: Option<TripId>,
    /// His trip, if the booking has left it for a better driver.
    former: Option<TripId>,
    /// All of its trip was told.
    over: bool,
    /// Of its trip only the newest step is news.
    afresh: bool,
    /// Why his offer ended, if the booking ended it.
    why: Option<Why>,
}

/// What an event of his log means for his stream.
enum Step {
    Tell(News),
    Nothing,
    /// The booking must be read before.
    Wait,
}

/// How far a driver has been told.
#[derive(Debug)]
pub(super) struct Shift {
    driver: DriverId,
    /// Nothing until the first answer, if he named none.
    place: Option<Place>,
    /// How far his log was read: further than `place`, if something waits.
    read: Option<Mark>,
    begun: bool,
    caught_up: bool,
    /// Not told yet; the first is an end that waits for its booking to be read.
    waiting: VecDeque<Happened>,
    ride: Ride,
    /// The offer before him, not shown before it is known that his log does not end it.
    unshown: Option<Box<Offer>>,
    /// The same of a ride to follow his trip.
    unshown_next: Option<Box<Offer>>,
    /// Offers that are not to be shown (any more).
    shown: VecDeque<OfferId>,
}

impl Shift {
    pub(super) fn new(driver: DriverId, place: Option<Place>) -> Self {
        let mut shift = Self {
            driver,
            place,
            read: place.map(|place| place.mark),
            begun: false,
            caught_up: false,
            waiting: VecDeque::new(),
            ride: Ride::default(),
            unshown: None,
            unshown_next: None,
            shown: VecDeque::new(),
        };
        if let Some(Place { job, ahead, .. }) = place {
            let shown = job.map(|job| job.offer).into_iter().chain(ahead);
            shown.for_each(|offer| shift.note_shown(offer));
        }
        shift
    }

    fn job(&self) -> Option<Job> {
        self.place.and_then(|place| place.job)
    }

    fn note_shown(&mut self, offer: OfferId) {
        if self.shown.contains(&offer) {
            return;
        }
        if self.shown.len() == SHOWN_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back(offer);
    }

    fn told(&self, news: News) -> Told {
        Told { news, place: self.place }
    }

    /// Takes what was pushed. An offer is shown ahead of the log if nothing else is before him;
    /// everything else has its turn there. Only one is: of two nobody knows which is the later.
    pub(super) fn pushed(&mut self, push: Push) -> Vec<Told> {
        let offer = match push {
            Push::Offer(offer) => offer,
            Push::OfferEnded { offer, .. } => {
                self.note_shown(offer);
                return Vec::new();
            }
            Push::Trip { .. } => return Vec::new(),
        };
        let free = self.job().is_none() || !self.waiting.is_empty();
        let Some(place) = &mut self.place else { return Vec::new() };
        if !self.caught_up || !free || place.ahead.is_some() || self.shown.contains(&offer.id) {
            return Vec::new();
        }
        place.ahead = Some(offer.id);
        self.note_shown(offer.id);
        vec![self.told(News::Offer(Box::new(offer)))]
    }

    /// Where he is, though nothing happened: a place that is too old can't be gone on from.
    pub(super) fn still(&self) -> Option<Told> {
        let rests = self.begun
            && self.waiting.is_empty()
            && self.unshown.is_none()
            && self.unshown_next.is_none();
        rests.then(|| self.told(News::Still))
    }

    fn ask_booking(&self) -> Option<Following> {
        // The greeting is first.
        let Job { booking, told, .. } = self.job().filter(|_| self.begun)?;
        let confirm = !self.waiting.is_empty();
        let Ride { after, trip, former, over, .. } = self.ride;
        let of = match former {
            Some(trip) => Followee::Former { booking, trip },
            None => Followee::Booking { booking, trip },
        };
        (confirm || (told.is_some() && !over)).then_some(Following { of, after, confirm })
    }

    /// Hears what is new in his own log.
    fn hear_log(&mut self, after: Option<Mark>, answer: Followed) -> Vec<Told> {
        let Followed { upto, afresh, more, events, now } = answer;
        if after != self.read || !self.waiting.is_empty() {
            return Vec::new(); // It was asked twice at once, and this is the second answer.
        }
        let mut told = Vec::new();
        match now {
            Some(Now::Driver(driver)) if afresh => told = self.begin(upto, *driver),
            Some(_) | None if afresh => return told,
            Some(_) | None => {}
        }
        if !self.begun {
            told.push(self.told(News::Hello { afresh: false }));
        }
        self.begun = true;
        self.caught_up |= !more;
        self.read = Some(upto);
        self.waiting.extend(events);
        self.drain(&mut told);
        told
    }

    /// Begins with how things are.
    fn begin(&mut self, mark: Mark, driver: Driver) -> Vec<Told> {
        let taken = matches!(driver.current, Some(Commitment::Taken { .. }));
        let job = |offer: &Offer| Job {
            offer: offer.id,
            booking: offer.booking,
            told: taken.then_some(0),
        };
        let current = driver.current.as_ref().map(Commitment::offer);
        self.place = Some(Place { mark, job: current.map(job), ahead: None });
        self.ride = Ride { afresh: taken, ..Ride::default() };
        self.begun = true;
        // A late push must not show what ended before.
        driver.outcomes.iter().for_each(|(offer, _)| self.note_shown(*offer));
        let place = self.place.filter(|place| place.job.is_none());
        let mut told = vec![Told { news: News::Hello { afresh: true }, place }];
        if let Some(offer) = current {
            self.note_shown(offer.id);
            if !taken {
                told.push(self.told(News::Offer(Box::new(offer.clone()))));
            }
        }
        if let Some(next) = &driver.next {
            let offer = Box::new(next.offer().clone());
            self.note_shown(offer.id);
            let accepted = matches!(next, Commitment::Taken { .. });
            told.push(self.told(News::Next { offer, accepted }));
        }
        told
    }

    /// Hears how things are with the booking of what is before him.
    fn hear_booking(
        &mut self,
        asked: BookingId,
        after: Option<Mark>,
        answer: Followed,
    ) -> Vec<Told> {
        let mut told = Vec::new();
        let Some(job) = self.job().filter(|job| job.booking == asked) else { return told };
        if after != self.ride.after {
            return told;
        }
        self.ride.after = Some(answer.upto);
        let Some(Now::Booking(ride)) = answer.now else { return told };
        let (booking, trip) = *ride;
        self.ride.trip = booking.trip;
        self.ride.why = why(&booking, job.offer);
        let former = change::former(&booking).find(|(offer, _)| *offer == job.offer);
        self.ride.former = former.map(|(_, trip)| trip);
        // Whoever names another's booking in his cursor is told nothing of it.
        let trip = trip.filter(|trip| trip.driver == self.driver && trip.offer == job.offer);
        if let Some(trip) = trip {
            self.tell_steps(trip, &mut told);
        }
        self.drain(&mut told);
        told
    }

    fn tell_steps(&mut self, trip: Trip, told: &mut Vec<Told>) {
        let over = trip.state.is_over();
        let last = trip.transitions.last().map_or(0, |step| step.sequence);
        let Some(job) = self.place.as_mut().and_then(|place| place.job.as_mut()) else { return };
        // If it is this far, he took the offer, even if his log has not been read up to there.
        let from = job.told.get_or_insert(0);
        if std::mem::take(&mut self.ride.afresh) {
            *from = last.saturating_sub(1).max(*from);
        }
        let from = *from;
        for step in trip.transitions.into_iter().filter(|step| step.sequence > from) {
            if let Some(job) = self.place.as_mut().and_then(|place| place.job.as_mut()) {
                job.told = Some(step.sequence);
            }
            told.push(self.told(News::Trip { trip: trip.id, booking: trip.booking, step }));
        }
        self.ride.over = over;
    }

    /// Tells what waits, up to an end whose booking must be read first. What is before him then is
    /// shown if there is no more to read.
    fn drain(&mut self, told: &mut Vec<Told>) {
        while let Some(happened) = self.waiting.front() {
            let (mark, what) = (happened.mark, happened.what.clone());
            let step = self.take(what);
            if matches!(step, Step::Wait) {
                return;
            }
            self.waiting.pop_front();
            self.move_to(Some(mark));
            if let Step::Tell(news) = step {
                told.push(self.told(news));
            }
        }
        self.move_to(self.read);
        // If one was shown ahead, what stands in the log before it has ended, whatever is read so far.
        let ahead = self.place.is_some_and(|place| place.ahead.is_some());
        if self.caught_up
            && let Some(offer) = self.unshown.take()
            && !ahead
            && !self.shown.contains(&offer.id)
        {
            self.note_shown(offer.id);
            told.push(self.told(News::Offer(offer)));
        }
        if self.caught_up
            && let Some(offer) = self.unshown_next.take()
            && !self.shown.contains(&offer.id)
        {
            self.note_shown(offer.id);
            told.push(self.told(News::Next { offer, accepted: false }));
        }
    }

    fn move_to(&mut self, mark: Option<Mark>) {
        if let (Some(place), Some(mark)) = (&mut self.place, mark) {
            place.mark = mark;
        }
    }

    fn take(&mut self, what: What) -> Step {
        let Some(place) = &mut self.place else { return Step::Nothing };
        match what {
            What::OfferPut { offer } => {
                if place.ahead == Some(offer.id) {
                    place.ahead = None;
                }
                if place.job.is_none_or(|job| job.offer != offer.id) {
                    let (offer, booking) = (offer.id, offer.booking);
                    place.job = Some(Job { offer, booking, told: None });
                    self.ride = Ride::default();
                }
                (self.unshown, self.unshown_next) = (Some(offer), None);
                Step::Nothing
            }
            What::NextPut { offer } => {
                self.unshown_next = Some(offer);
                Step::Nothing
            }
            What::NextEnded { offer, booking, how } => {
                self.unshown_next = None;
                self.note_shown(offer);
                let why = match how {
                    OfferEnd::Expired => Why::Expired,
                    OfferEnd::Declined => Why::Declined,
                    OfferEnd::Taken | OfferEnd::Done => Why::Withdrawn,
                };
                Step::Tell(News::OfferEnded { offer, booking, why })
            }
            What::Standing(DriverStatus::Taken) => {
                self.unshown = None;
                if let Some(job) = &mut place.job {
                    job.told.get_or_insert(0);
                    let offer = job.offer;
                    self.note_shown(offer);
                }
                Step::Nothing
            }
            What::OfferEnded { offer, how } => {
                let Some(job) = place.job.filter(|job| job.offer == offer) else {
                    return Step::Nothing; // Of before how things were.
                };
                let why = match how {
                    OfferEnd::Expired => Some(Why::Expired),
                    OfferEnd::Declined => Some(Why::Declined),
                    OfferEnd::Done if self.ride.over => None,
                    OfferEnd::Taken if self.ride.why.is_some() => self.ride.why,
                    OfferEnd::Done | OfferEnd::Taken => return Step::Wait,
                };
                place.job = None;
                self.note_shown(offer);
                (self.ride, self.unshown) = (Ride::default(), None);
                let ended = |why| News::OfferEnded { offer, booking: job.booking, why };
                why.map_or(Step::Nothing, |why| Step::Tell(ended(why)))
            }
            What::Registered
            | What::Standing(_)
            | What::BookingCreated
            | What::OfferMade { .. }
            | What::BookingAssigned { .. }
            | What::BookingCancelled { .. }
            | What::BookingExpired
            | What::BookingCompleted
            | What::BookingReplaced { .. }
            | What::BookingReassigned { .. }
            | What::BookingPromised { .. }
            | What::PromiseEnded { .. }
            | What::TripMoved { .. } => Step::Nothing,
        }
    }
}

/// Why a booking ended an offer; nothing if it has not.
fn why(booking: &Booking, offer: OfferId) -> Option<Why> {
    let his = booking.offers.iter().find(|(made, _)| made.id == offer);
    match his.map(|(_, state)| *state) {
        Some(OfferState::Pending) => return None,
        Some(OfferState::Expired) => return Some(Why::Expired),
        Some(OfferState::Declined) => return Some(Why::Declined),
        Some(OfferState::Promised) => return None,
        Some(
            OfferState::Accepted
            | OfferState::Cancelled
            | OfferState::Reassigned { .. }
            | OfferState::Lapsed { .. },
        )
        | None => {}
    }
    let filled = booking.offers.iter().any(|(_, state)| *state == OfferState::Accepted);
    Some(match (filled, booking.state == BookingState::Expired) {
        (true, _) => Why::Filled,
        (false, true) => Why::Expired,
        (false, false) => Why::Cancelled,
    })
}

impl Tell for Shift {
    type Down = Told;

    fn whose(&self) -> u64 {
        self.driver.to_raw()
    }

    fn questions(&self) -> Vec<Following> {
        let (of, after, confirm) = (Followee::Driver(self.driver), self.read, !self.begun);
        // What waits is told first, so that it stays within one answer.
        let log = self.waiting.is_empty().then_some(Following { of, after, confirm });
        log.into_iter().chain(self.ask_booking()).collect()
    }

    fn hear(&mut self, question: &Following, answer: Followed) -> (Vec<Told>, Next) {
        let asked = |shift: &Self| {
            shift
                .ask_booking()
                .map(|asks| (shift.job().map(|job| job.booking), shift.ride.former, asks.confirm))
        };
        let (asked_before, waited) = (asked(self), !self.waiting.is_empty());
        let behind = !self.caught_up && answer.more;
        let told = match question.of {
            Followee::Driver(_) => self.hear_log(question.after, answer),
            Followee::Booking { booking, .. } | Followee::Former { booking, .. } => {
                self.hear_booking(booking, question.after, answer)
            }
        };
        let asks = asked(self);
        let goes_on = behind || (waited && self.waiting.is_empty());
        let hurry = goes_on || (asks.is_some() && asks != asked_before);
        (told, if hurry { Next::Hurry } else { Next::Wait })
    }
}

#[cfg(test)]
#[path = "shift/tests.rs"]
mod tests;
