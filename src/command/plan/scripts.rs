//! Calls of scripts that are known to be one operation on one key. All others run in Lua, alone.

use super::*;
use crate::command::script::{ScriptCache, Shape, parse_digest};

/// EVAL script 1 key argument...
pub fn eval<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Option<Op<'a>> {
    on_one_key(args, ctx, |scripts| scripts.shape_of_source(args[1]))
}

/// EVALSHA sha1 1 key argument...
pub fn evalsha<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Option<Op<'a>> {
    on_one_key(args, ctx, |scripts| scripts.shape(&parse_digest(args[1])?))
}

#[inline]
fn on_one_key<'a>(
    args: &[&'a [u8]],
    ctx: &PlanContext<'a, '_>,
    find: impl FnOnce(&ScriptCache) -> Option<Shape>,
) -> Option<Op<'a>> {
    if args.len() < 4 || args[2] != b"1" {
        return None;
    }
    find(ctx.host.scripts())?.op(&args[4..], ctx)
}
