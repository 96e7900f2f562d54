//! Which queueing disciplines a network interface has, asked of the kernel by rtnetlink, as `tc qdisc show` does.
//!
//! ```text
//!   request   nlmsghdr (16: length, type, flags, sequence, pid)  tcmsg (20: family … interface, handle, parent, info)
//!   answer    many of:  nlmsghdr  tcmsg  attributes (4: length, type; then the value, padded to 4), one of them the kind
//!             the last: nlmsghdr of type DONE
//! ```
//!
//! Sources: netlink(7), rtnetlink(7), linux/pkt_sched.h.

use nix::libc;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::AsRawFd;

/// One queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Such as "fq", "mq", "pfifo_fast".
    pub kind: String,
    /// The root of its interface; others stand below one, as one for each queue below "mq".
    pub is_root: bool,
}

const HEADER: usize = 16;
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
/// `TC_H_ROOT`.
const ROOT: u32 = 0xFFFF_FFFF;
/// `TC_H_INGRESS`, whose discipline is not for what leaves.
const INGRESS: u32 = 0xFFFF_FFF1;

/// The disciplines of an interface, by its index, for what leaves by it.
pub fn of_interface(index: u32) -> io::Result<Vec<Qdisc>> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    // The kernel answers at once or not at all.
    socket::setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(500))?;
    socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    socket::send(socket.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut found = Vec::new();
    let mut answer = vec![0; 64 << 10];
    loop {
        let len = socket::recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        if parse(&answer[..len], index, &mut found)? {
            return Ok(found);
        }
    }
}

/// RTM_GETQDISC for all interfaces: kernels before 5.x ignore a choice of one.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + TCMSG);
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    bytes.extend((u32::try_from(HEADER + TCMSG).unwrap_or_default()).to_ne_bytes());
    bytes.extend(libc::RTM_GETQDISC.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes()); // Both flags are below 1 << 10.
    bytes.resize(HEADER + TCMSG, 0);
    bytes
}

/// Takes what is about the interface out of one datagram; true if it was the last.
fn parse(mut bytes: &[u8], index: u32, found: &mut Vec<Qdisc>) -> io::Result<bool> {
    while bytes.len() >= HEADER {
        let len = u32_at(bytes, 0) as usize;
        if len < HEADER || len > bytes.len() {
            return Err(io::Error::other("a netlink message is cut short"));
        }
        let message = &bytes[..len];
        match i32::from(u16_at(message, 4)) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR if len >= HEADER + 4 => {
                return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(word(message, HEADER))));
            }
            _ if len >= HEADER + TCMSG && u32_at(message, HEADER + 4) == index => {
                let parent = u32_at(message, HEADER + 12);
                if let Some(kind) = kind(&message[HEADER + TCMSG..]).filter(|_| parent != INGRESS) {
                    found.push(Qdisc { kind, is_root: parent == ROOT });
                }
            }
            _ => {}
        }
        bytes = bytes.get(aligned(len)..).unwrap_or_default();
    }
    Ok(false)
}

fn kind(mut attributes: &[u8]) -> Option<String> {
    while attributes.len() >= 4 {
        let len = usize::from(u16_at(attributes, 0));
        let value = attributes.get(4..len)?;
        if u16_at(attributes, 2) == TCA_KIND {
            let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
            return Some(String::from_utf8_lossy(&value[..end]).into_owned());
        }
        attributes = attributes.get(aligned(len)..)?;
    }
    None
}

fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn word(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(word(bytes, at))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as the kernel writes it.
    fn message(index: u32, parent: u32, kind: &str) -> Vec<u8> {
        let mut body = vec![0; TCMSG];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[12..16].copy_from_slice(&parent.to_ne_bytes());
        // An attribute that is not the kind goes before it.
        for (number, value) in [(9_u16, b"ab".to_vec()), (TCA_KIND, [kind.as_bytes(), &[0]].concat())] {
            body.extend((value.len() as u16 + 4).to_ne_bytes());
            body.extend(number.to_ne_bytes());
            body.extend(&value);
            body.resize(aligned(body.len()), 0);
        }
        let mut bytes = (HEADER as u32 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(libc::RTM_NEWQDISC.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    fn done() -> Vec<u8> {
        let mut bytes = 16_u32.to_ne_bytes().to_vec();
        bytes.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes
    }

    #[test]
    fn only_what_leaves_by_the_interface_counts() {
        let answer = [
            message(1, ROOT, "noqueue"),
            message(2, ROOT, "mq"),
            message(2, 0x0001_0001, "fq"),
            message(2, INGRESS, "clsact"),
            done(),
        ]
        .concat();
        let mut found = Vec::new();
        assert!(parse(&answer, 2, &mut found).unwrap());
        let qdisc = |kind: &str, is_root| Qdisc { kind: kind.into(), is_root };
        assert_eq!(found, [qdisc("mq", true), qdisc("fq", false)]);
        assert!(!parse(&message(2, ROOT, "fq"), 2, &mut found).unwrap(), "more is to come");
    }

    #[test]
    fn cut_at_any_byte_it_is_refused_or_unfinished() {
        let answer = [message(2, ROOT, "fq"), done()].concat();
        for len in 0..answer.len() {
            let mut found = Vec::new();
            assert!(!parse(&answer[..len], 2, &mut found).unwrap_or(false), "{len}");
        }
    }

    #[test]
    fn this_kernel_answers() {
        // The loopback is the first interface of every network namespace.
        match of_interface(1) {
            Ok(found) => assert!(found.iter().all(|qdisc| !qdisc.kind.is_empty())),
            Err(error) => eprintln!("SKIPPED: no rtnetlink here: {error}"),
        }
    }
}
