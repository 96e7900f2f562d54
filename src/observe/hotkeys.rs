//! Which keys take most of the processor and of the network while somebody looks (Redis 8.6's HOTKEYS).
//!
//! Counted by Space-Saving (Metwally, Agrawal, El Abbadi, 2005): so many counters; a key that has none takes over the smallest and its
//! count. A key's figure is never too small, and too large by at most that smallest count.

use crate::limits;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What HOTKEYS START asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub cpu: bool,
    pub net: bool,
    /// How many keys to tell.
    pub count: usize,
    /// Milliseconds; `None`: until it is stopped.
    pub duration_ms: Option<u64>,
    /// One request of so many is looked at.
    pub sample: u64,
}

/// One request on a key.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    pub key: &'a [u8],
    /// Its share of what its batch took.
    pub took_ns: u64,
    /// Of key, value and reply.
    pub bytes: u64,
}

/// What HOTKEYS GET tells.
#[derive(Clone, Debug)]
pub struct Report {
    pub plan: Plan,
    pub active: bool,
    pub started_ms: u64,
    pub duration_ms: u64,
    /// Of all requests that were looked at.
    pub all_us: u64,
    pub all_bytes: u64,
    /// Keys with their microseconds, most first.
    pub by_cpu: Vec<(Vec<u8>, u64)>,
    /// Keys with their bytes, most first.
    pub by_net: Vec<(Vec<u8>, u64)>,
}

#[derive(Debug, Default)]
pub struct HotKeys {
    /// Whether workers report at all.
    active: AtomicBool,
    /// Requests since the start, over all workers, which of them are looked at.
    seen: AtomicU64,
    session: Mutex<Option<Session>>,
}

#[derive(Debug)]
struct Session {
    plan: Plan,
    started_ms: u64,
    ended_ms: Option<u64>,
    all_ns: u64,
    all_bytes: u64,
    by_cpu: Counters,
    by_net: Counters,
}

impl HotKeys {
    #[inline]
    pub fn is_active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// False: a session is running.
    pub fn start(&self, plan: Plan, now_ms: u64) -> bool {
        let mut session = self.session.lock();
        if session.as_mut().is_some_and(|session| session.is_running(now_ms)) {
            return false;
        }
        let counters = || Counters::new(plan.count * limits::HOTKEYS_COUNTERS_PER_KEY);
        *session = Some(Session {
            plan,
            started_ms: now_ms,
            ended_ms: None,
            all_ns: 0,
            all_bytes: 0,
            by_cpu: counters(),
            by_net: counters(),
        });
        self.active.store(true, Relaxed);
        true
    }

    /// False: there is no running session.
    pub fn stop(&self, now_ms: u64) -> bool {
        self.active.store(false, Relaxed);
        let mut session = self.session.lock();
        let Some(session) = session.as_mut().filter(|session| session.ended_ms.is_none()) else {
            return false;
        };
        let running = session.is_running(now_ms);
        session.ended_ms.get_or_insert(now_ms);
        running
    }

    /// Forgets the last session. False: it is running.
    pub fn reset(&self, now_ms: u64) -> bool {
        let mut session = self.session.lock();
        if session.as_mut().is_some_and(|session| session.is_running(now_ms)) {
            return false;
        }
        *session = None;
        true
    }

    /// Notes a batch of requests.
    pub fn note<'a>(&self, sightings: impl Iterator<Item = Sighting<'a>>, now_ms: u64) {
        let mut guard = self.session.lock();
        let Some(session) = guard.as_mut() else { return };
        if !session.is_running(now_ms) {
            self.active.store(false, Relaxed);
            return;
        }
        for sighting in sightings {
            let number = self.seen.fetch_add(1, Relaxed);
            if session.plan.sample <= 1 || number.is_multiple_of(session.plan.sample) {
                session.note(&sighting);
            }
        }
    }

    /// `None`: no session since the start or the last reset.
    pub fn report(&self, now_ms: u64) -> Option<Report> {
        let mut guard = self.session.lock();
        let session = guard.as_mut()?;
        let active = session.is_running(now_ms);
        let top = |counters: &Counters, unit| counters.top(session.plan.count, unit);
        Some(Report {
            plan: session.plan,
            active,
            started_ms: session.started_ms,
            duration_ms: session.ended_ms.unwrap_or(now_ms).saturating_sub(session.started_ms),
            all_us: session.all_ns / 1000,
            all_bytes: session.all_bytes,
            by_cpu: top(&session.by_cpu, 1000),
            by_net: top(&session.by_net, 1),
        })
    }
}

impl Session {
    /// Ends it when its time is over.
    fn is_running(&mut self, now_ms: u64) -> bool {
        let end = self.plan.duration_ms.map(|duration_ms| self.started_ms.saturating_add(duration_ms));
        if self.ended_ms.is_none() && end.is_some_and(|end| end <= now_ms) {
            self.ended_ms = end;
        }
        self.ended_ms.is_none()
    }

    fn note(&mut self, sighting: &Sighting<'_>) {
        self.all_ns += sighting.took_ns;
        self.all_bytes += sighting.bytes;
        // A long key could fill memory; its beginning tells which it is.
        let key = &sighting.key[..sighting.key.len().min(limits::HOTKEYS_KEY_BYTES)];
        if self.plan.cpu {
            self.by_cpu.add(key, sighting.took_ns);
        }
        if self.plan.net {
            self.by_net.add(key, sighting.bytes);
        }
    }
}

/// Space-Saving.
#[derive(Debug)]
struct Counters {
    most: usize,
    by_key: HashMap<Vec<u8>, usize>,
    slots: Vec<(u64, Vec<u8>)>,
    /// Counts with their slots, smallest first.
    order: BTreeSet<(u64, usize)>,
}

impl Counters {
    fn new(most: usize) -> Counters {
        Counters { most, by_key: HashMap::new(), slots: Vec::new(), order: BTreeSet::new() }
    }

    fn add(&mut self, key: &[u8], weight: u64) {
        let slot = match self.by_key.get(key) {
            Some(slot) => *slot,
            None if self.slots.len() < self.most => {
                self.slots.push((0, key.to_vec()));
                self.slots.len() - 1
            }
            None => {
                let Some((_, slot)) = self.order.first().copied() else { return };
                let former = std::mem::replace(&mut self.slots[slot].1, key.to_vec());
                self.by_key.remove(&former);
                slot
            }
        };
        let before = self.slots[slot].0;
        self.slots[slot].0 = before.saturating_add(weight);
        self.order.remove(&(before, slot));
        self.order.insert((self.slots[slot].0, slot));
        if !self.by_key.contains_key(key) {
            self.by_key.insert(key.to_vec(), slot);
        }
    }

    fn top(&self, count: usize, unit: u64) -> Vec<(Vec<u8>, u64)> {
        let slots = self.order.iter().rev().take(count).map(|(_, slot)| &self.slots[*slot]);
        slots.map(|(weight, key)| (key.clone(), weight / unit)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { cpu: true, net: true, count: 2, duration_ms: None, sample: 1 };

    fn see(hot: &HotKeys, key: &str, took_ns: u64, bytes: u64, now_ms: u64) {
        hot.note([Sighting { key: key.as_bytes(), took_ns, bytes }].into_iter(), now_ms);
    }

    #[test]
    fn the_heaviest_come_first_by_either_measure() {
        let hot = HotKeys::default();
        see(&hot, "before", 1, 1, 0);
        assert!(hot.report(0).is_none() && hot.start(PLAN, 10) && !hot.start(PLAN, 11) && hot.is_active());
        for n in 0..2_000 {
            see(&hot, "hot", 5_000, 10, 20);
            see(&hot, &format!("cold{n}"), 1_000, 1, 20);
            see(&hot, "large", 1_000, 900, 20);
        }
        assert!(!hot.reset(30) && hot.stop(40) && !hot.stop(41) && !hot.is_active());
        let report = hot.report(99).unwrap();
        assert_eq!((report.active, report.started_ms, report.duration_ms), (false, 10, 30));
        assert_eq!(
            (report.by_cpu[0].0.as_slice(), report.by_net[0].0.as_slice()),
            (&b"hot"[..], &b"large"[..])
        );
        assert_eq!(report.by_net[0].1, 1_800_000);
        assert_eq!((report.all_us, report.all_bytes), (2_000 * 7, 2_000 * 911));
        assert!(hot.reset(100) && hot.report(100).is_none());
    }

    #[test]
    fn a_count_is_never_too_small() {
        let mut counters = Counters::new(8);
        let mut exact = HashMap::new();
        let mut random = 7u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("{}", (random >> 33) % 7 * ((random >> 50) % 5));
            counters.add(key.as_bytes(), 1);
            *exact.entry(key.into_bytes()).or_insert(0u64) += 1;
        }
        assert!(counters.slots.len() <= 8 && counters.order.len() == counters.slots.len());
        for (key, count) in counters.top(8, 1) {
            assert!(count >= exact[&key], "{key:?}");
        }
    }

    #[test]
    fn it_ends_with_its_time() {
        let hot = HotKeys::default();
        assert!(hot.start(Plan { duration_ms: Some(1_000), sample: 2, ..PLAN }, 0));
        for _ in 0..4 {
            see(&hot, "k", 1_000, 1, 500);
        }
        see(&hot, "k", 1_000, 1, 1_000);
        assert!(!hot.is_active());
        let report = hot.report(5_000).unwrap();
        assert_eq!((report.duration_ms, report.all_bytes), (1_000, 2));
    }
}
