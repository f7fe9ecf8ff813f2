//! A network namespace for each node, joined by a bridge in a namespace of our own: real routing,
//! real TCP, and the host's network out of reach. Nothing is left when the process ends, however it
//! does, for the names are in a file system that only it sees.
//!
//! What stands in for tools that many kernels lack: a link is cut silently by giving the receiver a
//! hardware address that nobody has, loudly by a blackhole route, and slowed down by a tunnel
//! (VXLAN) whose other end is [`super::relay`].

use super::relay::Relay;
use super::{Cut, Link, State, States};
use crate::cluster::{Ground, Place};
use crate::dice::Dice;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// What is tried before this way is chosen: everything that will be needed.
const TRIAL: &str = "ip link set lo up && ip link add hub type bridge && mount -t tmpfs none /run \
    && mkdir -p /run/netns && ip netns add n1 && setpriv --pdeathsig KILL \
    nsenter --net=/run/netns/n1 true && ip link add slow type vxlan id 77 dstport 4789 \
    remote 10.77.255.254";
/// Makes the hub that all nodes hang on.
const HUB: &str = "set -e; mount -t tmpfs none /run; mkdir -p /run/netns; ip link set lo up; \
    ip link add hub type bridge; ip addr add 10.77.255.254/16 dev hub; ip link set hub up";
/// Where the driver of the test is.
const HUB_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 255, 254);
const HTTP_PORT: u16 = 8001;
const PEER_PORT: u16 = 7101;
const EDGE_PORT: u16 = 7201;
/// The tunnel's port and number.
pub(super) const TUNNEL_PORT: u16 = 4789;
/// Addresses in the third byte; the last one is 1 or more.
const PER_BYTE: usize = 200;
/// A hardware address that nobody has.
const NOBODY: &str = "02:79:00:00:00:00";

/// The nodes' namespaces. Cheap to clone.
#[derive(Debug, Clone)]
pub(in super::super) struct Namespaces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    states: Arc<States>,
    /// A small disk for the node in this seat, if there is one.
    small: Option<(usize, PathBuf)>,
    _relay: Relay,
}

/// The words that lead into namespaces of our own, or why there are none.
fn words() -> Result<Vec<&'static str>, String> {
    let mut words = vec!["--net", "--mount", "--propagation", "private"];
    if !rustix::process::geteuid().is_root() {
        words.splice(0..0, ["--user", "--map-root-user"]);
    }
    let tried = Command::new("unshare").args(&words).args(["sh", "-c", TRIAL]).output();
    let tried = tried.map_err(|error| format!("unshare: {error}"))?;
    if tried.status.success() {
        return Ok(words);
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    Err(said.lines().next().unwrap_or("refused without a word").to_owned())
}

/// Whether it is permitted; why not, if not.
pub(in super::super) fn permitted() -> Result<(), String> {
    words().map(drop)
}

/// Goes on as the same process in namespaces of its own, with one flag more. Returns only if that
/// fails.
pub(in super::super) fn enter(flag: &str) -> io::Error {
    let words = match words() {
        Ok(words) => words,
        Err(why) => return io::Error::other(why),
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let arguments = std::env::args_os().skip(1);
    Command::new("unshare").args(words).arg(program).args(arguments).arg(flag).exec()
}

impl Namespaces {
    /// Makes the hub. To be called in namespaces of our own, see [`enter`].
    pub(in super::super) async fn new(
        small: Option<(usize, PathBuf)>,
        dice: Dice,
    ) -> io::Result<Self> {
        shell(HUB)?;
        let states: Arc<States> = Arc::default();
        let relay = Relay::start((HUB_ADDRESS, TUNNEL_PORT), Arc::clone(&states), dice).await?;
        Ok(Self(Arc::new(Inner { states, small, _relay: relay })))
    }

    pub(super) fn states(&self) -> &States {
        &self.0.states
    }

    /// Makes links as they should be.
    pub(super) async fn apply(&self, links: &[Link]) {
        let mut by_sender: BTreeMap<usize, String> = BTreeMap::new();
        for link in links {
            let lines = lines(*link, self.0.states.of(*link));
            by_sender.entry(link.0).or_default().push_str(&lines);
        }
        // A few milliseconds for each sender; not on a thread that others need.
        let done = tokio::task::spawn_blocking(move || {
            for (sender, lines) in by_sender {
                // A node that has gone has no links to change.
                let _gone = batch(Some(sender), &lines, true);
            }
        });
        // It ends with the runtime at the latest.
        let _ended = done.await;
    }
}

/// What to tell a sender's namespace about a link.
fn lines((from, to): Link, state: State) -> String {
    let (sender, receiver) = (address(from), address(to));
    let mut lines = String::new();
    // Writing to a string cannot fail.
    let _infallible = match (state.cut, state.slow) {
        (Some(Cut::Refused), _) => writeln!(lines, "route replace blackhole {receiver}/32"),
        (_, Some(_)) => writeln!(
            lines,
            "route replace {receiver}/32 dev slow src {sender}\n\
             neigh replace {receiver} lladdr {} dev slow nud permanent",
            hardware(0x78, to)
        ),
        (Some(Cut::Silent) | None, None) => writeln!(lines, "route del {receiver}/32"),
    };
    let door = match state.cut {
        Some(Cut::Silent) => NOBODY.to_owned(),
        Some(Cut::Refused) | None => hardware(0x77, to),
    };
    let _infallible =
        writeln!(lines, "neigh replace {receiver} lladdr {door} dev eth0 nud permanent");
    lines
}

impl Ground for Namespaces {
    fn settle(&mut self, id: usize, seat: usize) -> io::Result<Place> {
        let (at, mac, slow_mac) = (address(id), hardware(0x77, id), hardware(0x78, id));
        shell(&format!(
            "set -e; ip netns add n{id}; ip link add v{id} type veth peer name eth0 netns n{id}; \
             ip link set v{id} master hub up; nsenter --net=/run/netns/n{id} sh -c \
             'for f in all default; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done'"
        ))?;
        let lines = format!(
            "link set lo up\nlink set eth0 address {mac} up\naddr add {at}/16 dev eth0\n\
             link add slow type vxlan id 77 dstport {TUNNEL_PORT} local {at} remote {HUB_ADDRESS}\n\
             link set slow address {slow_mac} gso_max_segs 1 up\n"
        );
        batch(Some(id), &lines, false)?;
        let door = |port| SocketAddr::from((at, port));
        let small = self.0.small.as_ref().filter(|(of, _)| *of == seat);
        Ok(Place {
            http: door(HTTP_PORT),
            peer: door(PEER_PORT),
            advertised: None,
            edge: door(EDGE_PORT),
            data: small.map(|(_, disk)| disk.join(format!("n{id}"))),
        })
    }

    fn leave(&mut self, id: usize) {
        // Its processes have ended; what is left of it ends with ours.
        let _left = shell(&format!("ip netns del n{id}"));
    }

    fn command(&self, id: usize, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        // A node ends with the one who started it, also if that one is killed.
        command.args(["--pdeathsig", "KILL", "nsenter", &format!("--net=/run/netns/n{id}")]);
        command.arg(program);
        command
    }
}

/// A node's address.
fn address(id: usize) -> Ipv4Addr {
    let [_, _, _, _, _, _, _, high] = (id / PER_BYTE).to_be_bytes();
    let [_, _, _, _, _, _, _, low] = (id % PER_BYTE + 1).to_be_bytes();
    Ipv4Addr::new(10, 77, high, low)
}

/// The node with an address.
pub(super) fn node_at(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(address) = address else { return None };
    let [10, 77, high, low] = address.octets() else { return None };
    let place = usize::from(low).checked_sub(1)?;
    (address != HUB_ADDRESS).then_some(usize::from(high) * PER_BYTE + place)
}

/// A hardware address of a node, of this sort.
fn hardware(sort: u8, id: usize) -> String {
    let [.., high, low] = id.to_be_bytes();
    format!("02:{sort:02x}:00:01:{high:02x}:{low:02x}")
}

fn shell(script: &str) -> io::Result<()> {
    let done = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{script}: {}", String::from_utf8_lossy(&done.stderr).trim())))
}

/// Has `ip` do what these lines say in a node's namespace; with `force`, all that can be done.
fn batch(id: Option<usize>, lines: &str, force: bool) -> io::Result<()> {
    let mut command = Command::new("ip");
    if let Some(id) = id {
        command.args(["-netns", &format!("n{id}")]);
    }
    command.args(force.then_some("-force"));
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    if force || done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip: {}", String::from_utf8_lossy(&done.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::super::Slowness;
    use super::*;

    #[test]
    fn every_node_has_its_own_addresses_and_is_known_by_them() {
        for id in [1, 5, 199, 200, 201, 4_000] {
            assert_eq!(node_at(address(id).into()), Some(id));
        }
        assert_eq!(node_at(HUB_ADDRESS.into()), None);
        assert_eq!(node_at(Ipv4Addr::LOCALHOST.into()), None);
        assert_ne!(hardware(0x77, 1), hardware(0x78, 1));
        assert_ne!(hardware(0x77, 1), NOBODY);
    }

    #[test]
    fn a_link_says_what_it_should_be_whatever_it_was() {
        let slow = Slowness { delay_ms: 1.0, jitter_ms: 0.0, loss: 0.0, repeat: 0.0 };
        let of = |cut, slow| lines((1, 2), State { cut, slow });
        let healthy = of(None, None);
        assert_eq!(
            healthy,
            "route del 10.77.0.3/32\nneigh replace 10.77.0.3 lladdr 02:77:00:01:00:02 dev eth0 nud permanent\n"
        );
        assert!(
            of(Some(Cut::Refused), Some(slow))
                .starts_with("route replace blackhole 10.77.0.3/32\n")
        );
        assert!(of(Some(Cut::Silent), None).contains(NOBODY));
        let slowed = of(Some(Cut::Silent), Some(slow));
        assert!(
            slowed.starts_with("route replace 10.77.0.3/32 dev slow src 10.77.0.2\n"),
            "{slowed}"
        );
    }
}
