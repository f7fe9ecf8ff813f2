//! Who asks, as a bearer token says: a JWT (RFC 7519) signed with one of the keys of a JWK set
//! (RFC 7517), found by its key id, so that keys are rotated by adding one and, once its tokens have
//! run out, removing another. SIGHUP reads the file again.
//!
//! | claim | must be |
//! |---|---|
//! | `aud` | the cluster's name |
//! | `role` | `rider`, `driver`, `gateway` or `operator` |
//! | `sub` | of a rider or a driver: his id, `rdr_...` or `drv_...` |
//! | `exp` | seconds since 1970, not past; required |
//! | `nbf` | seconds since 1970, not ahead; optional |
//!
//! A rider and a driver act for themselves. A gateway acts for any of them, an operator for
//! everybody. Without keys the headers `X-User-ID` and `X-Driver-ID` are believed: only for trying,
//! and the node says so.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use proto::units::Clock;
use proto::{DriverId, RiderId, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Tokens remembered as verified; beyond that all are forgotten and verified once more.
const CACHED_MAX: usize = 16_384;
/// The longest token, in bytes.
const TOKEN_MAX: usize = 4_096;
/// Clocks may differ by so much, in milliseconds.
const LEEWAY_MS: u64 = 30_000;

/// What a token's holder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Books and rides, for himself.
    Rider,
    /// Drives, for himself.
    Driver,
    /// Passes on what phones say: acts for any rider and driver.
    Gateway,
    /// Runs the cluster: everything.
    Operator,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Whoever the headers say: there are no keys.
    Believed,
    /// This rider.
    Rider(RiderId),
    /// This driver.
    Driver(DriverId),
    /// Any party.
    Gateway,
    /// Anybody.
    Operator,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The cluster's name.
    pub aud: String,
    /// What its holder may do.
    pub role: Role,
    /// Who he is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// When it runs out, in seconds since 1970.
    pub exp: u64,
    /// From when on it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
}

/// Why a token is not taken. None of them repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// There is none.
    #[error("send a token: Authorization: Bearer <JWT>")]
    Missing,
    /// It is no JWT of a kind that is taken, or its signature is not of its key.
    #[error("the token is no JWT that is signed with a known key: {0}")]
    Forged(String),
    /// It names no key, or one that is not in the set.
    #[error("the token's `kid` names no key of this cluster")]
    UnknownKey,
    /// It is for another cluster.
    #[error("the token's `aud` is another cluster")]
    OtherCluster,
    /// It ran out.
    #[error("the token has run out")]
    Expired,
    /// It is not good yet.
    #[error("the token is not good yet")]
    Early,
    /// Its role needs a subject.
    #[error("the token's `sub` is not an id of its `role`")]
    Nobody,
}

/// Why keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JWK set.
    #[error("{path} is no JWK set: {source}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A key is of no use here.
    #[error("{path}: key {kid:?}: {why}")]
    Key {
        /// In which file.
        path: PathBuf,
        /// Which.
        kid: String,
        /// Why.
        why: String,
    },
}

type Keys = BTreeMap<String, (Algorithm, DecodingKey)>;

/// Verifies tokens, each once.
pub struct Verifier {
    cluster: String,
    path: PathBuf,
    keys: RwLock<Keys>,
    verified: Mutex<BTreeMap<String, (Identity, u64)>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads a JWK set: `oct` keys for HS256 of 32 bytes or more, `OKP` keys on Ed25519 for EdDSA.
pub fn read_keys(path: &Path) -> Result<JwkSet, BadKeys> {
    let bytes =
        std::fs::read(path).map_err(|source| BadKeys::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|source| BadKeys::Syntax { path: path.to_owned(), source })
}

fn usable(path: &Path) -> Result<Keys, BadKeys> {
    let mut keys = Keys::new();
    for (at, jwk) in read_keys(path)?.keys.into_iter().enumerate() {
        let kid = jwk.common.key_id.clone().unwrap_or_else(|| format!("number {}", at + 1));
        let bad = |why: &str| BadKeys::Key {
            path: path.to_owned(),
            kid: kid.clone(),
            why: why.to_owned(),
        };
        if jwk.common.key_id.is_none() {
            return Err(bad("has no `kid`"));
        }
        let algorithm = algorithm(&jwk).map_err(bad)?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| bad(&error.to_string()))?;
        if keys.insert(kid.clone(), (algorithm, key)).is_some() {
            return Err(bad("is there twice"));
        }
    }
    match keys.is_empty() {
        true => Err(BadKeys::Key {
            path: path.to_owned(),
            kid: String::new(),
            why: "the set is empty".into(),
        }),
        false => Ok(keys),
    }
}

/// A key is good for one algorithm, whatever a token says.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, &'static str> {
    match (&jwk.algorithm, jwk.common.key_algorithm) {
        // 43 characters of base64url are 32 bytes.
        (AlgorithmParameters::OctetKey(key), Some(KeyAlgorithm::HS256) | None) => {
            match key.value.len() >= 43 {
                true => Ok(Algorithm::HS256),
                false => Err("a shared secret needs 32 bytes or more"),
            }
        }
        (AlgorithmParameters::OctetKeyPair(_), Some(KeyAlgorithm::EdDSA) | None) => {
            Ok(Algorithm::EdDSA)
        }
        (
            AlgorithmParameters::OctetKey(_)
            | AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::RSA(_)
            | AlgorithmParameters::EllipticCurve(_),
            _,
        ) => Err("only HS256 and EdDSA keys are taken"),
    }
}

impl Verifier {
    /// Reads the keys of a cluster.
    pub fn open(path: &Path, cluster: &str, clock: Arc<dyn Clock>) -> Result<Self, BadKeys> {
        Ok(Self {
            cluster: cluster.to_owned(),
            path: path.to_owned(),
            keys: RwLock::new(usable(path)?),
            verified: Mutex::default(),
            clock,
        })
    }

    /// Reads the keys again. On an error the old ones stay.
    pub fn reload(&self) -> Result<usize, BadKeys> {
        let keys = usable(&self.path)?;
        let count = keys.len();
        let mut held = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *held = keys;
        // While nobody verifies with the old ones.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(held);
        Ok(count)
    }

    /// Who holds a token, and until when it is taken.
    pub fn identify(&self, token: &str) -> Result<(Identity, WallMs), BadToken> {
        let now = self.clock.wall();
        let known =
            self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied();
        let (identity, exp) = match known {
            Some(known) => known,
            None => {
                // Held until it is noted, so that no key is removed in between.
                let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
                let verified = self.verify(&keys, token, now)?;
                let mut cache = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
                if cache.len() >= CACHED_MAX {
                    cache.clear();
                }
                cache.insert(token.to_owned(), verified);
                verified
            }
        };
        let until = WallMs(exp.saturating_mul(1_000).saturating_add(LEEWAY_MS));
        if until < now {
            return Err(BadToken::Expired);
        }
        Ok((identity, until))
    }

    fn verify(&self, keys: &Keys, token: &str, now: WallMs) -> Result<(Identity, u64), BadToken> {
        let forged = |error: jsonwebtoken::errors::Error| BadToken::Forged(error.to_string());
        if token.len() > TOKEN_MAX {
            return Err(BadToken::Forged(format!("it has more than {TOKEN_MAX} bytes")));
        }
        let header = jsonwebtoken::decode_header(token).map_err(forged)?;
        let claims: Claims = {
            let kid = header.kid.ok_or(BadToken::UnknownKey)?;
            let (algorithm, key) = keys.get(&kid).ok_or(BadToken::UnknownKey)?;
            // Times are compared below, by this node's one clock.
            let mut validation = Validation::new(*algorithm);
            validation.validate_exp = false;
            validation.validate_aud = false;
            jsonwebtoken::decode(token, key, &validation).map_err(forged)?.claims
        };
        if claims.aud != self.cluster {
            return Err(BadToken::OtherCluster);
        }
        if claims.nbf.is_some_and(|nbf| nbf.saturating_mul(1_000) > now.0 + LEEWAY_MS) {
            return Err(BadToken::Early);
        }
        let subject = claims.sub.as_deref().unwrap_or_default();
        let identity = match claims.role {
            Role::Rider => Identity::Rider(subject.parse().map_err(|_| BadToken::Nobody)?),
            Role::Driver => Identity::Driver(subject.parse().map_err(|_| BadToken::Nobody)?),
            Role::Gateway => Identity::Gateway,
            Role::Operator => Identity::Operator,
        };
        Ok((identity, claims.exp))
    }
}

#[cfg(test)]
mod tests;
