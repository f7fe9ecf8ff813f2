//! The places that streams go on from, as text. Clients keep them as they are.

use crate::follow::{Job, Place};
use proto::WallMs;
use proto::record::ask::Mark;
use std::fmt;
use std::str::FromStr;

/// A driver's place is good for so long: events live for a day, and a place that is older may lie
/// before the oldest.
const GOOD_MS: u64 = 20 * 60 * 60 * 1_000;

/// A place in the log of a rider's partition: `12.0`, or `12` for all of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor(pub(super) Mark);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Mark { index, n: u32::MAX } => write!(f, "{index}"),
            Mark { index, n } => write!(f, "{index}.{n}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, n) = match text.split_once('.') {
            Some((index, n)) => (index, n.parse()?),
            None => (text, u32::MAX),
        };
        Ok(Self(Mark { index: index.parse()?, n }))
    }
}

/// Stands for a part that is not there.
const NONE: &str = "-";

fn part(part: Option<impl fmt::Display>) -> String {
    part.map_or_else(|| NONE.to_owned(), |part| part.to_string())
}

/// A driver's place as text, as of now.
pub(super) fn of_driver(now: WallMs, place: &Place) -> String {
    let Place { mark: Mark { index, n }, job, ahead } = place;
    let (offer, booking) = (job.map(|job| job.offer), job.map(|job| job.booking));
    let told = job.and_then(|job| job.told);
    let job = [part(offer), part(booking), part(told)].join(".");
    format!("{index}.{n}.{}.{job}.{}", now.0, part(*ahead))
}

/// Reads a driver's place; nothing if it is none, or too old.
pub(super) fn driver_after(now: WallMs, text: &str) -> Option<Place> {
    fn part<T: FromStr>(text: &str) -> Option<Option<T>> {
        if text == NONE { Some(None) } else { text.parse().ok().map(Some) }
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [index, n, at, offer, booking, told, ahead] = parts[..] else { return None };
    let mark = Mark { index: index.parse().ok()?, n: n.parse().ok()? };
    let job = match (part(offer)?, part(booking)?, part(told)?) {
        (Some(offer), Some(booking), told) => Some(Job { offer, booking, told }),
        (None, None, None) => None,
        _ => return None,
    };
    let good = now.since(WallMs(at.parse().ok()?)) <= GOOD_MS;
    good.then_some(Place { mark, job, ahead: part(ahead)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{BookingId, OfferId, Slot};

    #[test]
    fn a_cursor_reads_back_and_nonsense_is_none() {
        for (index, n) in [(0, 0), (12, 3), (7, u32::MAX), (u64::MAX, 1)] {
            let cursor = Cursor(Mark { index, n });
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "x", "1.", ".1", "1.2.3", "-1", "18446744073709551616"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_drivers_place_reads_back_until_it_is_too_old_and_nonsense_is_none() {
        let (now, mark) = (WallMs(GOOD_MS * 3), Mark { index: 70_000, n: u32::MAX });
        let offer = OfferId::mint(Slot(7), WallMs(5), 1);
        let booking = BookingId::mint(Slot(7), WallMs(5), 2);
        let job = |told| Some(Job { offer, booking, told });
        for (job, ahead) in [(None, None), (job(None), Some(offer)), (job(Some(208)), None)] {
            let place = Place { mark, job, ahead };
            let text = of_driver(now, &place);
            assert_eq!(driver_after(now, &text), Some(place), "{text}");
            assert_eq!(driver_after(now.plus_ms(GOOD_MS), &text), Some(place));
            assert_eq!(driver_after(now.plus_ms(GOOD_MS + 1), &text), None, "too old");
            assert_eq!(driver_after(WallMs(0), &text), Some(place), "from a clock that is ahead");
            for cut in 0..text.len() - 1 {
                let (cut, last) = (&text[..cut], text.len() - 1);
                assert!(driver_after(now, cut).is_none() || cut.len() >= last, "{cut}");
            }
        }
        for text in
            ["", "x", "12.0", "1.2.3.-.-.-", "1.2.3.-.-.4.-", "1.2.3.-.-.-.x", "-1.2.3.-.-.-.-"]
        {
            assert_eq!(driver_after(WallMs(5), text), None, "{text}");
        }
    }
}
