//! Plans the binary protocol of memcached.

use super::super::{CommandStats, PlanContext, Request, Step};
use crate::proto::ParseLimits;
use crate::proto::memcached::binary::State;

/// Parses what is at the start of `rest`, all that this connection has sent and that has not been consumed, and plans it.
pub fn next<'a>(
    _rest: &'a [u8],
    _state: &mut State,
    _limits: &ParseLimits,
    _ctx: &PlanContext<'a, '_>,
    _stats: &mut CommandStats,
    _requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    Step::Fatal { reply: Vec::new() }
}
