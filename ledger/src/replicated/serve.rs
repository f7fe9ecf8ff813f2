//! What other ledgers ask of this one.

use super::Replicated;
use super::cluster::{Change, Cluster, Join, Objection};
use super::network;
use super::wire::{Body, Frame, Kind, NotJoined, Reply};
use crate::contract::{BoxFuture, Refused};
use crate::peers::Receive;
use proto::codec;
use std::sync::atomic::Ordering;

impl Receive for Replicated {
    fn receive(&self, frame: Vec<u8>) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            let reply = match codec::decode::<Frame>(&frame) {
                Ok(frame) => self.answer(frame).await,
                Err(_) => Reply::Garbage,
            };
            codec::encode(&reply)
        })
    }
}

impl Replicated {
    pub(super) async fn answer(&self, Frame { from, disk, body }: Frame) -> Reply {
        let core = &self.0;
        if core.knows(from, disk) == Some(false) || core.broken.borrow().is_some() {
            return Reply::Stranger;
        }
        // A blank disk has no say, and no vote, until it was let in: it may be one that was lost. A member
        // hears also those of whose joining it has not heard yet, who may lead all that it could hear of.
        let hears = core.knows(from, disk).is_some() || core.founders().is_some();
        match body {
            Body::Census => Reply::Census { disk: core.disk, founders: core.founders().clone() },
            Body::Stand(node, standing) => self.pass_on(Change::Stand(node, standing)).await,
            Body::SetPolicy(expected, bytes) => {
                self.pass_on(Change::SetPolicy(expected, bytes)).await
            }
            Body::Know(level) => self.pass_on(Change::Know(from, level)).await,
            Body::Join(join) => Reply::Joined(self.let_in(join).await),
            Body::Words(_) | Body::Snapshot(..) if !hears => Reply::Stranger,
            Body::Words(words) => {
                let answers = words.iter().map(|words| async {
                    let here = match (words.kind, self.here(words.group)) {
                        (Kind::Append, _) => self.giving(words.group).await?,
                        (_, Some(here)) => here,
                        (_, None) => self.replica_soon(words.group).await?,
                    };
                    let (answer, heard) = network::answer(&here.replica, &here.log, words).await?;
                    match (heard, words.kind) {
                        (false, _) => {}
                        (true, Kind::Append) => here.hears(core.clock.mono()),
                        (true, _) => here.heard_at.store(core.clock.mono().0, Ordering::Relaxed),
                    }
                    Ok(answer)
                });
                Reply::Answers(futures_util::future::join_all(answers).await)
            }
            Body::Counted(_) if !hears => Reply::Stranger,
            Body::Counted(group) => match self.counts_on(group, from).await {
                Ok(counted) => Reply::Counted(counted),
                Err(_) => Reply::Busy,
            },
            Body::Snapshot(group, part) => match self.giving(group).await {
                Ok(here) => Reply::Snapshot(core.arrivals.take(from, &here.replica, part).await),
                Err(why) => Reply::Snapshot(Err(why)),
            },
        }
    }

    async fn pass_on(&self, change: Change) -> Reply {
        match self.change(change).await {
            Ok(stood) => Reply::Stood(stood),
            Err(_) => Reply::Busy,
        }
    }

    async fn let_in(&self, join: Join) -> Result<Cluster, NotJoined> {
        match self.change(Change::Join(join)).await {
            Ok(Ok(cluster)) => {
                self.0.learn(cluster.clone(), true);
                Ok(cluster)
            }
            Ok(Err(Objection::OtherDisk)) => Err(NotJoined::OtherDisk),
            Ok(Err(Objection::TooOld { agreed })) => Err(NotJoined::TooOld { agreed }),
            Ok(Err(_)) | Err(Refused::Overloaded | Refused::Unknown | Refused::TooLarge) => {
                Err(NotJoined::Elsewhere(None))
            }
            Err(Refused::NotLeader { hint }) => Err(NotJoined::Elsewhere(hint)),
        }
    }
}
