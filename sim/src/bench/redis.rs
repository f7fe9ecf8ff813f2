//! The same work for a Redis server, as geo indexes on Redis are written: per ping HGET of the
//! driver's cell, ZREM from it, ZADD to the new one, HSET of his position; all commands of a batch in
//! one write, their replies counted. The protocol (RESP) by hand, as cheaply as ours.

use super::BenchError;
use super::converse::Talk;
use super::helper::Helper;
use super::traffic::Flock;
use proto::Point;
use proto::units::Clock;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Commands for one ping.
const COMMANDS: usize = 4;
/// The side of a cell, in 1e-7 degrees: with 950 m about as large as an H3 cell of resolution 8. A
/// division finds it, so that Redis is not made to wait for H3.
const CELL_E7: i32 = 85_000;

/// The server's version if one is installed.
pub(super) fn installed() -> Option<String> {
    let said = Command::new(PROGRAM).arg("--version").stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    Some(format!("redis {version}"))
}

const PROGRAM: &str = "redis-server";

/// Starts one that keeps nothing on disk.
pub(super) async fn start() -> Result<Helper, BenchError> {
    let flags = |at: std::net::SocketAddr| {
        let port = at.port().to_string();
        let flags = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        flags.map(str::to_owned).to_vec()
    };
    Helper::start(&PathBuf::from(PROGRAM), flags).await
}

/// The pings of a flock as commands, a batch at a time.
pub(super) struct Commands {
    flock: Flock,
    batch: usize,
    clock: Arc<dyn Clock>,
    /// Of the batch whose replies come in: how many, in how many bytes.
    replies: usize,
    bytes: usize,
}

impl Commands {
    pub(super) const fn new(flock: Flock, batch: usize, clock: Arc<dyn Clock>) -> Self {
        Self { flock, batch, clock, replies: 0, bytes: 0 }
    }
}

impl Talk for Commands {
    fn ask(&mut self, to: &mut Vec<u8>) -> bool {
        let now = self.clock.wall();
        for _ in 0..self.batch {
            let Some((before, car, at)) = self.flock.next_car(now) else { return false };
            let (id, at) = (car.driver.to_raw().to_string(), at.0.to_string());
            let (lat, lng) = car.point().to_e7();
            let (lat, lng) = (lat.to_string(), lng.to_string());
            let (old, new) = (cell(before), cell(car.point()));
            let driver = format!("d:{id}");
            command(&["HGET", &driver, "cell"], to);
            command(&["ZREM", &old, &id], to);
            command(&["ZADD", &new, &at, &id], to);
            command(&["HSET", &driver, "cell", &new, "lat", &lat, "lng", &lng, "at", &at], to);
        }
        true
    }

    fn hear(&mut self, heard: &[u8], _: bool) -> Result<Option<(usize, u32)>, BenchError> {
        while self.replies < COMMANDS * self.batch {
            let Some(bytes) = reply(&heard[self.bytes..])? else { return Ok(None) };
            (self.replies, self.bytes) = (self.replies + 1, self.bytes + bytes);
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.replies = 0;
        Ok(Some((bytes, u32::try_from(self.batch).unwrap_or(u32::MAX))))
    }
}

fn cell(point: Point) -> String {
    let (lat, lng) = point.to_e7();
    format!("c:{}:{}", lat.div_euclid(CELL_E7), lng.div_euclid(CELL_E7))
}

/// Appends a command.
fn command(words: &[&str], to: &mut Vec<u8>) {
    counted(b'*', words.len(), to);
    for word in words {
        counted(b'$', word.len(), to);
        to.extend_from_slice(word.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
}

fn counted(mark: u8, number: usize, to: &mut Vec<u8>) {
    to.push(mark);
    to.extend_from_slice(number.to_string().as_bytes());
    to.extend_from_slice(b"\r\n");
}

/// How many bytes the first reply has; nothing if it is not all there. An error ends the bench.
fn reply(heard: &[u8]) -> Result<Option<usize>, BenchError> {
    let Some(end) = heard.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = &heard[..end];
    let text = String::from_utf8_lossy(line.get(1..).unwrap_or_default());
    let whole = match line.first() {
        Some(b'+' | b':') => end + 2,
        Some(b'$') if text.starts_with('-') => end + 2,
        Some(b'$') => {
            let length: usize = text.parse().map_err(|_| odd(&text))?;
            end + 2 + length + 2
        }
        _ => return Err(odd(&text)),
    };
    Ok((heard.len() >= whole).then_some(whole))
}

fn odd(said: &str) -> BenchError {
    BenchError::Talk(format!("redis says {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{DriverId, MonoMs, WallMs};

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn mono(&self) -> MonoMs {
            MonoMs(0)
        }
        fn wall(&self) -> WallMs {
            WallMs(7)
        }
    }

    #[test]
    fn a_ping_is_four_commands_and_their_replies_are_one_answer() {
        let flock = Flock::spread(&[DriverId::from_raw(5)], 1, 0, 1).remove(0);
        let mut talk = Commands::new(flock, 2, Arc::new(Still));
        let mut sent = Vec::new();
        assert!(talk.ask(&mut sent));
        let text = String::from_utf8(sent).unwrap();
        assert!(
            text.starts_with("*3\r\n$4\r\nHGET\r\n$3\r\nd:5\r\n$4\r\ncell\r\n*3\r\n$4\r\nZREM\r\n")
        );
        assert_eq!(text.matches("\r\nZADD\r\n").count(), 2);
        assert_eq!(text.matches("*10\r\n$4\r\nHSET\r\n").count(), 2);
        let heard = b"$-1\r\n:0\r\n:1\r\n:4\r\n$7\r\nc:41:-8\r\n:1\r\n:1\r\n:0\r\n$-1";
        for cut in [0, 7, 20, 30] {
            assert_eq!(talk.hear(&heard[..cut], true).unwrap(), None);
        }
        let whole = heard.len() - 3;
        assert_eq!(talk.hear(heard, true).unwrap(), Some((whole, 2)));
        assert_eq!(talk.hear(&heard[whole..], true).unwrap(), None);
    }

    #[test]
    fn an_error_of_redis_is_shown() {
        let error = reply(b"-WRONGTYPE of a key\r\n").unwrap_err().to_string();
        assert!(error.contains("WRONGTYPE of a key"), "{error}");
        assert!(reply(b"$x\r\n").is_err());
        assert_eq!(reply(b"+OK\r").unwrap(), None);
    }

    #[test]
    fn a_cell_is_some_nine_hundred_metres_wide() {
        let at = |lat, lng| cell(Point::from_e7(lat, lng).unwrap());
        assert_eq!(at(407_580_000, -739_855_000), at(407_580_001, -739_855_001));
        assert_ne!(at(407_580_000, -739_855_000), at(407_665_000, -739_855_000));
        assert_eq!(at(-1, 1), "c:-1:0");
    }
}
