//! The short way for the two commands of which a cache's load is made: what [`super::plan`] would make of them.

use crate::command::table::row;
use crate::command::{CommandStats, Op, Payload, Request};
use crate::proto::resp::Common;
use crate::proto::{Form, Outcome};
use crate::store::{Expiry, Key, Store};

/// Plans a GET or SET of an authenticated client in its database, to be answered in its form, and has its index bucket fetched: it is
/// here when the batch is executed. False: a value that needs the long way.
#[inline]
pub fn plan_common<'a>(
    common: &Common<'a>,
    store: &Store,
    db: u8,
    form: Form<'a>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> bool {
    const GET: usize = row("get") as usize;
    const SET: usize = row("set") as usize;
    let key = store.key(db, common.key);
    // One push for each operation: a request put together from parts is copied in words wider than those it was written in, and
    // waiting for such stores was a tenth of a worker's own time.
    match common.value {
        None => {
            stats.calls[GET] += 1;
            requests.push(request(key, Op::Get, form));
        }
        Some(value) if value.len() <= store.large_threshold() => {
            stats.calls[SET] += 1;
            let op = Op::Set { value: Payload::Inline(value), expiry: Expiry::None };
            requests.push(request(key, op, form));
        }
        Some(_) => return false,
    }
    store.prefetch(key.hash);
    true
}

#[inline(always)]
fn request<'a>(key: Key<'a>, op: Op<'a>, form: Form<'a>) -> Request<'a> {
    Request { key, op, form, outcome: Outcome::Pending }
}
