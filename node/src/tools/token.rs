//! `hansom token`: keys and tokens, for trying things out and for clusters without an issuer of
//! their own.

use crate::auth::{self, BadKeys, Claims, Role};
use crate::clock::SystemClock;
use crate::mint::SeededMint;
use crate::tools::print;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, Jwk, JwkSet, KeyAlgorithm, OctetKeyParameters,
    OctetKeyType,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proto::units::Clock as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of a new secret.
const SECRET_BYTES: usize = 32;

/// Keys for tokens, and tokens.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(after_long_help = "\
Examples:
  A key for all nodes, and a node that wants tokens
    hansom token new-key --keys keys.json --kid 2026-11
    hansom node --single --auth-keys keys.json

  A rider's token, for an hour
    hansom token mint --keys keys.json --role rider --subject rdr_6J7A4CEAJS01F

  Rotate: add a key to the file on every node and send each SIGHUP, mint with the new key, and
  remove the old one when its tokens have run out.

Tokens of another issuer work as well: HS256 or EdDSA (Ed25519), the public keys as a JWK set.")]
pub enum TokenCommand {
    /// Add a random key to a JWK set, or begin one.
    NewKey {
        /// The file; only its owner may read it.
        #[arg(long, env = "HANSOM_AUTH_KEYS", value_name = "FILE")]
        keys: PathBuf,
        /// The key's name, unique in the set.
        #[arg(long, value_name = "NAME")]
        kid: String,
    },
    /// Print a token that is signed with the last key of a set.
    Mint {
        /// The file.
        #[arg(long, env = "HANSOM_AUTH_KEYS", value_name = "FILE")]
        keys: PathBuf,
        /// What its holder may do.
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// The rider's or driver's id: rdr_..., drv_...
        #[arg(long, value_name = "ID", required_if_eq_any([("role", "rider"), ("role", "driver")]))]
        subject: Option<String>,
        /// The cluster's name.
        #[arg(long, env = "HANSOM_CLUSTER", default_value = "hansom", value_name = "NAME")]
        cluster: String,
        /// How long it is good.
        #[arg(long, default_value_t = 1, value_name = "HOURS")]
        hours: u32,
        /// Until when it is good instead, in seconds since 1970.
        #[arg(long, value_name = "SECONDS", conflicts_with = "hours")]
        expires_at: Option<u64>,
    },
}

/// Why there is no key or token.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error(transparent)]
    Keys(#[from] BadKeys),
    #[error("{path} has a key {kid:?} already; choose another name")]
    Twice { path: PathBuf, kid: String },
    #[error("the last key of {0} is no shared secret; tokens of it are minted by its issuer")]
    NotOurs(PathBuf),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the operating system gives no random bytes: {0}")]
    Chance(String),
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("--subject {0:?} is not an id of this role: rdr_... of a rider, drv_... of a driver")]
    Subject(String),
}

/// `hansom token`.
pub fn run(command: TokenCommand) -> ExitCode {
    let done = match command {
        TokenCommand::NewKey { keys, kid } => new_key(&keys, kid),
        TokenCommand::Mint { keys, role, subject, cluster, hours, expires_at } => {
            let in_hours = || {
                let now_s = SystemClock::new().wall().0 / 1_000;
                now_s.saturating_add(u64::from(hours) * 3_600)
            };
            mint(&keys, role, subject, cluster, expires_at.unwrap_or_else(in_hours))
        }
    };
    print::finish("hansom token", done)
}

fn new_key(path: &Path, kid: String) -> Result<String, TokenError> {
    let mut set = if path.exists() { auth::read_keys(path)? } else { JwkSet { keys: Vec::new() } };
    if set.find(&kid).is_some() {
        return Err(TokenError::Twice { path: path.to_owned(), kid });
    }
    let mut secret = [0; SECRET_BYTES];
    let chance = SeededMint::from_os().map_err(|error| TokenError::Chance(error.to_string()))?;
    chance.fill(&mut secret);
    set.keys.push(Jwk {
        common: CommonParameters {
            key_id: Some(kid.clone()),
            key_algorithm: Some(KeyAlgorithm::HS256),
            ..CommonParameters::default()
        },
        algorithm: AlgorithmParameters::OctetKey(OctetKeyParameters {
            key_type: OctetKeyType::Octet,
            value: URL_SAFE_NO_PAD.encode(secret),
        }),
    });
    let failed = |source| TokenError::Write { path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(&set).map_err(|error| failed(error.into()))?;
    // Whole or not at all: a node may be reading it.
    let draft = path.with_extension("draft");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(failed)?;
    Ok(format!("key {kid} is in {}; give the file to all nodes (--auth-keys)", path.display()))
}

fn mint(
    path: &Path,
    role: Role,
    subject: Option<String>,
    cluster: String,
    exp: u64,
) -> Result<String, TokenError> {
    let named = subject.clone().unwrap_or_default();
    let fits = match role {
        Role::Rider => named.parse::<proto::RiderId>().is_ok(),
        Role::Driver => named.parse::<proto::DriverId>().is_ok(),
        Role::Gateway | Role::Operator => true,
    };
    if !fits {
        return Err(TokenError::Subject(named));
    }
    let set = auth::read_keys(path)?;
    let not_ours = || TokenError::NotOurs(path.to_owned());
    let jwk = set.keys.last().ok_or_else(not_ours)?;
    let AlgorithmParameters::OctetKey(key) = &jwk.algorithm else { return Err(not_ours()) };
    let secret = URL_SAFE_NO_PAD.decode(&key.value).map_err(|_| not_ours())?;
    let header = Header { kid: jwk.common.key_id.clone(), ..Header::new(Algorithm::HS256) };
    let claims = Claims { aud: cluster, role, sub: subject, exp, nbf: None };
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret))?)
}
