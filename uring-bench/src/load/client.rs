//! One thread's part of a session: its driver, its connections, and the loop that keeps them busy. One turn, in this order:
//!
//! 1. Submit the sends and wait: one system call. Read the clock, once.
//! 2. Count the replies of each connection that received, where the kernel put them.
//! 3. Give the receive buffers back; encode what is to be sent next.

use super::answers::{Answers, Seen};
use super::board::Board;
use super::inbox::{Garbage, Inbox};
use super::pace::Pace;
use super::requests::Requests;
use super::{Error, Spec, new_histogram};
use crate::proto::{Reply, Wire};
use crate::workload::{Op, Picker, scattered};
use hdrhistogram::Histogram;
use kv_server::ring::{ConnId, Driver, End, Event, Outgoing, RecvRef};
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of output after which a turn takes on no more connections, and a connection no more requests.
const ARENA_BYTES: usize = 64 << 20;
/// The longest wait: what bounds how late the loop notices anything but a completion.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How often latencies are moved to the board, in nanoseconds.
const FOLD_EVERY: u64 = 100_000_000;
/// How often lost connections are tried again, in nanoseconds, and how long such a try may take.
const RETRY_EVERY: u64 = 100_000_000;
const RETRY_PATIENCE: Duration = Duration::from_millis(250);

/// Makes a connection, within this time.
pub type Connector = Box<dyn FnMut(Duration) -> Result<OwnedFd, Error>>;

/// What a slice asks for.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Requests as the spec says.
    Mix,
    /// One write of each key from this index on, in scattered order, as many as the budget.
    Fill { from: u64 },
}

/// One thread's orders for a slice.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub work: Work,
    /// Times of this job count from here.
    pub start: Instant,
    pub length: Option<Duration>,
    /// Requests to issue at most.
    pub budget: u64,
    /// Requests in flight per connection.
    pub pipeline: usize,
    pub pace: Option<Pace>,
}

/// What a slice came to.
#[derive(Debug)]
pub struct Report {
    pub answers: Answers,
    /// Until the last answer, and at least as long as was asked for.
    pub elapsed: Duration,
    pub cpu: Duration,
}

struct Conn<R> {
    id: ConnId,
    in_flight: usize,
    /// When its batch was sent (closed loop).
    sent_at: u64,
    /// A part of the last send is still with the driver.
    sending: bool,
    inbox: Inbox<R>,
    /// Open loop or verifying: what each reply answers, and when it was due.
    asked: VecDeque<(Op, u64)>,
}

/// A thread's state, kept from slice to slice.
pub struct Client<D: Driver, W: Wire> {
    driver: D,
    requests: Requests<W>,
    picker: Picker,
    spec: Arc<Spec>,
    connector: Connector,
    board: Arc<Board>,
    /// By the driver's slots.
    conns: Vec<Option<Conn<W::Resume>>>,
    /// Slots of connections that may send their next batch (closed loop).
    ready: Vec<u32>,
    /// Where the open loop goes on.
    cursor: usize,
    /// Connections to be made again, and when to try.
    lost: usize,
    retry_at: u64,
    out: Outgoing,
    events: Vec<Event>,
    latencies: Histogram<u64>,
    answers: Answers,
    in_flight: usize,
    issued: u64,
    /// Nanoseconds since the job began, as of this turn; when something was last answered or lost.
    now: u64,
    answered_at: u64,
    folded_at: u64,
}

impl<D: Driver, W: Wire> Client<D, W> {
    /// Makes `connections` connections.
    pub fn connect(
        driver: D,
        requests: Requests<W>,
        picker: Picker,
        spec: Arc<Spec>,
        connector: Connector,
        board: Arc<Board>,
        connections: usize,
    ) -> Result<Self, Error> {
        let mut client = Self {
            driver,
            requests,
            picker,
            spec,
            connector,
            board,
            conns: Vec::new(),
            ready: Vec::new(),
            cursor: 0,
            lost: 0,
            retry_at: 0,
            out: Outgoing::default(),
            events: Vec::new(),
            latencies: new_histogram(),
            answers: Answers::default(),
            in_flight: 0,
            issued: 0,
            now: 0,
            answered_at: 0,
            folded_at: 0,
        };
        for _ in 0..connections {
            client.add_connection(client.spec.patience)?;
        }
        Ok(client)
    }

    fn add_connection(&mut self, patience: Duration) -> Result<(), Error> {
        let id = self.driver.adopt((self.connector)(patience)?)?;
        self.driver.start_recv(id);
        let slot = id.slot as usize;
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        self.conns[slot] = Some(Conn {
            id,
            in_flight: 0,
            sent_at: 0,
            sending: false,
            inbox: Inbox::default(),
            asked: VecDeque::new(),
        });
        self.ready.push(id.slot);
        Ok(())
    }

    /// Plays one slice, and waits for all its replies.
    pub fn play(&mut self, mut job: Job) -> Result<Report, Error> {
        let cpu = thread_cpu()?;
        self.begin(&job);
        loop {
            let more = self.wants_more(&job);
            if more {
                self.retry_lost()?;
                self.issue(&mut job);
            }
            if !more && self.in_flight == 0 && self.out.sends.is_empty() {
                break;
            }
            self.be_patient()?;
            self.turn(&job, self.timeout(&job, more))?;
            self.publish();
        }
        if let (Some(pace), Some(length)) = (&job.pace, job.length) {
            self.count_unsent(*pace, to_ns(length));
        }
        self.board.show(self.answers.requests, self.answers.errors);
        self.board.fold(&mut self.latencies);
        let answers = std::mem::take(&mut self.answers);
        // A server that stops answering before the end has had all of the time.
        let elapsed = Duration::from_nanos(self.answered_at).max(job.length.unwrap_or_default());
        Ok(Report { answers, elapsed, cpu: thread_cpu()? - cpu })
    }

    fn begin(&mut self, job: &Job) {
        self.now = to_ns(job.start.elapsed());
        self.issued = 0;
        (self.answered_at, self.folded_at, self.retry_at) = (self.now, self.now, self.now);
        self.ready.clear();
        let idle = self.conns.iter().flatten().filter(|conn| !conn.sending);
        self.ready.extend(idle.map(|conn| conn.id.slot));
    }

    fn wants_more(&self, job: &Job) -> bool {
        self.issued < job.budget && job.length.is_none_or(|length| self.now < to_ns(length))
    }

    fn timeout(&self, job: &Job, more: bool) -> Option<Duration> {
        let mut wait = LONGEST_WAIT;
        if more {
            let until = |at: u64| Duration::from_nanos(at.saturating_sub(self.now));
            if let Some(length) = job.length {
                wait = wait.min(until(to_ns(length)));
            }
            if let Some(pace) = &job.pace {
                // Requests that are due and wait for a connection are no reason to spin.
                let next = pace.next_due();
                if next > self.now {
                    wait = wait.min(until(next));
                }
            } else if !self.ready.is_empty() {
                wait = Duration::ZERO;
            }
        }
        Some(wait)
    }

    /// An error when the server has not answered anything for as long as the spec allows.
    fn be_patient(&self) -> Result<(), Error> {
        let silence = self.now.saturating_sub(self.answered_at);
        if self.in_flight == 0 || silence < to_ns(self.spec.patience) {
            return Ok(());
        }
        Err(Error::but(
            format!(
                "{} has answered nothing for {:.1} s, with {} requests in flight",
                self.spec.target,
                silence as f64 / 1e9,
                self.in_flight
            ),
            "is it stopped, or overloaded? With large values or a deep pipeline, try a smaller -P",
        ))
    }

    fn turn(&mut self, job: &Job, timeout: Option<Duration>) -> Result<(), Error> {
        self.driver.turn(&mut self.out, timeout)?;
        self.now = to_ns(job.start.elapsed());
        self.settle_sends();
        let mut events = std::mem::take(&mut self.events);
        self.driver.take_events(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Received { conn, data } => self.received(conn, data, job.pace.is_some()),
                Event::Sent { conn, result, .. } => self.sent(conn, result),
                Event::Ended { conn, end: End::Eof } => self.lose(conn, "the server closed the connection"),
                Event::Ended { conn, end: End::Error(errno) } => self.lose(conn, &describe(errno)),
                Event::Accepted { .. } | Event::Closed { .. } | Event::Woken => {}
            }
        }
        self.events = events;
        self.driver.release();
        Ok(())
    }

    /// What did not go out whole continues as an owned send, or ends its connection.
    fn settle_sends(&mut self) {
        for unfinished in std::mem::take(&mut self.out.unfinished) {
            let send = self.out.sends[unfinished.send as usize].clone();
            match unfinished.result {
                Ok(sent) => {
                    let rest = self.out.rest(&send, sent);
                    if let Some(conn) = find(&mut self.conns, send.conn) {
                        conn.sending = true;
                        self.driver.send_owned(send.conn, rest);
                    }
                }
                Err(errno) => self.lose(send.conn, &describe(errno)),
            }
        }
        self.out.clear();
    }

    fn sent(&mut self, id: ConnId, result: Result<usize, i32>) {
        if let Err(errno) = result {
            return self.lose(id, &describe(errno));
        }
        if let Some(conn) = find(&mut self.conns, id) {
            conn.sending = false;
            if conn.in_flight == 0 {
                self.ready.push(id.slot);
            }
        }
    }

    fn received(&mut self, id: ConnId, data: RecvRef, open: bool) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        let bytes = self.driver.received(data);
        let (answers, latencies, now) = (&mut self.answers, &mut self.latencies, self.now);
        let before = answers.requests;
        let checks = self.requests.checks();
        let wire = self.requests.wire();
        let fed = if open || checks.is_some() {
            let (asked, sent_at) = (&mut conn.asked, conn.sent_at);
            conn.inbox.feed(wire, bytes, checks.is_some(), |reply| match asked.pop_front() {
                Some((op, due)) => {
                    answers.judge(op, reply, checks);
                    let since = if open { due } else { sent_at };
                    latencies.saturating_record(now.saturating_sub(since));
                }
                None => answers.count(reply),
            })
        } else {
            let mut seen = Seen::default();
            let fed = conn.inbox.feed(wire, bytes, false, |reply| match reply {
                Reply::Error(text) => answers.count(Reply::Error(text)),
                plain => seen.count(plain),
            });
            answers.add_seen(&seen);
            fed
        };
        let answered = to_usize(answers.requests - before);
        if answered > conn.in_flight {
            answers.requests -= (answered - conn.in_flight) as u64;
            return self.lose(id, "more replies than requests");
        }
        if !open && checks.is_none() && answered > 0 {
            latencies.saturating_record_n(now.saturating_sub(conn.sent_at), answered as u64);
        }
        conn.in_flight -= answered;
        self.in_flight -= answered;
        self.answered_at = now;
        if let Err(Garbage(words)) = fed {
            let words = String::from_utf8_lossy(&words).into_owned();
            return self.lose(id, &format!("no {} reply: {words:?}", self.spec.protocol.name()));
        }
        if answered > 0 && conn.in_flight == 0 && !conn.sending && !open {
            self.ready.push(id.slot);
        }
    }

    /// Gives a connection up: what it had in flight is lost, each with this text, and it is made again.
    #[cold]
    fn lose(&mut self, id: ConnId, text: &str) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        let in_flight = conn.in_flight;
        self.conns[id.slot as usize] = None;
        self.ready.retain(|slot| *slot != id.slot);
        self.in_flight -= in_flight;
        self.answers.lost_connections += 1;
        if in_flight > 0 {
            self.answers.refused(text.as_bytes(), in_flight as u64);
        }
        self.driver.close(id, false);
        self.lost += 1;
        self.answered_at = self.now;
    }

    /// Tries to replace lost connections. An error when none is left and none can be made.
    fn retry_lost(&mut self) -> Result<(), Error> {
        if self.lost == 0 || self.now < self.retry_at {
            return Ok(());
        }
        let none_left = self.conns.iter().flatten().next().is_none();
        while self.lost > 0 {
            if let Err(error) = self.add_connection(RETRY_PATIENCE) {
                self.retry_at = self.now + RETRY_EVERY;
                let silence = self.now.saturating_sub(self.answered_at);
                let gone = none_left && silence >= to_ns(self.spec.patience.min(Duration::from_secs(3)));
                return if gone { Err(error) } else { Ok(()) };
            }
            self.lost -= 1;
        }
        Ok(())
    }

    fn issue(&mut self, job: &mut Job) {
        match &mut job.pace {
            None => self.issue_batches(job),
            Some(pace) => self.issue_due(pace, job.pipeline, job.budget),
        }
    }

    /// Closed loop: a batch for every connection that has got all its replies.
    fn issue_batches(&mut self, job: &Job) {
        let mut taken = 0;
        let ready = std::mem::take(&mut self.ready);
        for &slot in &ready {
            if self.out.bytes.len() >= ARENA_BYTES || self.issued >= job.budget {
                break;
            }
            taken += 1;
            let Some(conn) = self.conns[slot as usize].as_mut() else { continue };
            let wanted = (job.budget - self.issued).min(job.pipeline as u64);
            let mut stretch = self.requests.begin(&self.out);
            let mut count = 0;
            let limit = self.out.bytes.len() + ARENA_BYTES;
            while count < wanted && self.out.bytes.len() < limit {
                let op = match job.work {
                    Work::Mix => self.picker.pick(),
                    Work::Fill { from } => {
                        let key = scattered(from + self.issued + count, self.spec.keys);
                        Op::Set(key, self.picker.size())
                    }
                };
                self.requests.put(op, &mut stretch, &mut self.out);
                if self.spec.verify {
                    conn.asked.push_back((op, self.now));
                }
                count += 1;
            }
            self.requests.end(stretch, conn.id, &mut self.out);
            conn.sent_at = self.now;
            conn.in_flight = to_usize(count);
            self.in_flight += to_usize(count);
            self.issued += count;
        }
        self.ready = ready;
        self.ready.drain(..taken);
    }

    /// Open loop: what is due, shared evenly among the connections that have room.
    fn issue_due(&mut self, pace: &mut Pace, pipeline: usize, budget: u64) {
        let mut left = to_usize(pace.due(self.now).min(budget - self.issued));
        let slots = self.conns.len();
        for visited in 0..slots {
            if left == 0 || self.out.bytes.len() >= ARENA_BYTES {
                break;
            }
            self.cursor = (self.cursor + 1) % slots;
            let Some(conn) = self.conns[self.cursor].as_mut().filter(|conn| !conn.sending) else { continue };
            let share = left.div_ceil(slots - visited).min(pipeline.saturating_sub(conn.in_flight));
            if share == 0 {
                continue;
            }
            let mut stretch = self.requests.begin(&self.out);
            for _ in 0..share {
                let op = self.picker.pick();
                self.requests.put(op, &mut stretch, &mut self.out);
                conn.asked.push_back((op, pace.issue()));
            }
            self.requests.end(stretch, conn.id, &mut self.out);
            conn.in_flight += share;
            self.in_flight += share;
            self.issued += share as u64;
            left -= share;
        }
    }

    /// Open loop, at the end: requests that were due and found no connection with room have waited at least until now.
    fn count_unsent(&mut self, mut pace: Pace, end: u64) {
        let unsent = pace.due(end.saturating_sub(1));
        self.answers.unsent = unsent;
        for _ in 0..unsent {
            self.latencies.saturating_record(end.saturating_sub(pace.issue()));
        }
    }

    fn publish(&mut self) {
        self.board.show(self.answers.requests, self.answers.errors);
        if self.now - self.folded_at >= FOLD_EVERY {
            self.folded_at = self.now;
            self.board.fold(&mut self.latencies);
        }
    }
}

fn find<R>(conns: &mut [Option<Conn<R>>], id: ConnId) -> Option<&mut Conn<R>> {
    conns.get_mut(id.slot as usize)?.as_mut().filter(|conn| conn.id == id)
}

fn describe(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::ECONNRESET | Errno::EPIPE => "the server reset the connection".to_owned(),
        errno => format!("the connection failed: {}", errno.desc()),
    }
}

/// 584 years fit.
fn to_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Requests of one turn.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Processor time of the calling thread.
fn thread_cpu() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
