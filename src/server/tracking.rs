//! Which client is to be told of a change of which key: the table behind CLIENT TRACKING.
//!
//! ```text
//!   a tracking client reads k ──► table: k → clients          (before the read, so that no change of k is missed)
//!   k changes ──► journal ──► table: who? forget them ──► invalidation to each, or to where it redirects
//!   BCAST: no entry; every change is compared with the prefixes
//! ```
//!
//! As in Redis a key is a name, whatever its database. The table is bounded in keys and in bytes: what it forgets, its clients must forget
//! too, so they are told as if it had changed. A client's place in the table outlives its tracking; it is passed over then.

use super::clients::ClientEntry;
use super::mailbox::{Push, Wakes, shared_bytes};
use super::shared::Shared;
use crate::conn::Tracking;
use crate::proto::ReplyBuf;
use crate::proto::resp::Writer;
use crate::store::{Budget, Changes};
use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Memory of an entry of the table beside its key, bytes: list and map nodes, one client.
const ENTRY_BYTES: usize = 112;

/// A client that tracks keys.
#[derive(Debug)]
struct Tracker {
    client: Arc<ClientEntry>,
    redirect: Option<u64>,
    noloop: bool,
    prefixes: Vec<Box<[u8]>>,
}

impl Tracker {
    /// Whether a change made by `origin` is its own, of which it wants to hear nothing.
    fn is_own(&self, origin: u32) -> bool {
        self.noloop && origin == self.client.id as u32 && origin != 0
    }
}

/// What is to be told to whom, when the table's lock is free again.
#[derive(Debug)]
pub(super) struct Told {
    client: Arc<ClientEntry>,
    redirect: Option<u64>,
    /// An array of keys; `None`: all keys.
    keys: Option<Bytes>,
}

#[derive(Debug)]
struct Table {
    /// Ids in order.
    keys: LruCache<Box<[u8]>, SmallVec<[u64; 2]>>,
    items: usize,
    bytes: usize,
    trackers: HashMap<u64, Tracker>,
    /// Clients by prefix.
    prefixes: BTreeMap<Box<[u8]>, Vec<u64>>,
}

/// See the top of this file.
#[derive(Debug)]
pub struct TrackingTable {
    table: Mutex<Table>,
    clients: AtomicUsize,
    max_keys: AtomicUsize,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrackingFigures {
    pub clients: usize,
    pub keys: usize,
    /// Clients of all keys together.
    pub items: usize,
    pub prefixes: usize,
    pub bytes: usize,
}

impl TrackingTable {
    pub fn new(max_keys: usize) -> TrackingTable {
        let table = Table {
            keys: LruCache::unbounded(),
            items: 0,
            bytes: 0,
            trackers: HashMap::new(),
            prefixes: BTreeMap::new(),
        };
        TrackingTable {
            table: Mutex::new(table),
            clients: AtomicUsize::new(0),
            max_keys: AtomicUsize::new(max_keys),
        }
    }

    /// Whether anybody tracks keys.
    #[inline]
    pub fn any(&self) -> bool {
        self.clients.load(Relaxed) > 0
    }

    /// `tracking-table-max-keys`; 0: no bound but that in bytes.
    pub fn max_keys(&self) -> usize {
        self.max_keys.load(Relaxed)
    }

    pub fn set_max_keys(&self, keys: usize) {
        self.max_keys.store(keys, Relaxed);
    }

    /// Notes how a client tracks from now on, or that it no longer does.
    fn track(&self, client: &Arc<ClientEntry>, how: Option<&Tracking>) {
        let mut table = self.table.lock();
        if let Some(old) = table.trackers.remove(&client.id) {
            for prefix in old.prefixes {
                if let Some(clients) = table.prefixes.get_mut(&prefix) {
                    clients.retain(|id| *id != client.id);
                    if clients.is_empty() {
                        table.prefixes.remove(&prefix);
                    }
                }
            }
        }
        if let Some(how) = how {
            for prefix in &how.prefixes {
                table.prefixes.entry(prefix.clone()).or_default().push(client.id);
            }
            let (redirect, noloop) = (how.redirect, how.noloop);
            let tracker =
                Tracker { client: Arc::clone(client), redirect, noloop, prefixes: how.prefixes.clone() };
            table.trackers.insert(client.id, tracker);
        }
        self.clients.store(table.trackers.len(), Relaxed);
    }

    /// Whether a change of the key will be told to this client.
    fn remembers(&self, id: u64, key: &[u8]) -> bool {
        let table = self.table.lock();
        table.keys.peek(key).is_some_and(|clients| clients.binary_search(&id).is_ok())
    }

    /// A client is about to read a key. What has to be forgotten for it is told.
    fn remember(&self, id: u64, key: &[u8], budget: &Arc<Budget>, told: &mut Vec<Told>) {
        let max_bytes = budget.limit() / crate::limits::TRACKING_SHARE;
        let max_keys = match self.max_keys() {
            0 => usize::MAX,
            keys => keys,
        };
        let mut table = self.table.lock();
        let before = table.bytes;
        let new_bytes = match table.keys.get_mut(key) {
            Some(clients) => match clients.binary_search(&id) {
                Ok(_) => return,
                Err(at) => {
                    clients.insert(at, id);
                    size_of::<u64>()
                }
            },
            None => {
                table.keys.put(key.into(), SmallVec::from_slice(&[id]));
                ENTRY_BYTES + key.len()
            }
        };
        table.items += 1;
        table.bytes += new_bytes;
        while table.keys.len() > max_keys || table.bytes > max_bytes {
            let Some((key, clients)) = table.keys.pop_lru() else { break };
            table.forgot(&key, &clients);
            table.tell(&key, &clients, 0, budget, told);
        }
        account(budget, before, table.bytes);
    }

    /// Tells of changed keys.
    pub(super) fn changed(&self, changes: &Changes, budget: &Arc<Budget>, told: &mut Vec<Told>) {
        let mut table = self.table.lock();
        let before = table.bytes;
        for (change, key) in changes.iter().filter(|(change, _)| change.what.is_change()) {
            if let Some((key, clients)) = table.keys.pop_entry(key) {
                table.forgot(&key, &clients);
                table.tell(&key, &clients, change.origin, budget, told);
                table.keep_own(key, &clients, change.origin);
            }
        }
        table.broadcast(changes, budget, told);
        account(budget, before, table.bytes);
    }

    /// All keys have changed.
    pub(super) fn flushed(&self, budget: &Arc<Budget>, told: &mut Vec<Told>) {
        // A million keys are not freed while others wait.
        let _keys;
        let mut table = self.table.lock();
        account(budget, table.bytes, 0);
        _keys = std::mem::replace(&mut table.keys, LruCache::unbounded());
        (table.items, table.bytes) = (0, 0);
        told.extend(table.trackers.values().map(|tracker| Told {
            client: Arc::clone(&tracker.client),
            redirect: tracker.redirect,
            keys: None,
        }));
    }

    pub fn figures(&self) -> TrackingFigures {
        let table = self.table.lock();
        TrackingFigures {
            clients: table.trackers.len(),
            keys: table.keys.len(),
            items: table.items,
            prefixes: table.prefixes.len(),
            bytes: table.bytes,
        }
    }
}

impl Table {
    fn forgot(&mut self, key: &[u8], clients: &[u64]) {
        self.items -= clients.len();
        self.bytes -= ENTRY_BYTES + key.len() + (clients.len() - 1) * size_of::<u64>();
    }

    /// A client that is not told of its own change may have read the key since: it stays in the table, to hear of the next.
    fn keep_own(&mut self, key: Box<[u8]>, clients: &[u64], origin: u32) {
        let is_own = |id: &&u64| self.trackers.get(id).is_some_and(|tracker| tracker.is_own(origin));
        if let Some(id) = clients.iter().find(is_own) {
            self.items += 1;
            self.bytes += ENTRY_BYTES + key.len();
            self.keys.put(key, SmallVec::from_slice(&[*id]));
        }
    }

    /// One message, encoded once, to all clients of a key.
    fn tell(&self, key: &[u8], clients: &[u64], origin: u32, budget: &Arc<Budget>, told: &mut Vec<Told>) {
        let mut encoded = None;
        for tracker in clients.iter().filter_map(|id| self.trackers.get(id)) {
            if !tracker.is_own(origin) {
                let keys = encoded.get_or_insert_with(|| array_of(&[key], budget)).clone();
                let (client, redirect) = (Arc::clone(&tracker.client), tracker.redirect);
                told.push(Told { client, redirect, keys: Some(keys) });
            }
        }
    }

    /// One message for each prefix, with all its changed keys, to all of its clients; another to those that leave their own changes out.
    fn broadcast(&self, changes: &Changes, budget: &Arc<Budget>, told: &mut Vec<Told>) {
        for (prefix, clients) in &self.prefixes {
            let mut seen = HashSet::new();
            let matching: Vec<(&[u8], u32)> = changes
                .iter()
                .filter(|(change, key)| change.what.is_change() && key.starts_with(prefix))
                .filter(|(change, key)| seen.insert((*key, change.origin)))
                .map(|(change, key)| (key, change.origin))
                .collect();
            if matching.is_empty() {
                continue;
            }
            let mut for_all = None;
            for tracker in clients.iter().filter_map(|id| self.trackers.get(id)) {
                let own = matching.iter().any(|(_, origin)| tracker.is_own(*origin));
                let keys = if own {
                    let others: Vec<_> =
                        matching.iter().filter(|(_, origin)| !tracker.is_own(*origin)).collect();
                    if others.is_empty() {
                        continue;
                    }
                    array_of(&unique(others.into_iter().map(|(key, _)| *key)), budget)
                } else {
                    let all = || array_of(&unique(matching.iter().map(|(key, _)| *key)), budget);
                    for_all.get_or_insert_with(all).clone()
                };
                let (client, redirect) = (Arc::clone(&tracker.client), tracker.redirect);
                told.push(Told { client, redirect, keys: Some(keys) });
            }
        }
    }
}

fn unique<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Vec<&'k [u8]> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(*key)).collect()
}

fn array_of(keys: &[&[u8]], budget: &Arc<Budget>) -> Bytes {
    let mut out = ReplyBuf::default();
    let mut writer = Writer::new(&mut out, false);
    writer.array(keys.len());
    keys.iter().for_each(|key| writer.bulk(key));
    shared_bytes(out.bytes, budget)
}

/// The table is memory for connections.
fn account(budget: &Budget, before: usize, now: usize) {
    if now >= before {
        budget.connections.fetch_add(now - before, Relaxed);
    } else {
        budget.connections.fetch_sub(before - now, Relaxed);
    }
}

impl Shared {
    /// CLIENT TRACKING.
    pub(super) fn set_tracking(&self, id: u64, how: Option<&Tracking>) {
        if let Some(client) = self.clients.find(id) {
            client.set_redirect_broken(false);
            self.tracking.track(&client, how);
            self.refresh_journal();
        }
    }

    /// A tracking client is about to read a key: to be called before the read happens.
    ///
    /// Whoever is told on the connection that reads gets the reply first, for what is left in its worker's box is taken in a later turn. Where
    /// another connection is told (`redirects`) that may come before the reply, so such reads are looked at again: see
    /// [`Shared::recheck_reads`].
    pub fn remember_read(&self, id: u64, key: &[u8], redirects: bool) {
        if redirects && let Some(client) = self.clients.find(id) {
            self.workers[client.worker].mailbox.rechecks.lock().note(client, key);
        }
        let mut told = Vec::new();
        self.tracking.remember(id, key, self.store.budget(), &mut told);
        if !told.is_empty() {
            self.tell(told, &mut self.wakes());
        }
    }

    /// After a worker's batch: a key that it has read for a client whose invalidations go elsewhere, and that is forgotten already, has
    /// changed while it was read. That may have been told before the reply, so it is told again, after it.
    #[inline]
    pub fn recheck_reads(&self, worker: usize) {
        if self.tracking.any() {
            self.recheck(worker);
        }
    }

    #[cold]
    fn recheck(&self, worker: usize) {
        let reads = std::mem::take(&mut *self.workers[worker].mailbox.rechecks.lock());
        let mut wakes = self.wakes();
        for client in reads.all {
            self.push_to(&client, Push::Redirect(None), &mut wakes);
        }
        for (client, key) in reads.keys {
            if !self.tracking.remembers(client.id, &key) {
                let keys = array_of(&[&key], self.store.budget());
                self.push_to(&client, Push::Redirect(Some(keys)), &mut wakes);
            }
        }
    }

    /// Tells another connection in place of this one that keys are not what they were.
    pub fn redirect(&self, client: &Arc<ClientEntry>, redirect: u64, keys: Option<Bytes>) {
        let told = Told { client: Arc::clone(client), redirect: Some(redirect), keys };
        self.tell(vec![told], &mut self.wakes());
    }

    /// All keys have changed: what clients have cached is void.
    pub(super) fn tell_flushed(&self, wakes: &mut Wakes<'_>) {
        if self.tracking.any() {
            let mut told = Vec::new();
            self.tracking.flushed(self.store.budget(), &mut told);
            self.tell(told, wakes);
        }
    }

    pub(super) fn tell(&self, told: Vec<Told>, wakes: &mut Wakes<'_>) {
        for Told { client, redirect, keys } in told {
            let Some(redirect) = redirect else {
                self.push_to(&client, Push::Invalidate { keys, redirected: false }, wakes);
                continue;
            };
            let target = self.clients.find(redirect);
            client.set_redirect_broken(target.is_none());
            match target {
                Some(target) => self.push_to(&target, Push::Invalidate { keys, redirected: true }, wakes),
                None => self.push_to(&client, Push::RedirectBroken(redirect), wakes),
            }
        }
    }
}

#[cfg(test)]
mod tests;
