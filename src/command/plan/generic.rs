//! (Follows.)
use super::*;
pub fn del<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn exists<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn memory_usage<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn move_key<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn object_encoding<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn object_freq<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn object_idletime<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn object_refcount<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn touch<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn type_of<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn pong() -> Outcome {
    Outcome::Pong
}
