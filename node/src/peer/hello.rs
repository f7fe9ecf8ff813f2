//! The handshake that opens every connection between nodes. Both sides say who they are; then
//! both prove that they hold the cluster key, the dialler first, so that a stranger who knocks
//! learns nothing. Until then no byte reaches tarpc.
//!
//! ```text
//! dialler -> Hello{cluster, node, versions, nonce}
//!         <- Hello{...}            or Refused{why}
//!         -> Proof{tag}
//!         <- Proof{tag}            or Refused{why}
//! ```
//!
//! A tag is the XChaCha20-Poly1305 authenticator, under the cluster key and the prover's own
//! 24-byte random nonce, over the role of the prover and both hellos. The nonces make a recorded
//! tag worthless, the role makes a reflected one worthless.

use crate::mint::SeededMint;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use membership::ClusterKey;
use proto::{NodeId, codec, envelope};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest handshake message, in bytes: a cluster name and a few numbers. A stranger can make
/// this node allocate no more.
const MESSAGE_MAX: usize = 512;
/// Marks the proof's purpose, since the same key also seals gossip.
const PURPOSE: &[u8] = b"hansom peer hello 1";

/// What this node says of itself and expects of others.
#[derive(Debug)]
pub struct Identity {
    /// The cluster's name; nodes of another cluster are strangers.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// The secret that all nodes of the cluster share.
    pub key: ClusterKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    cluster: String,
    node: NodeId,
    envelope: u8,
    nonce: [u8; 24],
}

/// Why the other side was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stranger {
    /// It belongs to another cluster.
    Cluster,
    /// It speaks another version of the envelope.
    Version,
    /// It does not hold the cluster key.
    Key,
    /// It is another node than the one expected at this address.
    Node,
}

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Hello(Hello),
    Proof(Vec<u8>),
    Refused(Stranger),
}

/// Why a handshake failed. The connection is closed and nothing else happened.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The stream broke or was not spoken to in our language.
    #[error("handshake broken off: {0}")]
    Io(#[from] io::Error),
    /// We turned the other side away.
    #[error("turned away, reason {0:?}")]
    TurnedAway(Stranger),
    /// The other side turned us away.
    #[error("turned away by the other side, reason {0:?}")]
    WereTurnedAway(Stranger),
}

/// Opens a connection as the one who dialled, to the node `expected`.
pub async fn dial<S>(
    stream: &mut S,
    me: &Identity,
    expected: NodeId,
    mint: &SeededMint,
) -> Result<(), HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mine = me.hello(mint);
    send(stream, &Message::Hello(mine.clone())).await?;
    let theirs = expect_hello(stream).await?;
    if theirs.node != expected {
        return Err(HelloError::TurnedAway(Stranger::Node));
    }
    me.check(&theirs).map_err(HelloError::TurnedAway)?;
    let transcript = Transcript { dialler: &mine, listener: &theirs };
    send(stream, &Message::Proof(me.prove(Role::Dialler, &transcript))).await?;
    if me.verify(Role::Listener, &transcript, &expect_proof(stream).await?) {
        Ok(())
    } else {
        Err(HelloError::TurnedAway(Stranger::Key))
    }
}

/// Opens a connection as the one who was dialled; says who dialled.
pub async fn answer<S>(
    stream: &mut S,
    me: &Identity,
    mint: &SeededMint,
) -> Result<NodeId, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let theirs = expect_hello(stream).await?;
    if let Err(why) = me.check(&theirs) {
        send(stream, &Message::Refused(why)).await?;
        return Err(HelloError::TurnedAway(why));
    }
    let mine = me.hello(mint);
    send(stream, &Message::Hello(mine.clone())).await?;
    let transcript = Transcript { dialler: &theirs, listener: &mine };
    if !me.verify(Role::Dialler, &transcript, &expect_proof(stream).await?) {
        send(stream, &Message::Refused(Stranger::Key)).await?;
        return Err(HelloError::TurnedAway(Stranger::Key));
    }
    send(stream, &Message::Proof(me.prove(Role::Listener, &transcript))).await?;
    Ok(theirs.node)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Dialler,
    Listener,
}

struct Transcript<'a> {
    dialler: &'a Hello,
    listener: &'a Hello,
}

impl Transcript<'_> {
    fn bytes(&self, prover: Role) -> Vec<u8> {
        let role: &[u8] = match prover {
            Role::Dialler => b"dialler",
            Role::Listener => b"listener",
        };
        let (dialler, listener) = (codec::encode(self.dialler), codec::encode(self.listener));
        [PURPOSE, role, &dialler, &listener].concat()
    }
    fn nonce(&self, prover: Role) -> XNonce {
        match prover {
            Role::Dialler => self.dialler.nonce.into(),
            Role::Listener => self.listener.nonce.into(),
        }
    }
}

impl Identity {
    fn hello(&self, mint: &SeededMint) -> Hello {
        let mut nonce = [0; 24];
        mint.fill(&mut nonce);
        Hello { cluster: self.cluster.clone(), node: self.node, envelope: envelope::VERSION, nonce }
    }
    fn check(&self, theirs: &Hello) -> Result<(), Stranger> {
        if theirs.cluster != self.cluster {
            return Err(Stranger::Cluster);
        }
        if theirs.envelope != envelope::VERSION {
            return Err(Stranger::Version);
        }
        Ok(())
    }
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.key.bytes()).into())
    }
    fn prove(&self, prover: Role, transcript: &Transcript<'_>) -> Vec<u8> {
        let aad = transcript.bytes(prover);
        let sealed =
            self.cipher().encrypt(&transcript.nonce(prover), Payload { msg: &[], aad: &aad });
        sealed.unwrap_or_default() // fails only for texts of 256 GiB; an empty tag proves nothing
    }
    fn verify(&self, prover: Role, transcript: &Transcript<'_>, tag: &[u8]) -> bool {
        let aad = transcript.bytes(prover);
        let opened =
            self.cipher().decrypt(&transcript.nonce(prover), Payload { msg: tag, aad: &aad });
        opened.is_ok_and(|text| text.is_empty())
    }
}

async fn expect_hello<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Hello, HelloError> {
    match receive(stream).await? {
        Message::Hello(hello) => Ok(hello),
        Message::Refused(why) => Err(HelloError::WereTurnedAway(why)),
        Message::Proof(_) => Err(out_of_turn()),
    }
}

async fn expect_proof<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, HelloError> {
    match receive(stream).await? {
        Message::Proof(tag) => Ok(tag),
        Message::Refused(why) => Err(HelloError::WereTurnedAway(why)),
        Message::Hello(_) => Err(out_of_turn()),
    }
}

fn out_of_turn() -> HelloError {
    HelloError::Io(io::Error::new(io::ErrorKind::InvalidData, "message out of turn"))
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &Message) -> io::Result<()> {
    let body = codec::encode(message);
    let length = u16::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat()).await?;
    stream.flush().await
}

async fn receive<M: DeserializeOwned, S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<M> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_MAX {
        return Err(invalid(format!("{length} bytes, a handshake message has {MESSAGE_MAX}")));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    codec::decode(&body).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use membership::Purpose;

    fn identity(cluster: &str, node: u64, key: u8) -> Identity {
        let secret = format!("sixteen bytes, or more: {key}");
        let key = ClusterKey::derive(cluster, &secret, Purpose::Hello).expect("long enough");
        Identity { cluster: cluster.into(), node: NodeId(node), key }
    }

    async fn meet(
        dialler: Identity,
        expected: u64,
        listener: Identity,
    ) -> (Result<(), HelloError>, Result<NodeId, HelloError>) {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let (a, b) = (SeededMint::from_seed(1), SeededMint::from_seed(2));
        let dialled = async {
            let result = dial(&mut near, &dialler, NodeId(expected), &a).await;
            drop(near);
            result
        };
        let answered = async {
            let result = answer(&mut far, &listener, &b).await;
            drop(far);
            result
        };
        tokio::join!(dialled, answered)
    }

    #[tokio::test]
    async fn two_nodes_of_one_cluster_meet() {
        let (dialled, answered) = meet(identity("c", 1, 7), 2, identity("c", 2, 7)).await;
        assert!(dialled.is_ok(), "{dialled:?}");
        assert_eq!(answered.expect("meets"), NodeId(1));
    }

    #[tokio::test]
    async fn a_stranger_without_the_key_is_turned_away_by_both() {
        let (dialled, answered) = meet(identity("c", 1, 7), 2, identity("c", 2, 8)).await;
        assert!(matches!(dialled, Err(HelloError::WereTurnedAway(Stranger::Key))), "{dialled:?}");
        assert!(matches!(answered, Err(HelloError::TurnedAway(Stranger::Key))), "{answered:?}");
    }

    #[tokio::test]
    async fn a_node_of_another_cluster_is_turned_away() {
        let (dialled, answered) = meet(identity("c", 1, 7), 2, identity("d", 2, 7)).await;
        assert!(matches!(dialled, Err(HelloError::WereTurnedAway(Stranger::Cluster))));
        assert!(matches!(answered, Err(HelloError::TurnedAway(Stranger::Cluster))));
    }

    #[tokio::test]
    async fn another_node_than_the_expected_one_is_not_talked_to() {
        let (dialled, answered) = meet(identity("c", 1, 7), 3, identity("c", 2, 7)).await;
        assert!(matches!(dialled, Err(HelloError::TurnedAway(Stranger::Node))), "{dialled:?}");
        assert!(matches!(answered, Err(HelloError::Io(_))), "{answered:?}");
    }

    #[tokio::test]
    async fn a_proof_is_worth_nothing_when_reflected() {
        let me = identity("c", 1, 7);
        let (a, b) = (me.hello(&SeededMint::from_seed(1)), me.hello(&SeededMint::from_seed(2)));
        let transcript = Transcript { dialler: &a, listener: &b };
        let tag = me.prove(Role::Dialler, &transcript);
        assert!(me.verify(Role::Dialler, &transcript, &tag));
        assert!(!me.verify(Role::Listener, &transcript, &tag));
        let mirrored = Transcript { dialler: &b, listener: &a };
        assert!(!me.verify(Role::Dialler, &mirrored, &tag));
        assert!(!me.verify(Role::Dialler, &transcript, &[]));
    }

    #[tokio::test]
    async fn garbage_and_giant_lengths_are_refused_without_allocating() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 3, 9, 9, 9], &[0, 0]] {
            let (mut near, mut far) = tokio::io::duplex(4096);
            near.write_all(bytes).await.expect("written");
            drop(near);
            let me = identity("c", 2, 7);
            let answered = answer(&mut far, &me, &SeededMint::from_seed(2)).await;
            assert!(matches!(answered, Err(HelloError::Io(_))), "{bytes:?}: {answered:?}");
        }
    }

    #[test]
    fn fuzz_handshakes() {
        let me = identity("c", 2, 7);
        let hello = codec::encode(&Message::Hello(me.hello(&SeededMint::from_seed(1))));
        let sent = [&u16::try_from(hello.len()).unwrap_or(0).to_be_bytes()[..], &hello].concat();
        proptest::proptest!(|(bytes in proto::almost::almost(vec![sent]))| {
            let answered = futures_util::FutureExt::now_or_never(async {
                let (mut near, mut far) = tokio::io::duplex(4096);
                near.write_all(&bytes).await.expect("written");
                drop(near);
                answer(&mut far, &me, &SeededMint::from_seed(2)).await.is_ok()
            });
            proptest::prop_assert_eq!(answered, Some(false), "nobody comes in without a proof");
        });
    }
}
