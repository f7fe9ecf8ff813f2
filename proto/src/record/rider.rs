//! A rider.

use super::party::{Ban, Profile};
use crate::ids::{BookingId, RiderId};
use serde::{Deserialize, Serialize};

/// A rider as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rider {
    /// Who.
    pub id: RiderId,
    /// The name the client registered, unique in the cluster.
    pub name: String,
    /// The one booking under way, from its creation to the end of its trip.
    pub active: Option<BookingId>,
    /// What else is known of him.
    pub profile: Profile,
    /// He may book nothing for a while.
    pub ban: Option<Ban>,
}
