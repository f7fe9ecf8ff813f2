//! The one codec. Every value that is stored or sent between nodes goes through here: a version
//! byte, then bincode 2 (little endian, variable-length integers).
//!
//! bincode is unmaintained (RUSTSEC-2025-0141); this module is the only one that names it, so
//! replacing it is a change of one file and of the version byte.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format this build writes, and the only one it reads.
pub const VERSION: u8 = 1;
/// The largest value that is decoded, in bytes. A length prefix beyond it is refused before
/// anything is allocated for it.
pub const SIZE_MAX: usize = 4 << 20;

/// Why bytes were refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is no version byte.
    #[error("empty")]
    Empty,
    /// The version byte is not ours.
    #[error("format version {0}, this build reads {VERSION}")]
    Version(u8),
    /// The body does not decode as the wanted type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value decoded, but bytes were left over.
    #[error("{0} bytes left over")]
    Trailing(usize),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<SIZE_MAX>()
}

/// The bytes of a value.
///
/// # Panics
/// If the value is larger than [`SIZE_MAX`] or holds what the format cannot say (a map or
/// sequence of unknown length). Records are built to do neither, so it is a bug.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    let written = bincode::serde::encode_into_std_write(value, &mut bytes, config());
    assert!(written.is_ok(), "a record that cannot be encoded: {written:?}");
    bytes
}

/// The value that `bytes`, all of them, encode.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    let (value, read) = bincode::serde::decode_from_slice(body, config())
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    match body.len() - read {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_bad_bytes_is_told_apart() {
        assert_eq!(decode::<u32>(&[]), Err(CodecError::Empty));
        assert_eq!(decode::<u32>(&[9, 1]), Err(CodecError::Version(9)));
        assert_eq!(decode::<u32>(&[VERSION, 1, 2]), Err(CodecError::Trailing(1)));
        assert!(matches!(decode::<u32>(&[VERSION]), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn a_huge_length_prefix_allocates_nothing() {
        let mut bytes = vec![VERSION, 253];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(CodecError::Malformed(_))));
    }
}
