//! The middle of slow links. The nodes' tunnels lead here: each packet that one node sends another
//! arrives wrapped in a datagram, waits, and goes on to whom it is for, or does not, or twice. TCP
//! and gossip run inside and see a bad network.

use super::namespaces::{TUNNEL_PORT, node_at};
use super::{Link, State, States};
use crate::dice::Dice;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Packets that wait here at once; more are lost, as in any router.
const WAITING_MAX: usize = 4_096;
/// What a datagram begins with: eight bytes of the tunnel's, fourteen of Ethernet's with the kind at
/// their end; then comes IP's head, with both addresses at its end.
const KIND_AT: usize = 8 + 12;
const IPV4: [u8; 2] = [8, 0];
const IP_AT: usize = 8 + 14;
const RECEIVER_AT: usize = IP_AT + 16;
/// The numbers of TCP and UDP, and where their checksums stand in their heads.
const TCP: (u8, usize) = (6, 16);
const UDP: (u8, usize) = (17, 6);

/// Passes packets on until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    _task: JoinSet<()>,
}

impl Relay {
    /// Listens where the tunnels lead.
    pub(super) async fn start(
        at: (Ipv4Addr, u16),
        states: Arc<States>,
        dice: Dice,
    ) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(at).await?);
        let mut task = JoinSet::new();
        task.spawn(pass_on(socket, states, dice));
        Ok(Self { _task: task })
    }
}

async fn pass_on(socket: Arc<UdpSocket>, states: Arc<States>, mut dice: Dice) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    let room = Arc::new(Semaphore::new(WAITING_MAX));
    loop {
        // An error belongs to some earlier datagram, whose receiver has gone.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let packet = &mut buffer[..length];
        let Some((link, receiver)) = link_of(packet, from.ip()) else { continue };
        finish(packet);
        let packet = &*packet;
        for wait in fate(states.of(link), &mut dice) {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (socket, packet) = (Arc::clone(&socket), packet.to_vec());
            let to = SocketAddr::new(receiver, TUNNEL_PORT);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                // Lost, if it can't be sent; that is what this link is for.
                let _lost = socket.send_to(&packet, to).await;
                drop(place);
            });
        }
    }
}

/// Which link a packet is on, and where it goes.
fn link_of(packet: &[u8], from: IpAddr) -> Option<(Link, IpAddr)> {
    if packet.get(KIND_AT..KIND_AT + 2)? != IPV4 {
        return None;
    }
    let receiver: [u8; 4] = packet.get(RECEIVER_AT..RECEIVER_AT + 4)?.try_into().ok()?;
    let receiver = IpAddr::from(receiver);
    Some(((node_at(from)?, node_at(receiver)?), receiver))
}

/// Computes a packet's checksum. Its sender left that to a network card, and there is none on the way.
fn finish(packet: &mut [u8]) -> Option<()> {
    let ip = packet.get_mut(IP_AT..)?;
    let head = usize::from(ip.first()? & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let kind = *ip.get(9)?;
    let (_, at) = [TCP, UDP].into_iter().find(|(number, _)| *number == kind)?;
    let addresses: [u8; 8] = ip.get(12..20)?.try_into().ok()?;
    let body = ip.get_mut(head..length)?;
    let whole = u16::try_from(body.len()).ok()?.to_be_bytes();
    body.get_mut(at..at + 2)?.fill(0);
    let sum = checksum(&[&addresses, &[0, kind], &whole, &*body]);
    body.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// The internet's checksum (RFC 1071) of these parts, all but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let pair = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = parts.iter().flat_map(|part| part.chunks(2)).map(pair).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// How long each copy of a packet waits; none if it is lost.
pub(super) fn fate(State { cut, slow }: State, dice: &mut Dice) -> Vec<Duration> {
    if cut.is_some() {
        return Vec::new();
    }
    // A packet that was under way when its link became fast again just goes on.
    let Some(slow) = slow else { return vec![Duration::ZERO] };
    let copies = match dice.between(0.0, 1.0) {
        lost if lost < slow.loss => 0,
        twice if twice < slow.loss + slow.repeat => 2,
        _once => 1,
    };
    let mut wait = || slow.delay_ms + dice.between(0.0, slow.jitter_ms);
    (0..copies).map(|_| Duration::from_secs_f64(wait() / 1000.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Cut, Slowness};
    use super::*;

    #[test]
    fn a_packet_names_its_link() {
        let mut packet = vec![0; RECEIVER_AT + 4];
        packet[KIND_AT..KIND_AT + 2].copy_from_slice(&IPV4);
        packet[RECEIVER_AT..].copy_from_slice(&[10, 77, 0, 4]);
        let from = IpAddr::from([10, 77, 0, 2]);
        assert_eq!(link_of(&packet, from), Some(((1, 3), IpAddr::from([10, 77, 0, 4]))));
        assert_eq!(link_of(&packet[..20], from), None);
        packet[KIND_AT] = 0x86;
        assert_eq!(link_of(&packet, from), None, "not IPv4");
    }

    #[test]
    fn a_packet_leaves_with_the_checksum_that_its_sender_left_out() {
        let mut packet = vec![0; IP_AT];
        // A head of IP and one of UDP with four bytes, from 10.77.0.2 to 10.77.0.4.
        packet.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 2, 10, 77, 0, 4]);
        packet.extend([0x1b, 0xbd, 0x1b, 0xbd, 0, 12, 0xaa, 0xaa, 1, 2, 3, 4]);
        finish(&mut packet).unwrap();
        let datagram = &packet[IP_AT + 20..];
        assert_ne!(datagram[6..8], [0xaa, 0xaa]);
        // Whoever sums it all up gets all ones, so nothing is left.
        let addresses = &packet[IP_AT + 12..IP_AT + 20];
        assert_eq!(checksum(&[addresses, &[0, 17], &[0, 12], datagram]), 0);
        assert_eq!(finish(&mut packet[..IP_AT + 8]), None, "cut short");
    }

    #[test]
    fn packets_are_late_lost_and_repeated_as_told() {
        let slow = Slowness { delay_ms: 20.0, jitter_ms: 10.0, loss: 0.1, repeat: 0.1 };
        let state = State { cut: None, slow: Some(slow) };
        let mut dice = Dice::of(1, "relay");
        let fates: Vec<_> = (0..1_000).map(|_| fate(state, &mut dice)).collect();
        let with = |copies| fates.iter().filter(|fate| fate.len() == copies).count();
        assert!((50..150).contains(&with(0)) && (50..150).contains(&with(2)), "{}", with(0));
        let waits = || fates.iter().flatten().map(Duration::as_millis);
        assert!(waits().all(|ms| (20..=30).contains(&ms)));
        let cut = State { cut: Some(Cut::Silent), slow: Some(slow) };
        assert!(fate(cut, &mut dice).is_empty());
    }
}
