//! Who may ask: the token of a request, how often its holder may come, and whom he may act for.

use super::App;
use super::problem::Problem;
use crate::auth::{BadToken, Identity};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use proto::code::{Code, Refusal};
use proto::units::Clock;
use proto::{DriverId, RiderId, WallMs};
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Subjects that came lately are looked through after so many requests, and those who could come
/// again at full rate are forgotten.
const FORGET_EVERY: u64 = 16_384;
/// The most pings in one message of a driver's.
pub(crate) const PINGS_MAX: u32 = 100;
/// Pings a second of one driver, over all his connections, and so many at once: a phone sends one a
/// second, and a hundred at a time after a tunnel. A message without pings counts as one.
const PINGS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("it is not zero");
const PINGS_AT_ONCE: NonZeroU32 = NonZeroU32::new(4 * PINGS_MAX).expect("it is not zero");

/// The node's clock, as the limiter wants it.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

/// A time of that clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(Nanos);

impl std::ops::Add<Nanos> for Tick {
    type Output = Self;
    fn add(self, more: Nanos) -> Self {
        Self(self.0 + more)
    }
}

impl Reference for Tick {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.duration_since(earlier.0)
    }
    fn saturating_sub(&self, less: Nanos) -> Self {
        Self(self.0.saturating_sub(less))
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Tick;
    fn now(&self) -> Tick {
        Tick(Nanos::new(self.0.mono().0.saturating_mul(1_000_000)))
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Rider(RiderId),
    Driver(DriverId),
}

/// How often each of many may come.
struct Paces<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, HashMapStateStore<K>, Ticks, NoOpMiddleware<Tick>>,
    clock: Ticks,
    asked: AtomicU64,
}

impl<K: Hash + Eq + Clone> Paces<K> {
    /// `per_second` each, and `at_once`.
    fn new(per_second: NonZeroU32, at_once: NonZeroU32, clock: Ticks) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(at_once);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self { limiter, clock, asked: AtomicU64::new(0) }
    }

    /// Counts so many, all or none, or says when they may come again.
    fn admit(&self, who: &K, count: NonZeroU32, detail: &str) -> Result<(), Refusal> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let mut refusal = Refusal::new(Code::RateLimited, detail);
        match self.limiter.check_key_n(who, count) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(early)) => {
                let wait = early.wait_time_from(self.clock.now()).as_millis();
                refusal.retry_after_ms = Some(u32::try_from(wait).unwrap_or(u32::MAX).max(1));
            }
            Err(_) => {} // more than may ever come at once: no time is right for it
        }
        Err(refusal)
    }
}

/// How often each rider and driver may come, and how many pings each driver may send.
pub struct Rates {
    subjects: Paces<Subject>,
    pings: Paces<DriverId>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects = self.subjects.limiter.len();
        f.debug_struct("Rates").field("subjects", &subjects).finish_non_exhaustive()
    }
}

impl Rates {
    /// `per_second` each, and twice that at once.
    pub fn new(per_second: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let clock = Ticks(clock);
        let subjects = Paces::new(per_second, per_second.saturating_mul(TWO), clock.clone());
        Self { subjects, pings: Paces::new(PINGS_PER_SECOND, PINGS_AT_ONCE, clock) }
    }

    /// Counts one request of this subject, or says when it may come again.
    pub(crate) fn admit(&self, identity: Identity) -> Result<(), Problem> {
        let subject = match identity {
            Identity::Rider(rider) => Subject::Rider(rider),
            Identity::Driver(driver) => Subject::Driver(driver),
            // Gateways and operators answer for themselves; who is only believed can't be counted.
            Identity::Gateway | Identity::Operator | Identity::Believed => return Ok(()),
        };
        Ok(self.subjects.admit(&subject, NonZeroU32::MIN, "this subject asks too often")?)
    }

    /// Counts the pings of one message of a driver's, whichever way it came: all or none.
    pub(crate) fn admit_pings(&self, driver: DriverId, count: usize) -> Result<(), Refusal> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count > PINGS_MAX {
            let detail = format!("{count} pings, a driver's message takes {PINGS_MAX}");
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        self.pings.admit(&driver, count, "this driver says too much, none of it was taken")
    }
}

const TWO: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

/// Who asks, and until when his token is good; for ever where there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    pub(crate) until: Option<WallMs>,
}

/// Finds out who asks, before anything else is done for him.
pub(super) async fn identified(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let asker = match identify(&app, request.headers()) {
        Ok(asker) => asker,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(asker);
    next.run(request).await
}

fn identify(app: &App, headers: &HeaderMap) -> Result<Asker, Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    asker(app, token)
}

/// Who asks with this token, whichever way it came.
pub(crate) fn asker(app: &App, token: Option<&str>) -> Result<Asker, Problem> {
    let Some(verifier) = &app.verifier else {
        return Ok(Asker { identity: Identity::Believed, until: None });
    };
    let unknown =
        |why: BadToken| Problem::from(Refusal::new(Code::Unauthenticated, why.to_string()));
    let held = verifier.identify(token.ok_or_else(|| unknown(BadToken::Missing))?);
    let (identity, until) = held.map_err(unknown)?;
    app.rates.admit(identity)?;
    Ok(Asker { identity, until: Some(until) })
}

fn forbidden(why: &str) -> Problem {
    Refusal::new(Code::Forbidden, why).into()
}

/// Whom an identity may act for.
impl Identity {
    /// The rider who asks: the token's, or the one that the header names if the holder acts for
    /// many.
    pub(super) fn rider(self, named: Option<RiderId>) -> Result<Option<RiderId>, Problem> {
        match (self, named) {
            (Self::Rider(own), None) => Ok(Some(own)),
            (Self::Rider(own), Some(named)) if own == named => Ok(Some(own)),
            (Self::Rider(_), Some(_)) => Err(forbidden("X-User-ID is not the token's subject")),
            (Self::Driver(_), Some(_)) => Err(forbidden("a driver does not act for riders")),
            (Self::Driver(_), None) => Ok(None),
            (Self::Believed | Self::Gateway | Self::Operator, named) => Ok(named),
        }
    }

    /// The same of drivers.
    pub(super) fn driver(self, named: Option<DriverId>) -> Result<Option<DriverId>, Problem> {
        match (self, named) {
            (Self::Driver(own), None) => Ok(Some(own)),
            (Self::Driver(own), Some(named)) if own == named => Ok(Some(own)),
            (Self::Driver(_), Some(_)) => Err(forbidden("X-Driver-ID is not the token's subject")),
            (Self::Rider(_), Some(_)) => Err(forbidden("a rider does not act for drivers")),
            (Self::Rider(_), None) => Ok(None),
            (Self::Believed | Self::Gateway | Self::Operator, named) => Ok(named),
        }
    }

    /// Whether he may see or change this rider's record.
    pub(super) fn owns_rider(self, rider: RiderId) -> Result<(), Problem> {
        match self {
            Self::Rider(own) if own == rider => Ok(()),
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => Err(forbidden("the record is another party's")),
        }
    }

    /// Whether he may see or change this driver's record.
    pub(crate) fn owns_driver(self, driver: DriverId) -> Result<(), Problem> {
        match self {
            Self::Driver(own) if own == driver => Ok(()),
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => Err(forbidden("the record is another party's")),
        }
    }

    /// Whether he may see what concerns this rider and these drivers.
    pub(super) fn concerns(
        self,
        rider: RiderId,
        mut drivers: impl Iterator<Item = DriverId>,
    ) -> Result<(), Refusal> {
        let may = match self {
            Self::Rider(own) => own == rider,
            Self::Driver(own) => drivers.any(|driver| driver == own),
            Self::Believed | Self::Gateway | Self::Operator => true,
        };
        match may {
            true => Ok(()),
            false => Err(Refusal::new(Code::Forbidden, "it concerns other parties")),
        }
    }

    /// Whether he vouches for others: says that a driver's identity was verified.
    pub(super) fn vouches(self) -> Result<(), Problem> {
        match self {
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => {
                Err(forbidden("only a gateway or an operator says that somebody was verified"))
            }
        }
    }

    /// Whether he may see others: how bookings are dispatched, who is near.
    pub(crate) fn oversees(self) -> Result<(), Problem> {
        match self {
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => {
                Err(forbidden("only a gateway or an operator may see this"))
            }
        }
    }

    /// Whether he runs the cluster.
    pub(super) fn operates(self) -> Result<(), Problem> {
        match self {
            Self::Believed | Self::Operator => Ok(()),
            Self::Gateway | Self::Rider(_) | Self::Driver(_) => {
                Err(forbidden("only an operator may do this"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::units::MonoMs;

    #[derive(Debug, Default)]
    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn mono(&self) -> MonoMs {
            MonoMs(self.0.load(Ordering::Relaxed))
        }
        fn wall(&self) -> WallMs {
            WallMs(self.mono().0)
        }
    }

    #[test]
    fn pings_are_counted_one_by_one_and_of_each_driver_for_himself() {
        let clock = Arc::new(Hands::default());
        let rates = Rates::new(NonZeroU32::MIN, Arc::clone(&clock) as Arc<dyn Clock>);
        let (dee, eve) = (DriverId::of_name("dee"), DriverId::of_name("eve"));
        let refused = |count| rates.admit_pings(dee, count).map_err(|refusal| refusal.code);
        assert_eq!(refused(101), Err(Code::TooLarge));
        for _ in 0..4 {
            assert_eq!(refused(100), Ok(()));
        }
        let early = rates.admit_pings(dee, 100).unwrap_err();
        assert_eq!((early.code, early.retry_after_ms), (Code::RateLimited, Some(5_000)));
        assert_eq!(rates.admit_pings(eve, 100), Ok(()));
        // Nothing of it was counted, and twenty a second come back; none are still one.
        clock.0.store(1_000, Ordering::Relaxed);
        assert_eq!(refused(21), Err(Code::RateLimited));
        assert_eq!((refused(19), refused(0), refused(0)), (Ok(()), Ok(()), Err(Code::RateLimited)));
    }
}
