use kv_server::store::{Budget, Eviction, Expiry, Store, StoreConfig, Value};
use std::sync::Arc;
use std::time::Instant;
fn name(number: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    name[4..12].copy_from_slice(&number.to_be_bytes());
    name
}
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
fn main() {
    let items: u64 = std::env::args().nth(1).map_or(10_000_000, |n| n.parse().unwrap());
    let config = StoreConfig {
        partitions: 1,
        eviction: Eviction::Lru,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [1, 2, 3, 4],
    };
    let store = Store::new(config, Arc::new(Budget::new(4096 << 20))).unwrap();
    for n in 0..items {
        let k = name(n);
        store.lock(0).set(&store.key(0, &k), Value::Inline(&[7; 64]), Expiry::None, 0).unwrap();
    }
    let keys: Vec<[u8; 16]> = {
        let mut s = 5;
        (0..1 << 20).map(|_| name(random(&mut s) % items)).collect()
    };
    let hashed: Vec<_> = keys.iter().map(|k| store.key(0, k)).collect();
    for _ in 0..3 {
        let mut p = store.lock(0);
        let mut sum = 0u64;
        let t = Instant::now();
        for k in &hashed {
            sum += u64::from(p.peek(k, 0).unwrap().value[0]);
        }
        let a = t.elapsed();
        let t = Instant::now();
        for k in &hashed {
            sum += u64::from(p.get(k, 0).unwrap().value[0]);
        }
        let b = t.elapsed();
        let t = Instant::now();
        for k in &hashed {
            p.prefetch_bucket(k.hash);
        }
        let c = t.elapsed();
        let t = Instant::now();
        for ks in hashed.chunks(32) {
            for k in ks {
                p.prefetch_bucket(k.hash);
            }
            for k in ks {
                p.prefetch_item(k.hash);
            }
            for k in ks {
                sum += u64::from(p.get(k, 0).unwrap().value[0]);
            }
        }
        let d = t.elapsed();
        let t = Instant::now();
        for ks in hashed.chunks(16) {
            for k in ks {
                p.prefetch_bucket(k.hash);
            }
            for k in ks {
                p.prefetch_item(k.hash);
            }
            for k in ks {
                sum += u64::from(p.get(k, 0).unwrap().value[0]);
            }
        }
        let e = t.elapsed();
        let r = |d: std::time::Duration| d.as_nanos() as f64 / (1 << 20) as f64;
        println!(
            "peek {:.0} get {:.0} prefetch {:.0} batch32 {:.0} batch16 {:.0} ns  {sum}",
            r(a),
            r(b),
            r(c),
            r(d),
            r(e)
        );
    }
}
