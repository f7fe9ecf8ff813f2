//! Binary messages of a phone: frames of pings, as edge gateways send them.

use super::Held;
use crate::auth::Identity;
use crate::edge;
use crate::http::requests::latest;
use futures_util::future::BoxFuture;
use proto::WallMs;
use proto::code::{Code, Refusal};
use proto::edge::{Frame, Pinged};
use proto::record::cell::Ping;
use std::future::pending;

/// An answer in the making: the bytes of a frame.
pub(super) type Answer = BoxFuture<'static, Vec<u8>>;

/// Why a message was not taken, and the number of its frame if it is one.
pub(super) type Unfit = (Option<u32>, Refusal);

impl Held {
    /// Takes a frame of pings. They are applied, and the answer is made, by whoever waits for it.
    pub(super) fn take_frame(&self, message: &[u8], now: WallMs) -> Result<Answer, Unfit> {
        let none = |why: String| (None, Refusal::new(Code::BadRequest, why));
        let frame = Frame::first(message)
            .map_err(|bad| none(bad.to_string()))?
            .filter(|frame| frame.size() == message.len())
            .ok_or_else(|| none("a binary message is one whole frame".to_owned()))?;
        let number = frame.number;
        let (pings, bad) = self.read(&frame, now).map_err(|refusal| (Some(number), refusal))?;
        let app = self.app.clone();
        Ok(Box::pin(async move {
            let mut counts = app.pings.apply(&pings).await;
            counts.refused += bad;
            let mut answer = Vec::new();
            Pinged(counts).put(number, &mut answer);
            answer
        }))
    }

    /// The pings of a frame, and how many of them make no sense.
    fn read(&self, frame: &Frame<'_>, now: WallMs) -> Result<(Vec<Ping>, u32), Refusal> {
        let count = frame.pings().map_err(edge::refusal)?.len();
        edge::may_say(Identity::Driver(self.driver), frame)?;
        self.app.rates.admit_pings(self.driver, count)?;
        let mut pings = Vec::new();
        let bad = edge::decode(frame, latest(now), &mut pings)?;
        self.app.metrics.ping("refused", bad.into());
        Ok((pings, bad))
    }
}

/// The answer in the making, once it is made.
pub(super) async fn made(answer: &mut Option<Answer>) -> Vec<u8> {
    match answer {
        Some(making) => making.await,
        None => pending().await,
    }
}
