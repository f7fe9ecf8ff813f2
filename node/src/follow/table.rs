//! Streams that are open: whose each is, what is to be asked for it, and what waits for its reader.

use proto::record::ask::{Followed, Following};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// What may wait for one reader: the whole story of a booking with 64 offers that were made and
/// ended, and a trip. A reader that is this far behind is cut off, and goes on where it was when it
/// comes back.
pub(super) const QUEUE_MAX: usize = 256;
/// Streams of one rider, or one driver, at one node: a phone that comes back again and again leaves
/// connections behind that look alive for a minute. Beyond it his oldest is closed.
pub(super) const EACH_MAX: usize = 8;

/// How far somebody was told, as a plain value.
pub(super) trait Tell {
    /// What goes down his stream.
    type Down;
    /// Whose stream it is: a number that no two parties of one table share.
    fn whose(&self) -> u64;
    /// What to ask the owners; a few questions at most.
    fn questions(&self) -> Vec<Following>;
    /// Takes an answer, also one that comes late or twice; says what to show, and how to go on.
    fn hear(&mut self, question: &Following, answer: Followed) -> (Vec<Self::Down>, Next);
}

/// How a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is asked about again with the others.
    Wait,
    /// There is more to ask at once.
    Hurry,
    /// All was told.
    End,
}

struct Open<S: Tell> {
    story: S,
    queue: mpsc::Sender<S::Down>,
    /// To be asked about at once.
    due: bool,
}

/// Streams, by number; newer ones have greater numbers.
pub(super) struct Table<S: Tell> {
    streams: BTreeMap<u64, Open<S>>,
    last: u64,
    max: usize,
}

impl<S: Tell> Table<S> {
    /// At most `max` at once.
    pub(super) const fn new(max: usize) -> Self {
        Self { streams: BTreeMap::new(), last: 0, max }
    }

    /// Opens a stream, to be asked about at once; none if there are too many. Whoever drops the end
    /// that he reads closes his.
    pub(super) fn open(&mut self, story: S) -> Option<(u64, mpsc::Receiver<S::Down>)> {
        self.sweep();
        let whose = story.whose();
        let his = self.streams.iter().filter(|(_, open)| open.story.whose() == whose);
        let his: Vec<u64> = his.map(|(number, _)| *number).collect();
        if his.len() >= EACH_MAX {
            self.streams.remove(&his[0]);
        }
        if self.streams.len() >= self.max {
            return None;
        }
        let (queue, news) = mpsc::channel(QUEUE_MAX);
        self.last += 1;
        self.streams.insert(self.last, Open { story, queue, due: true });
        Some((self.last, news))
    }

    /// How many are open.
    pub(super) fn count(&mut self) -> usize {
        self.sweep();
        self.streams.len()
    }

    /// Forgets those that nobody reads any more.
    fn sweep(&mut self) {
        self.streams.retain(|_, open| !open.queue.is_closed());
    }

    /// What is to be asked for all of them, or for those who can't wait.
    pub(super) fn questions(&mut self, due_only: bool) -> Vec<(u64, Following)> {
        self.sweep();
        let asked = self.streams.iter_mut().filter(|(_, open)| open.due || !due_only);
        let mut questions = Vec::new();
        for (number, open) in asked {
            open.due = false;
            questions.extend(open.story.questions().into_iter().map(|asked| (*number, asked)));
        }
        questions
    }

    /// A stream is to be asked about at once.
    pub(super) fn hurry(&mut self, number: u64) {
        if let Some(open) = self.streams.get_mut(&number) {
            open.due = true;
        }
    }

    /// Passes an answer on; says whether the stream is due again.
    pub(super) fn hear(&mut self, number: u64, question: &Following, answer: Followed) -> bool {
        let Some(open) = self.streams.get_mut(&number) else { return false };
        let (downs, next) = open.story.hear(question, answer);
        open.due |= next == Next::Hurry;
        self.send(number, downs);
        if next == Next::End {
            self.streams.remove(&number);
        }
        next == Next::Hurry
    }

    /// Has each stream say what to show, if anything.
    pub(super) fn tell_all(&mut self, say: impl Fn(&S) -> Option<S::Down>) {
        self.streams.retain(|_, open| {
            say(&open.story).is_none_or(|down| open.queue.try_send(down).is_ok())
        });
    }

    /// Has one of them say what to show.
    pub(super) fn tell(&mut self, number: u64, say: impl FnOnce(&mut S) -> Vec<S::Down>) {
        if let Some(open) = self.streams.get_mut(&number) {
            let downs = say(&mut open.story);
            self.send(number, downs);
        }
    }

    /// A reader that is too far behind is cut off.
    fn send(&mut self, number: u64, downs: Vec<S::Down>) {
        if let Some(open) = self.streams.get(&number)
            && !downs.into_iter().all(|down| open.queue.try_send(down).is_ok())
        {
            self.streams.remove(&number);
        }
    }

    /// Their stories.
    pub(super) fn stories(&self) -> impl Iterator<Item = &S> {
        self.streams.values().map(|open| &open.story)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::DriverId;
    use proto::record::ask::{Followee, Mark};

    /// Whoever is told the places that he is answered.
    struct Echo(u64);

    impl Tell for Echo {
        type Down = u64;
        fn whose(&self) -> u64 {
            self.0
        }
        fn questions(&self) -> Vec<Following> {
            vec![question()]
        }
        fn hear(&mut self, _: &Following, answer: Followed) -> (Vec<u64>, Next) {
            (vec![answer.upto.index], Next::Wait)
        }
    }

    fn question() -> Following {
        Following { of: Followee::Driver(DriverId::from_raw(1)), after: None, confirm: true }
    }

    fn answer(index: u64) -> Followed {
        let (upto, events) = (Mark { index, n: 0 }, Vec::new());
        Followed { upto, afresh: false, more: false, events, now: None }
    }

    #[test]
    fn a_reader_that_is_too_far_behind_is_cut_off_after_what_waits_for_it() {
        let mut table = Table::new(1);
        let (number, mut waiting) = table.open(Echo(1)).unwrap();
        for index in 0..=QUEUE_MAX as u64 {
            assert_eq!(table.count(), 1, "cut off before {index}");
            table.hear(number, &question(), answer(index));
        }
        assert_eq!(table.count(), 0);
        let mut told = 0;
        while waiting.try_recv().is_ok() {
            told += 1;
        }
        assert_eq!(told, QUEUE_MAX);
        assert!(waiting.is_closed());
    }

    #[test]
    fn a_party_has_so_many_streams_and_the_newest_wins() {
        let mut table = Table::new(EACH_MAX + 1);
        let (_, other) = table.open(Echo(2)).unwrap();
        let mut his: Vec<_> = (0..EACH_MAX).map(|_| table.open(Echo(1)).unwrap().1).collect();
        assert!(table.open(Echo(3)).is_none(), "the table is full");
        his.push(table.open(Echo(1)).unwrap().1);
        let closed: Vec<bool> = his.iter().map(mpsc::Receiver::is_closed).collect();
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
        assert!(closed[0] && !other.is_closed());
        drop(other);
        assert!(table.open(Echo(3)).is_some(), "who has gone leaves his place");
    }

    #[test]
    fn a_stream_is_due_when_it_opens_and_when_somebody_hurries_it() {
        let mut table = Table::new(2);
        let (number, _news) = table.open(Echo(1)).unwrap();
        assert_eq!(table.questions(true).len(), 1);
        assert_eq!(table.questions(true).len(), 0);
        assert_eq!(table.questions(false).len(), 1);
        table.hurry(number);
        assert_eq!(table.questions(true).len(), 1);
    }
}
