//! deploy/seccomp.json is what the README says it is: Docker's default profile and exactly three calls more.
//!
//! Both are compared as JSON, rule by rule, so that neither an edit of ours nor a new default can loosen anything else unseen.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The calls that io_uring consists of (io_uring(7)).
const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

fn profile(name: &str) -> Map<String, Value> {
    let path = format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Takes the rules out of a profile: what is left is all that is not a rule.
fn take_rules(profile: &mut Map<String, Value>) -> Vec<Value> {
    match profile.remove("syscalls") {
        Some(Value::Array(rules)) => rules,
        other => panic!("syscalls is no list: {other:?}"),
    }
}

/// A change to a profile.
type Edit = fn(&mut Value);

fn names(rule: &Value) -> impl Iterator<Item = &str> {
    rule["names"].as_array().expect("a rule has names").iter().map(|name| name.as_str().expect("a name"))
}

/// What is in ours beyond the default, or why ours is no extension of it.
fn added(mut default: Map<String, Value>, mut ours: Map<String, Value>) -> Result<Vec<Value>, String> {
    let (default_rules, our_rules) = (take_rules(&mut default), take_rules(&mut ours));
    if default != ours {
        return Err("something beside the rules differs".into());
    }
    // A rule's place can matter (the first that matches an argument), so the default's must lead, in its order.
    let changed = default_rules.iter().zip(&our_rules).position(|(theirs, ours)| theirs != ours);
    match changed {
        Some(at) => Err(format!("rule {at} differs")),
        None if our_rules.len() < default_rules.len() => Err("rules are missing".into()),
        None => Ok(our_rules[default_rules.len()..].to_vec()),
    }
}

fn exactly_three(default: Map<String, Value>, ours: Map<String, Value>) -> Result<(), String> {
    let added = added(default, ours)?;
    let wanted = json!([{"names": IO_URING, "action": "SCMP_ACT_ALLOW"}]);
    if Value::Array(added.clone()) == wanted { Ok(()) } else { Err(format!("added is {added:?}")) }
}

#[test]
fn the_profile_is_the_default_and_exactly_three_calls() {
    exactly_three(profile("seccomp-default.json"), profile("seccomp.json")).unwrap();
}

/// The comparison itself must see each way in which a profile could be looser, or stricter, than claimed.
#[test]
fn the_comparison_sees_every_other_change() {
    let edits: [(&str, Edit); 8] = [
        ("a default that allows", |p| p["defaultAction"] = json!("SCMP_ACT_ALLOW")),
        ("another default errno", |p| p["defaultErrnoRet"] = json!(38)),
        ("an architecture less", |p| drop(p["archMap"].as_array_mut().unwrap().pop())),
        ("a flag", |p| p["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG"])),
        ("a fourth call", |p| {
            p["syscalls"].as_array_mut().unwrap().last_mut().unwrap()["names"]
                .as_array_mut()
                .unwrap()
                .push(json!("bpf"));
        }),
        ("a condition", |p| {
            p["syscalls"].as_array_mut().unwrap().last_mut().unwrap()["includes"] =
                json!({"caps": ["CAP_SYS_ADMIN"]});
        }),
        ("a rule more", |p| {
            p["syscalls"]
                .as_array_mut()
                .unwrap()
                .push(json!({"names": ["mount"], "action": "SCMP_ACT_ALLOW"}));
        }),
        ("a name in an old rule", |p| {
            p["syscalls"][0]["names"].as_array_mut().unwrap().push(json!("keyctl"))
        }),
    ];
    for (what, edit) in edits {
        let mut ours = Value::Object(profile("seccomp.json"));
        edit(&mut ours);
        let Value::Object(ours) = ours else { unreachable!() };
        assert!(exactly_three(profile("seccomp-default.json"), ours).is_err(), "{what} was not seen");
    }
}

/// The default is whole, as far as that can be told, and is not one that already allows io_uring (Docker's did before version 25).
#[test]
fn the_default_is_whole_and_forbids_io_uring() {
    let mut default = profile("seccomp-default.json");
    let rules = take_rules(&mut default);
    let everywhere: BTreeSet<&str> = rules
        .iter()
        .filter(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW" && rule.get("includes").is_none() && rule.get("args").is_none()
        })
        .flat_map(names)
        .collect();
    assert!(everywhere.len() > 300, "only {} calls are allowed", everywhere.len());
    for call in ["accept4", "clone3", "epoll_pwait2", "futex", "mmap", "rseq", "writev"] {
        assert!(rules.iter().flat_map(names).any(|name| name == call), "{call}");
    }
    for call in IO_URING.into_iter().chain(["bpf", "mount", "keyctl", "kexec_load", "userfaultfd"]) {
        assert!(!everywhere.contains(call), "{call} is allowed to all");
    }
    assert!(!rules.iter().flat_map(names).any(|name| name.starts_with("io_uring")));
}
