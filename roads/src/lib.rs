//! Driving times on real streets: built once from OpenStreetMap or tables, asked in microseconds.
//!
//! [`build`] makes a file of a map; [`Roads`] opens it and answers how long drives take, from one
//! to many and from many to one, exactly as Dijkstra's algorithm would. A state of the graph is an
//! edge (a street in one direction), an arc is a turn, so forbidden turns, dear turns and turning
//! about are no special cases. [`Roads::observe`] and [`Roads::recustomize`] let the times follow the
//! traffic.
//!
//! * `source` reads files, `law` knows what tags mean for a car, `build` makes a `network` of them.
//! * A [`Map`] is a network of junctions as tables give it: streets for [`Roads`], or a [`Matrix`] of
//!   all times between its junctions. [`mod@demand`] reads who rides there.
//! * `file` keeps it; `index` finds the street of a place; `hierarchy` knows the times between
//!   streets (`perfect` what it need not look at), `query` those between places, `route` the line;
//!   `oracle` says the same slowly.
//! * [`cli`] is `hansom roads`.
//!
//! # Not done
//! * The way from a door to the road, or over a car park, takes no time.
//! * Streets open to those who live or shop there (`access=destination`) are driven through.
//! * What was observed is forgotten when the process ends, and does not fade.
#![warn(missing_docs)]

mod build;
pub mod cli;
pub mod demand;
mod file;
mod geometry;
mod hierarchy;
mod index;
mod law;
mod map;
mod matrix;
mod network;
mod observed;
mod oracle;
mod perfect;
mod places;
mod query;
mod report;
mod roads;
mod route;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use build::{BuildError, Plan, build};
pub use file::FileError;
pub use geometry::metres;
pub use index::{Snap, SnapError};
pub use map::{Map, Road, Stranger};
pub use matrix::{JUNCTIONS_MAX, Matrix, MatrixError, NEVER};
pub use observed::Unusable;
pub use places::Places;
pub use report::{Read, Report, Restrictions};
pub use roads::{OFF_ROAD_MAX_M, Roads, Settings};
pub use route::Route;
pub use source::SourceError;
