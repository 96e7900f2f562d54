//! SLOWLOG, LATENCY, HOTKEYS, DEBUG: what the server noted, in Redis's forms.

use super::client;
use crate::command::COMMANDS;
use crate::command::table::lookup;
use crate::command::testing::play;
use crate::observe::{Histogram, LatencyEvent, Sighting};

#[test]
fn the_slow_log_shows_the_newest_first() {
    let mut client = client();
    client.host.observer.slowlog.add(9, 20_000_000, &[b"KEYS", b"*"], "1.2.3.4:5".into(), "app");
    client.host.observer.slowlog.add(10, 30_000_000, &[b"GET"], String::new(), "");
    play(
        &mut client,
        &[
            ("SLOWLOG LEN", ":2"),
            ("SLOWLOG GET 1", "*1 *6 :1 :10 :30000 *1 $3 GET $0  $0 "),
            ("SLOWLOG GET 0", "*0"),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            ("SLOWLOG GET x", "-ERR value is not an integer or out of range"),
            ("SLOWLOG GET 1 2", "-ERR syntax error"),
        ],
    );
    assert!(client.run("SLOWLOG GET").contains("*2 $4 KEYS $1 * $9 1.2.3.4:5 $3 app"));
    assert_eq!(client.run("SLOWLOG GET -1"), client.run("SLOWLOG GET"));
    play(&mut client, &[("SLOWLOG RESET", "+OK"), ("SLOWLOG LEN", ":0"), ("SLOWLOG GET", "*0")]);
    assert!(client.run("SLOWLOG HELP").contains("RESET"));
}

#[test]
fn latency_events_and_their_doctor() {
    let mut client = client();
    play(
        &mut client,
        &[("LATENCY LATEST", "*0"), ("LATENCY HISTORY command", "*0"), ("LATENCY RESET", ":0")],
    );
    assert!(client.run("LATENCY DOCTOR").contains("CONFIG SET latency-monitor-threshold"));
    client.host.observer.events.set_threshold_ms(10);
    assert!(client.run("LATENCY DOCTOR").contains("Nothing took 10 ms"));
    client.host.observer.events.note(LatencyEvent::Command, 50_000_000, 100);
    client.host.observer.events.note(LatencyEvent::Command, 20_000_000, 101);
    play(
        &mut client,
        &[
            ("LATENCY LATEST", "*1 *4 $7 command :101 :20 :50"),
            ("LATENCY HISTORY Command", "*2 *2 :100 :50 *2 :101 :20"),
            ("LATENCY HISTORY fork", "*0"),
        ],
    );
    let text = client.run("LATENCY DOCTOR");
    assert!(
        text.contains("command: 2 times, 35 ms on average, 50 ms at most") && text.contains("SLOWLOG"),
        "{text}"
    );
    play(
        &mut client,
        &[("LATENCY RESET fork", ":0"), ("LATENCY RESET command", ":1"), ("LATENCY LATEST", "*0")],
    );
}

#[test]
fn histograms_are_cumulative_and_only_of_what_was_called() {
    let mut client = client();
    let mut times = vec![Histogram::default(); COMMANDS.len()];
    let get = &mut times[usize::from(lookup(b"get").unwrap())];
    (get.counts[0], get.counts[3]) = (5, 2);
    client.host.times = times;
    let get = "$3 get *4 $5 calls :7 $14 histogram_usec *4 :1 :5 :8 :7";
    play(
        &mut client,
        &[
            ("LATENCY HISTOGRAM", &format!("*2 {get}")),
            ("LATENCY HISTOGRAM set GET nosuch", &format!("*2 {get}")),
            ("LATENCY HISTOGRAM set", "*0"),
        ],
    );
}

#[test]
fn hot_keys_need_a_session() {
    let mut client = client();
    play(
        &mut client,
        &[
            ("HOTKEYS GET", "$-1"),
            ("HOTKEYS STOP", "$-1"),
            ("HOTKEYS START", "-ERR METRICS parameter is required"),
            ("HOTKEYS START METRICS 3 CPU", "-ERR METRICS count must be 1 or 2"),
            ("HOTKEYS START METRICS 2 CPU", "-ERR METRICS count does not match the metrics that follow"),
            ("HOTKEYS START METRICS 1 CPU CPU", "-ERR syntax error"),
            ("HOTKEYS START METRICS 1 CPU COUNT 0", "-ERR COUNT must be between 1 and 64"),
            ("HOTKEYS START METRICS 1 NET COUNT 2 DURATION 9 SAMPLE 1", "+OK"),
            ("HOTKEYS START METRICS 1 CPU", "-ERR hotkeys tracking session already in progress"),
            ("HOTKEYS RESET", "-ERR hotkeys tracking session in progress, stop it first"),
        ],
    );
    for (key, bytes) in [("a", 10), ("b", 30), ("c", 20)] {
        let seen = Sighting { key: key.as_bytes(), took_ns: 1_000, bytes };
        client.host.observer.hot_keys.note([seen].into_iter(), client.now_ms);
    }
    play(&mut client, &[("@+500", ""), ("HOTKEYS STOP", "+OK")]);
    let report = client.run("HOTKEYS GET");
    assert!(report.starts_with("*1 *18 $15 tracking-active :0 $12 sample-ratio :1 "), "{report}");
    assert!(report.contains("$22 collection-duration-ms :500 "), "{report}");
    assert!(report.ends_with("$14 selected-slots *0 $12 by-net-bytes *4 $1 b :30 $1 c :20"), "{report}");
    play(&mut client, &[("HOTKEYS RESET", "+OK"), ("HOTKEYS GET", "$-1")]);
}

#[test]
fn debug_is_refused_unless_it_is_allowed() {
    let mut client = client();
    assert!(client.run("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed."));
    assert!(client.run("DEBUG JMAP").starts_with("-ERR DEBUG command not allowed."));
    client.host.debug = true;
    play(
        &mut client,
        &[
            ("DEBUG SLEEP 0.25", "+OK"),
            ("DEBUG SLEEP -1", "-ERR DEBUG SLEEP takes 0 to 60 seconds"),
            ("SET k v", "+OK"),
        ],
    );
    assert_eq!(client.host.log.borrow().last().unwrap(), "sleep 250");
    let map = client.run("DEBUG JMAP");
    assert!(map.contains("live bytes") && map.lines().next().is_some(), "{map}");
}

#[test]
fn the_doctor_answers_as_text_and_json() {
    let mut client = client();
    let cases = [("DOCTOR", "$4 well"), ("doctor json", "$2 {}"), ("DOCTOR XML", "-ERR syntax error")];
    play(&mut client, &cases);
    client.session.resp3 = true;
    play(&mut client, &[("DOCTOR", "=8 txt:well"), ("DOCTOR JSON", "$2 {}")]);
    let mut nobody = crate::command::testing::Client::new();
    assert!(nobody.run("DOCTOR").starts_with("-ERR The doctor has not looked yet"));
}
