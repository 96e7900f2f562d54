//! A lean server on a thread of its own: started, watched, stopped.

use super::choices::{Choices, Engine};
use super::epoll::LeanEpoll;
use super::error::Error;
use super::uring::Lean;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, gettid};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0: any free one.
    pub address: SocketAddr,
    /// Bytes of the value that every GET gets.
    pub value_size: usize,
    pub choices: Choices,
    /// The CPU that the thread is tied to.
    pub cpu: Option<usize>,
}

/// A running server. Dropping it stops it too.
pub struct Server {
    address: SocketAddr,
    thread: Option<JoinHandle<Result<(), Error>>>,
    tid: Pid,
    wake: Arc<OwnedFd>,
    calls: Arc<AtomicU64>,
}

impl Server {
    /// Listens, starts the thread, and returns when it serves.
    pub fn start(options: &Options) -> Result<Server, Error> {
        options.choices.check().map_err(Error::Choice)?;
        let listener = bind(options.address)?;
        let address = listener.local_addr().map_err(|e| Error::io("ask for the port", e))?;
        let wake =
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(|e| Error::io("make an eventfd", e.into()))?;
        let wake = Arc::new(OwnedFd::from(wake));
        let calls = Arc::new(AtomicU64::new(0));
        let (started, starting) = mpsc::channel();
        let thread = {
            let (options, wake, calls) = (options.clone(), Arc::clone(&wake), Arc::clone(&calls));
            let run = move || serve(&options, listener, wake, calls, &started);
            let thread = std::thread::Builder::new().name("lean".into()).spawn(run);
            thread.map_err(|e| Error::io("start a thread", e))?
        };
        match starting.recv() {
            Ok(tid) => Ok(Server { address, thread: Some(thread), tid, wake, calls }),
            Err(_) => Err(join(thread).expect_err("a thread that did not start serving says why")),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its thread's number, for tools such as chrt.
    pub fn tid(&self) -> i32 {
        self.tid.as_raw()
    }

    /// CPU time of the server's thread so far, to the nanosecond.
    pub fn cpu(&self) -> io::Result<Duration> {
        // The kernel's name of a thread's CPU clock: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED below the inverted thread id.
        let clock = ClockId::from_raw((!self.tid.as_raw() << 3) | 0b110);
        Ok(clock_gettime(clock)?.into())
    }

    /// System calls that its loop has made so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits until it ends, which without `stop` only an error causes.
    pub fn wait(mut self) -> Result<(), Error> {
        self.thread.take().map_or(Ok(()), join)
    }

    /// Ends it and waits for that.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        nix::unistd::write(&*self.wake, &1u64.to_ne_bytes())
            .map_err(|e| Error::io("wake the server", e.into()))?;
        join(thread)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to hear of an error.
        let _ = self.end();
    }
}

fn join(thread: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    // What it panicked with is on stderr already.
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::io("serve", io::Error::other("the server's thread has panicked"))))
}

/// The thread's life. `started` is dropped unused if it cannot serve.
fn serve(
    options: &Options,
    listener: TcpListener,
    wake: Arc<OwnedFd>,
    calls: Arc<AtomicU64>,
    started: &mpsc::Sender<Pid>,
) -> Result<(), Error> {
    if let Some(cpu) = options.cpu {
        pin(cpu).map_err(|e| Error::io(format!("tie the server to CPU {cpu}"), e))?;
    }
    let (size, choices) = (options.value_size, &options.choices);
    match choices.engine {
        Engine::Uring => {
            let lean = Lean::new(listener, size, choices, wake, calls)?;
            // Nobody listens when `start` was interrupted, and then nobody minds.
            let _ = started.send(gettid());
            lean.run()
        }
        Engine::Epoll => {
            let lean = LeanEpoll::new(listener, size, choices.spin_us, wake, calls)?;
            let _ = started.send(gettid());
            lean.run()
        }
    }
}

/// Listens; what it accepts inherits TCP_NODELAY.
fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
        // The library's backlog is 128: a thousand connections at once would wait for repeated SYNs.
        listen(&listener, Backlog::MAXALLOWABLE)?;
        Ok(listener)
    };
    bind().map_err(|error| {
        Error::io(format!("listen on {address} (is the port taken? choose another with --port)"), error)
    })
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
