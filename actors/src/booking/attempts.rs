//! The rows that dispatch leaves in a booking. What a row says of time and candidates comes from the
//! node that decides; how it ends follows from the booking, so that no late word can change it.

use proto::WallMs;
use proto::record::attempt::{ATTEMPTS_MAX, Attempt, AttemptError, AttemptStatus};
use proto::record::{Booking, Offer, OfferState};

/// Takes what dispatch says. A row that has ended stays as it ended; beyond [`ATTEMPTS_MAX`] none
/// is added.
pub(super) fn note(booking: &mut Booking, noted: &[Attempt]) {
    let rows = &mut booking.attempts;
    for said in noted.iter().take(ATTEMPTS_MAX) {
        if !rows.iter().any(|row| row.is(said)) {
            if rows.len() == ATTEMPTS_MAX {
                continue;
            }
            let leader = (said.node, said.term);
            for row in rows.iter_mut().filter(|row| (row.node, row.term) != leader) {
                end(row, AttemptStatus::Expired, Some(AttemptError::LeaderChanged));
            }
            let (status, ended_at, error) = (AttemptStatus::Searching, None, None);
            rows.push(Attempt { status, ended_at, error, ..*said });
        }
        for row in rows.iter_mut().filter(|row| row.is(said)) {
            row.candidates_found = row.candidates_found.max(said.candidates_found);
            if let Some(at) = said.ended_at {
                let error = unserved(row);
                end(row, AttemptStatus::Expired, Some(error));
                row.ended_at.get_or_insert(at);
            }
        }
    }
}

/// An offer of this attempt was made.
pub(super) fn offered(booking: &mut Booking, number: u16) {
    let rows = booking.attempts.iter_mut().filter(|row| is_open(row));
    if let Some(row) = rows.filter(|row| row.number == number).last() {
        row.status = AttemptStatus::OffersSent;
    }
}

/// The booking found its driver in this attempt.
pub(super) fn won(booking: &mut Booking, number: u16) {
    // It may have gone on to a wider one while the offer was out.
    let winner = booking.attempts.iter().rposition(|row| row.number == number);
    for (place, row) in booking.attempts.iter_mut().enumerate() {
        if Some(place) == winner {
            (row.status, row.error, row.ended_at) = (AttemptStatus::Assigned, None, None);
        } else {
            end(row, AttemptStatus::Expired, Some(AttemptError::NobodyAccepted));
        }
    }
}

/// The driver whom it found in this attempt does not come.
pub(super) fn go_on(booking: &mut Booking, number: u16) {
    if let Some(row) = booking.attempts.iter_mut().rfind(|row| row.number == number) {
        (row.status, row.error, row.ended_at) = (AttemptStatus::OffersSent, None, None);
    }
}

/// The booking was called off.
pub(super) fn called_off(booking: &mut Booking) {
    booking.attempts.iter_mut().for_each(|row| end(row, AttemptStatus::Cancelled, None));
}

/// Nobody was found in time.
pub(super) fn gave_up(booking: &mut Booking) {
    for row in &mut booking.attempts {
        let error = unserved(row);
        end(row, AttemptStatus::Expired, Some(error));
    }
}

/// Notes when those ended that have just ended.
pub(super) fn touch(booking: &mut Booking, at: WallMs) {
    for row in booking.attempts.iter_mut().filter(|row| !is_open(row)) {
        row.ended_at.get_or_insert(at);
    }
}

/// The offers that were made in one attempt, by its leader.
pub fn offers<'a>(
    booking: &'a Booking,
    row: &'a Attempt,
) -> impl Iterator<Item = &'a (Offer, OfferState)> {
    // Where two leaders had the same attempt, the offer belongs to the one who had begun by then.
    let later = booking.attempts.iter().filter(|other| other.number == row.number);
    let later = later.map(|other| other.started_at).filter(|at| *at > row.started_at).min();
    let first = booking.attempts.iter().find(|other| other.number == row.number);
    let from = if first == Some(row) { WallMs(0) } else { row.started_at };
    booking.offers.iter().filter(move |(offer, _)| {
        offer.attempt == row.number
            && offer.created_at >= from
            && later.is_none_or(|later| offer.created_at < later)
    })
}

/// How old a booking is, in milliseconds, at a node that takes it up. One that was created by a clock ahead
/// of this one is as old as the first thing that is known of it: were it taken for new, it would live all of
/// its time again under each leader.
pub fn age_ms(booking: &Booking, now: WallMs) -> u64 {
    if booking.created_at <= now {
        return now.since(booking.created_at);
    }
    let rows = booking.attempts.iter().map(|row| row.started_at);
    let offers = booking.offers.iter().map(|(offer, _)| offer.created_at);
    rows.chain(offers).filter(|at| *at <= now).min().map_or(0, |at| now.since(at))
}

const fn is_open(row: &Attempt) -> bool {
    matches!(row.status, AttemptStatus::Searching | AttemptStatus::OffersSent)
}

fn end(row: &mut Attempt, status: AttemptStatus, error: Option<AttemptError>) {
    if is_open(row) {
        (row.status, row.error) = (status, error);
    }
}

const fn unserved(row: &Attempt) -> AttemptError {
    match row.candidates_found {
        0 => AttemptError::NobodyFound,
        _ => AttemptError::NobodyAccepted,
    }
}
