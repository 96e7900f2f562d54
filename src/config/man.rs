//! The manual page: the options as clap knows them, and around them what it does not know.

use super::cli::Cli;
use super::file::INSTALLED;
use super::merge::FILE_VARIABLE;
use super::options;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// Terms, each with its explanation.
type Terms = &'static [(&'static str, &'static str)];

const SYNOPSIS: Terms = &[
    ("kv-server", "[options]"),
    ("kv-server doctor", "[--json | --quiet] [--strict] [options]"),
    ("kv-server ping", "[--host HOST] [--port PORT] [--timeout-ms MILLISECONDS] [--config FILE]"),
    ("kv-server completions", "bash|elvish|fish|powershell|zsh"),
    ("kv-server man", ""),
];

const DESCRIPTION: &[&str] = &[
    "kv-server is an in-memory key-value cache for one Linux machine. One port speaks Redis's protocol, memcached's, HTTP, JSON lines and \
     protobuf; what was written with one is read with another. It keeps nothing on disk.",
    "Without a command it serves, in the foreground, until a signal ends it, and tells what it does on standard error. It does not fork: \
     let systemd or a container run it.",
    "Without a password it answers only to clients on its own machine. To open it, set KV_REQUIREPASS, or --protected-mode no where \
     something else guards the port.",
];

const FILES: Terms = &[
    (
        INSTALLED,
        "The configuration file of the installed server; its unit names it by --config. Nothing else is read unless it is named, but that \
         doctor looks at this file too. It is TOML: one option a line, named as its flag, such as max-memory = \"1.4GB\". A line that is \
         wrong is named, and the server does not start.",
    ),
    (
        "/etc/kv-cache/kv-cache.env",
        "Variables for the installed server, read by systemd: the place for KV_REQUIREPASS. Only root should read it.",
    ),
    ("/etc/sysctl.d/90-kv-cache.conf", "The kernel's settings, each with its reason; doctor checks them."),
];

const EXIT_STATUS: Terms = &[
    ("0", "It ended as it was told to; ping: a server answers."),
    (
        "1",
        "It could not start, or lost a thread without which it could not serve; the reason is on standard error. ping: no server answers.",
    ),
    ("2", "The command line is wrong."),
    (
        "doctor",
        "0: the server can run as configured; 1: with --strict, there are warnings; 2: the server could not start, or not as configured.",
    ),
];

const SIGNALS: Terms = &[
    (
        "SIGTERM, SIGINT",
        "Take no more connections, answer what has arrived, and end, after --drain-timeout seconds at most. A second one ends it at once.",
    ),
    ("SIGPIPE", "Ignored."),
];

const EXAMPLES: Terms = &[
    ("kv-server --max-memory 4GB --port 6379", "Serves with four gigabytes where Redis would be."),
    (
        "kv-server --config kv.toml --print-config",
        "Shows what is in effect with that file, and where each value comes from.",
    ),
    ("kv-server --print-default-config >kv.toml", "Begins a configuration file."),
    (
        "KV_REQUIREPASS=\"$(cat secret)\" kv-server",
        "Serves other machines too, to those who know the password.",
    ),
    ("kv-server doctor", "Says what of this machine holds the server back, and the commands that mend it."),
    ("kv-server ping && echo alive", "For health checks."),
    ("kv-server completions bash >/etc/bash_completion.d/kv-server", "Completes options in bash."),
];

/// As roff, for man(1).
pub fn page() -> Vec<u8> {
    let mut command = Cli::command();
    command.build();
    body(&command).render().into_bytes()
}

fn body(command: &Command) -> Roff {
    let mut roff = Roff::new();
    // No date: the same source gives the same page.
    roff.control(
        "TH",
        ["KV-SERVER", "1", " ", concat!("KV-Cache ", env!("CARGO_PKG_VERSION")), "User Commands"],
    );
    // No words broken in two, which hides names from a search; no lines blown up.
    roff.control("nh", []);
    roff.control("ad", ["l"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("kv-server - an in-memory key-value cache")]);
    synopsis(&mut roff);
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in DESCRIPTION {
        roff.control("PP", []);
        roff.text([roman(*paragraph)]);
    }
    commands(&mut roff, command);
    roff.control("SH", ["OPTIONS"]);
    let general: Vec<&Arg> = command.get_arguments().filter(|arg| arg.get_help_heading().is_none()).collect();
    arguments(&mut roff, &general);
    let options = options::all();
    let mut headings: Vec<&str> = options.get_arguments().filter_map(Arg::get_help_heading).collect();
    headings.dedup();
    for heading in headings {
        roff.control("SS", [heading]);
        let group: Vec<&Arg> =
            options.get_arguments().filter(|arg| arg.get_help_heading() == Some(heading)).collect();
        arguments(&mut roff, &group);
    }
    environment(&mut roff);
    section(&mut roff, "FILES", FILES, italic);
    section(&mut roff, "SIGNALS", SIGNALS, roman);
    section(&mut roff, "EXIT STATUS", EXIT_STATUS, roman);
    section(&mut roff, "EXAMPLES", EXAMPLES, bold);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("redis-cli"),
        roman("(1), "),
        bold("memcached"),
        roman("(1), "),
        bold("systemd.exec"),
        roman("(5)"),
    ]);
    roff
}

fn synopsis(roff: &mut Roff) {
    roff.control("SH", ["SYNOPSIS"]);
    for (number, (command, arguments)) in SYNOPSIS.iter().enumerate() {
        if number > 0 {
            roff.control("br", []);
        }
        roff.text([bold(*command), roman(" "), roman(*arguments)]);
    }
}

fn commands(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let about =
            command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        roff.control("TP", []);
        roff.text([bold(command.get_name())]);
        let about = about.replace("\n\n", " ");
        roff.text([roman(format!("{}.", about.trim_end_matches('.')))]);
        let own = |arg: &&Arg| {
            let from_elsewhere = arg.get_help_heading().is_some() || arg.get_id() == "config";
            !from_elsewhere && arg.get_long().is_some_and(|name| name != "help")
        };
        let own: Vec<&Arg> = command.get_arguments().filter(own).collect();
        if !own.is_empty() {
            roff.control("RS", []);
            arguments(roff, &own);
            roff.control("RE", []);
        }
    }
}

fn arguments(roff: &mut Roff, arguments: &[&Arg]) {
    for arg in arguments {
        roff.control("TP", []);
        roff.text(title(arg));
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut text = help.trim_end_matches('.').to_string();
        let default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if !default.is_empty() && arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
            text += &format!(" [default: {}]", default.join(","));
        }
        let (plain, explained): (Vec<_>, Vec<_>) =
            options::choices(arg).into_iter().partition(|(_, help)| help.is_empty());
        if !plain.is_empty() && arg.get_action().takes_values() {
            let names: Vec<String> = plain.into_iter().map(|(name, _)| name).collect();
            text += &format!(". One of {}", names.join(", "));
        }
        roff.text([roman(format!("{text}."))]);
        for (name, help) in explained {
            roff.control("RS", []);
            roff.control("TP", ["10"]);
            roff.text([bold(name)]);
            roff.text([roman(help)]);
            roff.control("RE", []);
        }
    }
}

fn title(arg: &Arg) -> Vec<Inline> {
    let mut title = Vec::new();
    if let Some(short) = arg.get_short() {
        title.extend([bold(format!("-{short}")), roman(", ")]);
    }
    title.push(bold(format!("--{}", options::name(arg))));
    let takes_value = arg.get_action().takes_values();
    if let Some(value) = arg.get_value_names().and_then(|names| names.first()).filter(|_| takes_value) {
        let (before, after) = if options::is_switch(arg) { ("[=", "]") } else { (" ", "") };
        title.extend([roman(before), italic(value.as_str()), roman(after)]);
    }
    title
}

fn environment(roff: &mut Roff) {
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman(
        "Every option of the server can be given by a variable: its name in capitals, with underscores, behind KV_. A flag beats it, it \
         beats the file. Switches take true and false. An empty variable counts as none.",
    )]);
    roff.control("TP", []);
    roff.text([bold(FILE_VARIABLE)]);
    roff.text([roman("The configuration file, as --config.")]);
    roff.control("TP", []);
    let all = options::all();
    let mut names = Vec::new();
    for variable in all.get_arguments().filter_map(|arg| arg.get_env()?.to_str()) {
        if !names.is_empty() {
            names.push(roman(", "));
        }
        names.push(bold(variable));
    }
    roff.text([roman("The others")]);
    roff.text(names);
}

fn section(roff: &mut Roff, title: &str, terms: Terms, style: fn(&'static str) -> Inline) {
    roff.control("SH", [title]);
    for (term, explanation) in terms {
        roff.control("TP", []);
        roff.text([style(term)]);
        roff.text([roman(*explanation)]);
    }
}
