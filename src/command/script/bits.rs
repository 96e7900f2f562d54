//! The library `bit`: operations on 32-bit integers, of which numbers keep the lower bits.

use super::raise::complain;
use mlua::{Lua, Table, Value, Variadic};

pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let one = |name: &str, op: fn(i32) -> i32| {
        let function = lua.create_function(move |lua, x: Value| Ok(f64::from(op(bits(lua, &x)?))))?;
        table.raw_set(name, function)
    };
    one("tobit", |x| x)?;
    one("bnot", |x| !x)?;
    one("bswap", i32::swap_bytes)?;
    let many = |name: &str, op: fn(i32, i32) -> i32| {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            let Some((first, rest)) = args.split_first() else {
                return Err(complain(lua, "bad argument #1 (number expected, got no value)"));
            };
            let mut sum = bits(lua, first)?;
            for x in rest {
                sum = op(sum, bits(lua, x)?);
            }
            Ok(f64::from(sum))
        })?;
        table.raw_set(name, function)
    };
    many("band", |a, b| a & b)?;
    many("bor", |a, b| a | b)?;
    many("bxor", |a, b| a ^ b)?;
    // Of a distance the lower five bits count.
    let shift = |name: &str, op: fn(i32, u32) -> i32| {
        let function = lua.create_function(move |lua, (x, n): (Value, Value)| {
            Ok(f64::from(op(bits(lua, &x)?, bits(lua, &n)?.cast_unsigned() & 31)))
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

/// A number's lower 32 bits; fractions are rounded, halves to even.
fn bits(lua: &Lua, value: &Value) -> mlua::Result<i32> {
    let number = lua.coerce_number(value.clone())?;
    let number = number.ok_or_else(|| {
        complain(lua, &format!("bad argument #1 (number expected, got {})", value.type_name()))
    })?;
    const WORD: f64 = 4_294_967_296.0;
    // Between 0 and 2^32: the cast keeps it; what is no finite number becomes 0.
    Ok((number.round_ties_even().rem_euclid(WORD) as u32).cast_signed())
}

/// The last `digits` hexadecimal digits (8); in capitals if that is negative.
fn to_hex(lua: &Lua, (x, digits): (Value, Option<Value>)) -> mlua::Result<String> {
    let x = bits(lua, &x)?.cast_unsigned();
    let digits = digits.map_or(Ok(8), |digits| bits(lua, &digits))?;
    let kept = digits.unsigned_abs().min(8) as usize;
    let all = if digits < 0 { format!("{x:08X}") } else { format!("{x:08x}") };
    Ok(all[8 - kept..].to_owned())
}
