//! The decision, as a function of what is known.

use proto::NodeId;
use proto::code::{Code, Refusal};
use proto::envelope::HOPS_MAX;
use std::net::SocketAddr;

/// Who owns a request, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This node.
    Me,
    /// Another node, and where it is if it is alive.
    Other {
        /// Who.
        id: NodeId,
        /// Its peer address; nothing if it is not among the live members.
        at: Option<SocketAddr>,
    },
    /// Its partition has no leader at the moment, as far as this node knows.
    Nobody,
    /// Not known yet: this node has not learned enough of the cluster.
    Unknown,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Serve it here.
    Local,
    /// Send it on.
    Forward {
        /// To whom.
        to: NodeId,
        /// Where.
        at: SocketAddr,
    },
    /// Turn it away.
    Refuse(Refusal),
}

/// Decides about a request that was forwarded `hops` times.
pub fn decide(hops: u8, owner: Owner) -> Decision {
    match owner {
        Owner::Me => Decision::Local,
        Owner::Other { id, .. } if hops >= HOPS_MAX => Decision::Refuse(Refusal {
            owner: Some(id),
            ..Refusal::new(Code::NotOwner, format!("{hops} forwards and still not at its owner"))
        }),
        Owner::Other { id, at: Some(at) } => Decision::Forward { to: id, at },
        Owner::Other { id, at: None } => Decision::Refuse(Refusal {
            owner: Some(id),
            ..Refusal::new(Code::Retry, format!("{id}, which owns this, is down"))
        }),
        Owner::Nobody => {
            Decision::Refuse(Refusal::new(Code::Retry, "the partition has no leader at the moment"))
        }
        Owner::Unknown => Decision::Refuse(Refusal::new(
            Code::NotReady,
            "this node has not yet learned who owns what",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_at_every_hop_has_one_answer() {
        let at: SocketAddr = "127.0.0.1:7102".parse().expect("an address");
        let (alive, dead) = (
            Owner::Other { id: NodeId(2), at: Some(at) },
            Owner::Other { id: NodeId(2), at: None },
        );
        // owner, hops -> decision
        let table = [
            (Owner::Me, 0, "local"),
            (Owner::Me, 1, "local"),
            (Owner::Me, 2, "local"),
            (alive, 0, "forward n2"),
            (alive, 1, "forward n2"),
            (alive, 2, "NOT_OWNER, try n2"),
            (dead, 0, "RETRY, try n2"),
            (dead, 1, "RETRY, try n2"),
            (dead, 2, "NOT_OWNER, try n2"),
            (Owner::Nobody, 0, "RETRY"),
            (Owner::Nobody, 1, "RETRY"),
            (Owner::Nobody, 2, "RETRY"),
            (Owner::Unknown, 0, "NOT_READY"),
            (Owner::Unknown, 1, "NOT_READY"),
            (Owner::Unknown, 2, "NOT_READY"),
        ];
        for (owner, hops, want) in table {
            let got = match decide(hops, owner) {
                Decision::Local => "local".to_owned(),
                Decision::Forward { to, .. } => format!("forward {to}"),
                Decision::Refuse(Refusal { code, owner: Some(hint), .. }) => {
                    format!("{code}, try {hint}")
                }
                Decision::Refuse(refusal) => refusal.code.to_string(),
            };
            assert_eq!(got, want, "{owner:?} after {hops} hops");
        }
    }
}
