//! (Follows.)
use super::*;
pub fn append<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn delex<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn delifeq<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn digest<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn get<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn getdel<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn getrange<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn getset<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn mget<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn mset<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn psetex<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn set<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn setex<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn setnx<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn setrange<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
pub fn strlen<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Err("ERR not built yet".into())
}
