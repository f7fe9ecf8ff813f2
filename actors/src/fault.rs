//! Planted faults: known mistakes that a build for tests can make on purpose, so that the
//! checkers are seen to catch them. Without the feature `plant` every question here is a constant
//! no, and the compiler drops what it guards.

/// Which faults are planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    #[cfg(feature = "plant")]
    ttl_frees_taken: bool,
}

impl Faults {
    /// The names a fault may be planted by.
    pub const NAMES: &[&str] = &["ttl-frees-taken"];

    /// The fault of that name; nothing if there is none, or if this build cannot plant.
    pub fn named(name: &str) -> Option<Self> {
        #[cfg(feature = "plant")]
        if name == "ttl-frees-taken" {
            return Some(Self { ttl_frees_taken: true });
        }
        let _unknown = name;
        None
    }

    /// The offer timer frees a driver who has accepted: the mistake of a lock with a time limit.
    pub const fn ttl_frees_taken(self) -> bool {
        #[cfg(feature = "plant")]
        {
            self.ttl_frees_taken
        }
        #[cfg(not(feature = "plant"))]
        {
            false
        }
    }
}
