//! What the server has noted of its own work: SLOWLOG, LATENCY, HOTKEYS; and DEBUG, where it is allowed.

use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::{self, COMMANDS, ErrorText};
use crate::command::{Context, Flow, integer};
use crate::limits;
use crate::observe::{HotKeysPlan, LatencyEvent, Series};
use crate::proto::resp::Writer;
use std::fmt::Write;

const DEBUG_REFUSED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
                             from a local connection, otherwise you need to set this option when the server is started.";

/// SLOWLOG GET [count]: ten entries unless more are asked for, -1: all; newest first.
pub fn slowlog_get(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let count = match args.get(2).map(|count| integer(count)) {
            _ if args.len() > 3 => return Err(SYNTAX.into()),
            None => 10,
            Some(Ok(-1)) => usize::MAX,
            Some(Ok(count)) => usize::try_from(count)
                .map_err(|_| ErrorText::Borrowed("ERR count should be greater than or equal to -1"))?,
            Some(Err(error)) => return Err(error),
        };
        let entries = ctx.host.observer().slowlog.newest(count);
        out.array(entries.len());
        for entry in entries {
            out.array(6);
            for number in [entry.id, entry.at_s, entry.took_us] {
                out.int(to_int(number));
            }
            out.array(entry.args.len());
            entry.args.iter().for_each(|arg| out.bulk(arg));
            out.bulk(entry.addr.as_bytes());
            out.bulk(entry.name.as_bytes());
        }
        Ok(())
    })
}

/// SLOWLOG LEN.
pub fn slowlog_len(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(to_int(ctx.host.observer().slowlog.len() as u64));
    Flow::Continue
}

/// SLOWLOG RESET.
pub fn slowlog_reset(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    ctx.host.observer().slowlog.reset();
    out.ok();
    Flow::Continue
}

/// LATENCY LATEST: each event with when it last was, how long then, and the longest; milliseconds.
pub fn latency_latest(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let all = past(ctx);
    out.array(all.len());
    for (event, series) in all {
        let (at_s, ms) = series.samples.back().copied().unwrap_or_default();
        out.array(4);
        out.bulk(event.name().as_bytes());
        for number in [at_s, ms, series.max_ms] {
            out.int(to_int(number));
        }
    }
    Flow::Continue
}

/// LATENCY HISTORY event: pairs of Unix seconds and milliseconds.
pub fn latency_history(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let samples = LatencyEvent::named(args[2]).map(|event| ctx.host.observer().events.series(event).samples);
    let samples = samples.unwrap_or_default();
    out.array(samples.len());
    for (at_s, ms) in samples {
        out.array(2);
        out.int(to_int(at_s));
        out.int(to_int(ms));
    }
    Flow::Continue
}

/// LATENCY RESET [event...]: how many events with a past were reset.
pub fn latency_reset(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let named = args.len() > 2;
    let wanted = |event: &LatencyEvent| {
        !named || args[2..].iter().any(|name| LatencyEvent::named(name) == Some(*event))
    };
    let events = &ctx.host.observer().events;
    let count = LatencyEvent::ALL.into_iter().filter(wanted).filter(|event| events.reset(*event)).count();
    out.int(to_int(count as u64));
    Flow::Continue
}

/// LATENCY HISTOGRAM [command...]: calls, and those of at most so many µs, cumulative.
pub fn latency_histogram(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let all = ctx.host.command_times();
    let rows: Vec<usize> = if args.len() > 2 {
        args[2..].iter().filter_map(|name| table::lookup(name)).map(usize::from).collect()
    } else {
        (0..all.len()).collect()
    };
    let known = rows.into_iter().filter_map(|row| Some((COMMANDS.get(row)?, all.get(row)?)));
    let called: Vec<_> = known.filter(|(_, times)| times.calls() > 0).collect();
    out.map(called.len());
    for (spec, times) in called {
        out.bulk(spec.name.as_bytes());
        out.map(2);
        out.bulk(b"calls");
        out.int(to_int(times.calls()));
        out.bulk(b"histogram_usec");
        out.map(times.cumulative().count());
        for (us, calls) in times.cumulative() {
            out.int(to_int(us));
            out.int(to_int(calls));
        }
    }
    Flow::Continue
}

/// LATENCY DOCTOR: the events in words, and what mends them.
pub fn latency_doctor(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let text = diagnosis(ctx.host.observer().events.threshold_ms(), &past(ctx), ctx.now_ms / 1000);
    out.verbatim(b"txt", text.as_bytes());
    Flow::Continue
}

/// DOCTOR [JSON]: what the server found when it last looked at its machine.
pub fn doctor(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let json = match args[1..] {
        [] => false,
        [format] if format.eq_ignore_ascii_case(b"json") => true,
        _ => {
            out.error("ERR syntax error");
            return Flow::Continue;
        }
    };
    match ctx.host.doctor(json) {
        Some(text) if json => out.bulk(text.as_bytes()),
        Some(text) => out.verbatim(b"txt", text.as_bytes()),
        None => out.error("ERR The doctor has not looked yet: ask again in a second"),
    }
    Flow::Continue
}

/// Events that have happened.
fn past(ctx: &Context<'_>) -> Vec<(LatencyEvent, Series)> {
    let events = &ctx.host.observer().events;
    let all = LatencyEvent::ALL.into_iter().map(|event| (event, events.series(event)));
    all.filter(|(_, series)| !series.samples.is_empty()).collect()
}

fn diagnosis(threshold_ms: u64, past: &[(LatencyEvent, Series)], now_s: u64) -> String {
    if threshold_ms == 0 {
        return "Latency is not watched. Begin with: CONFIG SET latency-monitor-threshold 100 (milliseconds).\n".into();
    }
    if past.is_empty() {
        return format!("Nothing took {threshold_ms} ms or longer since watching began.\n");
    }
    let mut text = String::new();
    for (event, series) in past {
        let (at_s, ms) = series.samples.back().copied().unwrap_or_default();
        let mean = series.sum_ms / series.count.max(1);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {} times, {mean} ms on average, {} ms at most; last {ms} ms, {} s ago.\n  {}",
            event.name(),
            series.count,
            series.max_ms,
            now_s.saturating_sub(at_s),
            advice(*event)
        );
    }
    text
}

fn advice(event: LatencyEvent) -> &'static str {
    match event {
        LatencyEvent::Command => {
            "SLOWLOG GET shows which commands. KEYS, long scripts and very many keys at once are the usual ones."
        }
        LatencyEvent::FastCommand => {
            "A batch of commands on single keys: very large values, or the worker's CPU was given to another process. \
             Give each worker a CPU of its own."
        }
        LatencyEvent::Upkeep => {
            "A step of expiry or eviction: memory had to be found. Raise maxmemory, or start with --prefault."
        }
        LatencyEvent::Turn => {
            "Everything of one turn together: fewer requests in one pipeline, more worker threads."
        }
    }
}

/// HOTKEYS START METRICS count [CPU] [NET] [COUNT k] [DURATION seconds] [SAMPLE ratio].
pub fn hotkeys_start(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let plan = hotkeys_plan(&args[2..])?;
        if !ctx.host.observer().hot_keys.start(plan, ctx.now_ms) {
            return Err("ERR hotkeys tracking session already in progress".into());
        }
        ctx.host.hotkeys_begin();
        out.ok();
        Ok(())
    })
}

fn hotkeys_plan(args: &[&[u8]]) -> Result<HotKeysPlan, ErrorText> {
    let mut plan =
        HotKeysPlan { cpu: false, net: false, count: limits::HOTKEYS_COUNT, duration_ms: None, sample: 1 };
    let mut metrics = None;
    let mut rest = args;
    while let Some((option, after)) = rest.split_first() {
        let option = option.to_ascii_uppercase();
        let value = after.first().map(|value| integer(value));
        match (&option[..], value) {
            (b"CPU", _) if metrics.is_some() && !plan.cpu => plan.cpu = true,
            (b"NET", _) if metrics.is_some() && !plan.net => plan.net = true,
            (b"METRICS", Some(Ok(count @ 1..=2))) if metrics.is_none() => metrics = Some(count),
            (b"METRICS", Some(Ok(_))) => return Err("ERR METRICS count must be 1 or 2".into()),
            (b"COUNT", Some(Ok(count))) => {
                let most = limits::HOTKEYS_COUNT_MOST;
                plan.count = usize::try_from(count)
                    .ok()
                    .filter(|count| (1..=most).contains(count))
                    .ok_or_else(|| ErrorText::from(format!("ERR COUNT must be between 1 and {most}")))?;
            }
            (b"DURATION", Some(Ok(seconds))) => {
                let seconds = u64::try_from(seconds).ok().filter(|s| *s <= limits::HOTKEYS_DURATION_S);
                let seconds =
                    seconds.ok_or(ErrorText::Borrowed("ERR DURATION must be between 0 and 1000000"))?;
                plan.duration_ms = (seconds > 0).then_some(seconds * 1000);
            }
            (b"SAMPLE", Some(Ok(ratio))) => {
                plan.sample = u64::try_from(ratio)
                    .ok()
                    .filter(|ratio| *ratio > 0)
                    .ok_or(ErrorText::Borrowed("ERR SAMPLE ratio must be positive"))?;
            }
            (b"SLOTS", _) => return Err("ERR SLOTS needs a cluster, and this is none".into()),
            (_, Some(Err(error)))
                if matches!(&option[..], b"METRICS" | b"COUNT" | b"DURATION" | b"SAMPLE") =>
            {
                return Err(error);
            }
            _ => return Err(SYNTAX.into()),
        }
        rest =
            if matches!(&option[..], b"CPU" | b"NET") { after } else { after.get(1..).unwrap_or_default() };
    }
    match metrics {
        None => Err("ERR METRICS parameter is required".into()),
        Some(count) if count != i64::from(plan.cpu) + i64::from(plan.net) => {
            Err("ERR METRICS count does not match the metrics that follow".into())
        }
        Some(_) => Ok(plan),
    }
}

/// HOTKEYS STOP: nil if none is running.
pub fn hotkeys_stop(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    if ctx.host.observer().hot_keys.stop(ctx.now_ms) {
        out.ok()
    } else {
        out.null()
    }
    Flow::Continue
}

/// HOTKEYS RESET.
pub fn hotkeys_reset(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    if ctx.host.observer().hot_keys.reset(ctx.now_ms) {
        out.ok();
    } else {
        out.error("ERR hotkeys tracking session in progress, stop it first");
    }
    Flow::Continue
}

/// HOTKEYS GET: nil without a session, else one map in an array, as Redis has it for clusters' sake.
pub fn hotkeys_get(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let Some(report) = ctx.host.observer().hot_keys.report(ctx.now_ms) else {
        out.null();
        return Flow::Continue;
    };
    let (user_us, system_us) = ctx.host.hotkeys_cpu_us();
    let mut numbers = vec![
        ("tracking-active", u64::from(report.active)),
        ("sample-ratio", report.plan.sample),
        ("all-commands-all-slots-us", report.all_us),
        ("net-bytes-all-commands-all-slots", report.all_bytes),
        ("collection-start-time-unix-ms", report.started_ms),
        ("collection-duration-ms", report.duration_ms),
    ];
    if report.plan.cpu {
        numbers.push(("total-cpu-time-user-ms", user_us / 1000));
        numbers.push(("total-cpu-time-sys-ms", system_us / 1000));
    }
    if report.plan.net {
        numbers.push(("total-net-bytes", report.all_bytes));
    }
    let lists: Vec<_> = [
        ("by-cpu-time-us", report.plan.cpu, &report.by_cpu),
        ("by-net-bytes", report.plan.net, &report.by_net),
    ]
    .into_iter()
    .filter(|(_, wanted, _)| *wanted)
    .collect();
    out.array(1);
    out.map(numbers.len() + 1 + lists.len());
    for (name, number) in numbers {
        out.bulk(name.as_bytes());
        out.int(to_int(number));
    }
    out.bulk(b"selected-slots");
    out.array(0);
    for (name, _, keys) in lists {
        out.bulk(name.as_bytes());
        out.array(2 * keys.len());
        for (key, figure) in keys {
            out.bulk(key);
            out.int(to_int(*figure));
        }
    }
    Flow::Continue
}

/// DEBUG SLEEP seconds: keeps this worker busy, with all its connections. For tests.
pub fn debug_sleep(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        allowed(ctx)?;
        let seconds = std::str::from_utf8(args[2]).ok().and_then(|text| text.parse::<f64>().ok());
        let seconds = seconds.filter(|s| (0.0..=limits::DEBUG_SLEEP_S).contains(s));
        let seconds = seconds.ok_or(ErrorText::Borrowed("ERR DEBUG SLEEP takes 0 to 60 seconds"))?;
        ctx.host.sleep_ms((seconds * 1000.0) as u64);
        out.ok();
        Ok(())
    })
}

/// DEBUG JMAP: where memory is, partition by partition.
pub fn debug_jmap(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        allowed(ctx)?;
        out.verbatim(b"txt", memory_map(ctx).as_bytes());
        Ok(())
    })
}

fn allowed(ctx: &Context<'_>) -> Result<(), ErrorText> {
    if ctx.host.debug_allowed(ctx.session.id) { Ok(()) } else { Err(DEBUG_REFUSED.into()) }
}

fn memory_map(ctx: &mut Context<'_>) -> String {
    let mut text = String::from(
        "partition      items  live bytes  dead bytes  segments  free  index bytes  large  large bytes  evicted  expired\n",
    );
    for partition in 0..ctx.store.partitions() {
        let stats = ctx.lock_one(partition).stats();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{partition:9} {:10} {:11} {:11} {:9} {:5} {:12} {:6} {:12} {:8} {:8}",
            stats.items.iter().sum::<u64>(),
            stats.live_bytes,
            stats.dead_bytes,
            stats.segments,
            stats.free_segments,
            stats.index_bytes,
            stats.large_values,
            stats.large_bytes,
            stats.evicted,
            stats.expired,
        );
    }
    text
}

fn to_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
