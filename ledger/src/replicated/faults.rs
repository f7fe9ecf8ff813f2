//! Mistakes made on purpose, one at a time, so that tests and simulations can show that they would
//! be noticed. Only tests, and builds with the feature `plant`, can make them; elsewhere every
//! question here is a constant no.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A leader takes its followers' word before they have been asked.
    AckBeforeQuorum,
    /// A write is called durable before the sync.
    AckBeforeSync,
    /// A vote is given without being written.
    VoteNotWritten,
    /// A vote overtakes the entries that were queued before it, and its sync is taken for theirs.
    VoteOvertakes,
    /// A node whose disk was replaced is taken for who it was.
    WipedIsKnown,
    /// The log is purged below snapshots that were never written.
    PurgeAboveSnapshot,
    /// A snapshot names segments of history that were never written.
    SegmentNotWritten,
    /// A leader stamps the level that its own build knows, whatever others know.
    StampOwnLevel,
    /// A read is answered by whoever believes to lead.
    ReadWithoutBarrier,
}

/// The mistakes that a ledger makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults(#[cfg(any(test, feature = "plant"))] pub(crate) Option<Fault>);

impl Faults {
    /// The names a mistake may be planted by.
    pub const NAMES: &[(&str, Fault)] = &[
        ("ack-before-quorum", Fault::AckBeforeQuorum),
        ("ack-before-sync", Fault::AckBeforeSync),
        ("vote-not-written", Fault::VoteNotWritten),
        ("vote-overtakes", Fault::VoteOvertakes),
        ("wiped-is-known", Fault::WipedIsKnown),
        ("purge-above-snapshot", Fault::PurgeAboveSnapshot),
        ("read-without-barrier", Fault::ReadWithoutBarrier),
    ];

    /// The mistake of that name; nothing if there is none, or if this build makes none.
    pub fn named(name: &str) -> Option<Self> {
        #[cfg(any(test, feature = "plant"))]
        return Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, it)| Self(Some(*it)));
        #[cfg(not(any(test, feature = "plant")))]
        {
            let _unknown = name;
            None
        }
    }

    /// Whether a mistake is to be made.
    #[cfg(any(test, feature = "plant"))]
    pub(crate) fn make(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }
    /// Whether a mistake is to be made.
    #[cfg(not(any(test, feature = "plant")))]
    pub(crate) const fn make(self, _: Fault) -> bool {
        false
    }
}
