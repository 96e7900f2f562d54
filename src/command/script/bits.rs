//! The library `bit`: operations on 32-bit integers, of which numbers keep the lower bits.

use super::raise::wrong;
use mlua::{Lua, Table, Value, Variadic};

pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let one = |name: &'static str, op: fn(i32) -> i32| {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            Ok(f64::from(op(bits(lua, &args, 1, name)?)))
        })?;
        table.raw_set(name, function)
    };
    one("tobit", |x| x)?;
    one("bnot", |x| !x)?;
    one("bswap", i32::swap_bytes)?;
    let many = |name: &'static str, op: fn(i32, i32) -> i32| {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            let mut sum = bits(lua, &args, 1, name)?;
            for n in 2..=args.len() {
                sum = op(sum, bits(lua, &args, n, name)?);
            }
            Ok(f64::from(sum))
        })?;
        table.raw_set(name, function)
    };
    many("band", |a, b| a & b)?;
    many("bor", |a, b| a | b)?;
    many("bxor", |a, b| a ^ b)?;
    // Of a distance the lower five bits count.
    let shift = |name: &'static str, op: fn(i32, u32) -> i32| {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            let distance = bits(lua, &args, 2, name)?.cast_unsigned() & 31;
            Ok(f64::from(op(bits(lua, &args, 1, name)?, distance)))
        })?;
        table.raw_set(name, function)
    };
    shift("lshift", |x, n| x << n)?;
    shift("rshift", |x, n| (x.cast_unsigned() >> n).cast_signed())?;
    shift("arshift", |x, n| x >> n)?;
    shift("rol", i32::rotate_left)?;
    shift("ror", i32::rotate_right)?;
    table.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(table)
}

/// The lower 32 bits of the argument `n`; fractions are rounded, halves to even.
fn bits(lua: &Lua, args: &[Value], n: usize, name: &str) -> mlua::Result<i32> {
    let value = args.get(n - 1);
    let number = value.map_or(Ok(None), |value| lua.coerce_number(value.clone()))?;
    let number = number.ok_or_else(|| wrong(lua, n, name, "number", value))?;
    const WORD: f64 = 4_294_967_296.0;
    // Between 0 and 2^32: the cast keeps it; what is no finite number becomes 0.
    Ok((number.round_ties_even().rem_euclid(WORD) as u32).cast_signed())
}

/// The last `digits` hexadecimal digits (8); in capitals if that is negative.
fn to_hex(lua: &Lua, args: Variadic<Value>) -> mlua::Result<String> {
    let x = bits(lua, &args, 1, "tohex")?.cast_unsigned();
    let digits = if args.len() > 1 { bits(lua, &args, 2, "tohex")? } else { 8 };
    let kept = digits.unsigned_abs().min(8) as usize;
    let all = if digits < 0 { format!("{x:08X}") } else { format!("{x:08x}") };
    Ok(all[8 - kept..].to_owned())
}
