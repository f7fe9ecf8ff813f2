//! Where maps come from: OpenStreetMap as PBF or XML, or two tables. What a file is, its first
//! bytes say, whatever it is called. (Tables are read by `table` and `map`.)

pub(crate) mod pbf;
pub(crate) mod xml;

use crate::map::{EDGE_COLUMNS, NODE_COLUMNS};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use proto::Point;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is said to be PBF and is not, or is damaged.
    #[error("{path} is no PBF that can be read: {source}", path = path.display())]
    Pbf {
        /// Which file.
        path: PathBuf,
        /// What its reader says.
        source: osmpbf::Error,
    },
    /// It is said to be OSM XML and is not.
    #[error("{path}, byte {at}: {problem}", path = path.display())]
    Xml {
        /// Which file.
        path: PathBuf,
        /// How far into the (unpacked) text.
        at: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A table cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Table {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: csv::Error,
    },
    /// A table lacks a column.
    #[error("{path} has no column {wanted}", path = path.display())]
    NoColumn {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
    /// A field of a table does not say what it must.
    #[error("{path}, line {line}, column {column}: {problem}", path = path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// Counted from 1, the header included.
        line: u64,
        /// By name.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A table is a header and nothing else.
    #[error("{path} has no rows", path = path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The files do not go together.
    #[error(
        "give one OpenStreetMap file (.osm.pbf, .osm, .osm.gz), or two tables: nodes (node,lat,lon) and edges (from,to,length_km,travel_time_s); {given}"
    )]
    Combination {
        /// What was given instead.
        given: String,
    },
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Pbf,
    Xml,
    /// A table of junctions.
    Nodes,
    /// A table of directed roads.
    Edges,
}

impl Format {
    /// By the first bytes, unpacked if they are packed.
    pub(crate) fn of(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.into(), source };
        let mut start = Vec::new();
        let quiet = ProgressBar::hidden();
        open(path, &quiet)?.take(512).read_to_end(&mut start).map_err(failed)?;
        let header = String::from_utf8_lossy(&start);
        let columns: Vec<&str> = header.lines().next().unwrap_or_default().split(',').collect();
        let has = |wanted: &[&str]| wanted.iter().all(|name| columns.contains(name));
        match () {
            () if start.windows(9).any(|window| window == b"OSMHeader") => Ok(Self::Pbf),
            () if header.trim_start_matches('\u{feff}').trim_start().starts_with('<') => {
                Ok(Self::Xml)
            }
            () if has(&NODE_COLUMNS) => Ok(Self::Nodes),
            () if has(&EDGE_COLUMNS) => Ok(Self::Edges),
            () => Err(SourceError::Combination { given: format!("{} is neither", path.display()) }),
        }
    }
}

/// The bytes of a file, unpacked if it is gzipped. The bar moves by the bytes on disk.
pub(crate) fn open(path: &Path, bar: &ProgressBar) -> Result<Box<dyn BufRead + Send>, SourceError> {
    let failed = |source| SourceError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let mut file = BufReader::with_capacity(1 << 16, bar.wrap_read(file));
    let gzipped = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// The tags of an element, few enough to be searched one by one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags<'a>(pub(crate) Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// The value of the first of these keys that is there.
    pub(crate) fn first(&self, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|key| self.get(key))
    }
}

/// What a member of a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    Node,
    Way,
    Relation,
}

/// One member of a relation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) kind: MemberKind,
    pub(crate) id: i64,
    pub(crate) role: &'a str,
}

/// What OpenStreetMap is made of, as any of its formats tells it.
#[derive(Debug)]
pub(crate) enum Element<'a> {
    Node { id: i64, at: Point, tags: Tags<'a> },
    Way { refs: &'a [i64], id: i64, tags: Tags<'a> },
    Relation { members: &'a [Member<'a>], tags: Tags<'a> },
}

/// Hands every element of a file to `each`, in the file's order.
pub(crate) fn read(
    path: &Path,
    format: Format,
    bar: &ProgressBar,
    each: &mut dyn FnMut(Element<'_>),
) -> Result<(), SourceError> {
    match format {
        Format::Pbf => pbf::read(path, bar, each),
        Format::Xml => xml::read(path, bar, each),
        Format::Nodes | Format::Edges => {
            Err(SourceError::Combination { given: format!("{} is a table", path.display()) })
        }
    }
}
