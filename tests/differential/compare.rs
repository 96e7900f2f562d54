//! Whether two replies agree.

use crate::script::Check;
use crate::support::{Value, WireError};
use std::time::Duration;

/// What came back: the parsed value and its bytes, or why nothing did.
pub type Reply = Result<(Value, Vec<u8>), WireError>;

/// Whether the replies agree. `passed` is how long the script has run: clocks may differ by that much.
pub fn agree(check: Check, ours: &Reply, theirs: &Reply, passed: Duration) -> bool {
    let (Ok((our_value, our_bytes)), Ok((their_value, their_bytes))) = (ours, theirs) else {
        return false;
    };
    if our_bytes == their_bytes {
        return true;
    }
    if let (Value::Error(ours), Value::Error(theirs)) = (our_value, their_value) {
        return same_error(ours, theirs);
    }
    // Its table is part of this server's memory limit, which Valkey has none of here.
    if matches!(our_value, Value::Error(text) if text == LCS_TABLE_TOO_LARGE) {
        return true;
    }
    if same_elements(our_value, their_value) {
        return true;
    }
    let ms = i64::try_from(passed.as_millis()).expect("a script does not run for ages");
    match check {
        Check::Exact => false,
        Check::Unordered => our_bytes[0] == their_bytes[0] && sorted(our_value) == sorted(their_value),
        Check::Seconds => close(our_value, their_value, ms / 1000 + 1, FAR_MS / 1000),
        Check::Milliseconds => close(our_value, their_value, ms + 1, FAR_MS),
        Check::Kind => same_kind(our_value, their_value),
        Check::Greeting => our_bytes[0] == their_bytes[0] && greeting(our_value) == greeting(their_value),
        Check::CommandInfo => command_info(our_value) == command_info(their_value),
    }
}

const LCS_TABLE_TOO_LARGE: &str =
    "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";

/// Whether two errors say the same. Where they quote a binary argument, Valkey's is a C string and ends at the argument's first
/// zero: from there on nothing is compared. Bytes that are no UTF-8 have been replaced when the replies were parsed.
fn same_error(ours: &str, theirs: &str) -> bool {
    if ours.contains(" Redis command") {
        // Valkey names itself, or nobody.
        return same_error(
            &ours.replace(" Redis command", " command"),
            &theirs.replace(" Valkey command", " command"),
        );
    }
    if let (Some((ours, our_place)), Some((theirs, their_place))) =
        (ours.split_once(" script: "), theirs.split_once(" script: "))
    {
        // Valkey no longer names the script.
        return same_error(ours, theirs) && our_place.ends_with(their_place);
    }
    match ours.split_once('\0') {
        Some((head, _)) => theirs.starts_with(head.trim_end()),
        None => ours == theirs,
    }
}

/// Arrays that differ in the words of errors only, as EXEC returns them.
fn same_elements(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a == b || same_elements(a, b))
        }
        (Value::Error(ours), Value::Error(theirs)) => same_error(ours, theirs),
        _ => false,
    }
}

fn sorted(value: &Value) -> Option<Vec<&[u8]>> {
    let Value::Array(items) = value else { return None };
    let mut items: Vec<&[u8]> = items.iter().map(Value::bytes).collect();
    items.sort_unstable();
    Some(items)
}

/// Milliseconds beyond which this server need not tell times apart: an item's expiry has 48 bits, which end in the year 10889.
const FAR_MS: i64 = 1 << 47;

/// Two times. The answers -1 and -2 (no TTL, no key) are no times.
fn close(ours: &Value, theirs: &Value, tolerance: i64, far: i64) -> bool {
    match (ours, theirs) {
        (Value::Int(a), Value::Int(b)) if *a >= far && *b >= far => true,
        (Value::Int(a), Value::Int(b)) => *a >= 0 && *b >= 0 && (a - b).abs() <= tolerance,
        _ => false,
    }
}

fn same_kind(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_kind(a, b))
        }
        _ => std::mem::discriminant(ours) == std::mem::discriminant(theirs),
    }
}

/// The fields of HELLO's reply, RESP2 or RESP3, but for those that name the server.
fn greeting(value: &Value) -> Option<Vec<(String, Option<Value>)>> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Map(pairs) => pairs.iter().map(|(k, v)| (k, v)).collect(),
        Value::Array(items) => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return None,
    };
    let own = ["server", "version", "id", "modules"];
    // A later Valkey adds fields; those that it shares with every Redis are compared.
    Some(
        pairs
            .iter()
            .map(|(k, v)| (k.text(), *v))
            .filter(|(k, _)| k != "availability_zone")
            .map(|(k, v)| (k.clone(), (!own.contains(&k.as_str())).then(|| v.clone())))
            .collect(),
    )
}

/// Name, arity, first key, last key and step of each command asked for.
fn command_info(value: &Value) -> Option<Vec<Option<Vec<Value>>>> {
    let Value::Array(commands) = value else { return None };
    let one = |command: &Value| match command {
        Value::Array(fields) => {
            Some([0, 1, 3, 4, 5].iter().filter_map(|&i| fields.get(i).cloned()).collect())
        }
        _ => None,
    };
    Some(commands.iter().map(one).collect())
}
