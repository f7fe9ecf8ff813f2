//! One replica's state: the machine, and beside it every value as bytes, so that a snapshot is a
//! copy in constant time, a read needs no encoding, and two replicas compare by one number.

use super::archive::SegmentId;
use super::image::{Image, ImageError, Piece, Place, Values, digest};
use super::settings::Retention;
use super::types::Stamped;
use crate::contract::{Committed, Cursor, LoggedEvent};
use crate::store::scan_back_to;
use proto::WallMs;
use proto::machine::StateMachine;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A replica's state.
pub(crate) struct State {
    machine: Box<dyn StateMachine>,
    image: Image,
    retention: Retention,
}

/// Where events after a cursor are.
pub(crate) enum EventsAt {
    /// At hand.
    Here(Vec<LoggedEvent>),
    /// In a segment; its bytes, if they may not be on disk yet.
    Sealed(SegmentId, super::archive::Segment, Option<Vec<u8>>),
}

impl State {
    pub(crate) fn new(machine: Box<dyn StateMachine>, retention: Retention) -> Self {
        Self { machine, image: Image::default(), retention }
    }

    /// Applies a command: equal commands at equal indexes give equal states on every replica.
    pub(crate) fn apply(&mut self, index: u64, stamped: &Stamped) -> Committed {
        let Image { values, events, archive, progress } = &mut self.image;
        let at = stamped.at.max(progress.at.plus_ms(1));
        let level = stamped.level.max(progress.level);
        let applied = self.machine.apply(at, level, &stamped.command);
        for key in applied.changed {
            let old = values.get(&key);
            progress.digest = progress.digest.wrapping_sub(old.map_or(0, |old| digest(&key, old)));
            match self.machine.read(&key) {
                Some(value) => {
                    progress.digest = progress.digest.wrapping_add(digest(&key, &value));
                    values.insert_mut(key, value);
                }
                None => {
                    values.remove_mut(&key);
                }
            }
        }
        for (n, event) in (0u32..).zip(applied.events) {
            events.insert_mut((index, n), (at, event));
        }
        for (key, value) in applied.archived {
            archive.keep(key, value);
        }
        archive.seal_records(self.retention.segment_bytes, (index, u32::MAX), at);
        (progress.index, progress.at, progress.level) = (index, at, level);
        self.prune(at);
        Committed { index, at, outcome: applied.outcome }
    }

    /// Puts away events that are too many, and drops those that are too old, by the time of
    /// commands alone, so that replicas agree on them.
    fn prune(&mut self, now: WallMs) {
        let Retention { ms, events_max, segment_bytes, .. } = self.retention;
        let Image { events, archive, .. } = &mut self.image;
        let oldest = WallMs(now.0.saturating_sub(ms));
        archive.expire_events(oldest);
        while let Some((place, at)) = events.first().map(|(place, (at, _))| (*place, *at))
            && at < oldest
        {
            events.remove_mut(&place);
        }
        while events.size() > events_max {
            let (mut pieces, mut bytes) = (Vec::new(), 0);
            for event in events.iter().take(events_max / 2 + 1) {
                let piece = Piece::event(event);
                bytes += piece.size();
                pieces.push(piece);
                if bytes >= segment_bytes {
                    break;
                }
            }
            for piece in &pieces {
                if let Piece::Event(index, n, ..) = piece {
                    events.remove_mut(&(*index, *n));
                }
            }
            archive.seal_events(&pieces);
        }
    }

    /// A value, or a record that is in no index yet.
    pub(crate) fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        let Image { values, archive, .. } = &self.image;
        values.get(key).or_else(|| archive.get(key)).cloned()
    }

    /// The last `max` values and records, of those in no index yet, whose keys begin with `prefix`
    /// and are less than `before`.
    pub(crate) fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        max: usize,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let last = |values: &Values| -> Vec<(Vec<u8>, Vec<u8>)> {
            let range = (Bound::Included(prefix.to_vec()), scan_back_to(prefix, before));
            let pairs = values.range(range).rev().take(max);
            pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let Image { values, archive, .. } = &self.image;
        // Values last: they take the place of a record of the same key.
        archive.records().chain([values]).flat_map(last).collect()
    }

    pub(crate) fn open_work(&self) -> Vec<Vec<u8>> {
        self.machine.open_work()
    }

    pub(crate) fn events(&self, after: Cursor, max: usize) -> EventsAt {
        let Image { events, archive, .. } = &self.image;
        if let Some((id, segment)) = archive.events_after(after) {
            let bytes = archive.unsaved_segment(id).map(|sealed| sealed.bytes.clone());
            return EventsAt::Sealed(id, segment, bytes);
        }
        let from = (Bound::Excluded((after.index, after.n)), Bound::Unbounded);
        let event = |(place, logged): (&Place, &(WallMs, Vec<u8>))| LoggedEvent {
            cursor: Cursor { index: place.0, n: place.1 },
            at: logged.0,
            event: logged.1.clone(),
        };
        EventsAt::Here(events.range(from).take(max).map(event).collect())
    }

    /// A picture of the state as it is now.
    pub(crate) fn image(&self) -> Image {
        self.image.clone()
    }

    /// A segment is on disk, and its records are in the index.
    pub(crate) fn saved(&mut self, id: SegmentId) {
        self.image.archive.saved(id);
    }

    /// Becomes what a picture shows. On an error the state is lost and must not be used.
    pub(crate) fn install(
        &mut self,
        machine: Box<dyn StateMachine>,
        image: &Image,
    ) -> Result<(), ImageError> {
        self.machine = machine;
        for (key, value) in image.values.iter() {
            self.machine.restore(key, value)?;
        }
        self.image = image.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicated::archive;
    use crate::replicated::image::Assembly;
    use crate::tests::toy::Toy;
    use proto::machine::Level;

    const SOME: Retention =
        Retention { ms: 1_000_000, events_max: 50, segment_bytes: 400, snapshot_entries: 1_024 };

    fn stamped(at: u64, level: u16, command: &str) -> Stamped {
        let command = bytes::Bytes::copy_from_slice(command.as_bytes());
        Stamped { at: WallMs(at), level: Level(level), command }
    }

    /// Sets a value with each command, and archives a record with it.
    fn state(commands: u64) -> State {
        let mut state = State::new(Box::new(Toy::default()), SOME);
        for n in 1..=commands {
            state.apply(n, &stamped(n * 10, 1, &format!("+k{}={n}", n % 40)));
        }
        state
    }

    /// All events that a state has, with what it would read from disk.
    fn all_events(state: &State) -> Vec<LoggedEvent> {
        let mut all: Vec<LoggedEvent> = Vec::new();
        loop {
            let after = all.last().map(|event| event.cursor).unwrap_or_default();
            let next = match state.events(after, 7) {
                EventsAt::Here(events) => events,
                EventsAt::Sealed(_, segment, bytes) => {
                    let bytes = bytes.expect("not saved yet");
                    assert!(segment.is(&bytes));
                    archive::events(&bytes, after).unwrap()
                }
            };
            if next.is_empty() {
                return all;
            }
            all.extend(next);
        }
    }

    #[test]
    fn a_picture_in_pieces_is_the_state_again() {
        let (mut whole, image) = (state(200), state(200).image());
        let mut assembly = Assembly::new(image.header()).unwrap();
        let chunks: Vec<_> = image.chunks(200).collect();
        assert!(chunks.len() > 5, "{} chunks", chunks.len());
        chunks.into_iter().for_each(|chunk| assembly.add(chunk));
        let mut again = state(0);
        again.install(Box::new(Toy::default()), &assembly.finish().unwrap()).unwrap();
        assert_eq!(again.image().fingerprint(), whole.image().fingerprint());
        assert_eq!(again.image().header(), whole.image().header());
        assert_eq!(again.read(b"k7"), whole.read(b"k7"));
        let next = stamped(0, 1, "+k7=1");
        assert_eq!(again.apply(201, &next), whole.apply(201, &next));
        assert_eq!(again.image().header(), whole.image().header());
    }

    #[test]
    fn a_picture_with_a_piece_missing_is_refused() {
        let image = state(100).image();
        for missing in 0..image.chunks(100).count() {
            let mut assembly = Assembly::new(image.header()).unwrap();
            for (n, chunk) in image.chunks(100).enumerate() {
                if n != missing {
                    assembly.add(chunk);
                }
            }
            assert!(assembly.finish().is_err(), "without chunk {missing}");
        }
    }

    #[test]
    fn time_rises_whatever_the_leaders_clocks_say() {
        let mut state = state(0);
        let times: Vec<u64> = [500, 400, 400, 900]
            .iter()
            .zip(1..)
            .map(|(at, index)| state.apply(index, &stamped(*at, 1, "k=v")).at.0)
            .collect();
        assert_eq!(times, [500, 501, 502, 900]);
    }

    #[test]
    fn events_beyond_the_count_are_put_away_and_beyond_the_time_dropped() {
        let mut state = state(300);
        assert!(state.image().events.size() <= 50);
        let events = all_events(&state);
        assert_eq!(events.len(), 300);
        assert!(events.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
        let late = 2_000 + SOME.ms;
        state.apply(301, &stamped(late, 1, "a=b"));
        let left = all_events(&state);
        assert!(left.len() < 140, "{} events, where 101 are young enough", left.len());
        let old = left.iter().filter(|event| event.at.0 < late - SOME.ms).count();
        assert!(old < 30, "{old} old ones share their segment with young ones");
        assert_eq!(left.last().unwrap().at.0, late);
    }

    #[test]
    fn records_are_found_and_paged_whether_sealed_or_not() {
        let state = state(120);
        assert!(state.image().archive().len() > 3);
        let page = state.scan_back(b"past/", None, 500);
        assert_eq!(page.len(), 120);
        assert_eq!(state.read(b"past/00000003").as_deref(), Some(&b"3"[..]));
        let before: Vec<u8> = b"past/00000100".to_vec();
        let page = state.scan_back(b"past/", Some(&before), 2);
        // Each map gives its own last two; what is more than two is for the caller to cut.
        let last: Vec<_> = page.into_keys().rev().take(2).collect();
        assert_eq!(last, [b"past/00000099", b"past/00000098"]);
    }
}
