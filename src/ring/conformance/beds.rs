//! What a case runs on: a driver and clients for it. Real sockets on loopback for two drivers, a simulated network, in
//! many seeds, for the third.

use crate::ring::epoll::Epoll;
use crate::ring::sim::{Faults, Sim, SimClient, SimNet};
use crate::ring::uring::Uring;
use crate::ring::{Driver, DriverOptions, End};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// A client that never blocks, so that one thread can play both sides.
pub trait Client {
    fn write(&mut self, bytes: &[u8]) -> usize;
    fn read(&mut self, max: usize) -> Vec<u8>;
    /// Why no more bytes come, once all have been read.
    fn end(&mut self) -> Option<End>;
    fn half_close(&mut self);
    fn reset(self);
    /// Takes little at a time: the server's sends must meet a full socket.
    fn read_slowly(&mut self);
}

/// A driver under test, listening, and a way to connect to it.
pub trait Bed {
    type Driver: Driver;
    type Client: Client;
    /// Whether bytes travel through a kernel: then time is real and thousands of rounds cost something.
    const REAL: bool;
    fn parts(&mut self) -> &mut Self::Driver;
    fn connect(&mut self) -> Self::Client;
    /// A connected socket for `Driver::adopt`, and its peer.
    fn pair(&mut self) -> (OwnedFd, Self::Client);
    /// Runs a case on every variant of this bed.
    fn each(options: DriverOptions, case: impl Fn(Self))
    where
        Self: Sized;
}

pub struct UringBed(pub Uring, pub SocketAddr);
pub struct EpollBed(pub Epoll, pub SocketAddr);
pub struct SimBed(pub Sim, pub SimNet);

pub const LISTENER: u8 = 3;

/// A listening socket as the server makes them.
fn listen(driver: &mut impl Driver) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    driver.listen(listener.into(), LISTENER).unwrap();
    address
}

/// An io_uring driver, or `None` where it is refused: loudly, and as a failure where io_uring is required.
pub fn uring(options: &DriverOptions) -> Option<Uring> {
    match Uring::new(options) {
        Ok(uring) => Some(uring),
        Err(error) => {
            let required = std::env::var_os("KV_REQUIRE_IO_URING").is_some_and(|value| value == "1");
            assert!(!required, "KV_REQUIRE_IO_URING=1, but: {error}");
            eprintln!("SKIPPED, no io_uring here: {error}");
            None
        }
    }
}

impl Bed for UringBed {
    type Driver = Uring;
    type Client = TcpClient;
    const REAL: bool = true;

    fn parts(&mut self) -> &mut Uring {
        &mut self.0
    }

    fn connect(&mut self) -> TcpClient {
        TcpClient::connect(self.1)
    }

    fn pair(&mut self) -> (OwnedFd, TcpClient) {
        TcpClient::pair()
    }

    fn each(options: DriverOptions, case: impl Fn(Self)) {
        if let Some(mut driver) = uring(&options) {
            let address = listen(&mut driver);
            case(Self(driver, address));
        }
    }
}

impl Bed for EpollBed {
    type Driver = Epoll;
    type Client = TcpClient;
    const REAL: bool = true;

    fn parts(&mut self) -> &mut Epoll {
        &mut self.0
    }

    fn connect(&mut self) -> TcpClient {
        TcpClient::connect(self.1)
    }

    fn pair(&mut self) -> (OwnedFd, TcpClient) {
        TcpClient::pair()
    }

    fn each(options: DriverOptions, case: impl Fn(Self)) {
        let mut driver = Epoll::new(&options).unwrap();
        let address = listen(&mut driver);
        case(Self(driver, address));
    }
}

impl Bed for SimBed {
    type Driver = Sim;
    type Client = SimClient;
    const REAL: bool = false;

    fn parts(&mut self) -> &mut Sim {
        &mut self.0
    }

    fn connect(&mut self) -> SimClient {
        self.1.connect(LISTENER).unwrap()
    }

    fn pair(&mut self) -> (OwnedFd, SimClient) {
        self.1.pair().unwrap()
    }

    fn each(options: DriverOptions, case: impl Fn(Self)) {
        for seed in 0..12 {
            let faults = if seed == 0 { Faults::NONE } else { Faults::ROUGH };
            let (mut sim, net) = Sim::new(&options, faults, seed);
            sim.listen(net.listening_socket().unwrap(), LISTENER).unwrap();
            let announce = Announce(seed);
            case(Self(sim, net));
            drop(announce);
        }
    }
}

/// Names the seed of a case that fails.
pub struct Announce(pub u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

pub struct TcpClient {
    stream: TcpStream,
    end: Option<End>,
}

impl TcpClient {
    /// A socket that has connected to this client.
    pub fn pair() -> (OwnedFd, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Self::connect(listener.local_addr().unwrap());
        (listener.accept().unwrap().0.into(), client)
    }

    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, end: None }
    }

    pub fn client_port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    pub fn server_port(&self) -> u16 {
        self.stream.peer_addr().unwrap().port()
    }

    /// What has arrived, left where it is.
    pub fn peek(&self, max: usize) -> Vec<u8> {
        let mut bytes = vec![0; max];
        let count = self.stream.peek(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}

impl Client for TcpClient {
    fn write(&mut self, bytes: &[u8]) -> usize {
        match self.stream.write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("write: {error}"),
        }
    }

    fn read(&mut self, max: usize) -> Vec<u8> {
        let mut bytes = vec![0; max];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.end = Some(End::Eof),
            Ok(count) => return bytes[..count].to_vec(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.end = Some(End::Error(error.raw_os_error().unwrap())),
        }
        Vec::new()
    }

    fn end(&mut self) -> Option<End> {
        if self.end.is_none() {
            let mut byte = [0];
            match self.stream.peek(&mut byte) {
                Ok(0) => self.end = Some(End::Eof),
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    self.end = Some(End::Error(error.raw_os_error().unwrap()));
                }
                _ => {}
            }
        }
        self.end
    }

    fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(self) {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&self.stream, sockopt::Linger, &linger).unwrap();
    }

    fn read_slowly(&mut self) {
        setsockopt(&self.stream, sockopt::RcvBuf, &16_384).unwrap();
    }
}

impl Client for SimClient {
    fn write(&mut self, bytes: &[u8]) -> usize {
        SimClient::write(self, bytes).unwrap()
    }

    fn read(&mut self, max: usize) -> Vec<u8> {
        SimClient::read(self, max)
    }

    fn end(&mut self) -> Option<End> {
        SimClient::end(self)
    }

    fn half_close(&mut self) {
        SimClient::half_close(self);
    }

    fn reset(self) {
        SimClient::reset(self);
    }

    fn read_slowly(&mut self) {
        self.set_window(16_384);
    }
}
