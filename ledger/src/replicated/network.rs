//! The consensus library's calls between replicas: many groups' words to one peer share a frame,
//! and a snapshot goes in parts on a lane of its own.

use super::archive::SegmentId;
use super::cluster::DiskId;
use super::faults::{Fault, Faults};
use super::image::{Assembly, Image};
use super::log::GroupLog;
use super::segments::Segments;
use super::types::{Replica, Snapshot, SnapshotMeta, Types, Vote};
use super::wire::{Body, Frame, Kind, Part, Reply, Words};
use crate::peers::{FRAME_MAX, Lane, Peers};
use bytes::Bytes;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use proto::{GroupId, NodeId, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Words that wait for a frame to one peer: a few for each group.
const QUEUE_MAX: usize = 1_024;
/// Frames to one peer on their way at once, of each urgency. With few, what is said meanwhile
/// shares the next; with one, a lost frame would stop everything for its whole deadline.
const FRAMES_OUT: usize = 4;
/// Turns of other tasks that a frame waits for company: microseconds when there is nothing to do.
const TURNS: usize = 3;
/// Bytes of words in a frame; the rest of [`FRAME_MAX`] is room for headers.
const WORDS_BYTES: usize = FRAME_MAX / 2;
/// Encoded entries in one append, at most, unless a single one is larger.
const APPEND_BYTES: usize = WORDS_BYTES / 2;
/// The largest command. An entry must fit in a frame.
pub(crate) const COMMAND_MAX: usize = APPEND_BYTES;
/// How long a frame's answer is waited for.
const FRAME_WITHIN: Duration = Duration::from_millis(1_000);
/// How long a peer may take over a part of a snapshot; the last one is installed and synced.
const PART_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a snapshot in a frame, about.
const PART_BYTES: usize = 128 << 10;
/// Snapshots sent at once, and taken in at once.
const SNAPSHOTS_OUT: usize = 2;
const SNAPSHOTS_IN: usize = 8;

/// The lines to all peers.
pub(crate) struct Lines {
    me: NodeId,
    disk: DiskId,
    peers: Arc<dyn Peers>,
    queues: Mutex<BTreeMap<(NodeId, bool), mpsc::Sender<Said>>>,
    snapshots: Semaphore,
    transfers: AtomicU64,
    frames: AtomicU64,
}

/// Words and who waits for the answer.
struct Said {
    words: Words,
    answer: oneshot::Sender<Result<Bytes, String>>,
}

impl Lines {
    pub(crate) fn new(me: NodeId, disk: DiskId, peers: Arc<dyn Peers>) -> Arc<Self> {
        Arc::new(Self {
            me,
            disk,
            peers,
            queues: Mutex::default(),
            snapshots: Semaphore::new(SNAPSHOTS_OUT),
            transfers: AtomicU64::new(0),
            frames: AtomicU64::new(0),
        })
    }

    /// How many frames were sent.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    fn queue(self: &Arc<Self>, to: NodeId, urgent: bool) -> mpsc::Sender<Said> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry((to, urgent)).or_insert_with(|| {
            let (queue, said) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(Arc::clone(self).send_frames(to, said));
            queue
        });
        queue.clone()
    }

    /// Says words to a peer's replica and brings back its answer.
    async fn say(
        self: &Arc<Self>,
        to: NodeId,
        urgent: bool,
        words: Words,
    ) -> Result<Bytes, String> {
        let (answer, answered) = oneshot::channel();
        let said = Said { words, answer };
        self.queue(to, urgent).try_send(said).map_err(|_| "the line is full".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("the line was cut".to_owned()))
    }

    /// Packs what has queued up into frames until nobody can say anything any more.
    async fn send_frames(self: Arc<Self>, to: NodeId, mut queue: mpsc::Receiver<Said>) {
        let out = Arc::new(Semaphore::new(FRAMES_OUT));
        while let Some(first) = queue.recv().await {
            let Ok(room) = Arc::clone(&out).acquire_owned().await else { return };
            // Groups speak at the same beat: let those whose turn comes next get their word in.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let (mut words, mut waiting) = (Vec::new(), Vec::new());
            let (mut bytes, mut next) = (0, Some(first));
            while let Some(Said { words: one, answer }) = next {
                bytes += one.bytes.len();
                words.push(one);
                waiting.push(answer);
                next = if bytes < WORDS_BYTES { queue.try_recv().ok() } else { None };
            }
            let lines = Arc::clone(&self);
            tokio::spawn(async move {
                let reply = lines.call(to, Lane::Consensus, FRAME_WITHIN, Body::Words(words)).await;
                let answers = match reply {
                    Ok(Reply::Answers(answers)) if answers.len() == waiting.len() => answers,
                    Ok(other) => vec![Err(format!("answered with {other:?}")); waiting.len()],
                    Err(why) => vec![Err(why); waiting.len()],
                };
                for (waiting, answer) in waiting.into_iter().zip(answers) {
                    let _ = waiting.send(answer); // nobody waits any more: fine
                }
                drop(room);
            });
        }
    }

    /// One frame there and its answer back.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        within: Duration,
        body: Body,
    ) -> Result<Reply, String> {
        self.frames.fetch_add(1, Ordering::Relaxed);
        let frame = codec::encode(&Frame { from: self.me, disk: self.disk, body });
        let answer = tokio::time::timeout(within, self.peers.call(to, lane, frame)).await;
        let answer = answer.map_err(|_| format!("{to} did not answer in time"))?;
        let answer = answer.map_err(|error| error.to_string())?;
        codec::decode(&answer).map_err(|error| format!("{to}'s answer {error}"))
    }
}

/// Gives a group its clients.
pub(crate) struct Dialler {
    pub(crate) group: GroupId,
    pub(crate) lines: Arc<Lines>,
    pub(crate) segments: Segments,
    pub(crate) faults: Faults,
}

impl RaftNetworkFactory<Types> for Dialler {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Client {
        let (lines, segments) = (Arc::clone(&self.lines), self.segments.clone());
        let (group, to, faults) = (self.group, NodeId(target), self.faults);
        Client { group, to, lines, segments, urgent: false, faults }
    }

    /// Heartbeats do not queue behind entries.
    async fn new_heartbeat_client(&mut self, target: u64, node: &EmptyNode) -> Client {
        Client { urgent: true, ..self.new_client(target, node).await }
    }
}

/// A group's line to one peer.
pub(crate) struct Client {
    group: GroupId,
    to: NodeId,
    lines: Arc<Lines>,
    segments: Segments,
    urgent: bool,
    faults: Faults,
}

impl Client {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        question: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Types>> {
        let urgent = self.urgent || kind != Kind::Append;
        let words = Words { group: self.group, kind, bytes: codec::encode(question).into() };
        let within = option.soft_ttl();
        let said = tokio::time::timeout(within, self.lines.say(self.to, urgent, words)).await;
        let Ok(answer) = said else {
            let action = match kind {
                Kind::Append => RPCTypes::AppendEntries,
                Kind::Vote | Kind::PreVote => RPCTypes::Vote,
                Kind::HandOver => RPCTypes::TransferLeader,
            };
            let (id, target) = (self.lines.me.0, self.to.0);
            return Err(Timeout { action, id, target, timeout: within }.into());
        };
        let unreachable = |why: String| RPCError::Unreachable(Unreachable::from_string(why));
        let bytes = answer.map_err(unreachable)?;
        codec::decode(&bytes).map_err(|error| unreachable(error.to_string()))
    }

    async fn send_part(&self, part: Part) -> Result<Bytes, StreamingError<Types>> {
        let body = Body::Snapshot(self.group, part);
        let reply = self.lines.call(self.to, Lane::Snapshots, PART_WITHIN, body).await;
        let answer = match reply {
            Ok(Reply::Snapshot(answer)) => answer,
            Ok(other) => Err(format!("answered with {other:?}")),
            Err(why) => Err(why),
        };
        answer.map_err(|why| StreamingError::Unreachable(Unreachable::from_string(why)))
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: &Snapshot,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let _turn = self.lines.snapshots.acquire().await;
        let transfer = self.lines.transfers.fetch_add(1, Ordering::Relaxed);
        let (vote, meta) = (codec::encode(&vote).into(), codec::encode(&snapshot.meta).into());
        let header = snapshot.snapshot.header();
        let archive = header.archive.segments.clone();
        let unreachable = |why: String| StreamingError::Unreachable(Unreachable::from_string(why));
        let missing = self.send_part(Part::Begin { transfer, vote, meta, header }).await?;
        let missing = codec::decode::<Vec<SegmentId>>(&missing);
        for id in missing.map_err(|error| unreachable(error.to_string()))? {
            let segment = archive.get(&id).ok_or_else(|| unreachable(format!("no {id:?}")))?;
            let bytes = self.segments.load(self.group, id, *segment).await;
            let bytes = bytes.map_err(|error| unreachable(error.to_string()))?.into();
            self.send_part(Part::Segment { transfer, id, bytes }).await?;
        }
        for (number, pieces) in (0..).zip(snapshot.snapshot.chunks(PART_BYTES)) {
            self.send_part(Part::Pieces { transfer, number, pieces }).await?;
        }
        let answer = self.send_part(Part::End { transfer }).await?;
        codec::decode(&answer).map_err(|error| unreachable(error.to_string()))
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let cut = cut(&mut rpc);
        if self.faults.make(Fault::AckBeforeQuorum) {
            let bytes = codec::encode(&rpc).into();
            let words = Words { group: self.group, kind: Kind::Append, bytes };
            let (lines, to, urgent) = (Arc::clone(&self.lines), self.to, self.urgent);
            tokio::spawn(async move { lines.say(to, urgent, words).await });
            let last = rpc.entries.last().map(|last| last.log_id);
            return Ok(match last.filter(|_| cut) {
                Some(last) => AppendEntriesResponse::PartialSuccess(Some(last)),
                None => AppendEntriesResponse::Success,
            });
        }
        let answer = self.ask(Kind::Append, &rpc, &option).await?;
        Ok(match (cut, answer) {
            (true, AppendEntriesResponse::Success) => {
                AppendEntriesResponse::PartialSuccess(rpc.entries.last().map(|last| last.log_id))
            }
            (_, answer) => answer,
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Kind::Vote, &rpc, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Kind::PreVote, &rpc, &option).await
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.ask(Kind::HandOver, &rpc, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, &snapshot) => sent,
        }
    }
}

/// Keeps of an append what fits in a frame, at least one entry; says whether it cut.
fn cut(rpc: &mut AppendEntriesRequest<Types>) -> bool {
    let mut bytes = 0;
    let fits = |entry: &super::types::Entry| {
        bytes += match &entry.payload {
            openraft::EntryPayload::Normal(stamped) => stamped.command.len() + 64,
            openraft::EntryPayload::Blank => 64,
            openraft::EntryPayload::Membership(_) => 4_096,
        };
        bytes <= APPEND_BYTES
    };
    let keep = rpc.entries.iter().take_while({
        let mut fits = fits;
        move |entry| fits(entry)
    });
    let keep = keep.count().max(1);
    let cut = keep < rpc.entries.len();
    rpc.entries.truncate(keep);
    cut
}

/// Has a replica answer words; says whether it heard its leader, or gave its vote.
pub(crate) async fn answer(
    replica: &Replica,
    log: &GroupLog,
    words: &Words,
) -> Result<(Bytes, bool), String> {
    fn encoded<T: Serialize, E: std::fmt::Display>(answer: Result<T, E>) -> Result<Bytes, String> {
        answer.map(|answer| codec::encode(&answer).into()).map_err(|error| error.to_string())
    }
    fn decoded<T: DeserializeOwned>(words: &Words) -> Result<T, String> {
        codec::decode(&words.bytes).map_err(|error| error.to_string())
    }
    let raft = &replica.raft;
    // Up to where a leader would know that this word makes one. Who is handed a group waits until it does.
    let leads_from = match words.kind {
        Kind::Append => None,
        Kind::Vote | Kind::PreVote => Some(decoded::<VoteRequest<Types>>(words)?.last_log_id),
        Kind::HandOver => {
            Some(decoded::<TransferLeaderRequest<Types>>(words)?.last_log_id().copied())
        }
    };
    if leads_from.is_some_and(|last| log.knew_more_than(last.as_ref())) {
        return Err("the replica that was removed from here knew more".into());
    }
    match words.kind {
        Kind::Append => {
            let answer = raft.append_entries(decoded(words)?).await;
            let heard = !matches!(answer, Ok(AppendEntriesResponse::HigherVote(_)) | Err(_));
            Ok((encoded(answer)?, heard))
        }
        Kind::Vote => {
            let answer = raft.vote(decoded(words)?).await;
            let given = matches!(&answer, Ok(answer) if answer.vote_granted);
            Ok((encoded(answer)?, given))
        }
        Kind::PreVote => Ok((encoded(raft.pre_vote(decoded(words)?).await)?, false)),
        Kind::HandOver => Ok((encoded(raft.handle_transfer_leader(decoded(words)?).await)?, false)),
    }
}

/// Snapshots on their way in, one for each group.
#[derive(Default)]
pub(crate) struct Arrivals(Mutex<BTreeMap<GroupId, Arrival>>, AtomicU64);

struct Arrival {
    /// Which arrival it is, counted here.
    order: u64,
    from: NodeId,
    transfer: u64,
    next: u32,
    vote: Vote,
    meta: SnapshotMeta,
    assembly: Assembly,
}

impl Arrivals {
    /// Forgets what is on its way for a group whose replica is removed.
    pub(super) fn forget(&self, group: GroupId) {
        self.arrivals().remove(&group);
    }

    fn arrivals(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a part; the last one is installed before the answer.
    pub(crate) async fn take(
        &self,
        from: NodeId,
        replica: &Replica,
        part: Part,
    ) -> Result<Bytes, String> {
        let group = replica.group;
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let arrival = match part {
            Part::Begin { transfer, vote, meta, header } => {
                let assembly = Assembly::new(header).map_err(|error| text(&error))?;
                let missing = replica.keeper().segments().missing(group, assembly.archive());
                let vote = codec::decode(&vote).map_err(|error| text(&error))?;
                let meta = codec::decode(&meta).map_err(|error| text(&error))?;
                let order = self.1.fetch_add(1, Ordering::Relaxed);
                let arrival = Arrival { order, from, transfer, next: 0, vote, meta, assembly };
                let mut arrivals = self.arrivals();
                // The newest transfer of a group takes the place of one that broke off.
                arrivals.insert(group, arrival);
                let oldest = arrivals.iter().min_by_key(|(_, one)| one.order).map(|(at, _)| *at);
                if arrivals.len() > SNAPSHOTS_IN
                    && let Some(oldest) = oldest
                {
                    arrivals.remove(&oldest);
                }
                return Ok(codec::encode(&missing).into());
            }
            Part::Segment { transfer, id, bytes } => {
                let segment = {
                    let arrivals = self.arrivals();
                    let known = arrivals.get(&group);
                    let known = known.filter(|it| (it.from, it.transfer) == (from, transfer));
                    let known = known.ok_or("no such transfer")?;
                    *known.assembly.archive().segments.get(&id).ok_or("no such segment")?
                };
                let segments = replica.keeper().segments();
                let saved = segments.save(group, id, segment, bytes.into()).await;
                return saved.map(|()| Bytes::new()).map_err(|error| text(&error));
            }
            Part::Pieces { transfer, number, pieces } => {
                let mut arrivals = self.arrivals();
                let known = arrivals.get_mut(&group).filter(|known| {
                    (known.from, known.transfer, known.next) == (from, transfer, number)
                });
                let known = known.ok_or("no such transfer")?;
                known.next += 1;
                known.assembly.add(pieces);
                return Ok(Bytes::new());
            }
            Part::End { transfer } => {
                let known = self.arrivals().remove(&group);
                known
                    .filter(|known| (known.from, known.transfer) == (from, transfer))
                    .ok_or("no such transfer")?
            }
        };
        let image = arrival.assembly.finish().map_err(|error| text(&error))?;
        let snapshot = Snapshot { meta: arrival.meta, snapshot: image };
        let installed = replica.raft.install_full_snapshot(arrival.vote, snapshot).await;
        installed.map(|response| codec::encode(&response).into()).map_err(|error| text(&error))
    }
}
