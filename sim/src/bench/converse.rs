//! One connection under load: asks for as long as the measurement lasts, keeps so many questions
//! unanswered, and notes how long each answer took. What is asked, and in which protocol, is a
//! [`Talk`]'s.

use super::BenchError;
use super::series::Sample;
use proto::units::Clock;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A node that says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long a connection that must not ask yet sleeps.
const REST: Duration = Duration::from_millis(1);
/// Answers that were read are cleared away when they are so many bytes.
const CLEAR_AT: usize = 64 << 10;

/// What is said on a connection.
pub(super) trait Talk: Send + 'static {
    /// Appends the next question; false if there is none, ever.
    fn ask(&mut self, to: &mut Vec<u8>) -> bool;
    /// Takes the first answer off `heard`: how many bytes it has, and for how many things it was.
    /// Nothing if it is not all there. `counts` says whether it falls into what is measured.
    fn hear(&mut self, heard: &[u8], counts: bool) -> Result<Option<(usize, u32)>, BenchError>;
}

/// How far a measurement has come, seen by all connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stage: AtomicU8,
    counted_from_us: AtomicU64,
}

/// Stages; the one before, 0, is to get warm.
const COUNTING: u8 = 1;
const OVER: u8 = 2;

impl Phase {
    /// From now on answers count.
    pub(super) fn count(&self, now_us: u64) {
        self.0.counted_from_us.store(now_us, Ordering::Relaxed);
        self.0.stage.store(COUNTING, Ordering::Release);
    }
    /// Nothing more is asked.
    pub(super) fn end(&self) {
        self.0.stage.store(OVER, Ordering::Release);
    }
    fn is(&self, stage: u8) -> bool {
        self.0.stage.load(Ordering::Acquire) == stage
    }
    /// An answer that came now, if it counts.
    fn sample(&self, now_us: u64, asked_us: u64, count: u32) -> Option<Sample> {
        let from_us = self.0.counted_from_us.load(Ordering::Relaxed);
        let small = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
        self.is(COUNTING).then(|| Sample {
            at_ms: small(now_us.saturating_sub(from_us) / 1_000),
            took_us: small(now_us.saturating_sub(asked_us)),
            count,
        })
    }
}

/// How a connection is used.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// Questions that may be unanswered.
    pub(super) window: usize,
    /// Questions a second; as many as are answered if nothing is said. An answer's time then counts
    /// from when its question was due, so that a slow node can't slow the questions down unseen.
    pub(super) per_s: Option<f64>,
    /// Bytes that are written at once when there are so many.
    pub(super) write_at: usize,
}

/// What came of a connection.
pub(super) struct Conversation<T> {
    pub(super) talk: T,
    pub(super) samples: Vec<Sample>,
}

/// Talks until there are no more questions or the phase is over, and all are answered.
pub(super) async fn converse<T: Talk>(
    mut stream: TcpStream,
    mut talk: T,
    manner: Manner,
    phase: Phase,
    clock: Arc<dyn Clock>,
) -> Result<Conversation<T>, BenchError> {
    let broken = |source| BenchError::System { what: "talk to a node".into(), source };
    let (mut out, mut heard, mut from) = (Vec::new(), Vec::new(), 0);
    let mut asked: VecDeque<u64> = VecDeque::new();
    let (mut samples, mut any_left, mut questions) = (Vec::new(), true, 0u64);
    let began_us = clock.precise_us();
    loop {
        any_left &= !phase.is(OVER);
        while any_left && asked.len() < manner.window && out.len() < manner.write_at {
            let now_us = clock.precise_us();
            let due_us = manner.per_s.map_or(now_us, |per_s| {
                began_us + crate::whole::whole(questions as f64 * 1e6 / per_s)
            });
            if due_us > now_us {
                break;
            }
            any_left = talk.ask(&mut out);
            if any_left {
                asked.push_back(due_us);
                questions += 1;
            }
        }
        if !out.is_empty() {
            stream.write_all(&out).await.map_err(broken)?;
            out.clear();
        }
        if asked.is_empty() {
            if !any_left {
                return Ok(Conversation { talk, samples });
            }
            tokio::time::sleep(REST).await;
            continue;
        }
        let read = tokio::time::timeout(SILENCE_MAX, stream.read_buf(&mut heard)).await;
        match read {
            Ok(Ok(0)) => return Err(BenchError::Talk("the connection was closed".into())),
            Ok(read) => read.map_err(broken)?,
            Err(_) => return Err(BenchError::Talk(format!("no answer in {SILENCE_MAX:?}"))),
        };
        let now_us = clock.precise_us();
        let counts = phase.is(COUNTING);
        while !asked.is_empty()
            && let Some((bytes, count)) = talk.hear(&heard[from..], counts)?
        {
            from += bytes;
            if let Some(asked_us) = asked.pop_front() {
                samples.extend(phase.sample(now_us, asked_us, count));
            }
        }
        if from == heard.len() || from > CLEAR_AT {
            heard.drain(..from);
            from = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{MonoMs, WallMs};
    use tokio::net::TcpListener;

    /// Asks in single bytes; an answer is the byte again.
    struct Bytes {
        left: u8,
        heard: Vec<u8>,
    }

    impl Talk for Bytes {
        fn ask(&mut self, to: &mut Vec<u8>) -> bool {
            if self.left == 0 {
                return false;
            }
            to.push(self.left);
            self.left -= 1;
            true
        }
        fn hear(&mut self, heard: &[u8], _: bool) -> Result<Option<(usize, u32)>, BenchError> {
            let Some(first) = heard.first() else { return Ok(None) };
            self.heard.push(*first);
            Ok(Some((1, 3)))
        }
    }

    /// A millisecond later at each look.
    #[derive(Debug, Default)]
    struct Hasty(AtomicU64);

    impl Clock for Hasty {
        fn mono(&self) -> MonoMs {
            MonoMs(self.0.fetch_add(1, Ordering::Relaxed))
        }
        fn wall(&self) -> WallMs {
            WallMs(0)
        }
    }

    async fn echo() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = far.split();
            tokio::io::copy(&mut read, &mut write).await
        });
        stream
    }

    #[tokio::test]
    async fn every_question_gets_its_answer_in_order_and_is_timed() {
        for (window, per_s) in [(1, None), (4, None), (64, None), (4, Some(100.0))] {
            let (phase, manner) = (Phase::default(), Manner { window, per_s, write_at: 1_000 });
            phase.count(0);
            let talk = Bytes { left: 20, heard: Vec::new() };
            let clock = Arc::new(Hasty::default());
            let ended = converse(echo().await, talk, manner, phase, clock).await.unwrap();
            assert_eq!(ended.talk.heard, (1..=20).rev().collect::<Vec<u8>>());
            assert_eq!(ended.samples.len(), 20);
            assert!(ended.samples.iter().all(|one| one.count == 3 && one.took_us > 0));
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_when_it_is_over_and_nothing_counts_before_it_begins() {
        let clock = Arc::new(Hasty::default());
        for over in [false, true] {
            let phase = Phase::default();
            if over {
                phase.end();
            }
            let talk = Bytes { left: 5, heard: Vec::new() };
            let manner = Manner { window: 2, per_s: None, write_at: 1_000 };
            let clock = Arc::clone(&clock) as Arc<dyn Clock>;
            let ended = converse(echo().await, talk, manner, phase, clock).await.unwrap();
            assert_eq!(ended.talk.heard.len(), if over { 0 } else { 5 });
            assert!(ended.samples.is_empty());
        }
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        drop(listener.accept().await.unwrap());
        let manner = Manner { window: 2, per_s: None, write_at: 1_000 };
        let talk = Bytes { left: 5, heard: Vec::new() };
        let clock = Arc::new(Hasty::default());
        assert!(converse(stream, talk, manner, Phase::default(), clock).await.is_err());
    }
}
