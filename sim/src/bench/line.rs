//! HTTP/1.1 by hand, as much of it as a load generator needs: a request is bytes, an answer a
//! status and a body of a stated length. A client library costs more than the node it would measure.

use super::BenchError;
use super::converse::Talk;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest answer; a problem's body has a few hundred bytes.
const ANSWER_MAX: usize = 64 << 10;

/// An answer in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Range<usize>,
}

/// The first answer of what was heard; nothing if it is not all there.
pub(super) fn first(heard: &[u8]) -> io::Result<Option<Answer>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
        let endless = heard.len() > ANSWER_MAX;
        return if endless { Err(bad("headers without an end")) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&heard[..end]).map_err(|_| bad("headers that are no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| bad("no status"))?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.filter(|length| *length <= ANSWER_MAX);
    let length = length.ok_or_else(|| bad("no length, or too long"))?;
    let body = end + 4..end + 4 + length;
    Ok((heard.len() >= body.end).then_some(Answer { status, body }))
}

/// Appends a request with a JSON body.
pub(super) fn put(path: &str, headers: &str, body: &str, to: &mut Vec<u8>) {
    let length = body.len().to_string();
    let parts = [
        "POST ",
        path,
        " HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n",
        headers,
        "content-length: ",
        &length,
        "\r\n\r\n",
        body,
    ];
    parts.iter().for_each(|part| to.extend_from_slice(part.as_bytes()));
}

/// A connection on which one thing is asked at a time.
pub(super) struct Line {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Line {
    /// Opens one.
    pub(super) async fn open(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, heard: Vec::new() })
    }

    /// Sends a request and waits for the answer: its status and body.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.heard.clear();
        loop {
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(Answer { status, body }) = first(&self.heard)? {
                return Ok((status, &self.heard[body]));
            }
        }
    }

    /// The connection itself, for a conversation.
    pub(super) fn stream(self) -> TcpStream {
        self.stream
    }
}

/// Takes an answer that must be a success whose body says that one position was applied.
pub(super) fn applied(heard: &[u8]) -> Result<Option<(usize, bool)>, BenchError> {
    let broken = |source| BenchError::System { what: "read an answer".into(), source };
    let Some(Answer { status, body }) = first(heard).map_err(broken)? else { return Ok(None) };
    let end = body.end;
    if !(200..300).contains(&status) {
        let body = String::from_utf8_lossy(&heard[body]).into_owned();
        return Err(BenchError::Talk(format!("{status} {body}")));
    }
    // Cheaper than parsing, and as good: both sides write it so.
    let applied = heard[body].windows(11).any(|part| part == b"\"applied\":1");
    Ok(Some((end, applied)))
}

/// Requests that are made one after the other, each for one thing.
pub(super) struct Requests<F> {
    /// Appends the next.
    pub(super) next: F,
    /// Answers that said it was applied, and that said something else, of those that count.
    pub(super) applied: u64,
    pub(super) other: u64,
}

impl<F: FnMut(&mut Vec<u8>) + Send + 'static> Talk for Requests<F> {
    fn ask(&mut self, to: &mut Vec<u8>) -> bool {
        (self.next)(to);
        true
    }
    fn hear(&mut self, heard: &[u8], counts: bool) -> Result<Option<(usize, u32)>, BenchError> {
        let Some((bytes, applied)) = applied(heard)? else { return Ok(None) };
        if counts && applied {
            self.applied += 1;
        } else if counts {
            self.other += 1;
        }
        Ok(Some((bytes, u32::from(applied))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 13\r\nx: y\r\n\r\n{\"applied\":1}HTTP/1.1 503";

    #[test]
    fn an_answer_is_found_when_it_is_all_there() {
        let whole = ANSWER.len() - b"HTTP/1.1 503".len();
        for cut in 0..whole {
            assert_eq!(first(&ANSWER[..cut]).unwrap(), None, "{cut}");
        }
        let answer = first(ANSWER).unwrap().unwrap();
        assert_eq!((answer.status, &ANSWER[answer.body]), (202, &b"{\"applied\":1}"[..]));
        assert_eq!(applied(ANSWER).unwrap(), Some((whole, true)));
        let stale = b"HTTP/1.1 202 Accepted\r\ncontent-length: 13\r\n\r\n{\"applied\":0}";
        assert_eq!(applied(stale).unwrap(), Some((stale.len(), false)));
    }

    #[test]
    fn what_is_no_answer_or_no_success_is_an_error() {
        let bad: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            b"\xff\xff\r\n\r\n",
        ];
        for bytes in bad {
            assert!(first(bytes).is_err(), "{bytes:?}");
        }
        assert!(first(&[b'x'; ANSWER_MAX + 1]).is_err());
        let refused = b"HTTP/1.1 503 no\r\ncontent-length: 4\r\n\r\nBUSY";
        assert!(applied(refused).unwrap_err().to_string().contains("503 BUSY"));
    }

    #[test]
    fn a_request_is_what_it_should_be() {
        let mut bytes = Vec::new();
        put("/v1/x", "a: b\r\n", "{}", &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "POST /v1/x HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\na: b\r\n\
             content-length: 2\r\n\r\n{}"
        );
    }
}
