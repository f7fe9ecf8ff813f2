//! What a build is: the machines of its partitions, and how much they know.

use actors::fault::Faults;
use actors::machine::Machine;
use proto::machine::{Level, StateMachine};

/// A build. Nodes of two builds share one cluster while it is upgraded.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// The highest feature level that its machines know.
    pub level: Level,
    /// Makes a partition's empty machine.
    pub machine: fn(Faults) -> Box<dyn StateMachine>,
}

impl Build {
    /// This one.
    pub fn this() -> Self {
        Self { level: Level::KNOWN, machine: |faults| Box::new(Machine::with_faults(faults)) }
    }
}
