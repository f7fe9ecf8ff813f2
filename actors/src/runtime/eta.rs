//! How long drives take, as the shells ask it: the cores get the answers as values, and what is stored
//! (a quote) is worked out before the command.

use crate::geo::{self, Drive};
use crate::policy::Policy;
use proto::Point;
use proto::record::trail::TrailPiece;

/// Knows how long drives take, in milliseconds. Where it knows nothing better, the policy says how
/// fast one gets on in a straight line.
pub trait Eta: Send + Sync + 'static {
    /// From each of these places to one, in their order.
    fn to_one(&self, policy: &Policy, from: &[Point], to: Point) -> Vec<u64>;
    /// From one place to another.
    fn drive(&self, policy: &Policy, from: Point, to: Point) -> Drive;
    /// Hears what a phone recorded of a trip: how long drives took. Who does not learn passes over it.
    fn driven(&self, _trail: &TrailPiece) {}
}

/// A straight line with a detour, at one speed.
#[derive(Debug, Clone, Copy, Default)]
pub struct StraightLine;

impl Eta for StraightLine {
    fn to_one(&self, policy: &Policy, from: &[Point], to: Point) -> Vec<u64> {
        from.iter().map(|place| self.drive(policy, *place, to).ms).collect()
    }

    fn drive(&self, policy: &Policy, from: Point, to: Point) -> Drive {
        geo::straight_drive(from, to, policy.speed_cms, policy.detour_pct)
    }
}
