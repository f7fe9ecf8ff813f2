//! The file that a city's streets are kept in: a line that says what it is, a version, then frames
//! of at most a mebibyte, each with its length and checksum (CRC-32C). The first frame says how
//! many of everything there are; values are encoded by `proto::codec`.

use crate::network::{Inconsistent, Network};
use proto::Point;
use proto::codec::{self, CodecError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"hansom roads\n\0\0\0";
/// The version that this build writes, and the only one it reads.
pub(crate) const VERSION: u32 = 1;
/// Values in a frame: of at most 11 bytes each, well below the codec's bound.
const FRAME_VALUES: usize = 1 << 16;
/// No frame is longer, in bytes.
const FRAME_MAX: u32 = 1 << 20;

/// Why a file of streets cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened, read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{path} is no file of `hansom roads build`", path = path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Another build wrote it.
    #[error("{path} has version {found}, this build reads {VERSION}: run `hansom roads build` again", path = path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Bytes changed since it was written, or are missing.
    #[error("{path} is damaged ({what}): run `hansom roads build` again", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        what: String,
    },
}

/// How many of everything follow.
#[derive(Debug, Serialize, Deserialize)]
struct Counts {
    source: String,
    points: u32,
    streets: u32,
    edges: u32,
    states: u32,
    turns: u32,
}

/// Writes a network, whole or not at all. Returns the file's size in bytes.
pub(crate) fn save(network: &Network, path: &Path) -> Result<u64, FileError> {
    let failed = |source| FileError::Io { path: path.into(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let file = File::create(&beside).map_err(failed)?;
    let mut out = BufWriter::new(file);
    write(network, &mut out).map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    std::fs::rename(&beside, path).map_err(failed)?;
    Ok(bytes)
}

fn write(network: &Network, out: &mut dyn Write) -> std::io::Result<()> {
    let Network {
        source,
        first_point,
        line,
        length_cm,
        edge_street,
        edge_ms,
        edge_of,
        first_out,
        head,
        turn_ms,
        order,
    } = network;
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let count = crate::geometry::number;
    let counts = Counts {
        source: source.clone(),
        points: count(line.len()),
        streets: count(length_cm.len()),
        edges: count(edge_ms.len()),
        states: count(edge_of.len()),
        turns: count(head.len()),
    };
    frame(&codec::encode(&counts), out)?;
    values(first_point, out)?;
    values(line, out)?;
    for numbers in [length_cm, edge_street, edge_ms, edge_of, first_out, head, turn_ms, order] {
        values(numbers, out)?;
    }
    Ok(())
}

fn values<T: Serialize>(all: &[T], out: &mut dyn Write) -> std::io::Result<()> {
    all.chunks(FRAME_VALUES).try_for_each(|some| frame(&codec::encode(&some), out))
}

fn frame(bytes: &[u8], out: &mut dyn Write) -> std::io::Result<()> {
    let length = crate::geometry::number(bytes.len());
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&crc32c::crc32c(bytes).to_le_bytes())?;
    out.write_all(bytes)
}

/// Reads a network and checks all of it.
pub(crate) fn load(path: &Path) -> Result<Network, FileError> {
    let file = File::open(path).map_err(|source| FileError::Io { path: path.into(), source })?;
    let mut frames = Frames { path, file: BufReader::with_capacity(1 << 18, file), read: 0 };
    let mut magic = [0; 16];
    if frames.fill(&mut magic).is_err() || magic != *MAGIC {
        return Err(FileError::Foreign { path: path.into() });
    }
    let found = frames.number()?;
    if found != VERSION {
        return Err(FileError::Version { path: path.into(), found });
    }
    let counts: Counts = frames.next()?;
    let Counts { source, points, streets, edges, states, turns } = counts;
    let network = Network {
        source,
        first_point: frames.values(streets.saturating_add(1))?,
        line: frames.values::<Point>(points)?,
        length_cm: frames.values(streets)?,
        edge_street: frames.values(edges)?,
        edge_ms: frames.values(edges)?,
        edge_of: frames.values(states)?,
        first_out: frames.values(states.saturating_add(1))?,
        head: frames.values(turns)?,
        turn_ms: frames.values(turns)?,
        order: frames.values(states)?,
    };
    network
        .check()
        .map_err(|Inconsistent { .. }| frames.damaged("its parts do not fit together"))?;
    Ok(network)
}

struct Frames<'a> {
    path: &'a Path,
    file: BufReader<File>,
    read: u64,
}

impl Frames<'_> {
    fn damaged(&self, what: &str) -> FileError {
        let what = format!("{what}, {} bytes in", self.read);
        FileError::Damaged { path: self.path.into(), what }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FileError> {
        self.file.read_exact(bytes).map_err(|source| {
            if source.kind() == std::io::ErrorKind::UnexpectedEof {
                return self.damaged("it ends too early");
            }
            FileError::Io { path: self.path.into(), source }
        })?;
        self.read += bytes.len() as u64;
        Ok(())
    }

    fn number(&mut self) -> Result<u32, FileError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn next<T: DeserializeOwned>(&mut self) -> Result<T, FileError> {
        let (length, checksum) = (self.number()?, self.number()?);
        if length > FRAME_MAX {
            return Err(self.damaged("a frame is too long"));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        if crc32c::crc32c(&bytes) != checksum {
            return Err(self.damaged("a checksum is wrong"));
        }
        let value = codec::decode(&bytes);
        value.map_err(|error: CodecError| self.damaged(&error.to_string()))
    }

    fn values<T: DeserializeOwned>(&mut self, count: u32) -> Result<Vec<T>, FileError> {
        let mut all: Vec<T> = Vec::new();
        while all.len() < count as usize {
            let some: Vec<T> = self.next()?;
            if some.is_empty() {
                return Err(self.damaged("an empty frame"));
            }
            all.extend(some);
        }
        if all.len() > count as usize {
            return Err(self.damaged("a frame of another part"));
        }
        Ok(all)
    }
}
