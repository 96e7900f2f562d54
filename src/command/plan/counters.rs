//! (Follows.)
use super::*;
pub fn decr<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn decrby<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn incr<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn incrby<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn incrbyfloat<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
