//! The street: cars that drive, riders who wait for them, and what came of it. Policies differ in whom
//! they send; from there on everything is the same for all of them.

use crate::city::Request;
use roads::Matrix;

/// Boarding takes so long, and alighting too, in milliseconds.
pub const DWELL_MS: u64 = 30_000;

/// What a car does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It stands, or will in a moment.
    Idle,
    /// It drives to a rider, since a time.
    Fetches(usize, u64),
    /// It carries one.
    Carries(usize),
}

/// A car.
#[derive(Debug, Clone, Copy)]
pub struct Car {
    /// The junction where it is, was when it left for a rider, or will be when the ride is over.
    pub at: u32,
    /// When it is, or was, there, in milliseconds.
    pub ready_ms: u64,
    /// What it does.
    pub does: Does,
    /// Time with a rider aboard, in milliseconds: what it earns by.
    pub earning_ms: u64,
    /// Time on the way to riders, in milliseconds.
    pub fetching_ms: u64,
}

/// What became of a rider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rider {
    /// The car that comes, or came.
    pub car: Option<usize>,
    /// When it is there.
    pub pickup_ms: u64,
    /// It was there.
    pub served: bool,
    /// How often another car was sent instead.
    pub swaps: u16,
    /// Rises with every car that is sent, so that an arrival that was called off is known.
    pub leg: u32,
}

/// See the module's text.
pub struct Street<'a> {
    /// Driving times.
    pub roads: &'a Matrix,
    /// Who asks.
    pub requests: &'a [Request],
    /// All cars.
    pub cars: Vec<Car>,
    /// What becomes of each request.
    pub riders: Vec<Rider>,
    /// Driven without a rider, in metres.
    pub deadhead_m: u64,
    /// Driven in all, in metres.
    pub driven_m: u64,
}

impl<'a> Street<'a> {
    /// All cars idle at their stands.
    pub fn new(roads: &'a Matrix, requests: &'a [Request], stands: &[u32]) -> Self {
        let car = |at: &u32| Car {
            at: *at,
            ready_ms: 0,
            does: Does::Idle,
            earning_ms: 0,
            fetching_ms: 0,
        };
        let cars = stands.iter().map(car).collect();
        let riders = vec![Rider::default(); requests.len()];
        Self { roads, requests, cars, riders, deadhead_m: 0, driven_m: 0 }
    }

    /// Whether a car can be sent now.
    pub fn is_free(&self, car: usize) -> bool {
        self.cars[car].does == Does::Idle
    }

    /// How long a car needs to a rider from where it is, or from where its ride ends, in milliseconds.
    pub fn eta_ms(&self, car: usize, rider: usize) -> u64 {
        self.roads.ms(self.cars[car].at, self.requests[rider].from).into()
    }

    /// How long a rider's ride is, in milliseconds.
    pub fn ride_ms(&self, rider: usize) -> u64 {
        let Request { from, to, .. } = self.requests[rider];
        self.roads.ms(from, to).into()
    }

    /// How long until it can leave from there, in milliseconds.
    pub fn ready_in_ms(&self, car: usize, now_ms: u64) -> u64 {
        self.cars[car].ready_ms.saturating_sub(now_ms)
    }

    /// Sends an idle car to a rider; says when it will be there, and the number of this leg.
    pub fn send(&mut self, car: usize, rider: usize, now_ms: u64) -> (u64, u32) {
        debug_assert!(self.is_free(car), "car {car} is sent twice");
        let leaves_ms = self.cars[car].ready_ms.max(now_ms);
        let pickup_ms = leaves_ms + self.eta_ms(car, rider);
        self.cars[car].does = Does::Fetches(rider, leaves_ms);
        let known = &mut self.riders[rider];
        (known.car, known.pickup_ms, known.leg) = (Some(car), pickup_ms, known.leg + 1);
        (pickup_ms, known.leg)
    }

    /// Calls off the car that is on its way to a rider; it is idle at the next junction. Gives it.
    pub fn call_off(&mut self, rider: usize, now_ms: u64) -> Option<usize> {
        let car = self.riders[rider].car?;
        let Does::Fetches(_, left_ms) = self.cars[car].does else { return None };
        let (at, at_ms, metres) = self.way_so_far(car, now_ms)?;
        self.deadhead_m += metres;
        self.driven_m += metres;
        let known = &mut self.cars[car];
        known.fetching_ms += at_ms - left_ms;
        (known.at, known.ready_ms, known.does) = (at, at_ms, Does::Idle);
        self.riders[rider].car = None;
        Some(car)
    }

    /// For whom a car is on its way, and how long it would need to another rider from there, in milliseconds.
    pub fn eta_from_way_ms(&self, car: usize, rider: usize, now_ms: u64) -> Option<(usize, u64)> {
        let Does::Fetches(of, _) = self.cars[car].does else { return None };
        let (at, at_ms, _) = self.way_so_far(car, now_ms)?;
        let drive_ms: u64 = self.roads.ms(at, self.requests[rider].from).into();
        Some((of, at_ms.saturating_sub(now_ms) + drive_ms))
    }

    /// Where a car on its way to a rider comes to next, when, and how far it has driven by then, in metres.
    fn way_so_far(&self, car: usize, now_ms: u64) -> Option<(u32, u64, u64)> {
        let Does::Fetches(rider, left_ms) = self.cars[car].does else { return None };
        let (mut at, mut at_ms, mut metres) = (self.cars[car].at, left_ms, 0);
        while at_ms < now_ms
            && let Some(road) = self.roads.next(at, self.requests[rider].from)
        {
            (at, at_ms) = (road.to, at_ms + u64::from(road.ms));
            metres += u64::from(road.metres);
        }
        Some((at, at_ms, metres))
    }

    /// The car is there, if it was not called off since; gives it, and when its ride will be over.
    pub fn pick_up(&mut self, rider: usize, leg: u32) -> Option<(usize, u64)> {
        let Rider { car: Some(car), pickup_ms, served: false, leg: newest, .. } =
            self.riders[rider]
        else {
            return None;
        };
        let Does::Fetches(_, left_ms) = self.cars[car].does else { return None };
        if leg != newest {
            return None;
        }
        let Request { from, to, .. } = self.requests[rider];
        let ride_ms = self.ride_ms(rider);
        let fetched_m = self.metres(self.cars[car].at, from);
        self.deadhead_m += fetched_m;
        self.driven_m += fetched_m + self.metres(from, to);
        self.riders[rider].served = true;
        let known = &mut self.cars[car];
        known.fetching_ms += pickup_ms - left_ms;
        known.earning_ms += ride_ms;
        (known.at, known.ready_ms) = (to, pickup_ms + 2 * DWELL_MS + ride_ms);
        known.does = Does::Carries(rider);
        Some((car, known.ready_ms))
    }

    /// The junction that a car with a rider comes to next, or has come to; nothing for others.
    pub fn passes(&self, car: usize, now_ms: u64) -> Option<u32> {
        let Car { at: goal, ready_ms, does: Does::Carries(rider), .. } = self.cars[car] else {
            return None;
        };
        let mut at = self.requests[rider].from;
        let mut at_ms = (ready_ms - DWELL_MS).saturating_sub(self.roads.ms(at, goal).into());
        while at_ms < now_ms
            && let Some(road) = self.roads.next(at, goal)
        {
            (at, at_ms) = (road.to, at_ms + u64::from(road.ms));
        }
        Some(at)
    }

    /// The ride is over.
    pub fn set_free(&mut self, car: usize) {
        self.cars[car].does = Does::Idle;
    }

    fn metres(&self, from: u32, to: u32) -> u64 {
        let (mut at, mut metres) = (from, 0);
        while let Some(road) = self.roads.next(at, to) {
            (at, metres) = (road.to, metres + u64::from(road.metres));
        }
        metres
    }
}
