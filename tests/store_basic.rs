//! The store from outside: what each method promises, one case at a time.

use kv_server::store::{Budget, Eviction, Expiry, Key, Store, StoreConfig, Value, WriteError};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const MIB: usize = 1 << 20;

fn store_with(limit: usize, partitions: usize, eviction: Eviction) -> Store {
    let config =
        StoreConfig { partitions, eviction, max_value_size: 16 * MIB, prefault: false, seeds: [1, 2, 3, 4] };
    Store::new(config, Arc::new(Budget::new(limit))).unwrap()
}

fn store() -> Store {
    store_with(64 * MIB, 1, Eviction::Lru)
}

fn set(store: &Store, key: &[u8], value: &[u8], expiry: Expiry, now: u64) -> Result<(), WriteError> {
    let key = store.key(0, key);
    store.lock(store.partition_of(key.hash)).set(&key, Value::Inline(value), expiry, now)
}

fn get_in(store: &Store, db: u8, key: &[u8], now: u64) -> Option<Vec<u8>> {
    let key = store.key(db, key);
    store.lock(store.partition_of(key.hash)).get(&key, now).map(|entry| entry.value.to_vec())
}

fn get(store: &Store, key: &[u8], now: u64) -> Option<Vec<u8>> {
    get_in(store, 0, key, now)
}

fn items(store: &Store, db: usize) -> u64 {
    (0..store.partitions()).map(|p| store.lock(p).stats().items[db]).sum()
}

fn settle(store: &Store, now: u64) {
    for partition in 0..store.partitions() {
        for _ in 0..1_000_000 {
            if !store.lock(partition).maintain(now) {
                break;
            }
        }
    }
}

#[test]
fn every_shape_of_overwriting() {
    let store = store();
    let lengths = [0, 1, 5, 64, 65, 71, 72, 1000, 30_000, 140_000, 500_000, 64, 500_001, 3, 140_000, 0];
    for (n, len) in lengths.into_iter().enumerate() {
        let value: Vec<u8> = (0..len).map(|i| (i + n) as u8).collect();
        let key = store.key(0, b"key");
        let mut partition = store.lock(0);
        if len > store.large_threshold() {
            drop(partition);
            let large = store.large_value(&value).unwrap();
            partition = store.lock(0);
            partition.set(&key, Value::Large(large), Expiry::None, 0).unwrap();
        } else {
            partition.set(&key, Value::Inline(&value), Expiry::None, 0).unwrap();
        }
        assert_eq!(partition.get(&key, 0).unwrap().value, value);
        assert_eq!(partition.stats().items[0], 1);
        drop(partition);
        // Twice: what is freed is kept for a while.
        (0..2).for_each(|_| store.budget().age_spares());
        let large = store.budget().large.load(Relaxed);
        let expected = if len > store.large_threshold() { len.next_multiple_of(4096) } else { 0 };
        assert_eq!(large, expected, "only the current value is held");
    }
}

#[test]
fn expiry_is_kept_replaced_and_dropped() {
    let store = store();
    set(&store, b"k", b"1", Expiry::At(1000), 10).unwrap();
    set(&store, b"k", b"2", Expiry::Keep, 20).unwrap();
    let key = store.key(0, b"k");
    assert_eq!(store.lock(0).peek(&key, 30).unwrap().expire_at_ms(), Some(1000));
    assert_eq!(store.lock(0).stats().items_with_expiry[0], 1);
    assert_eq!(get(&store, b"k", 999), Some(b"2".to_vec()));
    assert_eq!(get(&store, b"k", 1000), None);
    let stats = store.lock(0).stats();
    assert_eq!((stats.expired, stats.items[0], stats.items_with_expiry[0]), (1, 0, 0));

    set(&store, b"k", b"3", Expiry::At(2000), 1000).unwrap();
    set(&store, b"k", b"4", Expiry::None, 1000).unwrap();
    assert_eq!(store.lock(0).peek(&key, 1 << 40).unwrap().expire_at_ms(), None);
    assert_eq!(store.lock(0).set_expiry(&key, Some(5000), 2000), Ok(true));
    assert_eq!(store.lock(0).set_expiry(&key, Some(90_000_000), 2000), Ok(true));
    assert_eq!(store.lock(0).peek(&key, 80_000_000).unwrap().expire_at_ms(), Some(90_000_000));
    assert_eq!(store.lock(0).set_expiry(&key, None, 2000), Ok(true));
    assert_eq!(get(&store, b"k", 1 << 47), Some(b"4".to_vec()));
    assert_eq!(store.lock(0).set_expiry(&key, Some(1), 2000), Ok(true));
    assert_eq!(get(&store, b"k", 2000), None);
    assert_eq!(store.lock(0).set_expiry(&key, None, 2000), Ok(false));
    set(&store, b"k", b"past", Expiry::At(2000), 2000).unwrap();
    assert_eq!((get(&store, b"k", 2000), items(&store, 0)), (None, 0));
}

#[test]
fn modify_extends_cuts_and_creates() {
    let store = store();
    let key = store.key(0, b"m");
    let mut expected = Vec::new();
    let lengths = [3, 8, 2, 100, 100, 99, 50_000, 140_000, 150_000, 400_000, 150_000, 10, 0, 200_000];
    for (n, len) in lengths.into_iter().enumerate() {
        expected.resize(len, 0);
        let mut partition = store.lock(0);
        partition
            .modify(&key, len, 0, &mut |bytes| {
                assert_eq!(bytes, expected);
                bytes.iter_mut().step_by(7).for_each(|b| *b = n as u8);
            })
            .unwrap();
        expected.iter_mut().step_by(7).for_each(|b| *b = n as u8);
        assert_eq!(partition.get(&key, 0).unwrap().value, expected);
        let stats = partition.stats();
        assert_eq!(stats.large_bytes, if len > store.large_threshold() { len as u64 } else { 0 });
        assert!((expected.len() as u64..expected.len() as u64 + 64).contains(&stats.live_bytes));
    }
    store.lock(0).set_expiry(&key, Some(500), 0).unwrap();
    store.lock(0).modify(&key, 4, 0, &mut |_| ()).unwrap();
    assert_eq!(store.lock(0).peek(&key, 0).unwrap().expire_at_ms(), Some(500));
    let refused = store.lock(0).modify(&key, 17 * MIB, 0, &mut |_| panic!("must not be called"));
    assert_eq!(refused, Err(WriteError::TooLarge));
}

#[test]
fn databases_are_apart_and_swap() {
    let store = store();
    let write = |db: u8, value: &[u8]| {
        let key = store.key(db, b"same");
        store.lock(0).set(&key, Value::Inline(value), Expiry::None, 0).unwrap();
    };
    write(0, b"zero");
    write(1, b"one");
    write(15, b"fifteen");
    assert_eq!(get_in(&store, 0, b"same", 0).unwrap(), b"zero");
    assert_eq!(get_in(&store, 1, b"same", 0).unwrap(), b"one");
    store.lock(0).swap_databases(0, 1);
    assert_eq!(get_in(&store, 0, b"same", 0).unwrap(), b"one");
    assert_eq!(get_in(&store, 1, b"same", 0).unwrap(), b"zero");
    write(0, b"new one");
    store.lock(0).flush(Some(1));
    assert_eq!(get_in(&store, 1, b"same", 0), None);
    assert_eq!(get_in(&store, 0, b"same", 0).unwrap(), b"new one");
    assert_eq!((items(&store, 0), items(&store, 1), items(&store, 15)), (1, 0, 1));
    write(1, b"again");
    settle(&store, 0);
    assert_eq!(get_in(&store, 1, b"same", 0).unwrap(), b"again");
    store.lock(0).flush(None);
    assert!((0..16).all(|db| get_in(&store, db, b"same", 0).is_none() && items(&store, db as usize) == 0));
}

#[test]
fn keys_and_values_have_their_limits() {
    let store = store();
    let longest = vec![b'x'; store.max_key_len()];
    set(&store, &longest, b"v", Expiry::None, 0).unwrap();
    assert_eq!(get(&store, &longest, 0).unwrap(), b"v");
    assert_eq!(
        set(&store, &vec![b'x'; longest.len() + 1], b"v", Expiry::None, 0),
        Err(WriteError::KeyTooLong)
    );
    assert_eq!(store.large_value(&vec![0; 17 * MIB]).unwrap_err(), WriteError::TooLarge);
    assert_eq!(set(&store, b"k", &vec![0; 17 * MIB], Expiry::None, 0), Err(WriteError::TooLarge));
    set(&store, b"", b"", Expiry::None, 0).unwrap();
    assert_eq!(get(&store, b"", 0).unwrap(), b"");
}

#[test]
fn flushed_memory_comes_back() {
    let store = store_with(256 * MIB, 2, Eviction::Lru);
    for n in 0..500_000u32 {
        set(&store, &n.to_le_bytes(), &[7; 200], Expiry::None, 0).unwrap();
    }
    let before = store.budget().used();
    assert!(before > 100 * MIB);
    (0..2).for_each(|p| store.lock(p).flush(None));
    assert_eq!(items(&store, 0), 0);
    set(&store, b"after", b"flush", Expiry::None, 0).unwrap();
    settle(&store, 0);
    let after = store.budget().used();
    assert!(after < before / 6, "{after} of {before} bytes still held");
    assert_eq!(get(&store, b"after", 0).unwrap(), b"flush");
}

#[test]
fn expired_memory_comes_back() {
    let store = store_with(256 * MIB, 2, Eviction::Lru);
    for n in 0..500_000u32 {
        let expiry = if n % 10 == 0 { Expiry::None } else { Expiry::At(30_000 + u64::from(n % 1000)) };
        set(&store, &n.to_le_bytes(), &[7; 200], expiry, 0).unwrap();
    }
    let before = store.budget().used();
    settle(&store, 29_000);
    assert_eq!(items(&store, 0), 500_000);
    settle(&store, 31_000);
    assert_eq!(items(&store, 0), 50_000);
    let expired: u64 = (0..2).map(|p| store.lock(p).stats().expired).sum();
    assert_eq!(expired, 450_000);
    assert!(store.budget().used() < before / 4, "{} of {before}", store.budget().used());
    assert!((0..500_000u32).step_by(10).all(|n| get(&store, &n.to_le_bytes(), 31_000).is_some()));
}

#[test]
fn pins_outlive_everything() {
    let store = store_with(32 * MIB, 1, Eviction::Lru);
    let value = |n: u32| vec![n as u8; 20_000];
    let large = |n: u32| vec![n as u8; 300_000];
    let mut pins = Vec::new();
    for n in 0..50u32 {
        set(&store, &n.to_le_bytes(), &value(n), Expiry::None, 0).unwrap();
        let bytes = store.large_value(&large(n)).unwrap();
        let key = store.key(1, b"large");
        store.lock(0).set(&key, Value::Large(bytes), Expiry::None, 0).unwrap();
        pins.push((large(n), store.lock(0).get(&key, 0).unwrap().pin()));
        let name = n.to_le_bytes();
        let key = store.key(0, &name);
        pins.push((value(n), store.lock(0).get(&key, 0).unwrap().pin()));
        store.lock(0).modify(&key, 20_000, 0, &mut |bytes| bytes.fill(0xee)).unwrap();
    }
    for n in 0..20_000u32 {
        set(&store, &(n % 5000).to_be_bytes(), &[0xdd; 9000], Expiry::None, 0).unwrap();
    }
    assert!(store.lock(0).stats().evicted > 1000);
    assert!(pins.iter().all(|(expected, pin)| expected == pin));
    let budget = store.budget().clone();
    drop(store);
    assert!(pins.iter().all(|(expected, pin)| expected == pin));
    drop(pins);
    // Twice: what is freed is kept for a while.
    (0..2).for_each(|_| budget.age_spares());
    assert_eq!(budget.used(), 0);
}

#[test]
fn without_eviction_writes_are_refused_and_nothing_is_lost() {
    let store = store_with(16 * MIB, 2, Eviction::None);
    let mut written = 0u32;
    let refused = loop {
        match set(&store, &written.to_le_bytes(), &[1; 500], Expiry::None, 0) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, WriteError::OutOfMemory);
    assert!(written as usize * 500 > 13 * MIB, "{written}");
    assert!((0..written).all(|n| get(&store, &n.to_le_bytes(), 0).is_some()));
    assert_eq!(store.make_room(MIB), Err(WriteError::OutOfMemory));
    (0..written / 2).for_each(|n| {
        let name = n.to_le_bytes();
        let key = store.key(0, &name);
        assert!(store.lock(store.partition_of(key.hash)).remove(&key, 0));
    });
    for n in 0..written / 3 {
        set(&store, &n.to_be_bytes(), &[2; 500], Expiry::None, 0).unwrap();
    }
    assert!((written / 2..written).all(|n| get(&store, &n.to_le_bytes(), 0) == Some(vec![1; 500])));
}

#[test]
fn large_values_push_others_out_and_are_pushed_out() {
    let store = store_with(64 * MIB, 4, Eviction::Lru);
    for n in 0..300_000u32 {
        set(&store, &n.to_le_bytes(), &[1; 300], Expiry::None, 0).unwrap();
    }
    for n in 0..200u32 {
        let bytes = store.large_value(&vec![n as u8; MIB]).unwrap();
        let name = n.to_be_bytes();
        let key = store.key(2, &name);
        store.lock(store.partition_of(key.hash)).set(&key, Value::Large(bytes), Expiry::None, 0).unwrap();
        assert!(store.budget().used() <= store.budget().limit());
    }
    let newest = 199u32.to_be_bytes();
    let key = store.key(2, &newest);
    let partition = store.partition_of(key.hash);
    assert_eq!(store.lock(partition).get(&key, 0).unwrap().value, vec![199; MIB]);
    assert!(items(&store, 2) < 64);
    for n in 0..600_000u32 {
        set_anyhow(&store, &store.key(0, &n.to_le_bytes()), &[1; 300]);
    }
    assert!(store.budget().large.load(Relaxed) < 32 * MIB, "{:?}", store.budget());
}

fn set_anyhow(store: &Store, key: &Key, value: &[u8]) {
    let partition = store.partition_of(key.hash);
    loop {
        let result = store.lock(partition).set(key, Value::Inline(value), Expiry::None, 0);
        match result {
            Err(WriteError::NeedsRoom) => store.make_room(value.len()).unwrap(),
            result => return result.unwrap(),
        }
    }
}

#[test]
fn the_limit_can_be_lowered_and_raised() {
    let store = store_with(128 * MIB, 4, Eviction::Lru);
    let fill =
        || (0..400_000u32).for_each(|n| set_anyhow(&store, &store.key(0, &n.to_le_bytes()), &[3; 400]));
    fill();
    assert!(store.budget().used() > 120 * MIB);
    for limit in [64, 32, 100] {
        store.budget().set_limit(limit * MIB);
        for _ in 0..100_000 {
            if store.budget().excess() == 0 {
                break;
            }
            (0..4).for_each(|p| _ = store.lock(p).maintain(0));
        }
        assert!(store.budget().used() <= limit * MIB, "{} of {limit} MiB", store.budget().used());
        fill();
        assert!(store.budget().used() <= limit * MIB);
        assert!(store.budget().used() > limit * MIB * 9 / 10, "{:?}", store.budget());
    }
    assert!(get(&store, &399_999u32.to_le_bytes(), 0).is_some());
}

/// Two workers keep four partitions each and look at them in turns, as long as there is work: few turns must do.
#[test]
fn a_lowered_limit_is_reached_without_waiting_for_each_other() {
    let store = store_with(128 * MIB, 8, Eviction::Lru);
    (0..400_000u32).for_each(|n| set_anyhow(&store, &store.key(0, &n.to_le_bytes()), &[3; 400]));
    store.budget().set_limit(48 * MIB);
    let mut ticks = 0;
    while store.budget().excess() > 0 {
        for own in [0..4, 4..8] {
            while own.clone().filter(|p| store.lock(*p).maintain(0)).count() > 0 {}
        }
        ticks += 1;
        assert!(ticks < 20, "{} bytes too many", store.budget().excess());
    }
}

#[test]
fn a_limit_too_small_is_an_error() {
    let config = StoreConfig {
        partitions: 64,
        eviction: Eviction::Lru,
        max_value_size: MIB,
        prefault: false,
        seeds: [1, 2, 3, 4],
    };
    assert!(Store::new(config, Arc::new(Budget::new(8 * MIB))).is_err());
}

#[test]
fn prefault_touches_memory_at_start() {
    let config = StoreConfig {
        partitions: 2,
        eviction: Eviction::Lru,
        max_value_size: MIB,
        prefault: true,
        seeds: [1, 2, 3, 4],
    };
    let store = Store::new(config, Arc::new(Budget::new(64 * MIB))).unwrap();
    assert!(store.budget().segments.load(Relaxed) > 50 * MIB);
    for n in 0..400_000u32 {
        set_anyhow(&store, &store.key(0, &n.to_le_bytes()), &[3; 100]);
    }
    assert!(store.budget().used() <= 64 * MIB);
    assert!(items(&store, 0) > 300_000);
}

#[test]
fn a_value_that_grows_gets_room_from_the_others() {
    let store = store_with(64 * MIB, 4, Eviction::Lru);
    for n in 0..300_000u32 {
        set_anyhow(&store, &store.key(0, &n.to_le_bytes()), &[1; 300]);
    }
    let key = store.key(0, b"bitmap");
    let partition = store.partition_of(key.hash);
    for len in (0..12 * MIB).step_by(300_000) {
        loop {
            let mut held = store.lock(partition);
            let result = held.modify(&key, len + 1, 0, &mut |bytes| bytes[len] = 1);
            let wanted = held.room_wanted();
            drop(held);
            match result {
                Err(WriteError::NeedsRoom) => store.make_room(wanted).unwrap(),
                result => break result.unwrap(),
            }
        }
        assert!(store.budget().used() <= 64 * MIB);
    }
    let ones = store.lock(partition).get(&key, 0).unwrap().value.iter().filter(|b| **b == 1).count();
    assert_eq!(ones, (12 * MIB).div_ceil(300_000));
}

/// Buffers of connections may leave little: room for four times what is alive, with all that is dead and half-filled, is enough.
#[test]
fn dead_data_goes_before_live_items() {
    let store = store_with(64 * MIB, 8, Eviction::Lru);
    let limit = store.budget().limit();
    let mut random = 7u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for n in 0..20_000u64 {
        // Pressure comes and goes.
        let crowd = if n % 1000 < 500 { limit - 8 * MIB } else { 0 };
        store.budget().connections.store(crowd, Relaxed);
        let name = next(7).to_le_bytes();
        let key = store.key(0, &name);
        let len = [next(300), next(14_000), next(300_000)][next(3) as usize] as usize;
        let partition = store.partition_of(key.hash);
        let value = vec![n as u8; len];
        let expiry = [Expiry::None, Expiry::At(10_000_000), Expiry::At(40_000)][next(3) as usize];
        loop {
            let value = if len > store.large_threshold() {
                Value::Large(store.large_value(&value).unwrap())
            } else {
                Value::Inline(&value)
            };
            let done = store.lock(partition).set(&key, value, expiry, 1000);
            match done {
                Err(WriteError::NeedsRoom) => {
                    let wanted = store.lock(partition).room_wanted();
                    store.make_room(wanted).unwrap();
                }
                done => break done.unwrap(),
            }
        }
    }
    let evicted: u64 = (0..8).map(|p| store.lock(p).stats().evicted).sum();
    assert_eq!((evicted, items(&store, 0)), (0, 7));
}

/// Who asks for more than there is gets an error, however often partitions give up what they take for themselves again.
#[test]
fn room_that_nobody_has_is_refused() {
    let store = store_with(64 * MIB, 8, Eviction::Lru);
    let budget = store.budget();
    for crowd in (2..60).map(|quarters| budget.limit() - quarters * MIB / 4) {
        budget.connections.store(0, Relaxed);
        for n in 0..2_000u32 {
            set(&store, &n.to_le_bytes(), &[7; 5_000], Expiry::None, 0).unwrap();
        }
        budget.connections.store(crowd, Relaxed);
        assert_eq!(store.make_room(20 * MIB), Err(WriteError::OutOfMemory));
    }
}
