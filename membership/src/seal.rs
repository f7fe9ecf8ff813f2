//! Sealed datagrams: who has not the cluster's secret can neither read gossip nor be heard.
//!
//! A datagram is `version 1 | nonce 12 | ciphertext | tag 16`, ChaCha20-Poly1305 (RFC 8439) under
//! the gossip key, with the layout version and the cluster's name as associated data. The key is
//! HKDF-SHA256 (RFC 5869) of the secret: salt = the cluster's name, info = `hansom/` and the
//! purpose and `/1`. HKDF does not slow guessing down, so the secret must be random, not a
//! password; [`SECRET_LEN_MIN`] only stops accidents.
//!
//! The nonce is random. After 2^32 datagrams under one key the chance that two ever shared a nonce
//! is 2^-33; five members send some 500 a second, so that is 100 days. Change the secret yearly.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hkdf::Hkdf;
use rand::Rng;
use sha2::Sha256;
use std::fmt;

/// The shortest secret, in bytes.
pub const SECRET_LEN_MIN: usize = 16;
/// Bytes that sealing adds to a datagram.
pub const OVERHEAD: usize = 1 + NONCE_LEN + 16;

const LAYOUT: u8 = 1;
const NONCE_LEN: usize = 12;

/// What a key is for; keys of two purposes tell nothing about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sealing gossip datagrams.
    Gossip,
    /// Proving to a peer, when a connection is opened, that one knows the secret.
    Hello,
}

impl Purpose {
    const fn info(self) -> &'static [u8] {
        match self {
            Self::Gossip => b"hansom/gossip/1",
            Self::Hello => b"hansom/hello/1",
        }
    }
}

/// The secret has fewer than [`SECRET_LEN_MIN`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster secret must have at least {SECRET_LEN_MIN} bytes")]
pub struct SecretTooShort;

/// A 256-bit key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(hidden)")
    }
}

impl ClusterKey {
    /// The key of a cluster for a purpose.
    pub fn derive(cluster: &str, secret: &str, purpose: Purpose) -> Result<Self, SecretTooShort> {
        if secret.len() < SECRET_LEN_MIN {
            return Err(SecretTooShort);
        }
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(cluster.as_bytes()), secret.as_bytes())
            .expand(purpose.info(), &mut key)
            .expect("32 bytes are within HKDF's 8,160");
        Ok(Self(key))
    }

    /// The 32 bytes, for whoever proves or seals with them.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Seals and opens the datagrams of one cluster.
pub struct Seal {
    cipher: ChaCha20Poly1305,
    associated: Vec<u8>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(hidden)")
    }
}

impl Seal {
    /// A seal for a cluster under its gossip key.
    pub fn new(cluster: &str, key: &ClusterKey) -> Self {
        let mut associated = vec![LAYOUT];
        associated.extend_from_slice(cluster.as_bytes());
        Self { cipher: ChaCha20Poly1305::new(&key.0.into()), associated }
    }

    /// Seals a message, drawing the nonce from `rng`.
    pub fn seal(&self, rng: &mut dyn Rng, message: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let payload = Payload { msg: message, aad: &self.associated };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("a message is shorter than 256 GiB");
        let mut datagram = Vec::with_capacity(message.len() + OVERHEAD);
        datagram.push(LAYOUT);
        datagram.extend_from_slice(&nonce);
        datagram.extend_from_slice(&sealed);
        datagram
    }

    /// Opens a datagram; none if it was not sealed for this cluster under this key.
    pub fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (layout, rest) = datagram.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *layout != LAYOUT {
            return None;
        }
        let payload = Payload { msg: sealed, aad: &self.associated };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    const SECRET: &str = "a secret of sixteen bytes or more";

    fn seal(cluster: &str, secret: &str) -> Seal {
        Seal::new(cluster, &ClusterKey::derive(cluster, secret, Purpose::Gossip).unwrap())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_are_frozen_and_differ_by_cluster_secret_and_purpose() {
        let key = |cluster, secret, purpose| ClusterKey::derive(cluster, secret, purpose).unwrap();
        let gossip = key("hansom", SECRET, Purpose::Gossip);
        assert_eq!(
            hex(gossip.bytes()),
            "45c4b738476589a50e6129b6a3524db71c50f170271c7ead17456953a84cb42c"
        );
        assert_eq!(
            hex(key("hansom", SECRET, Purpose::Hello).bytes()),
            "2ba71d369ac04c0ea910e32ecf178de5608b76f7a402fde653aeb4a2d9a7fde0"
        );
        assert_ne!(gossip, key("handsome", SECRET, Purpose::Gossip));
        assert_ne!(gossip, key("hansom", "another secret of that length", Purpose::Gossip));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(
            ClusterKey::derive("hansom", "fifteen letters", Purpose::Gossip),
            Err(SecretTooShort)
        );
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = ClusterKey::derive("hansom", SECRET, Purpose::Gossip).unwrap();
        assert_eq!(format!("{key:?}"), "ClusterKey(hidden)");
    }

    #[test]
    fn the_datagram_is_frozen() {
        let datagram = seal("hansom", SECRET).seal(&mut ChaCha20Rng::seed_from_u64(1), b"hello");
        assert_eq!(
            hex(&datagram),
            "019a3744504560639ec670b7a1855834fc38e32055545cf3ce77fbb4ef961e5a725e"
        );
    }

    #[test]
    fn another_cluster_another_secret_and_another_layout_do_not_open() {
        let ours = seal("hansom", SECRET);
        let mut datagram = ours.seal(&mut ChaCha20Rng::seed_from_u64(1), b"hello");
        assert_eq!(ours.open(&datagram).as_deref(), Some(&b"hello"[..]));
        assert_eq!(seal("handsome", SECRET).open(&datagram), None);
        assert_eq!(seal("hansom", "another secret of that length").open(&datagram), None);
        datagram[0] = 2;
        assert_eq!(ours.open(&datagram), None);
    }

    #[test]
    fn the_clusters_name_is_sealed_in_even_under_one_key() {
        let key = ClusterKey::derive("hansom", SECRET, Purpose::Gossip).unwrap();
        let datagram = Seal::new("hansom", &key).seal(&mut ChaCha20Rng::seed_from_u64(1), b"hello");
        assert_eq!(Seal::new("handsome", &key).open(&datagram), None);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_what_is_bent_does_not(
            message in proptest::collection::vec(any::<u8>(), 0..2_000),
            seed: u64,
            place: prop::sample::Index,
            bend in 1u8..,
        ) {
            let seal = seal("hansom", SECRET);
            let mut datagram = seal.seal(&mut ChaCha20Rng::seed_from_u64(seed), &message);
            prop_assert_eq!(datagram.len(), message.len() + OVERHEAD);
            prop_assert_eq!(seal.open(&datagram), Some(message));
            let place = place.index(datagram.len());
            prop_assert_eq!(seal.open(&datagram[..place]), None);
            datagram[place] ^= bend;
            prop_assert_eq!(seal.open(&datagram), None);
        }

        #[test]
        fn noise_never_opens(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(seal("hansom", SECRET).open(&noise), None);
        }
    }

    #[test]
    fn fuzz_datagrams() {
        let (seal, mut rng) = (seal("hansom", SECRET), ChaCha20Rng::seed_from_u64(1));
        let sealed = seal.seal(&mut rng, b"gossip");
        proptest!(|(datagram in proto::almost::almost(vec![sealed.clone()]))| {
            let opened = seal.open(&datagram);
            prop_assert_eq!(opened.is_some(), datagram == sealed, "a stranger's datagram");
        });
    }
}
