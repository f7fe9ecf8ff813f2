//! The edge gateways' protocol, as a bench speaks it: the handshake, and what comes back. The
//! frames themselves are `proto`'s.

use super::BenchError;
use proto::edge::{CONNECTION, Frame, Hello, Kind, Refused, VERSION, Welcome};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a node may take to say WELCOME.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);

/// Opens a connection and shakes hands. Also how many frames may be unanswered.
pub(super) async fn open(at: SocketAddr) -> Result<(TcpStream, usize), BenchError> {
    let broken = |source| BenchError::System { what: format!("reach {at}"), source };
    let mut stream = TcpStream::connect(at).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let mut hello = Vec::new();
    Hello { version: VERSION.into(), token: "" }.put(0, &mut hello);
    stream.write_all(&hello).await.map_err(broken)?;
    let welcomed = async {
        let mut heard = Vec::new();
        loop {
            if stream.read_buf(&mut heard).await.map_err(broken)? == 0 {
                return Err(BenchError::Talk(format!("{at} closed the connection")));
            }
            if let Some(frame) = first(&heard)? {
                let (_, body) = answer(&frame, Kind::Welcome)?;
                let welcome = Welcome::get(body).map_err(senseless)?;
                return Ok(usize::try_from(welcome.unanswered_max).unwrap_or(usize::MAX));
            }
        }
    };
    let welcomed = tokio::time::timeout(WELCOME_WITHIN, welcomed).await;
    let unanswered = welcomed.map_err(|_| BenchError::Talk(format!("{at} said no WELCOME")))??;
    Ok((stream, unanswered))
}

/// The first frame of what was heard; nothing if it is not all there.
pub(super) fn first(heard: &[u8]) -> Result<Option<Frame<'_>>, BenchError> {
    Frame::first(heard).map_err(|error| BenchError::Talk(error.to_string()))
}

/// An answer of the kind that was expected: its number and what it says. Whatever else it is ends
/// the bench.
pub(super) fn answer<'a>(frame: &Frame<'a>, kind: Kind) -> Result<(u32, &'a [u8]), BenchError> {
    let came = frame.kind().map_err(senseless)?;
    if came == kind {
        return Ok((frame.number, frame.body));
    }
    if came != Kind::Refused {
        return Err(BenchError::Talk(format!("a frame of kind {came:?} instead of {kind:?}")));
    }
    let refused = Refused::get(frame.body).map_err(senseless)?;
    let about = if frame.number == CONNECTION { "the connection" } else { "a frame" };
    Err(BenchError::Talk(format!("{about} was {refused}")))
}

pub(super) fn senseless(error: impl std::fmt::Display) -> BenchError {
    BenchError::Talk(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::code::Refusal;
    use proto::edge::Pinged;
    use proto::record::cell::PingCounts;
    use proto::{Code, NodeId};
    use tokio::net::TcpListener;

    /// Opens a connection to a node that says this.
    async fn told(answer: Vec<u8>) -> Result<usize, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let node = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&answer).await.unwrap();
            stream
        });
        let opened = open(at).await.map(|(_, unanswered)| unanswered);
        drop(node.await);
        opened
    }

    #[tokio::test]
    async fn a_welcome_says_how_much_may_be_unanswered_and_a_refusal_why_not() {
        let mut welcome = Vec::new();
        Welcome { node: NodeId(1), pings_max: 9, unanswered_max: 7 }.put(0, &mut welcome);
        assert_eq!(told(welcome).await.unwrap(), 7);
        let mut refused = Vec::new();
        let refusal = Refusal::new(Code::Overloaded, "no room");
        Refused::of(&refusal).put(CONNECTION, &mut refused);
        assert!(told(refused).await.unwrap_err().to_string().contains("no room"));
        let mut other = Vec::new();
        Pinged(PingCounts::default()).put(0, &mut other);
        assert!(told(other).await.unwrap_err().to_string().contains("Pinged"));
    }
}
