//! COMMAND: what the command table says, in Redis's forms.

use super::key_specs::{Find, KeySpec, UsedKey, key_specs, keys_of};
use super::reply;
use crate::command::glob::Glob;
use crate::command::plan::SYNTAX;
use crate::command::table::{self, COMMANDS, ErrorText, Spec};
use crate::command::{Context, Flow};
use crate::proto::resp::Writer;

/// COMMAND: COMMAND INFO for all.
pub fn command_all(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.array(COMMANDS.len());
    COMMANDS.iter().for_each(|spec| describe(spec, out));
    Flow::Continue
}

/// COMMAND COUNT.
pub fn command_count(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(COMMANDS.len() as i64);
    Flow::Continue
}

/// COMMAND INFO [name...]: null for what is not known. A subcommand is named "client|list".
pub fn command_info(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let names = &args[2..];
    if names.is_empty() {
        return command_all(args, ctx, out);
    }
    out.array(names.len());
    for name in names {
        match find(name) {
            Some(spec) => describe(spec, out),
            None => out.null(),
        }
    }
    Flow::Continue
}

/// COMMAND DOCS [name...]: unknown names are left out.
pub fn command_docs(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let specs: Vec<&Spec> = match &args[2..] {
        [] => COMMANDS.iter().collect(),
        names => names.iter().filter_map(|name| find(name)).collect(),
    };
    write_docs(&specs, out);
    Flow::Continue
}

/// COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]: subcommands are listed too.
pub fn command_list(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let names: Vec<&str> = match &args[2..] {
            [] => all().map(|spec| spec.name).collect(),
            [filter, by, value] if filter.eq_ignore_ascii_case(b"FILTERBY") => filtered(by, value)?,
            _ => return Err(SYNTAX.into()),
        };
        out.array(names.len());
        names.iter().for_each(|name| out.bulk(name.as_bytes()));
        Ok(())
    })
}

fn filtered(by: &[u8], value: &[u8]) -> Result<Vec<&'static str>, ErrorText> {
    let wanted: Box<dyn Fn(&Spec) -> bool> = match &by.to_ascii_uppercase()[..] {
        // There are no modules.
        b"MODULE" => Box::new(|_| false),
        b"ACLCAT" => {
            let category = value.to_ascii_lowercase();
            Box::new(move |spec| spec.categories().names().any(|name| name.as_bytes()[1..] == category))
        }
        b"PATTERN" => {
            let pattern = Glob::ignoring_case(value);
            Box::new(move |spec| pattern.matches(spec.name.as_bytes()))
        }
        _ => return Err(SYNTAX.into()),
    };
    Ok(all().filter(|spec| wanted(spec)).map(|spec| spec.name).collect())
}

/// COMMAND GETKEYS command argument...
pub fn command_getkeys(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let keys = keys_in(&args[2..])?;
        out.array(keys.len());
        keys.iter().for_each(|(key, _)| out.bulk(key));
        Ok(())
    })
}

/// COMMAND GETKEYSANDFLAGS command argument...
pub fn command_getkeysandflags(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let keys = keys_in(&args[2..])?;
        out.array(keys.len());
        for (key, flags) in keys {
            out.array(2);
            out.bulk(key);
            write_words(flags.iter().copied(), out);
        }
        Ok(())
    })
}

fn keys_in<'a>(line: &[&'a [u8]]) -> Result<Vec<UsedKey<'a>>, ErrorText> {
    let row = table::lookup(line[0]).ok_or("ERR Invalid command specified")?;
    let spec = &COMMANDS[usize::from(row)];
    let spec = match line.get(1).filter(|_| !spec.subcommands().is_empty()) {
        Some(name) => spec.subcommand(name).ok_or("ERR Invalid command specified")?,
        None => spec,
    };
    let keys = key_specs(spec);
    if keys.is_empty() {
        return Err("ERR The command has no key arguments".into());
    }
    if !spec.accepts(line.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    keys_of(spec, line).ok_or(ErrorText::Borrowed("ERR Invalid arguments specified for command"))
}

/// All rows, each followed by its subcommands.
fn all() -> impl Iterator<Item = &'static Spec> {
    COMMANDS.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands()))
}

/// A command, or a subcommand by its full name.
fn find(name: &[u8]) -> Option<&'static Spec> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let spec = &COMMANDS[usize::from(table::lookup(parts.next()?)?)];
    match parts.next() {
        Some(own) => spec.subcommand(own),
        None => Some(spec),
    }
}

/// One command as COMMAND INFO tells it.
fn describe(spec: &Spec, out: &mut Writer<'_>) {
    out.array(10);
    out.bulk(spec.name.as_bytes());
    out.int(spec.arity.into());
    write_words(spec.flags.names(), out);
    for position in [spec.keys.first, spec.keys.last, spec.keys.step] {
        out.int(position.into());
    }
    write_words(spec.categories().names(), out);
    // Hints for proxies and cluster clients: none.
    out.set(0);
    let keys = key_specs(spec);
    out.set(keys.len());
    keys.iter().for_each(|key| describe_keys(key, out));
    out.array(spec.subcommands().len());
    spec.subcommands().iter().for_each(|sub| describe(sub, out));
}

fn describe_keys(keys: &KeySpec, out: &mut Writer<'_>) {
    out.map(3);
    out.bulk(b"flags");
    write_words(keys.flags.iter().copied(), out);
    out.bulk(b"begin_search");
    write_search("index", &[("index", keys.first as i64)], out);
    out.bulk(b"find_keys");
    match keys.find {
        Find::Range { last, step } => {
            write_search("range", &[("lastkey", last.into()), ("keystep", step.into()), ("limit", 0)], out);
        }
        Find::Numbered => {
            write_search("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)], out);
        }
        Find::Counted => {
            write_search("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 2)], out);
        }
    }
}

fn write_search(kind: &str, fields: &[(&str, i64)], out: &mut Writer<'_>) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(fields.len());
    for (field, value) in fields {
        out.bulk(field.as_bytes());
        out.int(*value);
    }
}

fn write_words(words: impl Iterator<Item = &'static str> + Clone, out: &mut Writer<'_>) {
    out.set(words.clone().count());
    words.for_each(|word| out.simple(word));
}

fn write_docs(specs: &[&Spec], out: &mut Writer<'_>) {
    out.map(specs.len());
    for spec in specs {
        out.bulk(spec.name.as_bytes());
        let subcommands: Vec<&Spec> = spec.subcommands().iter().collect();
        out.map(4 + usize::from(!subcommands.is_empty()));
        for (field, text) in [
            ("summary", spec.summary),
            ("since", spec.since),
            ("group", spec.group.name()),
            ("complexity", spec.complexity),
        ] {
            out.bulk(field.as_bytes());
            out.bulk(text.as_bytes());
        }
        if !subcommands.is_empty() {
            out.bulk(b"subcommands");
            write_docs(&subcommands, out);
        }
    }
}
