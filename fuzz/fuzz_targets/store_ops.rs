//! Sequences of operations on a partition against a hash map.
//!
//! With room for everything the two agree in all things. With little memory the store may forget, but what it
//! has is what the map has. A pinned value never changes, whatever becomes of its item.

#![no_main]

use kv_server::store::{Budget, Eviction, Expiry, Key, Partition, Store, StoreConfig, Value, WriteError};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::sync::Arc;

/// Databases in use.
const DBS: u8 = 3;
const BEGIN_MS: u64 = 1_700_000_000_000;

#[derive(Arbitrary, Debug)]
struct Play {
    memory: Memory,
    s3_fifo: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Memory {
    Plenty,
    Little,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Name {
    db: u8,
    key: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Set { name: Name, len: u16, expiry: SetExpiry },
    Get { name: Name },
    Remove { name: Name },
    Modify { name: Name, len: u16 },
    Expire { name: Name, after_ms: Option<u32> },
    Pin { name: Name },
    Unpin,
    Flush { db: Option<u8> },
    Swap { a: u8, b: u8 },
    Pass { ms: u32 },
    Maintain { steps: u8 },
    Scan { db: u8, want: u8 },
}

#[derive(Arbitrary, Debug)]
enum SetExpiry {
    None,
    Keep,
    After { ms: u32 },
}

#[derive(Clone, Debug, PartialEq)]
struct Item {
    value: Vec<u8>,
    expire_at_ms: Option<u64>,
}

struct Game {
    store: Store,
    exact: bool,
    model: HashMap<(u8, u8), Item>,
    now_ms: u64,
    pins: Vec<(bytes::Bytes, Vec<u8>)>,
    writes: u8,
}

fuzz_target!(|play: Play| {
    let exact = play.memory == Memory::Plenty;
    let limit = if exact { 128 << 20 } else { 1 << 20 };
    let eviction = if play.s3_fifo { Eviction::S3Fifo } else { Eviction::Lru };
    let config = StoreConfig {
        partitions: 1,
        eviction,
        max_value_size: limit / 4,
        prefault: false,
        seeds: [1, 2, 3, 4],
    };
    let store = Store::new(config, Arc::new(Budget::new(limit))).expect("the limit is large enough");
    let mut game =
        Game { store, exact, model: HashMap::new(), now_ms: BEGIN_MS, pins: Vec::new(), writes: 0 };
    for step in &play.steps {
        let now_ms = game.now_ms;
        game.model.retain(|_, item| item.expire_at_ms.is_none_or(|at| at > now_ms));
        game.step(step);
        for (pin, expected) in &game.pins {
            assert_eq!(pin, expected);
        }
    }
});

impl Game {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Set { name, len, ref expiry } => self.set(name, len, expiry),
            Step::Get { name } => self.check(name),
            Step::Remove { name } => {
                self.check(name);
                let removed = self.with(name, |partition, key, now_ms| partition.remove(key, now_ms));
                assert_eq!(removed, self.model.remove(&model_key(name)).is_some());
            }
            Step::Modify { name, len } => self.modify(name, len),
            Step::Expire { name, after_ms } => self.expire(name, after_ms),
            Step::Pin { name } => {
                self.check(name);
                let pin = self.with(name, |partition, key, now_ms| Some(partition.peek(key, now_ms)?.pin()));
                let expected = self.model.get(&model_key(name)).map(|item| item.value.clone());
                self.pins.extend(pin.zip(expected));
            }
            Step::Unpin => self.pins.clear(),
            Step::Flush { db } => {
                let db = db.map(|db| db % DBS);
                self.store.lock(0).flush(db);
                self.model.retain(|(of, _), _| db.is_some_and(|db| db != *of));
            }
            Step::Swap { a, b } => self.swap(a % DBS, b % DBS),
            Step::Pass { ms } => self.now_ms += u64::from(ms),
            Step::Maintain { steps } => {
                for _ in 0..steps {
                    self.store.lock(0).maintain(self.now_ms);
                }
            }
            Step::Scan { db, want } => self.scan(db % DBS, usize::from(want)),
        }
    }

    fn with<T>(&self, name: Name, act: impl FnOnce(&mut Partition, &Key<'_>, u64) -> T) -> T {
        let bytes = key_bytes(name);
        act(&mut self.store.lock(0), &self.store.key(name.db % DBS, &bytes), self.now_ms)
    }

    /// As a caller does it: room is made outside of the lock.
    fn write<T>(
        &self,
        name: Name,
        len: usize,
        mut act: impl FnMut(&mut Partition, &Key<'_>, u64) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        loop {
            match self.with(name, &mut act) {
                Err(WriteError::NeedsRoom) => self.store.make_room(len)?,
                result => return result,
            }
        }
    }

    /// The store has what the model has; what it has evicted, the model forgets.
    fn check(&mut self, name: Name) {
        let there = self.with(name, |partition, key, now_ms| {
            partition
                .get(key, now_ms)
                .map(|entry| Item { value: entry.value.to_vec(), expire_at_ms: entry.expire_at_ms() })
        });
        if there.is_none() && !self.exact {
            self.model.remove(&model_key(name));
        }
        assert_eq!(there.as_ref(), self.model.get(&model_key(name)));
    }

    fn set(&mut self, name: Name, len: u16, expiry: &SetExpiry) {
        self.check(name);
        let value = self.value(usize::from(len));
        let expiry = match expiry {
            SetExpiry::None => Expiry::None,
            SetExpiry::Keep => Expiry::Keep,
            SetExpiry::After { ms } => Expiry::At(self.now_ms + u64::from(*ms)),
        };
        let large = match value.len() > self.store.large_threshold() {
            true => self.store.large_value(&value).map(Some),
            false => Ok(None),
        };
        let written = large.and_then(|large| {
            self.write(name, value.len(), |partition, key, now_ms| {
                let value = large.clone().map_or(Value::Inline(&value), Value::Large);
                partition.set(key, value, expiry, now_ms)
            })
        });
        let there = self.model.get(&model_key(name));
        let expire_at_ms = match expiry {
            Expiry::None => None,
            Expiry::Keep => there.and_then(|item| item.expire_at_ms),
            Expiry::At(at) => Some(at),
        };
        match written {
            Ok(()) if expire_at_ms.is_some_and(|at| at <= self.now_ms) => {
                self.model.remove(&model_key(name));
            }
            Ok(()) => {
                self.model.insert(model_key(name), Item { value, expire_at_ms });
            }
            Err(error) => self.refused(error),
        }
        self.check(name);
    }

    fn modify(&mut self, name: Name, len: u16) {
        self.check(name);
        let len = usize::from(len);
        let mark = self.value(1)[0];
        let mut expected = self.model.get(&model_key(name)).map_or(Vec::new(), |item| item.value.clone());
        expected.resize(len, 0);
        let exact = self.exact;
        let written = self.write(name, len, |partition, key, now_ms| {
            partition.modify(key, len, now_ms, &mut |bytes| {
                // Making room may have evicted the item itself.
                if !exact && bytes.iter().all(|&byte| byte == 0) {
                    expected.fill(0);
                }
                assert_eq!(bytes, expected);
                bytes.iter_mut().step_by(3).for_each(|byte| *byte = mark);
            })
        });
        match written {
            Ok(()) => {
                expected.iter_mut().step_by(3).for_each(|byte| *byte = mark);
                let there = self.with(name, |partition, key, now_ms| {
                    partition.peek(key, now_ms).map(|entry| entry.expire_at_ms())
                });
                let before = self.model.get(&model_key(name)).and_then(|item| item.expire_at_ms);
                let expire_at_ms = there.flatten();
                assert!(expire_at_ms == before || (!exact && expire_at_ms.is_none()));
                self.model.insert(model_key(name), Item { value: expected, expire_at_ms });
            }
            Err(error) => self.refused(error),
        }
        self.check(name);
    }

    fn expire(&mut self, name: Name, after_ms: Option<u32>) {
        self.check(name);
        let at_ms = after_ms.map(|ms| self.now_ms + u64::from(ms));
        let changed = self.write(name, 0, |partition, key, now_ms| partition.set_expiry(key, at_ms, now_ms));
        match changed {
            Ok(there) => {
                assert!(there == self.model.contains_key(&model_key(name)) || !self.exact);
                if at_ms.is_some_and(|at| at <= self.now_ms) {
                    self.model.remove(&model_key(name));
                } else if let Some(item) = self.model.get_mut(&model_key(name)) {
                    item.expire_at_ms = at_ms;
                }
            }
            Err(error) => self.refused(error),
        }
        self.check(name);
    }

    fn swap(&mut self, a: u8, b: u8) {
        self.store.lock(0).swap_databases(a, b);
        let renamed = |db| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        self.model = self.model.drain().map(|((db, key), item)| ((renamed(db), key), item)).collect();
    }

    /// A whole scan visits everything that is there, and nothing else.
    fn scan(&mut self, db: u8, want: usize) {
        let mut found = HashMap::new();
        let mut cursor = 0;
        loop {
            cursor = self.store.lock(0).scan(cursor, db, want.max(1), self.now_ms, &mut |key, entry| {
                let item = Item { value: entry.value.to_vec(), expire_at_ms: entry.expire_at_ms() };
                found.insert((db, key[0]), item);
            });
            if cursor == 0 {
                break;
            }
        }
        if !self.exact {
            self.model.retain(|name, _| name.0 != db || found.contains_key(name));
        }
        let expected = self.model.iter().filter(|(name, _)| name.0 == db);
        assert_eq!(found, expected.map(|(name, item)| (*name, item.clone())).collect());
    }

    fn refused(&self, error: WriteError) {
        assert!(!self.exact, "{error} with plenty of memory");
        assert!(matches!(error, WriteError::OutOfMemory | WriteError::TooLarge), "{error}");
    }

    /// Bytes that differ from write to write.
    fn value(&mut self, len: usize) -> Vec<u8> {
        self.writes = self.writes.wrapping_add(1);
        (0..len).map(|i| (i as u8).wrapping_mul(7).wrapping_add(self.writes)).collect()
    }
}

fn model_key(name: Name) -> (u8, u8) {
    (name.db % DBS, name.key)
}

/// Keys of many lengths; the first byte tells them apart.
fn key_bytes(name: Name) -> Vec<u8> {
    vec![name.key; 1 + usize::from(name.key) * 2]
}
