//! How long parsing takes, per request, for pipelines as a benchmark client sends them:
//! `cargo run --release --example parse_bench`.

use bumpalo::Bump;
use kv_server::proto::{ParseLimits, Parsed, json, resp};
use std::hint::black_box;
use std::time::Instant;

const PIPELINE: usize = 64;
const ROUNDS: u32 = 200;
const REPEATS: usize = 2_000;

const LIMITS: ParseLimits = ParseLimits {
    max_bulk: 512 << 20,
    max_request: 1 << 30,
    max_args: 1 << 20,
    max_inline: 64 << 10,
    authenticated: true,
};

fn main() {
    let set = |i: usize, len: usize| {
        format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{i:012}\r\n${len}\r\n{}\r\n", "v".repeat(len))
    };
    measure("GET", resp, |i| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{i:012}\r\n"));
    measure("SET, 64 bytes", resp, |i| set(i, 64));
    measure("SET, 200 bytes", resp, |i| set(i, 200));
    measure("SET, 1000 bytes", resp, |i| set(i, 1000));
    measure("GET, inline", resp, |i| format!("get key:{i:012}\r\n"));
    measure("get, JSON", json, |i| format!("{{\"key\":\"key:{i:012}\"}}"));
    measure("set, JSON, 64 bytes", json, |i| {
        format!("{{\"key\":\"key:{i:012}\",\"value\":\"{}\"}}", "v".repeat(64))
    });
}

fn resp<'a>(bytes: &'a [u8], bump: &'a Bump, args: &mut Vec<&'a [u8]>) -> Parsed {
    resp::parse(bytes, &LIMITS, &mut resp::Resume::default(), bump, args)
}

fn json<'a>(bytes: &'a [u8], bump: &'a Bump, args: &mut Vec<&'a [u8]>) -> Parsed {
    json::parse(bytes, &LIMITS, &mut json::Resume::default(), bump, args)
}

/// Prints nanoseconds per request: the best of many short repeats, as everything else that runs only adds to it.
fn measure(
    name: &str,
    parse: for<'a> fn(&'a [u8], &'a Bump, &mut Vec<&'a [u8]>) -> Parsed,
    request: impl Fn(usize) -> String,
) {
    let pipeline: String = (0..PIPELINE).map(request).collect();
    let bump = Bump::new();
    let best = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                let mut args = Vec::with_capacity(4);
                let mut rest = black_box(pipeline.as_bytes());
                while let Parsed::Request { consumed } = parse(rest, &bump, &mut args) {
                    black_box(&args);
                    rest = &rest[consumed..];
                }
                assert!(rest.is_empty());
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:20} {:6.1} ns", best.as_nanos() as f64 / f64::from(ROUNDS) / PIPELINE as f64);
}
