//! What comes from peers and from this node's own disk, almost right: frames, parts of snapshots,
//! entries of the log. It is refused or read, and never ends the process.

use super::cluster::{DiskId, Join, Standing};
use super::image::{Assembly, Header, Image, Piece};
use super::types::{Append, Ballot, Entry, LogId, RaftEntry, SnapshotMeta, Vote};
use super::wire::{Body, Frame, Kind, Part, Reply, Words};
use super::{log, snapshots};
use crate::store::{Batch, MemoryDisk, Store};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto::almost::almost;
use proto::machine::Level;
use proto::{GroupId, NodeId, codec};

/// Without `PROPTEST_CASES`.
const CASES: u32 = 2_000;

fn each(seeds: Vec<Vec<u8>>, read: impl Fn(&[u8])) {
    let config = match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default(),
        Err(_) => ProptestConfig::with_cases(CASES),
    };
    let ran = TestRunner::new(config).run(&almost(seeds), |bytes| {
        read(&bytes);
        Ok(())
    });
    ran.unwrap();
}

fn header() -> Header {
    Image::default().header()
}

fn pieces() -> Vec<Piece> {
    vec![Piece::Value(b"key".to_vec(), b"value".to_vec()), Piece::Record(vec![1], vec![2; 40])]
}

fn frames() -> Vec<Vec<u8>> {
    let (group, bytes) = (GroupId(3), Bytes::from_static(b"words"));
    let words = |kind| Words { group, kind, bytes: bytes.clone() };
    let (node, disk, level) = (NodeId(2), DiskId(7), Level::KNOWN);
    let join = Join { node, disk, zone: "a".into(), level };
    let (vote, meta) = (bytes.clone(), bytes.clone());
    let parts = [
        Part::Begin { transfer: 1, vote, meta, header: header() },
        Part::Pieces { transfer: 1, number: 0, pieces: pieces() },
        Part::End { transfer: 1 },
    ];
    let parts = parts.into_iter().map(|part| Body::Snapshot(group, part));
    let bodies = [
        Body::Words(vec![words(Kind::Append), words(Kind::PreVote), words(Kind::HandOver)]),
        Body::Census,
        Body::Join(join),
        Body::Stand(node, Standing::Draining),
        Body::Know(level),
        Body::SetPolicy(3, b"{}".to_vec()),
        Body::Counted(group),
    ];
    let from = |body| codec::encode(&Frame { from: NodeId(1), disk, body });
    bodies.into_iter().chain(parts).map(from).collect()
}

#[test]
fn fuzz_frames_of_peers() {
    each(frames(), |bytes| {
        if let Ok(frame) = codec::decode::<Frame>(bytes) {
            let again = codec::encode(&frame);
            assert!(codec::decode::<Frame>(&again).is_ok());
        }
        let _answer = codec::decode::<Reply>(bytes);
    });
}

#[test]
fn fuzz_words_of_the_consensus_library() {
    let id = LogId::new_term_index(3, 9);
    let append: Append = Append {
        vote: Vote::new(3, 1),
        prev_log_id: Some(id),
        entries: vec![Entry::new_blank(LogId::new_term_index(3, 10))],
        leader_commit: Some(id),
    };
    let vote = Ballot::new(Vote::new(4, 2), Some(id));
    each(vec![codec::encode(&append), codec::encode(&vote)], |bytes| {
        let _words = codec::decode::<Append>(bytes);
        let _words = codec::decode::<Ballot>(bytes);
        let _meta = codec::decode::<SnapshotMeta>(bytes);
    });
}

#[test]
fn fuzz_parts_of_snapshots() {
    each(vec![codec::encode(&(header(), pieces())), codec::encode(&header())], |bytes| {
        if let Ok((header, pieces)) = codec::decode::<(Header, Vec<Piece>)>(bytes)
            && let Ok(mut assembly) = Assembly::new(header)
        {
            assembly.add(pieces);
            let _image = assembly.finish();
        }
    });
}

/// Each value of a disk in turn, and the keys beside them.
fn disk(prefix: &[u8], bytes: &[u8]) -> impl Store + use<> {
    let mut store = MemoryDisk::default().open();
    let mut batch = Batch::default();
    let key = [prefix, &GroupId(7).0.to_be_bytes(), &0_u64.to_be_bytes()].concat();
    batch.put(key, bytes.to_vec());
    batch.put([prefix, bytes].concat(), bytes.to_vec());
    store.write(batch).expect("a disk in memory can be written");
    store
}

#[test]
fn fuzz_records_of_the_log() {
    let entry = codec::encode(&Entry::new_blank(LogId::new_term_index(1, 0)));
    each(vec![entry, codec::encode(&Vote::new(4, 2))], |bytes| {
        for prefix in [b"l", b"v", b"p", b"g"] {
            let _tails = log::load(&disk(prefix, bytes));
        }
        for prefix in [b"m", b"s", b"k"] {
            let _kept = snapshots::load(&disk(prefix, bytes));
        }
    });
}
