//! The little languages of the golden scripts.

pub(crate) mod dispatch;
pub(crate) mod machine;
pub(crate) mod names;
pub(crate) mod table;
