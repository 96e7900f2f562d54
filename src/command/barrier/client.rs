//! CLIENT: what a connection says about itself, and what one may know of and do to others.

use super::client_filter::{self, Asked};
use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{ClientFilter, Context, Flow, PauseMode, integer};
use crate::conn::ReplyMode;
use crate::proto::resp::Writer;

/// CLIENT ID.
pub fn client_id(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(i64::try_from(ctx.session.id).unwrap_or(i64::MAX));
    Flow::Continue
}

/// CLIENT INFO: this connection's line of CLIENT LIST.
pub fn client_info(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.verbatim(b"txt", ctx.host.client_info(ctx.session.id).as_bytes());
    Flow::Continue
}

/// CLIENT LIST [filter value]...
pub fn client_list(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let filter = client_filter::parse(&args[2..], ctx.session.id, Asked::List)?;
        let lines = filter.map(|filter| ctx.host.client_list(&filter)).unwrap_or_default();
        out.verbatim(b"txt", lines.as_bytes());
        Ok(())
    })
}

/// CLIENT KILL ip:port, or CLIENT KILL filter value...: how many are closed. The old form answers OK, or an error if there is none.
pub fn client_kill(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let mut flow = Flow::Continue;
    reply(out, |out| {
        let old_form = args.len() == 3;
        let filter = if old_form {
            let addr = String::from_utf8_lossy(args[2]).into_owned();
            Some(ClientFilter { addr: Some(addr), ..ClientFilter::default() })
        } else {
            client_filter::parse(&args[2..], ctx.session.id, Asked::Kill)?
        };
        let (killed, own) = filter.map_or((0, false), |filter| kill(filter, ctx));
        if own {
            flow = Flow::Close;
        }
        match (old_form, killed) {
            (true, 0) => return Err("ERR No such client".into()),
            (true, _) => out.ok(),
            (false, killed) => out.int(i64::try_from(killed).unwrap_or(i64::MAX)),
        }
        Ok(())
    });
    flow
}

/// Closes all others that match; whether the caller matches too is told, because its reply is to be sent first.
fn kill(mut filter: ClientFilter, ctx: &Context<'_>) -> (usize, bool) {
    let id = ctx.session.id;
    let mut only_own = filter.clone();
    only_own.also.push(crate::command::ClientCondition::Id(vec![id]));
    let own = filter.skip_id != Some(id) && !ctx.host.client_list(&only_own).is_empty();
    filter.skip_id = Some(id);
    (ctx.host.client_kill(&filter) + usize::from(own), own)
}

/// CLIENT GETNAME.
pub fn client_getname(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    match &*ctx.session.name {
        "" => out.null(),
        name => out.bulk(name.as_bytes()),
    }
    Flow::Continue
}

/// CLIENT SETNAME name; an empty one takes the name away.
pub fn client_setname(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        ctx.session.name = name_of(args[2])?;
        ctx.host.client_changed(ctx.session);
        out.ok();
        Ok(())
    })
}

/// CLIENT SETINFO LIB-NAME|LIB-VER text.
pub fn client_setinfo(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let option = args[2].to_ascii_uppercase();
        let field = match &option[..] {
            b"LIB-NAME" => &mut ctx.session.lib_name,
            b"LIB-VER" => &mut ctx.session.lib_version,
            _ => {
                let option = String::from_utf8_lossy(args[2]);
                return Err(format!("ERR Unrecognized option '{option}'").into());
            }
        };
        *field = plain_text(short(args[3])?).ok_or_else(|| {
            let option = String::from_utf8_lossy(args[2]);
            ErrorText::from(format!("ERR {option} cannot contain spaces, newlines or special characters."))
        })?;
        ctx.host.client_changed(ctx.session);
        out.ok();
        Ok(())
    })
}

/// A connection's name: printable, without spaces, so that CLIENT LIST stays readable by machines.
pub fn name_of(name: &[u8]) -> Result<Box<str>, ErrorText> {
    plain_text(short(name)?)
        .ok_or(ErrorText::Borrowed("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// What every connection may make the server keep is bounded.
fn short(text: &[u8]) -> Result<&[u8], ErrorText> {
    let longest = crate::limits::CLIENT_NAME_LEN;
    if text.len() > longest {
        Err(format!("ERR Client names and library texts have at most {longest} bytes.").into())
    } else {
        Ok(text)
    }
}

fn plain_text(text: &[u8]) -> Option<Box<str>> {
    // Valkey reads these as C strings, to the first NUL.
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let text = text.iter().all(u8::is_ascii_graphic).then(|| std::str::from_utf8(text).ok())?;
    text.map(Box::from)
}

/// CLIENT NO-EVICT ON|OFF.
pub fn client_no_evict(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        ctx.session.no_evict = on_or_off(args[2])?;
        ctx.host.client_changed(ctx.session);
        out.ok();
        Ok(())
    })
}

/// CLIENT NO-TOUCH ON|OFF: reads do not count as use.
pub fn client_no_touch(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        ctx.session.no_touch = on_or_off(args[2])?;
        ctx.host.client_changed(ctx.session);
        out.ok();
        Ok(())
    })
}

fn on_or_off(word: &[u8]) -> Result<bool, ErrorText> {
    match &word.to_ascii_uppercase()[..] {
        b"ON" => Ok(true),
        b"OFF" => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}

/// CLIENT REPLY ON|OFF|SKIP: only ON is answered. SKIP changes nothing while replies are off.
pub fn client_reply(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let mode = &mut ctx.session.reply_mode;
        match &args[2].to_ascii_uppercase()[..] {
            b"ON" => {
                *mode = ReplyMode::On;
                out.ok();
            }
            b"OFF" => *mode = ReplyMode::Off,
            b"SKIP" if *mode == ReplyMode::Off => {}
            b"SKIP" => *mode = ReplyMode::SkipNext,
            _ => return Err(SYNTAX.into()),
        }
        Ok(())
    })
}

/// CLIENT PAUSE milliseconds [WRITE|ALL].
pub fn client_pause(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let mode = match args.get(3).map(|mode| mode.to_ascii_uppercase()) {
            None => PauseMode::All,
            Some(mode) if mode == b"ALL" => PauseMode::All,
            Some(mode) if mode == b"WRITE" => PauseMode::Write,
            Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
        };
        if args.len() > 4 {
            return Err(SYNTAX.into());
        }
        let timeout_ms = integer(args[2])
            .map_err(|_| ErrorText::Borrowed("ERR timeout is not an integer or out of range"))?;
        let timeout_ms =
            u64::try_from(timeout_ms).map_err(|_| ErrorText::Borrowed("ERR timeout is negative"))?;
        if i64::try_from(ctx.now_ms.saturating_add(timeout_ms)).is_err() {
            return Err("ERR timeout is out of range".into());
        }
        ctx.host.client_pause(Some((timeout_ms, mode)));
        out.ok();
        Ok(())
    })
}

/// CLIENT UNPAUSE.
pub fn client_unpause(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    ctx.host.client_pause(None);
    out.ok();
    Flow::Continue
}
