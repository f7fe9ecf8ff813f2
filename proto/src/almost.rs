//! Bytes that are almost right, for tests of decoders: what was once valid, damaged as lines, disks
//! and strangers damage it. Shrunk by `proptest` like any other value; `PROPTEST_CASES=1000000` makes
//! a search of a test.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Damages done to one value.
const DAMAGES_MAX: usize = 4;
/// Bytes put in at once.
const INSERTED_MAX: usize = 16;
/// Bytes in which formats like to hide something: nothing, the marks of bincode's longer numbers, the
/// largest of each width, text's quotes and brackets.
const LOADED: &[u8] =
    &[0, 1, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, b'"', b'{', b'[', b'\\'];

#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Drop(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, Index),
    /// Goes on as another value does.
    Splice(Index, Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        4 => (at(), prop::sample::select(LOADED)).prop_map(|(at, byte)| Damage::Set(at, byte)),
        2 => at().prop_map(Damage::Cut),
        2 => (at(), 1..INSERTED_MAX).prop_map(|(at, bytes)| Damage::Drop(at, bytes)),
        2 => (at(), vec(any::<u8>(), 1..INSERTED_MAX)).prop_map(|(at, new)| Damage::Insert(at, new)),
        1 => (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        2 => (at(), at(), at()).prop_map(|(at, other, from)| Damage::Splice(at, other, from)),
    ]
}

fn place(at: &Index, length: usize) -> usize {
    at.index(length + 1)
}

fn suffer(bytes: &mut Vec<u8>, damage: &Damage, seeds: &[Vec<u8>]) {
    let length = bytes.len();
    match damage {
        Damage::Flip(at, bit) if length > 0 => bytes[at.index(length)] ^= 1 << bit,
        Damage::Set(at, byte) if length > 0 => bytes[at.index(length)] = *byte,
        Damage::Flip(..) | Damage::Set(..) => {}
        Damage::Cut(at) => bytes.truncate(place(at, length)),
        Damage::Drop(at, some) => {
            let from = place(at, length);
            bytes.drain(from..(from + some).min(length));
        }
        Damage::Insert(at, new) => {
            let from = place(at, length);
            bytes.splice(from..from, new.iter().copied());
        }
        Damage::Repeat(from, to) => {
            let (a, b) = (place(from, length), place(to, length));
            let again = bytes[a.min(b)..a.max(b)].to_vec();
            bytes.extend(again);
        }
        Damage::Splice(at, other, from) => {
            let other = &seeds[other.index(seeds.len())];
            bytes.truncate(place(at, length));
            bytes.extend_from_slice(&other[place(from, other.len())..]);
        }
    }
}

/// One of `seeds`, damaged a few times or not at all; now and then any bytes.
///
/// # Panics
/// If there is no seed.
pub fn almost(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    assert!(!seeds.is_empty(), "nothing to damage");
    let damaged = (any::<Index>(), vec(damage(), 0..=DAMAGES_MAX)).prop_map(move |(seed, all)| {
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        all.iter().for_each(|damage| suffer(&mut bytes, damage, &seeds));
        bytes
    });
    prop_oneof![15 => damaged, 1 => vec(any::<u8>(), 0..256)]
}
