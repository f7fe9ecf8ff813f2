//! Ids as JSON carries them: in their text form. For `#[serde(with = "text")]`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use std::fmt::Display;
use std::str::FromStr;

/// Writes an id in its text form.
pub fn serialize<S: Serializer, T: Display>(id: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// Reads an id from its text form.
pub fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// The same for an id that may be null or, with `#[serde(default)]`, missing.
pub mod maybe {
    use super::{Deserialize, Deserializer, Display, FromStr};
    use serde::de::Error as _;

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
