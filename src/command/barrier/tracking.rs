//! CLIENT TRACKING and its kin: a client caches what it reads, and is told when that is no longer true. And CLIENT MAINT_NOTIFICATIONS:
//! it is told where to go when this server ends.

use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer};
use crate::conn::{Maintenance, Tracking};
use crate::limits;
use crate::proto::resp::Writer;

/// CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix]... [BCAST] [OPTIN] [OPTOUT] [NOLOOP].
pub fn client_tracking(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let wanted = options(&args[3..], ctx)?;
        match &args[2].to_ascii_uppercase()[..] {
            b"ON" => turn_on(wanted, ctx)?,
            b"OFF" => turn_off(ctx),
            _ => return Err(SYNTAX.into()),
        }
        ctx.host.client_changed(ctx.session);
        out.ok();
        Ok(())
    })
}

fn options(options: &[&[u8]], ctx: &Context<'_>) -> Result<Tracking, ErrorText> {
    let mut wanted = Tracking::default();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match &option.to_ascii_uppercase()[..] {
            b"REDIRECT" => {
                let id = rest.next().ok_or(ErrorText::Borrowed(SYNTAX))?;
                if wanted.redirect.is_some() {
                    return Err("ERR A client can only redirect to a single other client".into());
                }
                let id = u64::try_from(integer(id)?).unwrap_or(u64::MAX);
                if !ctx.host.pushes().is_connected(id) {
                    return Err("ERR The client ID you want redirect to does not exist".into());
                }
                wanted.redirect = Some(id);
            }
            b"PREFIX" => {
                let prefix = rest.next().ok_or(ErrorText::Borrowed(SYNTAX))?;
                wanted.prefixes.push((*prefix).into());
            }
            b"BCAST" => wanted.bcast = true,
            b"OPTIN" => wanted.optin = true,
            b"OPTOUT" => wanted.optout = true,
            b"NOLOOP" => wanted.noloop = true,
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(wanted)
}

fn turn_on(mut wanted: Tracking, ctx: &mut Context<'_>) -> Result<(), ErrorText> {
    if !wanted.bcast && !wanted.prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
    }
    if let Some(old) = ctx.session.tracking() {
        if old.bcast != wanted.bcast {
            return Err(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
                 with a different mode."
                    .into(),
            );
        }
        if old.optin && wanted.optout || old.optout && wanted.optin {
            return Err(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
                 with a different mode."
                    .into(),
            );
        }
    }
    if wanted.bcast && (wanted.optin || wanted.optout) {
        return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
    }
    if wanted.optin && wanted.optout {
        return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
    }
    let old = ctx.session.tracking().map(|old| old.prefixes.clone()).unwrap_or_default();
    wanted.prefixes = joined(old, wanted.prefixes)?;
    if wanted.bcast && wanted.prefixes.is_empty() {
        wanted.prefixes.push(Box::default());
    }
    // The low half of the number tells all connections apart that there can be at the same time.
    ctx.session.origin = if wanted.noloop { ctx.session.id as u32 } else { 0 };
    ctx.host.pushes().track(ctx.session.id, Some(&wanted));
    ctx.session.listening_mut().tracking = Some(wanted);
    Ok(())
}

/// The prefixes that were there, and further ones, of which none may begin with another.
fn joined(old: Vec<Box<[u8]>>, new: Vec<Box<[u8]>>) -> Result<Vec<Box<[u8]>>, ErrorText> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let text = |prefix: &[u8]| String::from_utf8_lossy(prefix).into_owned();
    for (i, prefix) in new.iter().enumerate() {
        if let Some(other) = old.iter().find(|other| overlap(prefix, other)) {
            let (prefix, other) = (text(prefix), text(other));
            return Err(format!(
                "ERR Prefix '{prefix}' overlaps with an existing prefix '{other}'. Prefixes for a single client must not overlap."
            )
            .into());
        }
        if let Some(other) = new[i + 1..].iter().find(|other| overlap(prefix, other)) {
            let (prefix, other) = (text(prefix), text(other));
            return Err(format!(
                "ERR Prefix '{prefix}' overlaps with another provided prefix '{other}'. Prefixes for a single client must not \
                 overlap."
            )
            .into());
        }
    }
    let all = [old, new].concat();
    let bytes: usize = all.iter().map(|prefix| prefix.len()).sum();
    if all.len() > limits::TRACKING_PREFIXES || bytes > limits::SUBSCRIPTION_BYTES {
        let (most, bytes) = (limits::TRACKING_PREFIXES, limits::SUBSCRIPTION_BYTES);
        return Err(format!("ERR a client may have {most} prefixes of {bytes} bytes together at most").into());
    }
    Ok(all)
}

fn turn_off(ctx: &mut Context<'_>) {
    if ctx.session.tracking().is_some() {
        ctx.session.listening_mut().tracking = None;
        ctx.session.origin = 0;
        ctx.host.pushes().track(ctx.session.id, None);
    }
}

/// CLIENT CACHING YES|NO: for the next command.
pub fn client_caching(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let asked = ctx.session.listening.as_mut().and_then(|listening| listening.tracking.as_mut());
        let Some(tracking) = asked.filter(|tracking| tracking.optin || tracking.optout) else {
            return Err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                        enabled"
                .into());
        };
        match &args[2].to_ascii_uppercase()[..] {
            b"YES" if tracking.optin => tracking.caching = true,
            b"YES" => {
                return Err(
                    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.".into()
                );
            }
            b"NO" if tracking.optout => tracking.caching = true,
            b"NO" => {
                return Err(
                    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.".into()
                );
            }
            _ => return Err(SYNTAX.into()),
        }
        out.ok();
        Ok(())
    })
}

/// CLIENT GETREDIR: -1 without tracking, 0 without redirection.
pub fn client_getredir(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(redirection(ctx));
    Flow::Continue
}

fn redirection(ctx: &Context<'_>) -> i64 {
    ctx.session.tracking().map_or(-1, |tracking| tracking.redirect.map_or(0, |id| id as i64))
}

/// CLIENT TRACKINGINFO.
pub fn client_trackinginfo(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let mut flags = Vec::new();
    let tracking = ctx.session.tracking();
    match tracking {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            let named = [
                (tracking.bcast, "bcast"),
                (tracking.optin, "optin"),
                (tracking.optin && tracking.caching, "caching-yes"),
                (tracking.optout, "optout"),
                (tracking.optout && tracking.caching, "caching-no"),
                (tracking.noloop, "noloop"),
                (ctx.host.pushes().redirect_is_broken(ctx.session.id), "broken_redirect"),
            ];
            flags.extend(named.iter().filter(|(is, _)| *is).map(|(_, name)| *name));
        }
    }
    out.map(3);
    out.bulk(b"flags");
    out.set(flags.len());
    flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"redirect");
    out.int(redirection(ctx));
    out.bulk(b"prefixes");
    let prefixes = tracking.map(|tracking| &tracking.prefixes[..]).unwrap_or_default();
    out.array(prefixes.len());
    prefixes.iter().for_each(|prefix| out.bulk(prefix));
    Flow::Continue
}

/// CLIENT MAINT_NOTIFICATIONS ON|OFF [moving-endpoint-type internal-ip|internal-fqdn|external-ip|external-fqdn|none]: there is one
/// address to tell whatever its type.
pub fn client_maint_notifications(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let on = match &args[2].to_ascii_uppercase()[..] {
            b"ON" => true,
            b"OFF" => false,
            _ => return Err(SYNTAX.into()),
        };
        let (mut wanted, mut rest) = (Maintenance::Address, &args[3..]);
        while let Some((option, values)) = rest.split_first() {
            let Some((value, after)) = values.split_first() else { return Err(SYNTAX.into()) };
            if !option.eq_ignore_ascii_case(b"moving-endpoint-type") {
                return Err(SYNTAX.into());
            }
            wanted = match &value.to_ascii_lowercase()[..] {
                b"none" => Maintenance::NoAddress,
                b"internal-ip" | b"internal-fqdn" | b"external-ip" | b"external-fqdn" => Maintenance::Address,
                _ => return Err("ERR Invalid moving-endpoint-type".into()),
            };
            rest = after;
        }
        match (on, &mut ctx.session.listening) {
            (false, None) => {}
            (false, Some(listening)) => listening.maintenance = Maintenance::Off,
            (true, listening) => listening.get_or_insert_default().maintenance = wanted,
        }
        out.ok();
        Ok(())
    })
}
