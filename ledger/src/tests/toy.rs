//! A state machine of texts. `key=value` sets a key, `key=` removes it; the outcome is the value
//! that was there; each part of the value between commas is an event. With a `+` before it the value
//! is also archived, under its number if it is one. `panic` is a bug.

use proto::codec::CodecError;
use proto::machine::{Applied, Level, StateMachine};
use proto::{GroupId, WallMs};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A stored value that begins with this byte does not decode.
pub(crate) const POISON: u8 = 0xff;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Toy(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

/// Where a value is archived.
pub(crate) fn past(value: &str) -> Vec<u8> {
    format!("past/{value:0>8}").into_bytes()
}

impl Toy {
    pub(crate) fn boxed(_: GroupId) -> Box<dyn StateMachine> {
        Box::new(Self::default())
    }
}

impl StateMachine for Toy {
    fn apply(&mut self, _: WallMs, _: Level, command: &[u8]) -> Applied {
        assert!(command != b"panic", "a bug in the machine, as asked for");
        let Some(equals) = command.iter().position(|byte| *byte == b'=') else {
            let outcome = b"refused".into();
            return Applied { outcome, changed: vec![], events: vec![], archived: vec![] };
        };
        let (command, equals, archive) = match command.split_first() {
            Some((b'+', rest)) => (rest, equals - 1, true),
            Some(_) | None => (command, equals, false),
        };
        let (key, value) = (command[..equals].to_vec(), command[equals + 1..].to_vec());
        let events = value.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect();
        let archived = archive.then(|| (past(&String::from_utf8_lossy(&value)), value.clone()));
        let archived = archived.into_iter().collect();
        let old = match value.is_empty() {
            true => self.0.remove(&key),
            false => self.0.insert(key.clone(), value),
        };
        Applied { outcome: old.unwrap_or_default(), changed: vec![key], events, archived }
    }

    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        if value.first() == Some(&POISON) {
            return Err(CodecError::Version(POISON));
        }
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.0.range::<[u8], _>((from, Bound::Unbounded));
        range.take(max).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Keys that begin with `w`.
    fn open_work(&self) -> Vec<Vec<u8>> {
        self.0.keys().filter(|key| key.first() == Some(&b'w')).cloned().collect()
    }
}
