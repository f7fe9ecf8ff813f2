//! Requests between nodes and their answers. Each request names its answer's type and its route,
//! so `router.ask(Accept { .. })` gives a trip or a refusal and cannot give anything else.

mod answers;

pub use answers::{
    Accepted, AreaCount, ClaimAnswer, Fix, Followed, Followee, Following, Found, Happened,
    HoldAnswer, Mark, Now, OfferNews, Push, Session, Stand, Turn,
};

use super::booking::Need;
use super::cell::{Candidate, Demand, PingFates, Seek};
use super::command::{Idempotency, TripStep};
use super::driver::{Standing, Vehicle};
use super::explain::Explanation;
use super::trail::TrailPiece;
use super::{Ban, Booking, CityId, Driver, Offer, Place, Profile, Queue, Rider, Trip};
use crate::envelope::Route;
use crate::ids::{BookingId, DriverId, NodeId, OfferId, RiderId, TripId, ZoneId};
use crate::pings::PingBatch;
use crate::record::trip::{Driven, DriverCard, Ended};
use crate::units::{Point, WallMs};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A request that knows its route and the type of its answer.
pub trait Ask: Serialize + Send + 'static {
    /// What comes back if it is not refused.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// Who must serve it.
    fn route(&self) -> Route;
    /// The request as it travels.
    fn wrap(self) -> Request;
}

macro_rules! asks {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $fdoc:literal])* $field:ident: $type:ty,)* }
       -> $answer:ty, |$me:ident| $route:expr;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name { $($(#[doc = $fdoc])* pub $field: $type,)* }
            impl Ask for $name {
                type Answer = $answer;
                fn route(&self) -> Route { let $me = self; $route }
                fn wrap(self) -> Request { Request::$name(self) }
            }
        )*
        /// Every request a node may get from another.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Request { $($(#[doc = $doc])* $name($name),)* }

        impl Request {
            /// The request's name, for logs and metrics.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }
            /// Who must serve it.
            pub fn route(&self) -> Route {
                match self { $(Self::$name(ask) => ask.route(),)* }
            }
        }
    };
}

asks! {
    // The driver's partition.
    /// Registers a driver.
    RegisterDriver {
        /// Unique in the cluster.
        name: String,
        /// Where.
        city: CityId,
        /// With what.
        vehicle: Vehicle,
        /// Whether his identity was verified.
        kyc_verified: bool,
        /// What else is known of him.
        profile: Profile,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Driver, |ask| Route::Slot(DriverId::of_name(&ask.name).slot());
    /// Reads a driver.
    GetDriver {
        /// Who.
        driver: DriverId,
    } -> Driver, |ask| Route::Slot(ask.driver.slot());
    /// Goes on or off duty.
    SetDuty {
        /// Who.
        driver: DriverId,
        /// On or off.
        online: bool,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Driver, |ask| Route::Slot(ask.driver.slot());
    /// Asks for a driver, softly: grants and reserves, or not.
    Claim {
        /// Who.
        driver: DriverId,
        /// For which booking.
        booking: BookingId,
        /// What taking him costs, in milliseconds; less is better.
        cost_ms: i64,
        /// What speaks for this booking rather than another, in milliseconds.
        favour_ms: i64,
        /// Whether other bookings wait nearby, so that claims should be collected.
        contended: bool,
        /// He has a rider aboard and would only be counted on.
        soon: bool,
    } -> ClaimAnswer, |ask| Route::Slot(ask.driver.slot());
    /// Puts an offer before a driver and pushes it to his phone.
    HoldDriver {
        /// The offer; names the driver.
        offer: Offer,
    } -> HoldAnswer, |ask| Route::Slot(ask.offer.driver.slot());
    /// The driver says yes. The answer is the trip.
    Accept {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Trip, |ask| Route::Slot(ask.driver.slot());
    /// The driver says no.
    Decline {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Driver, |ask| Route::Slot(ask.driver.slot());
    /// Frees the driver of this very offer.
    ReleaseDriver {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The trip that came of it and how it ended; nothing if none did.
        ended: Option<Ended>,
    } -> (), |ask| Route::Slot(ask.driver.slot());
    /// Says through which socket a driver is reached. The answer is what is before him, so that a
    /// reconnecting phone misses nothing.
    Attach {
        /// Who.
        driver: DriverId,
        /// How.
        session: Session,
    } -> Vec<Push>, |ask| Route::Slot(ask.driver.slot());
    /// Says the same for all sockets of a node at once, again and again, because sessions are
    /// forgotten with the process that knew them. The answer is what is before each of them.
    Sessions {
        /// The node asked.
        node: NodeId,
        /// Who, and how.
        sessions: Vec<(DriverId, Session)>,
    } -> Vec<(DriverId, Push)>, |ask| Route::Node(ask.node);
    /// Tells the node of the drivers' partitions in which cells they were seen, and asks for their
    /// standings. Drivers whose partition it has no replica of are left out of the answer.
    Standings {
        /// The node asked.
        node: NodeId,
        /// Who, the ring key of the cell he is in, and the phone time of his last ping there.
        seen: Vec<(DriverId, u64, WallMs)>,
    } -> Stand, |ask| Route::Node(ask.node);

    // The rider's partition.
    /// Registers a rider.
    RegisterRider {
        /// Unique in the cluster.
        name: String,
        /// What else is known of him.
        profile: Profile,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Rider, |ask| Route::Slot(RiderId::of_name(&ask.name).slot());
    /// Reads a rider.
    GetRider {
        /// Who.
        rider: RiderId,
    } -> Rider, |ask| Route::Slot(ask.rider.slot());
    /// Opens a booking and starts to look for a driver.
    CreateBooking {
        /// Whose.
        rider: RiderId,
        /// Where.
        city: CityId,
        /// From.
        pickup: Place,
        /// To.
        destination: Place,
        /// What it needs.
        need: Need,
        /// How the rider pays.
        payment_method: String,
        /// What the rider was shown.
        shown_estimate_minor: Option<u64>,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Booking, |ask| Route::Slot(ask.rider.slot());
    /// Reads a booking.
    GetBooking {
        /// Which.
        booking: BookingId,
    } -> Booking, |ask| Route::Slot(ask.booking.slot());
    /// Calls a booking off.
    CancelBooking {
        /// Which.
        booking: BookingId,
        /// The rider who asks, who must be its own.
        rider: RiderId,
        /// Why.
        reason: String,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Booking, |ask| Route::Slot(ask.booking.slot());
    /// A driver accepted: decide. A refusal is final and frees the driver.
    AssignBooking {
        /// Which.
        booking: BookingId,
        /// The accepted offer.
        offer: OfferId,
        /// Who accepted.
        driver: DriverId,
        /// As the rider will see him.
        card: DriverCard,
    } -> Trip, |ask| Route::Slot(ask.booking.slot());
    /// An offer ended at the driver.
    TellBooking {
        /// Which.
        booking: BookingId,
        /// Which offer.
        offer: OfferId,
        /// How.
        news: OfferNews,
    } -> (), |ask| Route::Slot(ask.booking.slot());
    /// A car came free near waiting bookings.
    Wake {
        /// The node of the bookings' partitions.
        node: NodeId,
        /// Which, and the car as each of them sees it.
        woken: Vec<(BookingId, Candidate)>,
    } -> (), |ask| Route::Node(ask.node);
    /// Reads a trip.
    GetTrip {
        /// Which.
        trip: TripId,
    } -> Trip, |ask| Route::Slot(ask.trip.slot());
    /// A driver moves his trip.
    DriverStep {
        /// Which.
        trip: TripId,
        /// Who.
        driver: DriverId,
        /// How.
        step: TripStep,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Trip, |ask| Route::Slot(ask.trip.slot());
    /// A rider calls his trip off.
    RiderStep {
        /// Which.
        trip: TripId,
        /// Who.
        rider: RiderId,
        /// How.
        step: TripStep,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Trip, |ask| Route::Slot(ask.trip.slot());

    // Cells.
    /// Positions for cells that the node owns.
    Pings {
        /// The node that owns their cells, as the sender sees the ring.
        node: NodeId,
        /// At most a few thousand.
        pings: PingBatch,
    } -> PingFates, |ask| Route::Node(ask.node);
    /// The nearest drivers within a circle, of the cells that the node owns.
    Search {
        /// The node asked.
        node: NodeId,
        /// Centre.
        center: Point,
        /// Radius in metres.
        radius_m: u32,
        /// What they must be able to do; nothing to see all.
        need: Option<Need>,
        /// Whom.
        seek: Seek,
        /// At most so many.
        max: u16,
        /// Positions older than this are left out, in milliseconds.
        fresh_ms: u32,
        /// Drivers are named too whose ride ends within so many straight metres of where they are; 0
        /// for none.
        ending_m: u32,
        /// The booking that searches, to be told of cars that come free.
        post: Option<Demand>,
        /// The ring keys of the cells meant, as the asker sees the ring.
        ring_keys: Vec<u64>,
        /// Only those cells, of which the node has copies; else also what else it owns there.
        copies: bool,
    } -> Found, |ask| Route::Node(ask.node);
    /// Takes a booking off the boards that the node keeps.
    Withdraw {
        /// The node asked.
        node: NodeId,
        /// Which.
        booking: BookingId,
        /// Where it stood.
        pickup: Point,
        /// How far it was posted.
        radius_m: u32,
    } -> (), |ask| Route::Node(ask.node);
    /// A driver's standing changed.
    Restand {
        /// The ring key of the cell he was seen in last.
        ring_key: u64,
        /// How he stands.
        standing: Standing,
    } -> (), |ask| Route::Cell(ask.ring_key);
    /// Drivers were seen in cells of other ring keys.
    Moved {
        /// The node that owns the cells they left.
        node: NodeId,
        /// The ring key he left, who, and when he was elsewhere, by his phone; what is newer in the
        /// cell stands.
        moved: Vec<(u64, DriverId, WallMs)>,
    } -> (), |ask| Route::Node(ask.node);

    // Sockets.
    /// Sends something down a socket that a node holds. False if it is gone: a connection's number
    /// alone may be another driver's by now, since a node that starts again counts from the beginning.
    PushDown {
        /// Which.
        session: Session,
        /// What.
        push: Push,
    } -> bool, |ask| Route::Node(ask.session.node);

    // Consensus.
    /// A frame from one node's ledger to another's. The answer is the other ledger's frame.
    Consensus {
        /// The node asked.
        node: NodeId,
        /// What only ledgers understand.
        frame: Bytes,
    } -> Bytes, |ask| Route::Node(ask.node);

    // History.
    /// A rider's bookings, newest first.
    RiderBookings {
        /// Whose.
        rider: RiderId,
        /// Only those made before this one.
        before: Option<BookingId>,
        /// At most so many.
        max: u16,
    } -> Vec<Booking>, |ask| Route::Slot(ask.rider.slot());
    /// Trips that a driver has ended, newest first.
    DriverTrips {
        /// Whose.
        driver: DriverId,
        /// Only those that ended before this one.
        before: Option<(WallMs, TripId)>,
        /// At most so many.
        max: u16,
    } -> Vec<Driven>, |ask| Route::Slot(ask.driver.slot());

    // Streams.
    /// What happened to bookings and drivers that somebody follows at the asking node. The answers are in the
    /// order of the questions; nothing where this node can't say.
    Follow {
        /// The node asked, which leads their partitions.
        node: NodeId,
        /// At most a few hundred.
        follows: Vec<Following>,
    } -> Vec<Option<Followed>>, |ask| Route::Node(ask.node);
    /// In which cells drivers were seen last, as ring keys, in the order of the question.
    Whereabouts {
        /// The node asked, which leads the drivers' partitions.
        node: NodeId,
        /// Who.
        drivers: Vec<DriverId>,
    } -> Vec<Option<u64>>, |ask| Route::Node(ask.node);
    /// The last known positions of drivers, of those who are where the question says.
    Fixes {
        /// The node asked, which owns the cells.
        node: NodeId,
        /// Who, and the ring key of the cell he was seen in.
        sought: Vec<(DriverId, u64)>,
    } -> Vec<Fix>, |ask| Route::Node(ask.node);

    // Trips, further.
    /// An operator moves a trip, without a code.
    OperatorStep {
        /// Which.
        trip: TripId,
        /// How.
        step: TripStep,
        /// The operator's key.
        idempotency: Option<Idempotency>,
    } -> Trip, |ask| Route::Slot(ask.trip.slot());
    /// Adds to a trip's trail. The answer is the trip, once the points are durable.
    AddTrail {
        /// Which.
        trip: TripId,
        /// Whose car recorded it.
        driver: DriverId,
        /// The points.
        piece: TrailPiece,
    } -> Trip, |ask| Route::Slot(ask.trip.slot());
    /// A trip's trail, newest piece first.
    ReadTrail {
        /// Which.
        trip: TripId,
        /// Only pieces that came before this.
        before: Option<WallMs>,
        /// At most so many pieces.
        max: u16,
    } -> Vec<(WallMs, TrailPiece)>, |ask| Route::Slot(ask.trip.slot());

    // Explanations.
    /// How the node asked looked for a booking's driver, once for each term that it remembers.
    Explain {
        /// The node asked.
        node: NodeId,
        /// Of which booking.
        booking: BookingId,
    } -> Vec<Explanation>, |ask| Route::Node(ask.node);

    // Bans.
    /// Bans a rider, or lifts it.
    BanRider {
        /// Who.
        rider: RiderId,
        /// Until when and why; nothing to lift it.
        ban: Option<Ban>,
        /// The operator's key.
        idempotency: Option<Idempotency>,
    } -> Rider, |ask| Route::Slot(ask.rider.slot());
    /// Bans a driver, or lifts it.
    BanDriver {
        /// Who.
        driver: DriverId,
        /// Until when and why; nothing to lift it.
        ban: Option<Ban>,
        /// The operator's key.
        idempotency: Option<Idempotency>,
    } -> Driver, |ask| Route::Slot(ask.driver.slot());

    // Copies.
    /// What another node's cells were told, for the copies of them that the node keeps.
    Mirror {
        /// The node asked.
        node: NodeId,
        /// Pings that were applied.
        pings: PingBatch,
        /// Standings, and the ring keys of the cells they are for.
        standings: Vec<(u64, Standing)>,
    } -> (), |ask| Route::Node(ask.node);

    // Areas.
    /// Supply and demand in some areas, as far as the node's cells count them.
    Areas {
        /// The node asked.
        node: NodeId,
        /// The r7 cells, at most a few hundred.
        areas: Vec<u64>,
    } -> Vec<AreaCount>, |ask| Route::Node(ask.node);

    // Loads.
    /// What the node's cells have carried since they were asked last: r8 cells and their weight a
    /// second, at most 8,192, the heaviest.
    Loads {
        /// The node asked.
        node: NodeId,
    } -> Vec<(u64, u64)>, |ask| Route::Node(ask.node);

    // Queues.
    /// Whose turn it is to be offered a booking with its pickup in a queue zone.
    NextInQueue {
        /// Which zone.
        zone: ZoneId,
        /// Which booking.
        booking: BookingId,
        /// Where the rider waits.
        pickup: Point,
        /// What it needs.
        need: Need,
        /// Drivers who were offered it before; as many as a booking has offers at most.
        passed_over: Vec<DriverId>,
        /// At most so many.
        max: u16,
    } -> Turn, |ask| Route::Slot(ask.zone.slot());
    /// Reads the queue of a zone.
    GetQueue {
        /// Which zone.
        zone: ZoneId,
    } -> Queue, |ask| Route::Slot(ask.zone.slot());
    // Rides.
    /// A rider got in with a driver, or the ride was paused. Soft: what is lost costs no ride.
    Aboard {
        /// Who drives.
        driver: DriverId,
        /// The offer that the ride came of.
        offer: OfferId,
        /// Whether they are under way.
        aboard: bool,
    } -> (), |ask| Route::Slot(ask.driver.slot());

    // Next rides.
    /// Puts an offer before a driver who is on a trip, to follow it.
    HoldNext {
        /// The offer; names the driver.
        offer: Offer,
    } -> HoldAnswer, |ask| Route::Slot(ask.offer.driver.slot());
    /// The driver says yes. The answer is the trip, or that it follows the one that he is on. `Accept` is
    /// answered `RETRY` until there is a trip.
    Take {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The client's key.
        idempotency: Option<Idempotency>,
    } -> Accepted, |ask| Route::Slot(ask.driver.slot());
    /// A driver accepted an offer as his next: decide. A refusal is final and frees the driver.
    PromiseBooking {
        /// Which.
        booking: BookingId,
        /// The accepted offer.
        offer: OfferId,
        /// Who accepted.
        driver: DriverId,
    } -> Booking, |ask| Route::Slot(ask.booking.slot());
    /// A driver does not come after his ride: the booking looks on. A refusal says that it is his trip.
    EndPromise {
        /// Which.
        booking: BookingId,
        /// The offer.
        offer: OfferId,
    } -> Booking, |ask| Route::Slot(ask.booking.slot());

    /// Asks a booking whose driver is on his way to go without him, for one that nobody else can reach in
    /// time. It does so if another comes not much later. Soft: nobody waits for it.
    YieldDriver {
        /// Which.
        booking: BookingId,
        /// The driver; nothing happens if it has another.
        driver: DriverId,
    } -> (), |ask| Route::Slot(ask.booking.slot());
}
