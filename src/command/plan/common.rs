//! The short way for the two commands of which a cache's load is made: what [`super::plan`] would make of them.

use crate::command::table::row;
use crate::command::{CommandStats, Op, Payload, Request};
use crate::conn::Session;
use crate::proto::Outcome;
use crate::proto::resp::Common;
use crate::store::{Expiry, Key, Store};

/// Plans a GET or SET of an authenticated client, and has its index bucket fetched: it is here when the batch is executed. False: a
/// value that needs the long way.
#[inline]
pub fn plan_common<'a>(
    common: &Common<'a>,
    store: &Store,
    session: &Session,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> bool {
    const GET: usize = row("get") as usize;
    const SET: usize = row("set") as usize;
    let key = store.key(session.db, common.key);
    // One push for each operation: a request put together from parts is copied in words wider than those it was written in, and
    // waiting for such stores was a tenth of a worker's own time.
    match common.value {
        None => {
            stats.calls[GET] += 1;
            requests.push(request(key, Op::Get, session));
        }
        Some(value) if value.len() <= store.large_threshold() => {
            stats.calls[SET] += 1;
            let op = Op::Set { value: Payload::Inline(value), expiry: Expiry::None };
            requests.push(request(key, op, session));
        }
        Some(_) => return false,
    }
    store.prefetch(key.hash);
    true
}

#[inline(always)]
fn request<'a>(key: Key<'a>, op: Op<'a>, session: &Session) -> Request<'a> {
    Request { key, op, form: session.form(), outcome: Outcome::Pending }
}
