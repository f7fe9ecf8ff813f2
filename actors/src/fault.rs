//! Planted faults: known mistakes that a build for tests can make on purpose, so that the
//! checkers are seen to catch them. Without the feature `plant` every question here is a constant
//! no, and the compiler drops what it guards.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The offer timer frees a driver who has accepted: the mistake of a lock with a time limit.
    TtlFreesTaken,
    /// A release frees the driver of whatever he has, not of the offer that it names.
    ReleaseFreesAll,
    /// A booking that is asked to assign again what it has assigned says no.
    AssignAgainRefused,
    /// A driver who says yes again with the same key is told that he has said it before.
    AcceptAgainRefused,
    /// A booking keeps its offers in the order of a hash, which is another on every replica.
    HashOrder,
}

/// Which faults are planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults(#[cfg(feature = "plant")] Option<Fault>);

impl Faults {
    /// The names a fault may be planted by.
    pub const NAMES: &[&str] = &[
        "ttl-frees-taken",
        "release-frees-all",
        "assign-again-refused",
        "accept-again-refused",
        "hash-order",
    ];

    /// The fault of that name; nothing if there is none, or if this build cannot plant.
    pub fn named(name: &str) -> Option<Self> {
        #[cfg(feature = "plant")]
        {
            let fault = match name {
                "ttl-frees-taken" => Fault::TtlFreesTaken,
                "release-frees-all" => Fault::ReleaseFreesAll,
                "assign-again-refused" => Fault::AssignAgainRefused,
                "accept-again-refused" => Fault::AcceptAgainRefused,
                "hash-order" => Fault::HashOrder,
                _ => return None,
            };
            Some(Self(Some(fault)))
        }
        #[cfg(not(feature = "plant"))]
        {
            let _unknown = name;
            None
        }
    }

    /// Whether a mistake is to be made.
    #[cfg(feature = "plant")]
    pub fn make(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }
    /// Whether a mistake is to be made.
    #[cfg(not(feature = "plant"))]
    pub const fn make(self, _: Fault) -> bool {
        false
    }

    /// See [`Fault::TtlFreesTaken`].
    pub fn ttl_frees_taken(self) -> bool {
        self.make(Fault::TtlFreesTaken)
    }
}
