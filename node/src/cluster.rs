//! Who is here and who owns what, as an operator asks for it.

pub mod partitions;

use crate::router::{NodeRouter, Owner};
use actors::geo::cell_of;
use h3o::CellIndex;
use ledger::replicated::{META, Splits, Standing};
use ledger::{Ledger, Replicated};
use membership::{Membership, NotReady, View};
use proto::envelope::Route;
use proto::ids::IdError;
use proto::{BookingId, DriverId, NodeId, OfferId, Point, RiderId, Slot, TripId, ZoneId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::sync::Arc;
use utoipa::ToSchema;

/// What this node knows of its cluster.
pub struct Facts {
    /// The cluster's name.
    pub cluster: String,
    /// The live view.
    pub membership: Membership,
    /// Owners.
    pub router: Arc<NodeRouter>,
    /// Partitions, and where their replicas are.
    pub ledger: Replicated,
}

/// A member as `/v1/cluster` shows it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Its id.
    pub node: String,
    /// Which start of it.
    pub generation: u64,
    /// Where peers reach it.
    pub peer: String,
    /// Where clients reach it.
    pub http: String,
    /// What fails with it.
    pub zone: String,
    /// Its part of the ring, 0 to 1.
    pub share_of_ring: f64,
    /// The partitions it leads.
    pub groups: Vec<u16>,
    /// The highest feature level that its build knows; nothing if the cluster has not let it in.
    pub level: Option<u16>,
}

/// The cluster as one node sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster: String,
    /// Who answers.
    pub node: String,
    /// The ring's checksum, in hex.
    pub ring_version: String,
    /// The split table's checksum, in hex.
    pub split_version: String,
    /// The cells that this node owns by their children.
    pub splits: Vec<SplitView>,
    /// Whether the node serves.
    pub ready: bool,
    /// The live members.
    pub members: Vec<MemberView>,
    /// How many partitions there are; nothing if that is not known yet.
    pub partitions: Option<u16>,
    /// The feature level that commands are carried out at; nothing if that is not known yet.
    pub level: Option<u16>,
}

/// A cell that is owned as its children, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SplitView {
    /// The H3 cell.
    pub cell: String,
    /// 6 or 7.
    pub resolution: u8,
    /// What it carried when it was split, in pings a second; nothing if it was configured.
    pub load: Option<u64>,
    /// What a cell was to carry at most at that time.
    pub limit: Option<u64>,
}

/// Where a key lives.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LookupView {
    /// What was asked for.
    pub key: String,
    /// `booking`, `trip`, `offer`, `driver`, `rider` or `cell`.
    pub kind: String,
    /// The hash slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    /// The partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u16>,
    /// The H3 cell whose owner it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_key: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
    /// Where peers reach the owner; nothing if it is not alive.
    pub address: Option<String>,
    /// Whether the owner is alive.
    pub alive: bool,
}

impl Facts {
    /// Whether clients should come to this node, or why not.
    pub fn ready(&self) -> Result<(), String> {
        let view = self.membership.view();
        match (view.ready(), self.too_few(&view)) {
            // Who founded the cluster counts until it is known who belongs to it now.
            (Ok(()) | Err(NotReady::TooFew { .. }), Some(Ok(()))) | (Ok(()), None) => {}
            // The dead may be listed for a while yet; a quorum that has just confirmed this node as
            // its leader is word enough that it is on the right side.
            (Ok(()) | Err(NotReady::TooFew { .. }), _) if self.leads() => {}
            (Ok(()) | Err(NotReady::TooFew { .. }), Some(Err(why))) | (Err(why), _) => {
                return Err(why.to_string());
            }
        }
        self.has_actors()
    }

    /// Whether this node serves clients, or why not. On the smaller side of a cut it goes on, though
    /// it is not ready: new clients should go elsewhere, those it has can't.
    pub fn serves(&self) -> Result<(), String> {
        self.ready().or_else(|_| {
            self.membership.view().serves().map_err(|why| why.to_string())?;
            self.has_actors()
        })
    }

    /// Whether a quorum of some partition has confirmed this node as its leader, and goes on to.
    fn leads(&self) -> bool {
        !self.ledger.leadership().borrow().is_empty()
    }

    fn has_actors(&self) -> Result<(), String> {
        if self.router.serves() { Ok(()) } else { Err("has no actors yet, or no more".to_owned()) }
    }

    /// Whether fewer than a majority of the nodes that should hold replicas are alive; nothing
    /// while it is not known which those are.
    fn too_few(&self, view: &View) -> Option<Result<(), NotReady>> {
        let known = self.ledger.known().borrow().clone();
        let active = known.cluster.nodes.iter().filter(|(_, n)| n.standing == Standing::Active);
        let active: Vec<NodeId> = active.map(|(id, _)| *id).collect();
        let seen = active.iter().filter(|id| view.member(**id).is_some()).count();
        let expected = active.len() / 2 + 1;
        let enough =
            if seen < expected { Err(NotReady::TooFew { seen, expected }) } else { Ok(()) };
        (known.cluster.version > 0).then_some(enough)
    }

    /// The cluster as this node sees it.
    pub fn cluster(&self) -> ClusterView {
        let view = self.membership.view();
        let shares = view.ring().shares();
        let known = self.ledger.known().borrow().clone();
        let led = |node: NodeId| -> Vec<u16> {
            let groups = known.plan.keys().filter(|group| **group != META);
            groups.filter(|group| self.ledger.leader(**group) == Some(node)).map(|g| g.0).collect()
        };
        let members = view.members().iter().map(|member| MemberView {
            node: member.id.to_string(),
            generation: member.generation,
            peer: member.peer.to_string(),
            http: member.http.to_string(),
            zone: member.zone.clone(),
            share_of_ring: shares.get(&member.id).copied().unwrap_or(0.0),
            groups: led(member.id),
            level: known.cluster.nodes.get(&member.id).map(|listed| listed.level.0),
        });
        ClusterView {
            cluster: self.cluster.clone(),
            node: view.me().to_string(),
            ring_version: format!("{:016x}", view.ring_version()),
            split_version: format!("{:016x}", view.split_version()),
            splits: split_views(&view, &known.splits),
            ready: self.ready().is_ok(),
            members: members.collect(),
            partitions: (known.cluster.version > 0).then_some(known.cluster.partitions),
            level: (known.cluster.version > 0).then_some(known.cluster.level.0),
        }
    }

    /// Where an id or a coordinate lives, or why the text is neither.
    pub fn lookup(&self, key: &str) -> Result<LookupView, String> {
        match parse(key)? {
            Wanted::Slot(kind, slot) => {
                let group = self.router.partitions().map(|all| all.group(slot).0);
                let found = self.located(key, kind, Route::Slot(slot));
                Ok(LookupView { slot: Some(slot.0), group, ..found })
            }
            Wanted::At(point) => {
                let view = self.membership.view();
                let cell = view.ring_key(cell_of(point));
                let text = CellIndex::try_from(cell).map_or(String::new(), |cell| cell.to_string());
                let found = self.located(key, "cell", Route::Cell(cell));
                Ok(LookupView { ring_key: Some(text), ..found })
            }
        }
    }

    fn located(&self, key: &str, kind: &str, route: Route) -> LookupView {
        let view = self.membership.view();
        let (owner, at) = match self.router.owner(route) {
            Owner::Me => (Some(view.me()), view.member(view.me()).map(|me| me.peer)),
            Owner::Other { id, at } => (Some(id), at),
            Owner::Nobody | Owner::Unknown => (None, None),
        };
        LookupView {
            key: key.to_owned(),
            kind: kind.to_owned(),
            slot: None,
            group: None,
            ring_key: None,
            owner: owner.map(|owner: NodeId| owner.to_string()),
            address: at.map(|at| at.to_string()),
            alive: at.is_some(),
        }
    }
}

fn split_views(view: &View, agreed: &Splits) -> Vec<SplitView> {
    let why = |cell: CellIndex| {
        agreed.cells.iter().find(|split| split.cell == u64::from(cell) && split.limit > 0)
    };
    view.splits()
        .cells()
        .map(|cell| SplitView {
            cell: cell.to_string(),
            resolution: cell.resolution().into(),
            load: why(cell).map(|split| split.load),
            limit: why(cell).map(|split| split.limit),
        })
        .collect()
}

enum Wanted {
    Slot(&'static str, Slot),
    At(Point),
}

fn parse(key: &str) -> Result<Wanted, String> {
    fn id<T: FromStr<Err = IdError>>(text: &str) -> Result<T, String> {
        text.parse().map_err(|error: IdError| error.to_string())
    }
    if let Some((lat, lng)) = key.split_once(',') {
        let degrees = |text: &str| text.trim().parse::<f64>();
        let (Ok(lat), Ok(lng)) = (degrees(lat), degrees(lng)) else {
            return Err("a coordinate is two numbers, as in 40.75,-73.98".to_owned());
        };
        return Point::from_degrees(lat, lng).map(Wanted::At).map_err(|error| error.to_string());
    }
    Ok(match key.get(..4) {
        Some("bkg_") => Wanted::Slot("booking", id::<BookingId>(key)?.slot()),
        Some("trp_") => Wanted::Slot("trip", id::<TripId>(key)?.slot()),
        Some("off_") => Wanted::Slot("offer", id::<OfferId>(key)?.slot()),
        Some("drv_") => Wanted::Slot("driver", id::<DriverId>(key)?.slot()),
        Some("rdr_") => Wanted::Slot("rider", id::<RiderId>(key)?.slot()),
        Some("zon_") => Wanted::Slot("zone", id::<ZoneId>(key)?.slot()),
        _ => {
            return Err(
                "must be an id (bkg_, trp_, off_, drv_, rdr_, zon_) or a coordinate, lat,lng"
                    .to_owned(),
            );
        }
    })
}
