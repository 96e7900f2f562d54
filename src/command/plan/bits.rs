//! (Follows.)
use super::*;
pub fn bitcount<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn bitfield<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn bitfield_ro<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn bitpos<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn getbit<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn setbit<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
