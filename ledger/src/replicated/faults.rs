//! Mistakes made on purpose, one at a time, so that tests can show that they would be noticed.
//! Only tests can make them.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A command is acknowledged once this node alone has it.
    AckBeforeQuorum,
    /// A write is called durable before the sync.
    AckBeforeSync,
    /// A vote is given without being written.
    VoteNotWritten,
    /// A node whose disk was replaced is taken for who it was.
    WipedIsKnown,
    /// The log is purged below snapshots that were never written.
    PurgeAboveSnapshot,
    /// A snapshot names segments of history that were never written.
    SegmentNotWritten,
    /// A leader stamps the level that its own build knows, whatever others know.
    StampOwnLevel,
}

/// The mistakes that a ledger makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults(#[cfg(test)] pub(crate) Option<Fault>);

impl Faults {
    /// Whether a mistake is to be made.
    #[cfg(test)]
    pub(crate) fn make(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }
    /// Whether a mistake is to be made.
    #[cfg(not(test))]
    pub(crate) const fn make(self, _: Fault) -> bool {
        false
    }
}
