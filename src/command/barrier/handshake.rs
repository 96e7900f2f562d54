//! What a connection says first and last: HELLO, AUTH, RESET, QUIT, and PING and ECHO between.

use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, REDIS_VERSION};
use crate::proto::resp::Writer;

const DEFAULT_USER: &[u8] = b"default";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// HELLO [2|3 [AUTH user password] [SETNAME name]]: the protocol version, and a description of the server. Nothing changes unless all of
/// it can be done.
pub fn hello(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let resp3 = match args.get(1).map(|version| crate::command::integer(version)) {
            None => None,
            Some(Ok(version @ 2..=3)) => Some(version == 3),
            Some(Ok(_)) => return Err("NOPROTO unsupported protocol version".into()),
            Some(Err(_)) => return Err("ERR Protocol version is not an integer or out of range".into()),
        };
        let name = hello_options(args.get(2..).unwrap_or_default(), ctx)?;
        if !ctx.session.authenticated {
            return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                        AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                        version at the same time"
                .into());
        }
        if let Some(name) = name {
            ctx.session.name = name;
        }
        if let Some(resp3) = resp3 {
            ctx.session.resp3 = resp3;
            out.set_resp3(resp3);
        }
        ctx.host.client_changed(ctx.session);
        describe_server(ctx.session.id, out);
        Ok(())
    })
}

/// Authenticates at once, as Redis does; returns the name to be set if all else is well.
fn hello_options(options: &[&[u8]], ctx: &mut Context<'_>) -> Result<Option<Box<str>>, ErrorText> {
    let mut name = None;
    let mut rest = options;
    while let Some((option, values)) = rest.split_first() {
        match (&option.to_ascii_uppercase()[..], values) {
            (b"AUTH", [user, password, after @ ..]) => {
                log_in(user, password, ctx)?;
                rest = after;
            }
            (b"SETNAME", [wanted, after @ ..]) => {
                name = Some(super::client::name_of(wanted)?);
                rest = after;
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(format!("ERR Syntax error in HELLO option '{option}'").into());
            }
        }
    }
    Ok(name)
}

fn describe_server(id: u64, out: &mut Writer<'_>) {
    out.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        out.bulk(field.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"proto");
    out.int(if out.resp3() { 3 } else { 2 });
    out.bulk(b"id");
    out.int(i64::try_from(id).unwrap_or(i64::MAX));
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        out.bulk(field.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"modules");
    out.array(0);
}

/// AUTH [user] password.
pub fn auth(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        match args {
            [_, password] => {
                if !ctx.host.password_required() {
                    return Err("ERR AUTH <password> called without any password configured for the default user. Are \
                                you sure your configuration is correct?"
                        .into());
                }
                log_in(DEFAULT_USER, password, ctx)?;
            }
            [_, user, password] => log_in(user, password, ctx)?,
            _ => return Err(SYNTAX.into()),
        }
        out.ok();
        Ok(())
    })
}

/// Without a password set, the user `default` may come with any, as in Redis.
fn log_in(user: &[u8], password: &[u8], ctx: &mut Context<'_>) -> Result<(), ErrorText> {
    let open = user == DEFAULT_USER && !ctx.host.password_required();
    if !open && !ctx.host.authenticate(user, password) {
        return Err(WRONG_PASSWORD.into());
    }
    ctx.session.authenticated = true;
    Ok(())
}

/// RESET: the connection as it began, RESP2 and database 0; logged out where there is a password.
pub fn reset(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    super::pubsub::forget(ctx.session, ctx.host.pushes());
    ctx.session.reset(!ctx.host.password_required());
    ctx.host.client_changed(ctx.session);
    out.simple("RESET");
    Flow::Continue
}

/// QUIT: what came before is answered, then the connection is closed.
pub fn quit(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.ok();
    Flow::Close
}

/// PING [message]; to a subscriber in RESP2 in the form of a message.
pub fn ping(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    match args {
        [_] | [_, _] if ctx.session.only_subscribes() => {
            out.array(2);
            out.bulk(b"pong");
            out.bulk(args.get(1).copied().unwrap_or_default());
        }
        [_] => out.simple("PONG"),
        [_, message] => out.bulk(message),
        _ => out.error("ERR wrong number of arguments for 'ping' command"),
    }
    Flow::Continue
}

/// ECHO message.
pub fn echo(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.bulk(args[1]);
    Flow::Continue
}
