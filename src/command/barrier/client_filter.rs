//! The filters of CLIENT LIST and CLIENT KILL, which are the same but for whether the caller is spared.
//!
//! Most have a negated form, `NOT-` in front. Where one is given twice, the later counts.

use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{ClientCondition, ClientFilter, integer};
use crate::store::DATABASES;

/// Which command is asking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    List,
    Kill,
}

/// Letters that Redis has for flags of a connection.
const FLAGS: &str = "ObSMPxNcAuUtTreBRCkdoGiIE";

/// A filter from its arguments; `None` if nothing can match. `own_id` is spared on demand, by CLIENT KILL unless told otherwise.
pub fn parse(args: &[&[u8]], own_id: u64, asked: Asked) -> Result<Option<ClientFilter>, ErrorText> {
    let mut filter = ClientFilter::default();
    if asked == Asked::Kill {
        filter.skip_id = Some(own_id);
    }
    // What was given, by name; later ones replace earlier.
    let mut conditions: Vec<(String, ClientCondition)> = Vec::new();
    let mut matchable = true;
    let mut rest = args;
    while let [option, values @ ..] = rest {
        let option = String::from_utf8_lossy(option).to_ascii_uppercase();
        let (name, negated) = option.strip_prefix("NOT-").map_or((&option[..], false), |name| (name, true));
        let [value, after @ ..] = values else { return Err(SYNTAX.into()) };
        let text = String::from_utf8_lossy(value).into_owned();
        rest = after;
        let condition = match name {
            "ID" => {
                let (ids, after) = ids(values)?;
                rest = after;
                ClientCondition::Id(ids)
            }
            "SKIPME" if !negated => {
                filter.skip_id = yes_or_no(&text)?.then_some(own_id);
                continue;
            }
            "MAXAGE" if !negated => {
                filter.max_age_s = Some(positive(value, "maxage")?);
                continue;
            }
            "IDLE" if !negated => ClientCondition::IdleS(positive(value, "idle")?),
            "CAPA" => {
                // No connection has a capability.
                matchable &= negated;
                continue;
            }
            _ => condition(name, text, value)?,
        };
        let condition = if negated { ClientCondition::Not(Box::new(condition)) } else { condition };
        conditions.retain(|(given, _)| *given != option);
        conditions.push((option, condition));
    }
    filter.also = conditions.into_iter().map(|(_, condition)| condition).collect();
    Ok(matchable.then_some(filter))
}

fn condition(name: &str, text: String, value: &[u8]) -> Result<ClientCondition, ErrorText> {
    Ok(match name {
        "ADDR" => ClientCondition::Addr(text),
        "LADDR" => ClientCondition::Laddr(text),
        "IP" => ClientCondition::Ip(text),
        "NAME" => ClientCondition::Name(text),
        "LIB-NAME" => ClientCondition::LibName(text),
        "LIB-VER" => ClientCondition::LibVersion(text),
        "USER" if text == "default" => ClientCondition::User(text),
        "USER" => return Err(format!("ERR No such user '{text}'").into()),
        "TYPE" => match &text.to_ascii_lowercase()[..] {
            class @ ("normal" | "replica" | "pubsub") => ClientCondition::Class(class.to_owned()),
            "slave" => ClientCondition::Class("replica".to_owned()),
            "master" | "primary" => ClientCondition::Class("master".to_owned()),
            _ => return Err(format!("ERR Unknown client type '{text}'").into()),
        },
        "DB" => {
            let number = integer(value)
                .map_err(|_| ErrorText::Borrowed("ERR DB is not an integer or out of range"))?;
            let db = u8::try_from(number).ok().filter(|db| *db < DATABASES);
            ClientCondition::Db(db.ok_or(ErrorText::Borrowed("ERR DB number should be between 0 and 15"))?)
        }
        "FLAGS" => {
            let unknown: String = text.chars().filter(|flag| !FLAGS.contains(*flag)).collect();
            if !unknown.is_empty() {
                return Err(format!("ERR Unknown flags found in the provided filter: {unknown}").into());
            }
            ClientCondition::Flags(text)
        }
        _ => return Err(SYNTAX.into()),
    })
}

/// One number or more; returns what comes after them.
fn ids<'a, 'b>(values: &'b [&'a [u8]]) -> Result<(Vec<u64>, &'b [&'a [u8]]), ErrorText> {
    let count = values.iter().take_while(|value| integer(value).is_ok()).count();
    if count == 0 {
        return Err(SYNTAX.into());
    }
    let ids = values[..count].iter().map(|value| {
        let id = integer(value)?;
        u64::try_from(id)
            .ok()
            .filter(|id| *id > 0)
            .ok_or(ErrorText::Borrowed("ERR client-id should be greater than 0"))
    });
    Ok((ids.collect::<Result<_, _>>()?, &values[count..]))
}

fn positive(value: &[u8], what: &str) -> Result<u64, ErrorText> {
    let number = integer(value).map_err(|_| format!("ERR {what} is not an integer or out of range"))?;
    u64::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("ERR {what} should be greater than 0").into())
}

fn yes_or_no(word: &str) -> Result<bool, ErrorText> {
    match &word.to_ascii_lowercase()[..] {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}
