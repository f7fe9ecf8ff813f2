//! `hansom bench`, the parts that measure a node's own machinery within this process: [`ledger`]
//! and [`forward`]; and [`bare`], a front door with nothing behind it, that the whole one is
//! compared with. What measures whole nodes through their doors is the city's (`sim::bench`).

pub mod bare;
pub mod forward;
pub mod ledger;
