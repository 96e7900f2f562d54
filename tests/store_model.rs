//! The store against a hash map, by random sequences of operations.
//!
//! With room for everything the two must agree exactly. With little memory the store may forget, but what it returns must
//! be the model's, and what was written a moment ago must be there. Pins must never change.

use bytes::Bytes;
use kv_server::store::{Budget, Eviction, Expiry, Partition, Store, StoreConfig, Value, WriteError};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const KIB: usize = 1 << 10;
const DBS: u8 = 3;
const KEYS: u16 = 60;

#[derive(Clone, Debug)]
enum Op {
    Set { db: u8, key: u16, len: usize, expiry: u8 },
    Get { db: u8, key: u16 },
    Remove { db: u8, key: u16 },
    Modify { db: u8, key: u16, len: usize },
    SetExpiry { db: u8, key: u16, expiry: u8 },
    Flush(Option<u8>),
    Swap(u8, u8),
    Advance(u64),
    Maintain(u8),
    Pin { db: u8, key: u16 },
    DropPins,
    Limit(usize),
    Scan(u8),
    Random(u8, u64),
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..100usize, 3 => 100..1000usize, 2 => 1000..9000usize, 1 => 9000..40_000usize]
}

fn op() -> impl Strategy<Value = Op> {
    let (db, key) = (0..DBS, 0..KEYS);
    prop_oneof![
        40 => (db.clone(), key.clone(), length(), 0..8u8).prop_map(|(db, key, len, expiry)| Op::Set { db, key, len, expiry }),
        20 => (db.clone(), key.clone()).prop_map(|(db, key)| Op::Get { db, key }),
        8 => (db.clone(), key.clone()).prop_map(|(db, key)| Op::Remove { db, key }),
        12 => (db.clone(), key.clone(), length()).prop_map(|(db, key, len)| Op::Modify { db, key, len }),
        6 => (db.clone(), key.clone(), 0..8u8).prop_map(|(db, key, expiry)| Op::SetExpiry { db, key, expiry }),
        1 => prop::option::weighted(0.7, db.clone()).prop_map(Op::Flush),
        1 => (db.clone(), db.clone()).prop_map(|(a, b)| Op::Swap(a, b)),
        4 => prop_oneof![1..300u64, 10_000..100_000u64, 900_000..5_000_000u64].prop_map(Op::Advance),
        6 => (1..20u8).prop_map(Op::Maintain),
        5 => (db.clone(), key).prop_map(|(db, key)| Op::Pin { db, key }),
        1 => Just(Op::DropPins),
        1 => (1..4usize).prop_map(Op::Limit),
        1 => db.clone().prop_map(Op::Scan),
        1 => (db, any::<u64>()).prop_map(|(db, random)| Op::Random(db, random)),
    ]
}

fn key_bytes(key: u16) -> Vec<u8> {
    // Lengths from 2 to 700, so that sizes are of all classes.
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.resize(2 + usize::from(key) % 7 * usize::from(key % 100), b'k');
    bytes
}

#[derive(Clone, Debug, PartialEq)]
struct Item {
    value: Vec<u8>,
    expire_at_ms: Option<u64>,
}

/// What the store should hold; with its clock.
#[derive(Default)]
struct Model {
    items: BTreeMap<(u8, u16), Item>,
    now_ms: u64,
    version: u8,
}

impl Model {
    fn expiry(&self, choice: u8) -> Expiry {
        match choice {
            0..=2 => Expiry::None,
            3 => Expiry::Keep,
            4 => Expiry::At(self.now_ms + 100),
            5 => Expiry::At(self.now_ms + 50_000),
            6 => Expiry::At(self.now_ms + 3_000_000),
            _ => Expiry::At(self.now_ms.saturating_sub(1)),
        }
    }

    fn forget_expired(&mut self) {
        let now = self.now_ms;
        self.items.retain(|_, item| item.expire_at_ms.is_none_or(|at| at > now));
    }

    fn swap(&mut self, a: u8, b: u8) {
        let renamed = |db| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        let items = std::mem::take(&mut self.items);
        self.items = items.into_iter().map(|((db, key), item)| ((renamed(db), key), item)).collect();
    }
}

struct Run {
    store: Store,
    model: Model,
    /// Memory is plentiful: the store must not lose anything.
    exact: bool,
    limit: usize,
    pins: Vec<(Vec<u8>, Bytes)>,
}

impl Run {
    fn new(eviction: Eviction, limit: usize, exact: bool) -> Run {
        let config = StoreConfig {
            partitions: 1,
            eviction,
            max_value_size: limit / 4,
            prefault: false,
            seeds: [5, 6, 7, 8],
        };
        let store = Store::new(config, Arc::new(Budget::new(limit))).unwrap();
        let model = Model { now_ms: 1_000_000, ..Model::default() };
        Run { store, model, exact, limit, pins: Vec::new() }
    }

    /// Does it as a caller should: room is made outside of the lock.
    fn retrying(
        &self,
        len: usize,
        mut write: impl FnMut(&mut Partition) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        loop {
            let result = write(&mut self.store.lock(0));
            match result {
                Err(WriteError::NeedsRoom) => self.store.make_room(len)?,
                result => return result,
            }
        }
    }

    fn value(&mut self, len: usize) -> Vec<u8> {
        self.model.version = self.model.version.wrapping_add(1);
        (0..len).map(|n| (n as u8).wrapping_mul(31).wrapping_add(self.model.version)).collect()
    }

    fn step(&mut self, op: &Op) {
        self.model.forget_expired();
        let now = self.model.now_ms;
        match *op {
            Op::Set { db, key, len, expiry } => self.set(db, key, len, expiry),
            Op::Get { db, key } => self.check(db, key),
            Op::Remove { db, key } => {
                let bytes = key_bytes(key);
                let removed = self.store.lock(0).remove(&self.store.key(db, &bytes), now);
                let expected = self.model.items.remove(&(db, key)).is_some();
                assert!(removed == expected || (!removed && !self.exact));
            }
            Op::Modify { db, key, len } => self.modify(db, key, len),
            Op::SetExpiry { db, key, expiry } => self.set_expiry(db, key, expiry),
            Op::Flush(db) => {
                self.store.lock(0).flush(db);
                self.model.items.retain(|(d, _), _| db.is_some_and(|db| db != *d));
            }
            Op::Swap(a, b) => {
                self.store.lock(0).swap_databases(a, b);
                self.model.swap(a, b);
            }
            Op::Advance(ms) => self.model.now_ms += ms,
            Op::Maintain(steps) => (0..steps).for_each(|_| _ = self.store.lock(0).maintain(now)),
            Op::Pin { db, key } => {
                let bytes = key_bytes(key);
                let key = self.store.key(db, &bytes);
                if let Some(entry) = self.store.lock(0).peek(&key, now) {
                    self.pins.push((entry.value.to_vec(), entry.pin()));
                }
                if self.pins.len() > 6 {
                    self.pins.remove(0);
                }
            }
            Op::DropPins => self.pins.clear(),
            Op::Limit(quarters) => self.store.budget().set_limit(self.limit * quarters.max(2) / 4),
            Op::Scan(db) => self.scan(db),
            Op::Random(db, random) => self.random_key(db, random),
        }
        assert!(self.pins.iter().all(|(expected, pin)| expected == pin), "a pin changed");
    }

    fn set(&mut self, db: u8, key: u16, len: usize, expiry: u8) {
        let (bytes, value, now) = (key_bytes(key), self.value(len), self.model.now_ms);
        let expiry = self.model.expiry(expiry);
        let name = self.store.key(db, &bytes);
        // A Keep refers to what the store still has, which under pressure may be nothing.
        let old = self.store.lock(0).peek(&name, now).and_then(|entry| entry.expire_at_ms());
        let result = if len > self.store.large_threshold() {
            self.store.large_value(&value).and_then(|large| {
                self.retrying(len, |p| p.set(&name, Value::Large(large.clone()), expiry, now))
            })
        } else {
            self.retrying(len, |p| p.set(&name, Value::Inline(&value), expiry, now))
        };
        let expire_at_ms = match expiry {
            Expiry::None => None,
            Expiry::Keep => old,
            Expiry::At(at) => Some(at),
        };
        self.written(db, key, Item { value, expire_at_ms }, result);
    }

    /// After a write: it must be there (or refused for want of memory that pins hold).
    fn written(&mut self, db: u8, key: u16, item: Item, result: Result<(), WriteError>) {
        let expired = item.expire_at_ms.is_some_and(|at| at <= self.model.now_ms);
        match result {
            Ok(()) if expired => _ = self.model.items.remove(&(db, key)),
            Ok(()) => {
                self.model.items.insert((db, key), item.clone());
                let bytes = key_bytes(key);
                let entry =
                    self.store.lock(0).peek(&self.store.key(db, &bytes), self.model.now_ms).map(|entry| {
                        Item { value: entry.value.to_vec(), expire_at_ms: entry.expire_at_ms() }
                    });
                // An item that kept its expiry while it was evicted to make room for itself may have lost it.
                assert_eq!(entry.as_ref().map(|e| &e.value), Some(&item.value), "just written");
                if let Some(entry) = entry {
                    assert!(entry == item || !self.exact);
                    self.model.items.insert((db, key), entry);
                }
            }
            Err(error) => assert!(!self.exact, "{error}"),
        }
    }

    fn modify(&mut self, db: u8, key: u16, len: usize) {
        let (bytes, now) = (key_bytes(key), self.model.now_ms);
        let name = self.store.key(db, &bytes);
        let found = self.store.lock(0).peek(&name, now).map(|e| (e.value.to_vec(), e.expire_at_ms()));
        let (mut value, expire_at_ms) = found.unwrap_or_default();
        value.resize(len, 0);
        let mark = self.value(len.min(3));
        let mut before = None;
        let result = self.retrying(len, |p| {
            p.modify(&name, len, now, &mut |bytes| {
                before = Some(bytes.to_vec());
                bytes[..mark.len()].copy_from_slice(&mark);
            })
        });
        assert_eq!(before.is_some(), result.is_ok());
        if let Some(before) = before {
            // Evicted while room was made for it: then it starts from nothing.
            assert!(before == value || (!self.exact && before.iter().all(|b| *b == 0)));
            value = before;
        }
        value[..mark.len()].copy_from_slice(&mark);
        self.written(db, key, Item { value, expire_at_ms }, result);
    }

    fn set_expiry(&mut self, db: u8, key: u16, expiry: u8) {
        let (bytes, now) = (key_bytes(key), self.model.now_ms);
        let at = match self.model.expiry(expiry) {
            Expiry::At(at) => Some(at),
            _ => None,
        };
        let name = self.store.key(db, &bytes);
        let result = self.store.lock(0).set_expiry(&name, at, now);
        let known = self.model.items.contains_key(&(db, key));
        match result {
            Ok(true) => {
                assert!(known);
                self.model.items.get_mut(&(db, key)).unwrap().expire_at_ms = at;
                self.model.forget_expired();
            }
            Ok(false) => assert!(!known || !self.exact),
            Err(error) => assert!(!self.exact, "{error}"),
        }
        self.check(db, key);
    }

    fn check(&mut self, db: u8, key: u16) {
        let bytes = key_bytes(key);
        let name = self.store.key(db, &bytes);
        let mut partition = self.store.lock(0);
        let entry = partition.get(&name, self.model.now_ms);
        let entry = entry.map(|e| Item { value: e.value.to_vec(), expire_at_ms: e.expire_at_ms() });
        let expected = self.model.items.get(&(db, key));
        if self.exact || entry.is_some() {
            assert!(entry.as_ref() == expected, "{db} {key}: {entry:?} instead of {expected:?}");
        }
    }

    fn scan(&mut self, db: u8) {
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        loop {
            cursor = self.store.lock(0).scan(cursor, db, 3, self.model.now_ms, &mut |key, entry| {
                let key = u16::from_be_bytes([key[0], key[1]]);
                assert_eq!(entry.value, self.model.items[&(db, key)].value);
                seen.insert(key);
            });
            if cursor == 0 {
                break;
            }
            assert!(cursor < 1 << 48);
        }
        if self.exact {
            let expected = self.model.items.keys().filter(|(d, _)| *d == db).map(|(_, key)| *key).collect();
            assert_eq!(seen, expected);
        }
    }

    fn random_key(&mut self, db: u8, random: u64) {
        let found = self.store.lock(0).random_key(db, random, self.model.now_ms);
        match found {
            Some(key) => assert!(self.model.items.contains_key(&(db, u16::from_be_bytes([key[0], key[1]])))),
            None => assert!(!self.exact || !self.model.items.keys().any(|(d, _)| *d == db)),
        }
    }

    /// Counters against what can be found.
    fn finish(mut self) {
        self.model.forget_expired();
        let mut items = [0; DBS as usize];
        let mut with_expiry = [0; DBS as usize];
        let mut bytes = 0;
        for db in 0..DBS {
            for key in 0..KEYS {
                self.check(db, key);
                let name = key_bytes(key);
                if let Some(entry) = self.store.lock(0).peek(&self.store.key(db, &name), self.model.now_ms) {
                    items[db as usize] += 1;
                    with_expiry[db as usize] += u64::from(entry.expire_at_ms().is_some());
                    bytes += (name.len() + entry.value.len()) as u64;
                }
            }
        }
        let stats = self.store.lock(0).stats();
        assert_eq!(stats.items[..DBS as usize], items);
        assert_eq!(stats.items_with_expiry[..DBS as usize], with_expiry);
        let count: u64 = items.iter().sum();
        assert!((bytes + 6 * count..=bytes + 24 * count).contains(&stats.live_bytes), "{bytes} {stats:?}");
        let budget = self.store.budget().clone();
        drop(self.store);
        self.pins.clear();
        assert_eq!(budget.used(), 0);
    }
}

fn replay(ops: &[Op], eviction: Eviction, limit: usize, exact: bool) {
    let mut run = Run::new(eviction, limit, exact);
    for op in ops {
        run.step(op);
        if run.store.budget().excess() > 0 {
            run.store.lock(0).maintain(run.model.now_ms);
        }
    }
    run.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model_when_there_is_room(ops in prop::collection::vec(op(), 1..400)) {
        let ops: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Limit(_))).collect();
        replay(&ops, Eviction::Lru, 64 << 20, true);
        replay(&ops, Eviction::None, 64 << 20, true);
    }

    #[test]
    fn never_returns_what_the_model_does_not_have(ops in prop::collection::vec(op(), 100..1500)) {
        replay(&ops, Eviction::Lru, 320 * KIB, false);
        replay(&ops, Eviction::S3Fifo, 320 * KIB, false);
        replay(&ops, Eviction::None, 320 * KIB, false);
    }
}

/// The scan's promise while the index grows and shrinks between its steps.
#[test]
fn a_scan_misses_nothing_that_stays() {
    let config = StoreConfig {
        partitions: 1,
        eviction: Eviction::Lru,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [9, 8, 7, 6],
    };
    let store = Store::new(config, Arc::new(Budget::new(256 << 20))).unwrap();
    let set = |n: u32| {
        let name = n.to_be_bytes();
        store.lock(0).set(&store.key(0, &name), Value::Inline(b"v"), Expiry::None, 0).unwrap();
    };
    let remove = |n: u32| {
        let name = n.to_be_bytes();
        store.lock(0).remove(&store.key(0, &name), 0);
    };
    (0..3000).for_each(set);
    for (grow, shrink) in [(20, 0), (0, 150), (30, 29), (50, 0), (0, 2000)] {
        let (mut cursor, mut seen, mut next, mut gone) = (0, BTreeSet::new(), 10_000, 10_000);
        if shrink > grow {
            (10_000..150_000).for_each(set);
            next = 150_000;
        }
        loop {
            let mut guard = store.lock(0);
            cursor = guard.scan(cursor, 0, 20, 0, &mut |key, _| {
                seen.insert(u32::from_be_bytes(key.try_into().unwrap()));
            });
            drop(guard);
            if cursor == 0 {
                break;
            }
            (next..next + grow).for_each(set);
            next += grow;
            (gone..gone + shrink).for_each(remove);
            gone += shrink;
            (0..40).for_each(|_| _ = store.lock(0).maintain(0));
        }
        assert!((0..3000).all(|n| seen.contains(&n)), "after growing {grow} and shrinking {shrink} a step");
        (10_000..next).for_each(remove);
        while store.lock(0).maintain(0) {}
    }
}

#[test]
fn random_keys_are_about_fair_and_find_a_lonely_one() {
    let config = StoreConfig {
        partitions: 1,
        eviction: Eviction::Lru,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [9, 8, 7, 6],
    };
    let store = Store::new(config, Arc::new(Budget::new(64 << 20))).unwrap();
    for n in 0..1000u32 {
        let name = n.to_be_bytes();
        store.lock(0).set(&store.key(0, &name), Value::Inline(b"v"), Expiry::None, 0).unwrap();
    }
    let mut counts = [0u32; 1000];
    for random in 0..200_000u64 {
        let key = store.lock(0).random_key(0, random.wrapping_mul(0xd134_2543_de82_ef95), 0).unwrap();
        counts[u32::from_be_bytes(key[..].try_into().unwrap()) as usize] += 1;
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least > 120 && *most < 300, "{least} to {most} of 200 expected");
    assert_eq!(store.lock(0).random_key(3, 1, 0), None);
    store.lock(0).set(&store.key(3, b"lonely"), Value::Inline(b"v"), Expiry::At(100), 0).unwrap();
    assert!((0..50).all(|random| store.lock(0).random_key(3, random, 99).unwrap() == b"lonely"));
    assert_eq!(store.lock(0).random_key(3, 7, 100), None);
    assert_eq!(store.lock(0).stats().items[3], 0);
}
