//! Who is connected: what CLIENT LIST shows and CLIENT KILL finds.
//!
//! A worker registers what it accepts and updates the entry's atomics as it serves it; everyone else only reads. The maps are
//! one per worker, so that connecting and leaving meet no other worker's lock.
//!
//! ```text
//!   worker 0 ─┐ register, remove      ┌ shard 0: id → ClientEntry ┐
//!   worker 1 ─┤ ───────────────────►  ├ shard 1                   ├ ◄── CLIENT LIST, INFO, KILL, from any thread
//!             └ stores into entries   └ …                         ┘
//! ```

use crate::command::{COMMANDS, ClientFilter, ClientView, table};
use crate::conn::{ChannelKind, Session};
use crate::sys::listener::canonical;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

/// `last_command` before the first command.
const NO_COMMAND: u16 = u16::MAX;

/// One connection, as the rest of the server sees it.
#[derive(Debug)]
pub struct ClientEntry {
    /// Never reused.
    pub id: u64,
    pub addr: SocketAddr,
    pub laddr: SocketAddr,
    pub worker: usize,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds of its last bytes.
    last_ms: AtomicU64,
    /// Index into the command table, or [`NO_COMMAND`].
    last_command: AtomicU16,
    commands: AtomicU64,
    inbox_bytes: AtomicUsize,
    outbox_bytes: AtomicUsize,
    db: AtomicU8,
    resp3: AtomicBool,
    no_evict: AtomicBool,
    no_touch: AtomicBool,
    /// Commands of its transaction plus one; 0: it is in none.
    queued: AtomicUsize,
    /// Keys that it watches.
    watched: AtomicUsize,
    /// Bytes of its transaction and watched keys.
    transaction_bytes: AtomicUsize,
    /// Set by CLIENT KILL; the owner closes the connection when it sees it.
    killed: AtomicBool,
    /// It has missed something that was to be sent to it; the owner closes the connection.
    overrun: AtomicBool,
    /// Where its worker finds it, set once.
    place: AtomicU64,
    /// By [`ChannelKind`].
    subscriptions: [AtomicUsize; 3],
    monitor: AtomicBool,
    tracking: AtomicBool,
    bcast: AtomicBool,
    redirect_broken: AtomicBool,
    /// As CLIENT GETREDIR has it.
    redirect: AtomicI64,
    names: Mutex<Names>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    name: Box<str>,
    lib_name: Box<str>,
    lib_version: Box<str>,
}

impl ClientEntry {
    /// CLIENT KILL was called for it.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// It has missed something: it is to be closed, as it would go on with what is not true.
    pub fn mark_overrun(&self) {
        self.overrun.store(true, Relaxed);
    }

    pub fn is_overrun(&self) -> bool {
        self.overrun.load(Relaxed)
    }

    /// Where its worker finds it among its connections; only that knows what the number means.
    pub fn set_place(&self, place: u64) {
        self.place.store(place, Relaxed);
    }

    pub fn place(&self) -> u64 {
        self.place.load(Relaxed)
    }

    pub fn set_redirect_broken(&self, broken: bool) {
        self.redirect_broken.store(broken, Relaxed);
    }

    pub fn is_redirect_broken(&self) -> bool {
        self.redirect_broken.load(Relaxed)
    }

    /// Whether it subscribes to anything.
    pub fn subscribes(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Relaxed) > 0)
    }

    /// Bytes of it arrived in the turn at `now_ms`. Only the owner calls this and the next two: plain loads and stores suffice.
    pub fn touch(&self, now_ms: u64) {
        self.last_ms.store(now_ms, Relaxed);
    }

    /// Milliseconds since its last bytes.
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.last_ms.load(Relaxed))
    }

    /// It sent so many commands, the last of this name.
    pub fn note_commands(&self, last_name: &[u8], count: u32) {
        if count > 0 {
            // Protocols that plan by themselves have no names.
            let row = if last_name.is_empty() { None } else { table::lookup(last_name) };
            self.last_command.store(row.unwrap_or(NO_COMMAND), Relaxed);
            self.commands.store(self.commands.load(Relaxed) + u64::from(count), Relaxed);
        }
    }

    /// Bytes received and not yet executed, bytes answered and not yet taken by the kernel.
    pub fn note_buffers(&self, inbox: usize, outbox: usize) {
        self.inbox_bytes.store(inbox, Relaxed);
        self.outbox_bytes.store(outbox, Relaxed);
    }

    /// Its transaction, as it is now.
    pub fn note_transaction(&self, session: &Session) {
        let queued = session.transaction.as_ref().map_or(0, |transaction| transaction.len() + 1);
        let noted = self.queued.load(Relaxed) + self.watched.load(Relaxed);
        if queued + session.watched.len() + noted > 0 {
            self.queued.store(queued, Relaxed);
            self.watched.store(session.watched.len(), Relaxed);
            self.transaction_bytes.store(session.memory(), Relaxed);
        }
    }

    /// Takes over what commands changed in the session.
    pub fn update(&self, session: &Session) {
        self.db.store(session.db, Relaxed);
        self.resp3.store(session.resp3, Relaxed);
        self.no_evict.store(session.no_evict, Relaxed);
        self.no_touch.store(session.no_touch, Relaxed);
        for kind in ChannelKind::ALL {
            self.subscriptions[kind.index()].store(session.subscribed(kind), Relaxed);
        }
        let tracking = session.tracking();
        self.monitor.store(session.listening.as_ref().is_some_and(|listening| listening.monitor), Relaxed);
        self.tracking.store(tracking.is_some(), Relaxed);
        self.bcast.store(tracking.is_some_and(|tracking| tracking.bcast), Relaxed);
        let redirect = tracking.map_or(-1, |tracking| tracking.redirect.map_or(0, |id| id as i64));
        self.redirect.store(redirect, Relaxed);
        *self.names.lock() = Names {
            name: session.name.clone(),
            lib_name: session.lib_name.clone(),
            lib_version: session.lib_version.clone(),
        };
    }

    fn matches(&self, filter: &ClientFilter, now_ms: u64) -> bool {
        let names = self.names.lock();
        filter.accepts(&ClientView {
            id: self.id,
            addr: &self.addr.to_string(),
            laddr: &self.laddr.to_string(),
            name: &names.name,
            lib_name: &names.lib_name,
            lib_version: &names.lib_version,
            flags: &self.flags(),
            db: self.db.load(Relaxed),
            age_s: now_ms.saturating_sub(self.created_ms) / 1000,
            idle_s: now_ms.saturating_sub(self.last_ms.load(Relaxed)) / 1000,
        })
    }

    /// Redis's letters for what a connection is; "N" for nothing special.
    fn flags(&self) -> String {
        let tracking = self.tracking.load(Relaxed);
        let letters = [
            (self.monitor.load(Relaxed), 'O'),
            (self.subscribes(), 'P'),
            (self.queued.load(Relaxed) > 0, 'x'),
            (tracking, 't'),
            (tracking && self.is_redirect_broken(), 'R'),
            (tracking && self.bcast.load(Relaxed), 'B'),
            (self.is_killed(), 'A'),
            (self.no_evict.load(Relaxed), 'e'),
            (self.no_touch.load(Relaxed), 'T'),
        ];
        let set: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
        if set.is_empty() { "N".to_owned() } else { set }
    }

    /// A line of CLIENT LIST in Redis's format, without its newline.
    fn line(&self, now_ms: u64) -> String {
        let names = self.names.lock().clone();
        let command =
            COMMANDS.get(usize::from(self.last_command.load(Relaxed))).map_or("NULL", |spec| spec.name);
        let (inbox, outbox) = (self.inbox_bytes.load(Relaxed), self.outbox_bytes.load(Relaxed));
        let multi_mem = self.transaction_bytes.load(Relaxed);
        let mut line = String::with_capacity(384);
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} \
             qbuf={inbox} qbuf-free=0 argv-mem=0 multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={outbox} tot-mem={} \
             events=r cmd={} user=default redir={} resp={} lib-name={} lib-ver={} io-thread={} tot-cmds={}",
            self.id,
            self.addr,
            self.laddr,
            names.name,
            now_ms.saturating_sub(self.created_ms) / 1000,
            now_ms.saturating_sub(self.last_ms.load(Relaxed)) / 1000,
            self.flags(),
            self.db.load(Relaxed),
            self.subscriptions[0].load(Relaxed),
            self.subscriptions[1].load(Relaxed),
            self.subscriptions[2].load(Relaxed),
            self.queued.load(Relaxed) as i64 - 1,
            self.watched.load(Relaxed),
            multi_mem,
            usize::from(outbox > 0),
            size_of::<ClientEntry>() + inbox + outbox + multi_mem,
            command,
            self.redirect.load(Relaxed),
            if self.resp3.load(Relaxed) { 3 } else { 2 },
            names.lib_name,
            names.lib_version,
            self.worker,
            self.commands.load(Relaxed),
        );
        line
    }
}

/// One worker's connections, by id.
type Shard = Mutex<HashMap<u64, Arc<ClientEntry>>>;

/// All connections, by worker.
#[derive(Debug)]
pub struct Clients {
    shards: Box<[Shard]>,
    next_id: AtomicU64,
    /// Admitted and not yet removed.
    count: AtomicUsize,
}

impl Clients {
    pub fn new(workers: usize) -> Clients {
        Clients {
            shards: (0..workers).map(|_| Mutex::default()).collect(),
            next_id: AtomicU64::new(1),
            count: AtomicUsize::new(0),
        }
    }

    /// Enters a new connection, unless `max` are there already. `None`: refuse it, with Redis's text.
    pub fn register(
        &self,
        worker: usize,
        (addr, laddr): (SocketAddr, SocketAddr),
        now_ms: u64,
        max: usize,
    ) -> Option<Arc<ClientEntry>> {
        // Counted first, so that workers accepting at the same time cannot pass the limit together.
        if self.count.fetch_add(1, Relaxed) >= max {
            self.count.fetch_sub(1, Relaxed);
            return None;
        }
        let client = Arc::new(ClientEntry {
            id: self.next_id.fetch_add(1, Relaxed),
            addr: canonical(addr),
            laddr: canonical(laddr),
            worker,
            created_ms: now_ms,
            last_ms: AtomicU64::new(now_ms),
            last_command: AtomicU16::new(NO_COMMAND),
            commands: AtomicU64::new(0),
            inbox_bytes: AtomicUsize::new(0),
            outbox_bytes: AtomicUsize::new(0),
            db: AtomicU8::new(0),
            resp3: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            watched: AtomicUsize::new(0),
            transaction_bytes: AtomicUsize::new(0),
            killed: AtomicBool::new(false),
            overrun: AtomicBool::new(false),
            place: AtomicU64::new(u64::MAX),
            subscriptions: Default::default(),
            monitor: AtomicBool::new(false),
            tracking: AtomicBool::new(false),
            bcast: AtomicBool::new(false),
            redirect_broken: AtomicBool::new(false),
            redirect: AtomicI64::new(-1),
            names: Mutex::default(),
        });
        self.shards[worker].lock().insert(client.id, Arc::clone(&client));
        Some(client)
    }

    /// The connection is closed.
    pub fn remove(&self, client: &ClientEntry) {
        if self.shards[client.worker].lock().remove(&client.id).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub fn find(&self, id: u64) -> Option<Arc<ClientEntry>> {
        self.shards.iter().find_map(|shard| shard.lock().get(&id).cloned())
    }

    /// Those that match, by id. Copies the entries out first: a shard is locked only for that.
    pub fn matching(&self, filter: &ClientFilter, now_ms: u64) -> Vec<Arc<ClientEntry>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let all: Vec<_> = shard.lock().values().cloned().collect();
            found.extend(all.into_iter().filter(|client| client.matches(filter, now_ms)));
        }
        found.sort_unstable_by_key(|client| client.id);
        found
    }

    /// CLIENT LIST.
    pub fn list(&self, filter: &ClientFilter, now_ms: u64) -> String {
        let mut text = String::new();
        for client in self.matching(filter, now_ms) {
            text.push_str(&client.line(now_ms));
            text.push('\n');
        }
        text
    }

    /// CLIENT INFO: one line with its newline; empty if the connection is gone.
    pub fn info(&self, id: u64, now_ms: u64) -> String {
        self.find(id).map_or_else(String::new, |client| client.line(now_ms) + "\n")
    }

    /// Marks the matching connections and returns them; their owners are still to be told.
    pub fn kill(&self, filter: &ClientFilter, now_ms: u64) -> Vec<Arc<ClientEntry>> {
        let found = self.matching(filter, now_ms);
        for client in &found {
            client.killed.store(true, Relaxed);
        }
        found
    }

    /// How many subscribe to anything.
    pub fn subscribers(&self) -> usize {
        let of = |shard: &Shard| shard.lock().values().filter(|client| client.subscribes()).count();
        self.shards.iter().map(of).sum()
    }

    /// The largest inbox and outbox of all connections, in bytes (INFO clients).
    pub fn largest_buffers(&self) -> (usize, usize) {
        let mut largest = (0, 0);
        for shard in &self.shards {
            for client in shard.lock().values() {
                largest.0 = largest.0.max(client.inbox_bytes.load(Relaxed));
                largest.1 = largest.1.max(client.outbox_bytes.load(Relaxed));
            }
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> (Clients, Vec<Arc<ClientEntry>>) {
        let clients = Clients::new(2);
        let addresses = |port| (SocketAddr::from(([10, 0, 0, 1], port)), "127.0.0.1:7171".parse().unwrap());
        let entries = (0..3u32)
            .map(|n| {
                let port = u16::try_from(4000 + n).unwrap();
                clients.register(n as usize % 2, addresses(port), 1_000 * u64::from(n), 10).unwrap()
            })
            .collect();
        (clients, entries)
    }

    #[test]
    fn a_line_has_what_redis_has() {
        let (clients, entries) = clients();
        let mut session = Session::new(entries[0].id, true);
        session.name = "app".into();
        session.lib_name = "redis-py".into();
        session.lib_version = "8.1.0".into();
        session.db = 1;
        session.resp3 = true;
        session.no_evict = true;
        entries[0].update(&session);
        entries[0].note_commands(b"CLIENT", 5);
        entries[0].touch(6_000);
        entries[0].note_buffers(0, 42);
        let line = clients.info(1, 9_500);
        assert!(line.ends_with("tot-cmds=5\n"));
        let fields: HashMap<&str, &str> =
            line.trim().split(' ').map(|f| f.split_once('=').unwrap()).collect();
        for (name, value) in [
            ("id", "1"),
            ("addr", "10.0.0.1:4000"),
            ("laddr", "127.0.0.1:7171"),
            ("fd", "-1"),
            ("name", "app"),
            ("age", "9"),
            ("idle", "3"),
            ("flags", "e"),
            ("db", "1"),
            ("omem", "42"),
            ("oll", "1"),
            ("cmd", "client"),
            ("user", "default"),
            ("resp", "3"),
            ("lib-name", "redis-py"),
            ("lib-ver", "8.1.0"),
        ] {
            assert_eq!(fields[name], value, "{name}");
        }
        assert!(clients.info(2, 9_500).contains(" flags=N db=0 ") && clients.info(99, 0).is_empty());
    }

    #[test]
    fn filters_select_and_lists_are_ordered_by_id() {
        let (clients, _) = clients();
        let ids =
            |filter: ClientFilter| clients.matching(&filter, 10_000).iter().map(|c| c.id).collect::<Vec<_>>();
        let all = ClientFilter::default;
        assert_eq!(ids(all()), [1, 2, 3]);
        assert_eq!(ids(ClientFilter { ids: vec![3, 1, 77], ..all() }), [1, 3]);
        assert_eq!(ids(ClientFilter { addr: Some("10.0.0.1:4001".into()), ..all() }), [2]);
        assert_eq!(ids(ClientFilter { laddr: Some("127.0.0.1:7171".into()), ..all() }), [1, 2, 3]);
        assert_eq!(ids(ClientFilter { user: Some("bob".into()), ..all() }), [0u64; 0]);
        assert_eq!(ids(ClientFilter { class: Some("pubsub".into()), ..all() }), [0u64; 0]);
        assert_eq!(ids(ClientFilter { max_age_s: Some(9), ..all() }), [1, 2]);
        assert_eq!(ids(ClientFilter { skip_id: Some(2), ..all() }), [1, 3]);
        let list = clients.list(&all(), 0);
        assert_eq!(list.lines().count(), 3);
        assert!(list.lines().nth(2).unwrap().starts_with("id=3 "));
    }

    #[test]
    fn kill_marks_and_removing_frees_a_place_once() {
        let (clients, entries) = clients();
        let killed = clients.kill(&ClientFilter { skip_id: Some(1), ..ClientFilter::default() }, 0);
        assert_eq!(killed.len(), 2);
        assert!(!entries[0].is_killed() && entries[1].is_killed() && entries[2].is_killed());
        clients.remove(&entries[1]);
        clients.remove(&entries[1]);
        assert_eq!(clients.count(), 2);
        let addresses = ("10.0.0.9:1".parse().unwrap(), "10.0.0.9:2".parse().unwrap());
        assert!(clients.register(0, addresses, 0, 2).is_none(), "the limit is 2");
        assert_eq!(clients.count(), 2, "a refused one is not counted");
        assert_eq!(clients.register(0, addresses, 0, 3).unwrap().id, 4, "ids are not reused");
    }

    #[test]
    fn ipv4_clients_of_a_dual_stack_listener_look_like_ipv4() {
        let clients = Clients::new(1);
        let addresses = ("[::ffff:1.2.3.4]:5".parse().unwrap(), "[::ffff:127.0.0.1]:7171".parse().unwrap());
        let client = clients.register(0, addresses, 0, 1).unwrap();
        assert_eq!(client.addr.to_string(), "1.2.3.4:5");
    }
}
