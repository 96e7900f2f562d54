//! Which sockets the server listens on: those that a service manager passed, by their names, and for the rest its own.
//!
//! A name says what a socket is for, so a later use of passed descriptors is one more name here.

use super::start::RunError;
use crate::config::Config;
use crate::limits;
use crate::proto::{Protocol, Spoken};
use crate::sys::inherited::{self, Inherited};
use crate::sys::listener::{self, Listeners};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// What an inherited socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Clients(Spoken),
    Admin,
}

/// `FileDescriptorName=` in a socket unit.
const NAMES: [(&str, Purpose); 7] = [
    ("kv", Purpose::Clients(Spoken::All)),
    ("kv-admin", Purpose::Admin),
    ("resp", Purpose::Clients(Spoken::Only(Protocol::Resp))),
    ("memcached", Purpose::Clients(Spoken::Memcached)),
    ("http", Purpose::Clients(Spoken::Only(Protocol::Http))),
    ("json", Purpose::Clients(Spoken::Only(Protocol::JsonLines))),
    ("protobuf", Purpose::Clients(Spoken::Only(Protocol::Protobuf))),
];

/// What a socket is called whose unit does not say: by the unit's name.
const UNIT: &str = "kv-cache.socket";

fn purpose(name: &str) -> Result<Purpose, RunError> {
    if name == UNIT {
        return Ok(Purpose::Clients(Spoken::All));
    }
    let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, purpose)| *purpose);
    found.ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        RunError::Inherited(format!(
            "the inherited socket \"{name}\" has no name that says what it is for.\n  \
             Set FileDescriptorName= in its socket unit (systemd-socket-activate: --fdname) to one of {}.",
            names.join(", ")
        ))
    })
}

/// All that is listened on.
#[derive(Debug)]
pub struct Ports {
    pub clients: Listeners,
    /// What is spoken on each of the clients' addresses.
    pub spoken: Vec<Spoken>,
    pub admin: TcpListener,
    pub admin_inherited: bool,
    /// What was asked for and has given way to an inherited socket.
    pub notes: Vec<String>,
}

impl Ports {
    /// Opens them all. An inherited socket takes the place of the port of its kind.
    pub fn open(config: &Config, inherited: Vec<Inherited>) -> Result<Ports, RunError> {
        let mut passed = Vec::new();
        for socket in inherited {
            passed.push((purpose(&socket.name)?, socket));
        }
        let mut notes = Vec::new();
        let mut clients = Listeners::default();
        let mut spoken = Vec::new();
        for (kind, flag, port) in wanted(config) {
            let sockets = take(&mut passed, Purpose::Clients(kind));
            let more = match (sockets.is_empty(), port) {
                (true, Some(port)) => Listeners::bind(&config.listen_options(port, flag, bind_retry()))?,
                (true, None) => continue,
                (false, port) => {
                    let (backlog, keepalive_s) = (config.tcp_backlog, config.tcp_keepalive_s);
                    let more = Listeners::inherit(sockets, config.threads, backlog, keepalive_s)?;
                    notes.extend(port.and_then(|port| gives_way(flag, port, &more.addresses)));
                    more
                }
            };
            clients.extend(more);
            spoken.resize(clients.addresses.len(), kind);
        }
        let mut admins = take(&mut passed, Purpose::Admin).into_iter();
        let admin_address = SocketAddr::new(config.admin_bind, config.admin_port);
        let (admin, admin_inherited) = match (admins.next(), admins.next()) {
            (None, _) => (listener::bind_one(admin_address, bind_retry())?, false),
            (Some(socket), None) => {
                notes.extend(gives_way("--admin-port", config.admin_port, &[socket.address]));
                (socket.into(), true)
            }
            (Some(first), Some(second)) => {
                return Err(RunError::Inherited(format!(
                    "two inherited sockets, on {} and {}, are for the admin pages.\n  They have one address: \
                     leave one ListenStream= in the socket unit with FileDescriptorName=kv-admin.",
                    first.address, second.address
                )));
            }
        };
        Ok(Ports { clients, spoken, admin, admin_inherited, notes })
    }
}

/// Descriptors that inherited sockets take at most, beside those of the server's own: one for each, and one for each worker that shares.
pub fn descriptors_for(inherited: &[Inherited], threads: usize) -> usize {
    let mut addresses: Vec<SocketAddr> = inherited.iter().map(|socket| socket.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    inherited.len() + addresses.len() * threads
}

/// The kinds of ports in the order in which they are numbered, each with its flag and, where it is asked for, its number.
fn wanted(config: &Config) -> Vec<(Spoken, &'static str, Option<u16>)> {
    let mut wanted = vec![(Spoken::All, "--port", Some(config.port))];
    wanted.extend(config.own_ports.iter().map(|own| (own.spoken, own.flag, Some(own.port))));
    for (_, purpose) in NAMES {
        if let Purpose::Clients(kind) = purpose
            && wanted.iter().all(|(known, ..)| *known != kind)
        {
            wanted.push((kind, "", None));
        }
    }
    wanted
}

fn take(passed: &mut Vec<(Purpose, Inherited)>, purpose: Purpose) -> Vec<Inherited> {
    let (taken, rest) = std::mem::take(passed).into_iter().partition(|(other, _)| *other == purpose);
    *passed = rest;
    let taken: Vec<(Purpose, Inherited)> = taken;
    taken.into_iter().map(|(_, socket)| socket).collect()
}

fn gives_way(flag: &str, port: u16, addresses: &[SocketAddr]) -> Option<String> {
    let other = addresses.iter().find(|address| address.port() != port)?;
    (port != 0).then(|| {
        format!("{flag} {port} is not used: a socket was inherited in its place, which listens on {other}.")
    })
}

fn bind_retry() -> Duration {
    Duration::from_millis(limits::BIND_RETRY_MS)
}

/// What was passed to this process by its service manager.
pub fn inherited() -> Result<Vec<Inherited>, RunError> {
    Ok(inherited::take()?)
}
