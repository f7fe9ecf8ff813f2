//! A replica's state as values: copied in constant time, then written or sent at leisure, in
//! pieces, and put together again where nothing may be missing.

use super::archive::{Archive, Manifest};
use proto::WallMs;
use proto::codec::CodecError;
use proto::machine::Level;
use proto::slot::frozen_hash;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

pub(crate) type Values = RedBlackTreeMapSync<Vec<u8>, Vec<u8>>;
/// A place in the event log: index of the command, number of the event in it.
pub(crate) type Place = (u64, u32);
/// The time of its command, and the event.
pub(crate) type Events = RedBlackTreeMapSync<Place, (WallMs, Vec<u8>)>;

/// The version of [`Header`] and [`Piece`] that this build writes and reads.
const IMAGE_VERSION: u16 = 2;

/// How far a group is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The index of its last command.
    pub(crate) index: u64,
    /// The time of its last command.
    pub(crate) at: WallMs,
    /// The highest level that was stamped into a command.
    pub(crate) level: Level,
    /// The sum of the [`digest`]s of its values, so that one that went missing or came back in an
    /// old version is noticed when all are loaded.
    pub(crate) digest: u64,
}

/// What a value adds to its group's digest.
pub(crate) fn digest(key: &[u8], value: &[u8]) -> u64 {
    frozen_hash(&[key, value].concat())
}

/// A state as values.
#[derive(Clone, Default)]
pub(crate) struct Image {
    pub(super) values: Values,
    pub(super) events: Events,
    pub(super) archive: Archive,
    pub(super) progress: Progress,
}

/// What is said of an image before its pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    version: u16,
    progress: Progress,
    values: u64,
    events: u64,
    /// Records that are in no segment yet.
    records: u64,
    pub(crate) archive: Manifest,
}

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    /// A key and its value.
    Value(Vec<u8>, Vec<u8>),
    /// A place in the event log, the time of the command, and the event.
    Event(u64, u32, WallMs, Vec<u8>),
    /// A record of the archive.
    Record(Vec<u8>, Vec<u8>),
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

impl Image {
    /// The last command's index and the digest of all values and records: equal on replicas that
    /// are equal.
    pub(crate) const fn fingerprint(&self) -> (u64, u64) {
        (self.progress.index, self.progress.digest.wrapping_add(self.archive.digest()))
    }

    /// The level that its last command was carried out at.
    pub(crate) const fn level(&self) -> Level {
        self.progress.level
    }

    /// The keys of all values.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.values.keys()
    }

    /// How many values it holds.
    pub(crate) fn len(&self) -> usize {
        self.values.size()
    }

    pub(crate) const fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            version: IMAGE_VERSION,
            progress: self.progress,
            values: self.values.size() as u64,
            events: self.events.size() as u64,
            records: self.archive.recent().size() as u64,
            archive: self.archive.manifest(),
        }
    }

    /// All of it but the segments, in chunks of about `bytes` encoded bytes.
    pub(crate) fn chunks(&self, bytes: usize) -> impl Iterator<Item = Vec<Piece>> {
        let values = self.values.iter();
        let values = values.map(|(key, value)| Piece::Value(key.clone(), value.clone()));
        let records = self.archive.recent().iter();
        let records = records.map(|(key, value)| Piece::Record(key.clone(), value.clone()));
        let events = self.events.iter().map(Piece::event);
        let mut pieces = values.chain(records).chain(events).peekable();
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
    pub(crate) fn event((place, logged): (&Place, &(WallMs, Vec<u8>))) -> Self {
        Self::Event(place.0, place.1, logged.0, logged.1.clone())
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Value(key, value) | Self::Record(key, value) => key.len() + value.len() + 8,
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
        let archive = Archive::from(&header.archive);
        let image = Image { progress: header.progress, archive, ..Image::default() };
        Ok(Self { header, image, digest: 0 })
    }

    /// What the archive is to hold.
    pub(crate) const fn archive(&self) -> &Manifest {
        &self.header.archive
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
                Piece::Record(key, value) => self.image.archive.put(key, value),
            }
        }
    }

    /// The image, if nothing is missing.
    pub(crate) fn finish(self) -> Result<Image, ImageError> {
        let Header { progress, values, events, records, .. } = self.header;
        if self.image.values.size() as u64 != values || self.digest != progress.digest {
            return Err(ImageError::Torn("values"));
        }
        if self.image.events.size() as u64 != events {
            return Err(ImageError::Torn("events"));
        }
        if self.image.archive.recent().size() as u64 != records {
            return Err(ImageError::Torn("records"));
        }
        Ok(self.image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_another_version_is_refused() {
        let header = Image::default().header();
        let other = Header { version: IMAGE_VERSION + 1, ..header };
        assert!(matches!(Assembly::new(other), Err(ImageError::Version(_))));
    }
}
