//! The simulated network: pipes between clients and the driver, and a clock that only the simulation moves.
//!
//! ```text
//!  SimClient                                        Sim (the driver)
//!   write ──► to_server, at most SERVER_WINDOW ──►  received
//!   read  ◄── to_client, at most `window`      ◄──  sent
//! ```
//!
//! A client lives in the test that drives it. It acts at once; what the driver sees of it, and when, is the seed's choice.

use super::super::End;
use nix::errno::Errno;
use slab::Slab;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

/// What a server that does not read lets a client send.
const SERVER_WINDOW: usize = 256 * 1024;
/// What a client that does not read lets a server send, unless it says otherwise.
const CLIENT_WINDOW: usize = 256 * 1024;

/// One connection's two directions. Kept until the driver has closed its side and the client has gone.
#[derive(Debug)]
pub(super) struct Pipe {
    pub listener: u8,
    pub accepted: bool,
    pub to_server: VecDeque<u8>,
    pub to_client: VecDeque<u8>,
    pub window: usize,
    pub client_fin: bool,
    /// Either side has cut the connection; what was under way is lost.
    pub reset: bool,
    pub server_closed: bool,
    pub client_gone: bool,
}

impl Pipe {
    fn new(listener: u8) -> Self {
        Self {
            listener,
            accepted: false,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            window: CLIENT_WINDOW,
            client_fin: false,
            reset: false,
            server_closed: false,
            client_gone: false,
        }
    }

    /// Bytes that the client's window has room for.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.to_client.len())
    }

    /// The server's close. With bytes that nobody read, it is a reset, as with TCP.
    pub fn close_server(&mut self) {
        self.server_closed = true;
        self.reset |= !self.to_server.is_empty();
        self.to_server.clear();
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub now: Duration,
    pub pipes: Slab<Pipe>,
    pub backlog: VecDeque<usize>,
    pub listeners: Vec<u8>,
    /// Descriptors that stand for the driver's end of a pipe until `Driver::adopt` takes them.
    pub sockets: Vec<(RawFd, usize)>,
}

impl State {
    /// Frees a pipe that both sides have left.
    pub fn collect(&mut self, pipe: usize) {
        if self.pipes.get(pipe).is_some_and(|pipe| pipe.client_gone && (pipe.server_closed || !pipe.accepted))
        {
            self.backlog.retain(|&waiting| waiting != pipe);
            self.pipes.remove(pipe);
        }
    }
}

/// The network that a [`super::Sim`] is attached to. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct SimNet {
    pub(super) state: Rc<RefCell<State>>,
}

impl SimNet {
    /// A descriptor to give to `Driver::listen`; it stands for a listening socket and is never read.
    pub fn listening_socket(&self) -> io::Result<OwnedFd> {
        Ok(std::fs::File::open("/dev/null")?.into())
    }

    /// Connects to a listener by its number. `ConnectionRefused` when nobody listens there.
    pub fn connect(&self, listener: u8) -> io::Result<SimClient> {
        let mut state = self.state.borrow_mut();
        if !state.listeners.contains(&listener) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let pipe = state.pipes.insert(Pipe::new(listener));
        state.backlog.push_back(pipe);
        Ok(SimClient { net: self.clone(), pipe })
    }

    /// A connected pair: a descriptor to give to `Driver::adopt`, and the peer.
    pub fn pair(&self) -> io::Result<(OwnedFd, SimClient)> {
        let socket = self.listening_socket()?;
        let mut state = self.state.borrow_mut();
        let pipe = state.pipes.insert(Pipe::new(0));
        state.sockets.push((socket.as_raw_fd(), pipe));
        Ok((socket, SimClient { net: self.clone(), pipe }))
    }

    /// Virtual time since the network was made.
    pub fn now(&self) -> Duration {
        self.state.borrow().now
    }

    /// Lets virtual time pass.
    pub fn advance(&self, by: Duration) {
        self.state.borrow_mut().now += by;
    }
}

/// A client's end of a connection. Dropping it closes it.
#[derive(Debug)]
pub struct SimClient {
    net: SimNet,
    pipe: usize,
}

impl SimClient {
    /// Sends; returns how many bytes the server's window took (0: try later). `BrokenPipe` when it has closed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|pipe| {
            if pipe.reset || pipe.server_closed || pipe.client_fin {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let taken = bytes.len().min(SERVER_WINDOW - pipe.to_server.len());
            pipe.to_server.extend(&bytes[..taken]);
            Ok(taken)
        })
    }

    /// Takes up to `max` bytes that have arrived; empty when there are none.
    pub fn read(&mut self, max: usize) -> Vec<u8> {
        self.with(|pipe| pipe.to_client.drain(..max.min(pipe.to_client.len())).collect())
    }

    /// Why no more bytes will come, once all have been read.
    pub fn end(&mut self) -> Option<End> {
        self.with(|pipe| match (pipe.to_client.is_empty(), pipe.reset, pipe.server_closed) {
            (true, true, _) => Some(End::Error(Errno::ECONNRESET as i32)),
            (true, false, true) => Some(End::Eof),
            _ => None,
        })
    }

    /// Bounds what may lie unread at this client: a slow reader.
    pub fn set_window(&mut self, bytes: usize) {
        self.with(|pipe| pipe.window = bytes);
    }

    /// Ends the sending side; what was written still arrives.
    pub fn half_close(&mut self) {
        self.with(|pipe| pipe.client_fin = true);
    }

    /// Cuts the connection: what is under way in either direction is lost.
    pub fn reset(self) {
        self.with(|pipe| {
            pipe.reset = true;
            pipe.to_server.clear();
            pipe.to_client.clear();
        });
    }

    fn with<R>(&self, act: impl FnOnce(&mut Pipe) -> R) -> R {
        // A pipe is removed only when its client has been dropped.
        act(&mut self.net.state.borrow_mut().pipes[self.pipe])
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        self.with(|pipe| {
            pipe.client_fin = true;
            pipe.client_gone = true;
            // Closing with unread bytes resets, as with TCP.
            pipe.reset |= !pipe.to_client.is_empty();
        });
        self.net.state.borrow_mut().collect(self.pipe);
    }
}
