//! What the ledger promises, tried with a toy machine, over disks that forget and lines that can be
//! cut; and the log's store on a real disk.

mod cluster;
mod history;
mod joins;
mod levels;
mod log_store;
mod removed;
mod splits;
mod standing;
mod storm;
pub(crate) mod toy;
