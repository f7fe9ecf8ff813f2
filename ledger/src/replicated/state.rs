//! One replica's state: the machine, and beside it every value as bytes, so that a snapshot is a
//! copy in constant time, a read needs no encoding, and two replicas compare by one number.

use crate::contract::{Committed, Cursor, LoggedEvent};
use crate::layout::{Progress, digest};
use crate::local::Retention;
use proto::WallMs;
use proto::codec::CodecError;
use proto::machine::StateMachine;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

type Values = RedBlackTreeMapSync<Vec<u8>, Vec<u8>>;
/// The time of its command, and the event.
type Events = RedBlackTreeMapSync<(u64, u32), (WallMs, Vec<u8>)>;

/// The version of [`Header`] and [`Piece`] that this build writes and reads.
const IMAGE_VERSION: u16 = 1;

/// A replica's state.
pub(crate) struct State {
    machine: Box<dyn StateMachine>,
    image: Image,
    retention: Retention,
}

/// A state as values: copied in constant time, then written or sent at leisure.
#[derive(Clone, Default)]
pub(crate) struct Image {
    values: Values,
    events: Events,
    progress: Progress,
}

/// What is said of an image before its pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    version: u16,
    /// The log index and time of the last command, the number of events, the digest of the values.
    progress: (u64, WallMs, u64, u64),
    values: u64,
}

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    /// A key and its value.
    Value(Vec<u8>, Vec<u8>),
    /// A place in the event log, the time of the command, and the event.
    Event(u64, u32, WallMs, Vec<u8>),
}

/// Why an image is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// It was written by a build that knows more.
    #[error("snapshot version {0}, this build reads {IMAGE_VERSION}")]
    Version(u16),
    /// A part is missing or changed.
    #[error("the snapshot is not whole: {0}")]
    Torn(&'static str),
    /// A value is not one the state machine gave.
    #[error("a value of the snapshot does not decode")]
    Value(#[from] CodecError),
}

impl State {
    pub(crate) fn new(machine: Box<dyn StateMachine>, retention: Retention) -> Self {
        Self { machine, image: Image::default(), retention }
    }

    /// Applies a command: equal commands at equal indexes give equal states on every replica.
    pub(crate) fn apply(&mut self, index: u64, stamped: WallMs, command: &[u8]) -> Committed {
        let Image { values, events, progress } = &mut self.image;
        let at = stamped.max(progress.at.plus_ms(1));
        let applied = self.machine.apply(at, command);
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
            progress.events += 1;
        }
        (progress.index, progress.at) = (index, at);
        self.prune();
        Committed { index, at, outcome: applied.outcome }
    }

    /// Drops expired events, by the time of commands alone, so that replicas agree on them.
    fn prune(&mut self) {
        let Image { events, progress, .. } = &mut self.image;
        while let Some((place, at)) = events.first().map(|(place, (at, _))| (*place, *at)) {
            let crowded = progress.events > self.retention.events_max;
            if !crowded && progress.at.since(at) <= self.retention.ms {
                return;
            }
            events.remove_mut(&place);
            progress.events -= 1;
        }
    }

    pub(crate) fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.image.values.get(key).cloned()
    }

    pub(crate) fn open_work(&self) -> Vec<Vec<u8>> {
        self.machine.open_work()
    }

    pub(crate) fn events(&self, after: Cursor, max: usize) -> Vec<LoggedEvent> {
        let from = (Bound::Excluded((after.index, after.n)), Bound::Unbounded);
        let logged = self.image.events.range(from).take(max);
        let event = |(place, logged): (&(u64, u32), &(WallMs, Vec<u8>))| LoggedEvent {
            cursor: Cursor { index: place.0, n: place.1 },
            at: logged.0,
            event: logged.1.clone(),
        };
        logged.map(event).collect()
    }

    /// A picture of the state as it is now.
    pub(crate) fn image(&self) -> Image {
        self.image.clone()
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

impl Image {
    /// The last command's index and the digest of all values: equal on replicas that are equal.
    pub(crate) const fn fingerprint(&self) -> (u64, u64) {
        (self.progress.index, self.progress.digest)
    }

    /// The keys of all values.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.values.keys()
    }

    /// How many values it holds.
    pub(crate) fn len(&self) -> usize {
        self.values.size()
    }

    pub(crate) fn header(&self) -> Header {
        let Progress { index, at, events, digest } = self.progress;
        let values = self.values.size() as u64;
        Header { version: IMAGE_VERSION, progress: (index, at, events, digest), values }
    }

    /// All of it, in chunks of about `bytes` encoded bytes.
    pub(crate) fn chunks(&self, bytes: usize) -> impl Iterator<Item = Vec<Piece>> {
        let values =
            self.values.iter().map(|(key, value)| Piece::Value(key.clone(), value.clone()));
        let event = |(place, logged): (&(u64, u32), &(WallMs, Vec<u8>))| {
            Piece::Event(place.0, place.1, logged.0, logged.1.clone())
        };
        let mut pieces = values.chain(self.events.iter().map(event)).peekable();
        std::iter::from_fn(move || {
            pieces.peek()?;
            let (mut chunk, mut size) = (Vec::new(), 0);
            while size < bytes
                && let Some(piece) = pieces.next()
            {
                size += piece.size();
                chunk.push(piece);
            }
            Some(chunk)
        })
    }
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Self::Value(key, value) => key.len() + value.len() + 8,
            Self::Event(_, _, _, event) => event.len() + 24,
        }
    }
}

/// An image on its way in, piece by piece.
pub(crate) struct Assembly {
    header: Header,
    image: Image,
    digest: u64,
}

impl Assembly {
    pub(crate) fn new(header: Header) -> Result<Self, ImageError> {
        if header.version != IMAGE_VERSION {
            return Err(ImageError::Version(header.version));
        }
        Ok(Self { header, image: Image::default(), digest: 0 })
    }

    pub(crate) fn add(&mut self, chunk: Vec<Piece>) {
        for piece in chunk {
            match piece {
                Piece::Value(key, value) => {
                    self.digest = self.digest.wrapping_add(digest(&key, &value));
                    self.image.values.insert_mut(key, value);
                }
                Piece::Event(index, n, at, event) => {
                    self.image.events.insert_mut((index, n), (at, event));
                }
            }
        }
    }

    /// The image, if nothing is missing.
    pub(crate) fn finish(mut self) -> Result<Image, ImageError> {
        let (index, at, events, digest) = self.header.progress;
        if self.image.values.size() as u64 != self.header.values || self.digest != digest {
            return Err(ImageError::Torn("values"));
        }
        if self.image.events.size() as u64 != events {
            return Err(ImageError::Torn("events"));
        }
        self.image.progress = Progress { index, at, events, digest };
        Ok(self.image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::toy::Toy;

    fn state(commands: u64) -> State {
        let retention = Retention { ms: u64::MAX, events_max: 50 };
        let mut state = State::new(Box::new(Toy::default()), retention);
        for n in 1..=commands {
            state.apply(n, WallMs(n * 10), format!("k{}={n}", n % 40).as_bytes());
        }
        state
    }

    #[test]
    fn a_picture_in_pieces_is_the_state_again() {
        let (whole, image) = (state(200), state(200).image());
        let mut assembly = Assembly::new(image.header()).unwrap();
        let chunks: Vec<_> = image.chunks(200).collect();
        assert!(chunks.len() > 5, "{} chunks", chunks.len());
        chunks.into_iter().for_each(|chunk| assembly.add(chunk));
        let mut again = state(0);
        again.install(Box::new(Toy::default()), &assembly.finish().unwrap()).unwrap();
        assert_eq!(again.image().fingerprint(), whole.image().fingerprint());
        assert_eq!(again.events(Cursor::default(), 99), whole.events(Cursor::default(), 99));
        assert_eq!(again.events(Cursor::default(), 99).len(), 50, "the rest was pruned");
        assert_eq!(again.read(b"k7"), whole.read(b"k7"));
        let (mut a, mut b) = (again, whole);
        assert_eq!(a.apply(201, WallMs(0), b"k7=1"), b.apply(201, WallMs(0), b"k7=1"));
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
            .map(|(at, index)| state.apply(index, WallMs(*at), b"k=v").at.0)
            .collect();
        assert_eq!(times, [500, 501, 502, 900]);
    }
}
