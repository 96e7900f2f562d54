//! What the server says of its own work, over the wire: slow commands, latencies, hot keys.

mod support;

use support::{Setup, Value, bulk};

on_every_engine!(slow_commands_are_logged, commands_are_timed, hot_keys_are_found, debug_is_off_by_default);

fn slow_commands_are_logged(setup: Setup) {
    let server = setup.start(&["--enable-debug-command", "local"]);
    let mut conn = server.connect();
    conn.run("CLIENT SETNAME app");
    assert_eq!(conn.run("SLOWLOG LEN"), Value::Int(0));
    assert_eq!(conn.run("CONFIG SET latency-monitor-threshold 5"), Value::Simple("OK".into()));
    assert_eq!(conn.run("DEBUG SLEEP 0.02"), Value::Simple("OK".into()));
    let entries = conn.run("SLOWLOG GET");
    let entry = entries.array()[0].array();
    assert!(entry[2].int() >= 20_000, "{entry:?}");
    assert_eq!(entry[3].array(), [bulk("DEBUG"), bulk("SLEEP"), bulk("0.02")]);
    assert!(entry[4].text().starts_with("127.0.0.1:") && entry[5].text() == "app", "{entry:?}");
    let latest = conn.run("LATENCY LATEST");
    assert!(latest.array().iter().any(|event| event.array()[0] == bulk("command")), "{latest:?}");

    // Commands of a batch are named by what they do.
    conn.run("SLOWLOG RESET");
    conn.run("CONFIG SET slowlog-log-slower-than 0");
    conn.run("SET k v");
    conn.run("GET k");
    let entries = conn.run("SLOWLOG GET");
    let logged: Vec<&[Value]> = entries.array().iter().map(|entry| entry.array()[3].array()).collect();
    assert!(logged.contains(&&[bulk("GET"), bulk("k")][..]), "{logged:?}");
    assert!(logged.contains(&&[bulk("SET"), bulk("k"), bulk("v")][..]), "{logged:?}");
    conn.run("CONFIG SET requirepass hush");
    let entries = conn.run("SLOWLOG GET");
    assert!(!format!("{entries:?}").contains("requirepass"), "{entries:?}");
    conn.run("CONFIG SET slowlog-max-len 1");
    assert_eq!(conn.run("SLOWLOG LEN"), Value::Int(1));
    conn.run("CONFIG SET slowlog-log-slower-than -1");
    conn.run("SLOWLOG RESET");
    conn.run("GET k");
    assert_eq!(conn.run("SLOWLOG LEN"), Value::Int(0));
}

fn commands_are_timed(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    for _ in 0..7 {
        conn.run("GET k");
    }
    conn.run("MGET a b");
    let histogram = conn.run("LATENCY HISTOGRAM get mget");
    let fields = histogram.array();
    assert_eq!((fields.len(), &fields[0]), (4, &bulk("get")), "{histogram:?}");
    assert_eq!(fields[1].array()[1], Value::Int(7), "{histogram:?}");
    assert_eq!(fields[3].array()[1], Value::Int(1), "{histogram:?}");
    let stats = conn.run("INFO commandstats").text();
    assert!(stats.contains("cmdstat_get:calls=7,usec="), "{stats}");
    conn.run("CONFIG RESETSTAT");
    assert_eq!(conn.run("LATENCY HISTOGRAM get"), Value::Array(vec![]));
}

fn hot_keys_are_found(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    conn.run("HELLO 3");
    assert_eq!(conn.run("HOTKEYS START METRICS 2 CPU NET COUNT 2"), Value::Simple("OK".into()));
    for n in 0..50 {
        conn.run(&format!("SET cold:{n} v"));
        conn.run("MGET hot warm");
        conn.run("GET hot");
    }
    assert_eq!(conn.run("HOTKEYS STOP"), Value::Simple("OK".into()));
    let report = conn.run("HOTKEYS GET");
    let [Value::Map(fields)] = report.array() else { panic!("{report:?}") };
    let by_net = fields.iter().find(|(name, _)| *name == bulk("by-net-bytes")).map(|(_, keys)| keys.array());
    assert_eq!(by_net.unwrap()[0], bulk("hot"), "{report:?}");
    assert_eq!(conn.run("HOTKEYS RESET"), Value::Simple("OK".into()));
    assert_eq!(conn.run("HOTKEYS GET"), Value::Nil);

    // A value that is sent from where it lies counts as any.
    conn.run(&format!("SET large {}", "v".repeat(40_000)));
    conn.run("HOTKEYS START METRICS 1 NET COUNT 1");
    conn.run("GET large");
    for _ in 0..50 {
        conn.run("GET hot");
    }
    conn.run("HOTKEYS STOP");
    let report = conn.run("HOTKEYS GET");
    let [Value::Map(fields)] = report.array() else { panic!("{report:?}") };
    let by_net = fields.iter().find(|(name, _)| *name == bulk("by-net-bytes")).map(|(_, keys)| keys.array());
    assert_eq!(by_net.unwrap()[0], bulk("large"), "{report:?}");
}

fn debug_is_off_by_default(setup: Setup) {
    let server = setup.start(&[]);
    assert!(server.connect().run("DEBUG SLEEP 0").is_error());
}
