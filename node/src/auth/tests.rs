use super::*;
use jsonwebtoken::{EncodingKey, Header};
use proto::units::MonoMs;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn mono(&self) -> MonoMs {
        MonoMs(self.0.load(Ordering::Relaxed))
    }
    fn wall(&self) -> WallMs {
        WallMs(self.0.load(Ordering::Relaxed))
    }
}

const NOW_S: u64 = 1_800_000_000;
const OLD: &[u8] = b"an old secret of thirty-two byte";
const NEW: &[u8] = b"a new secret of thirty-two bytes";

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn write(path: &Path, keys: &[(&str, &[u8])]) {
    let key = |(kid, secret): &(&str, &[u8])| serde_json::json!({ "kty": "oct", "kid": kid, "alg": "HS256", "k": base64url(secret) });
    let keys: Vec<_> = keys.iter().map(key).collect();
    std::fs::write(path, serde_json::json!({ "keys": keys }).to_string()).unwrap();
}

fn claims(role: Role, sub: Option<String>) -> Claims {
    Claims { aud: "city".into(), role, sub, exp: NOW_S + 3_600, nbf: None }
}

fn token(kid: Option<&str>, secret: &[u8], claims: &Claims) -> String {
    let header = Header { kid: kid.map(ToOwned::to_owned), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

struct Bench {
    directory: tempfile::TempDir,
    clock: Arc<Hands>,
    verifier: Verifier,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    write(&path, &[("old", OLD), ("new", NEW)]);
    let clock = Arc::new(Hands(AtomicU64::new(NOW_S * 1_000)));
    let verifier = Verifier::open(&path, "city", Arc::clone(&clock) as _).unwrap();
    Bench { directory, clock, verifier }
}

fn who(verifier: &Verifier, token: &str) -> Result<Identity, BadToken> {
    let (identity, until) = verifier.identify(token)?;
    assert!(until.0 >= NOW_S * 1_000, "it has run out and is taken");
    Ok(identity)
}

#[test]
fn tokens_say_who_asks() {
    let Bench { verifier, .. } = bench();
    let (rider, driver) = (RiderId::of_name("ada"), DriverId::of_name("dee"));
    let of = |role, sub: Option<String>| token(Some("new"), NEW, &claims(role, sub));
    let rider_token = of(Role::Rider, Some(rider.to_string()));
    for _ in 0..2 {
        assert_eq!(who(&verifier, &rider_token), Ok(Identity::Rider(rider)));
    }
    let driver_token = of(Role::Driver, Some(driver.to_string()));
    assert_eq!(who(&verifier, &driver_token), Ok(Identity::Driver(driver)));
    assert_eq!(who(&verifier, &of(Role::Gateway, None)), Ok(Identity::Gateway));
    assert_eq!(who(&verifier, &of(Role::Operator, None)), Ok(Identity::Operator));
    for sub in [None, Some(driver.to_string()), Some("ada".into())] {
        assert_eq!(who(&verifier, &of(Role::Rider, sub)), Err(BadToken::Nobody));
    }
}

#[test]
fn forged_foreign_and_old_tokens_are_refused() {
    let Bench { verifier, clock, .. } = bench();
    let good = claims(Role::Operator, None);
    let forged = |token: &str| matches!(who(&verifier, token), Err(BadToken::Forged(_)));
    assert!(forged(""));
    assert!(forged("a.b.c"));
    assert!(forged(&"x".repeat(TOKEN_MAX + 1)));
    assert!(forged(&token(Some("new"), OLD, &good)), "another key's signature");
    let whole = token(Some("new"), NEW, &good);
    assert!(forged(&whole[..whole.len() - 1]));
    // A header that says `none`, or an algorithm that the key is not for.
    let none = base64url(br#"{"alg":"none","kid":"new"}"#);
    let body = whole.split('.').nth(1).unwrap();
    assert!(forged(&format!("{none}.{body}.")));
    let longer = Header { kid: Some("new".into()), ..Header::new(Algorithm::HS512) };
    let longer = jsonwebtoken::encode(&longer, &good, &EncodingKey::from_secret(NEW)).unwrap();
    assert!(forged(&longer));

    assert_eq!(who(&verifier, &token(None, NEW, &good)), Err(BadToken::UnknownKey));
    assert_eq!(who(&verifier, &token(Some("x"), NEW, &good)), Err(BadToken::UnknownKey));
    let other = Claims { aud: "village".into(), ..claims(Role::Operator, None) };
    assert_eq!(who(&verifier, &token(Some("new"), NEW, &other)), Err(BadToken::OtherCluster));
    let early = Claims { nbf: Some(NOW_S + 60), ..claims(Role::Operator, None) };
    assert_eq!(who(&verifier, &token(Some("new"), NEW, &early)), Err(BadToken::Early));

    assert_eq!(who(&verifier, &whole), Ok(Identity::Operator));
    clock.0.store((NOW_S + 3_600 + 31) * 1_000, Ordering::Relaxed);
    assert_eq!(who(&verifier, &whole), Err(BadToken::Expired), "also one that was cached");
}

#[test]
fn keys_are_rotated_by_reading_the_file_again() {
    let Bench { verifier, directory, .. } = bench();
    let path = directory.path().join("keys.json");
    let old = token(Some("old"), OLD, &claims(Role::Operator, None));
    assert_eq!(who(&verifier, &old), Ok(Identity::Operator));
    write(&path, &[("new", NEW)]);
    assert_eq!(verifier.reload().unwrap(), 1);
    assert_eq!(who(&verifier, &old), Err(BadToken::UnknownKey), "cached ones go as well");
    std::fs::write(&path, "what is this").unwrap();
    assert!(verifier.reload().is_err());
    let new = token(Some("new"), NEW, &claims(Role::Operator, None));
    assert_eq!(who(&verifier, &new), Ok(Identity::Operator), "the old keys stay");
}

#[test]
fn keys_of_no_use_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    for (text, why) in [
        (r#"{"keys":[]}"#, "empty"),
        (r#"{"keys":[{"kty":"oct","kid":"a","k":"c2hvcnQ"}]}"#, "32 bytes"),
        (r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#, "kid"),
        (r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#, "HS256 and EdDSA"),
        ("nonsense", "JWK set"),
    ] {
        std::fs::write(&path, text).unwrap();
        let clock = Arc::new(Hands(AtomicU64::new(0)));
        let said = Verifier::open(&path, "city", clock).unwrap_err().to_string();
        assert!(said.contains(why) && said.contains("keys.json"), "{said}");
    }
}
