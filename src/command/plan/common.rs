//! The short way for the two commands of which a cache's load is made: what [`super::plan`] would make of them.

use crate::command::table::row;
use crate::command::{CommandStats, Op, Payload, Request};
use crate::conn::Session;
use crate::proto::Outcome;
use crate::proto::resp::Common;
use crate::store::{Expiry, Store};

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
    let (row, op) = match common.value {
        None => (GET, Op::Get),
        Some(value) if value.len() <= store.large_threshold() => {
            (SET, Op::Set { value: Payload::Inline(value), expiry: Expiry::None })
        }
        Some(_) => return false,
    };
    stats.calls[row] += 1;
    let key = store.key(session.db, common.key);
    store.prefetch(key.hash);
    requests.push(Request {
        key,
        op,
        resp3: session.resp3,
        no_touch: session.no_touch,
        outcome: Outcome::Pending,
    });
    true
}
