//! Many operations in one request: `POST /v1/batch`, in JSON.
//!
//! ```text
//!   {"ops":[{"op":"get","key":"a"},{"op":"set","key":"b","value":"x","ttl_ms":1000},{"op":"incr","key":"n","by":2}]}
//!   {"results":[{"status":404,"error":{…}},{"status":204},{"status":200,"value":5}]}
//! ```
//!
//! They run one after the other and are not atomic together. What is wrong with one of them is in its result; a body that is no
//! batch is one error, and nothing of it has run. Keys and values that are no UTF-8 go as `key_base64`, `value_base64`.

use super::super::ops::{Fetch, RemoveItem, StoreItem};
use super::super::{Context, Deferred, Flow, Op, Payload, Request, execute_now, refusal};
use super::flow;
use super::keys::{Condition, expires_in};
use crate::limits::HTTP_BATCH_OPS;
use crate::proto::http::{Manner, Problem, etag, problem, put_head, put_problem};
use crate::proto::{Form, Item, ItemValue, Outcome, ReplyBuf, Scratch, json};
use crate::store::Expiry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// Digits that the length of a reply can have: it is under 4 GiB.
const LENGTH_DIGITS: usize = 10;
/// Bytes of a value that are encoded in base64 at a time; a multiple of three.
const BASE64_PART: usize = 3 << 10;

#[derive(Debug)]
pub struct Batch<'a> {
    pub body: &'a [u8],
    pub manner: Manner<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    ops: Ops<'a>,
}

/// At most [`HTTP_BATCH_OPS`]; the rest is not even taken apart.
struct Ops<'a>(Vec<Asked<'a>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    #[serde(borrow)]
    op: Text<'a>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    key_base64: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
    #[serde(borrow)]
    value_base64: Option<Text<'a>>,
    ttl_ms: Option<u64>,
    #[serde(borrow)]
    if_match: Option<Text<'a>>,
    #[serde(borrow)]
    if_none_match: Option<Text<'a>>,
    by: Option<i64>,
    /// The entity tag is wanted.
    #[serde(default)]
    etag: bool,
}

/// A string, borrowed where it has no escapes. (A type of its own because serde borrows no `Cow` inside an `Option`.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Ops<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Ops<'a>, D::Error> {
        from.deserialize_seq(OpsVisitor(std::marker::PhantomData))
    }
}

struct OpsVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for OpsVisitor<'a> {
    type Value = Ops<'a>;

    fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text.write_str("a list of operations")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Ops<'a>, S::Error> {
        let mut ops = Vec::new();
        while let Some(op) = list.next_element()? {
            if ops.len() == HTTP_BATCH_OPS {
                return Err(S::Error::custom("too many operations"));
            }
            ops.push(op);
        }
        Ok(Ops(ops))
    }
}

const MALFORMED: Problem = problem::bad(
    "The body is no batch of at most 10000 operations: {\"ops\":[{\"op\":\"get\",\"key\":\"a\"}]}.",
);
const NO_SUCH_OP: Problem = problem::bad("op is get, set, delete or incr.");
const ONE_KEY: Problem = problem::bad("An operation has key or key_base64.");
const ONE_VALUE: Problem = problem::bad("set has value or value_base64; the others have none.");
const BAD_BASE64: Problem = problem::bad("No base64.");
const NOT_FOR_THIS_OP: Problem = problem::bad("A field that does not go with this op.");
const NOT_A_NUMBER: Problem = Problem {
    status: 409,
    code: "not_a_number",
    message: "The value is no integer of 64 bits, or would leave them.",
    fields: "",
};

impl Deferred for Batch<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        match serde_json::from_slice::<Body<'_>>(self.body) {
            Ok(body) => self.play(body.ops.0, ctx, out),
            Err(_) => {
                ctx.stats.errors += 1;
                put_problem(&MALFORMED, &self.manner, out);
            }
        }
        flow(&self.manner)
    }

    fn too_large(&self, out: &mut ReplyBuf) -> Flow {
        put_problem(&problem::REPLY_TOO_LARGE, &self.manner, out);
        flow(&self.manner)
    }
}

impl Batch<'_> {
    fn play(&self, ops: Vec<Asked<'_>>, ctx: &mut Context<'_>, out: &mut ReplyBuf) {
        put_head(200, &self.manner, out);
        out.put(b"Content-Type: application/json\r\nContent-Length: ");
        let length_at = out.bytes.len();
        out.put(&[b'0'; LENGTH_DIGITS]);
        out.put(b"\r\n\r\n");
        let body_at = out.bytes.len();
        out.put(br#"{"results":["#);
        let mut scratch = Scratch::default();
        for (i, op) in ops.iter().enumerate() {
            if i > 0 {
                out.put(b",");
            }
            scratch.clear();
            if let Err(problem) = play_one(op, ctx, &mut scratch, out) {
                ctx.stats.errors += 1;
                put_error(&problem, out);
            }
        }
        out.put(b"]}");
        if !out.has_overflowed() {
            // The length is known now; what of its room it does not need goes.
            let length = (out.bytes.len() - body_at).to_string();
            out.bytes.splice(length_at..length_at + LENGTH_DIGITS, length.bytes());
        }
    }
}

/// Runs one operation and appends its result. Error: what is wrong with it, for its result.
fn play_one(
    asked: &Asked<'_>,
    ctx: &mut Context<'_>,
    scratch: &mut Scratch,
    out: &mut ReplyBuf,
) -> Result<(), Problem> {
    let key = bytes(&asked.key, &asked.key_base64)?.ok_or(ONE_KEY)?;
    if key.is_empty() {
        return Err(problem::EMPTY_KEY);
    }
    if key.len() > ctx.store.max_key_len() {
        return Err(problem::KEY_TOO_LONG);
    }
    let field = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.as_bytes().to_vec());
    let (if_match, if_none_match) = (field(&asked.if_match), field(&asked.if_none_match));
    let condition = Condition::of(if_match.as_deref(), if_none_match.as_deref())?;
    let value = bytes(&asked.value, &asked.value_base64).map_err(|_| ONE_VALUE)?;
    let kind = asked.op.0.as_ref();
    asked.fields_fit(kind, condition)?;
    let (fetch, remove, store): (Fetch, RemoveItem, StoreItem);
    let op = match kind {
        "get" => {
            fetch = Fetch { value: true, cas: asked.etag, bystander: true, filled: true, ..Fetch::default() };
            Op::Fetch(&fetch)
        }
        "set" => {
            let value = payload(value.as_deref().ok_or(ONE_VALUE)?, ctx)?;
            let expiry = asked.ttl_ms.map_or(Expiry::None, |ttl_ms| expires_in(ttl_ms, ctx.now_ms));
            let conditional = condition != Condition::None;
            store = StoreItem { cas: asked.etag || conditional, ..condition.store(expiry) };
            Op::Store { value, how: &store }
        }
        "delete" => match condition {
            Condition::Cas(cas) => {
                remove = RemoveItem { compare: Some(cas), ..RemoveItem::default() };
                Op::Remove(&remove)
            }
            _ => Op::Del,
        },
        "incr" => Op::IncrBy(asked.by.unwrap_or(1)),
        _ => return Err(NO_SUCH_OP),
    };
    let key = ctx.store.key(0, &key);
    // Only what it says of connections counts here: the results are written below.
    let mut requests = [Request { key, op, form: Form::Json, outcome: Outcome::Pending }];
    execute_now(ctx.store, &mut requests, scratch, ctx.stats, ctx.now_ms);
    let conditional = condition != Condition::None;
    put_result(&requests[0].outcome, kind, conditional, scratch, ctx.now_ms, out)
}

impl Asked<'_> {
    /// Whether all that was given goes with the operation: what would be ignored is an error.
    fn fields_fit(&self, kind: &str, condition: Condition) -> Result<(), Problem> {
        let has_value = self.value.is_some() || self.value_base64.is_some();
        let fit = match kind {
            "set" => self.by.is_none(),
            "get" => !has_value && self.ttl_ms.is_none() && self.by.is_none() && condition == Condition::None,
            "delete" => {
                !has_value
                    && self.ttl_ms.is_none()
                    && self.by.is_none()
                    && !self.etag
                    && condition != Condition::Missing
            }
            "incr" => !has_value && self.ttl_ms.is_none() && !self.etag && condition == Condition::None,
            _ => return Err(NO_SUCH_OP),
        };
        if fit { Ok(()) } else { Err(NOT_FOR_THIS_OP) }
    }
}

/// A key or a value, given in one of two ways or not at all. Error: in both, or no base64.
fn bytes<'t>(
    text: &'t Option<Text<'_>>,
    base64: &Option<Text<'_>>,
) -> Result<Option<Cow<'t, [u8]>>, Problem> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(ONE_KEY),
        (Some(text), None) => Ok(Some(Cow::Borrowed(text.0.as_bytes()))),
        (None, Some(base64)) => {
            STANDARD.decode(base64.0.as_bytes()).map(|bytes| Some(Cow::Owned(bytes))).map_err(|_| BAD_BASE64)
        }
        (None, None) => Ok(None),
    }
}

fn payload<'v>(value: &'v [u8], ctx: &Context<'_>) -> Result<Payload<'v>, Problem> {
    if value.len() <= ctx.store.large_threshold() {
        return Ok(Payload::Inline(value));
    }
    match ctx.store.large_value(value) {
        Ok(bytes) => Ok(Payload::Large(Box::new(bytes))),
        Err(error) => Err(problem::refused(refusal(error))),
    }
}

/// Appends the result of an operation that ran. Error: it is one.
fn put_result(
    outcome: &Outcome,
    kind: &str,
    conditional: bool,
    scratch: &Scratch,
    now_ms: u64,
    out: &mut ReplyBuf,
) -> Result<(), Problem> {
    match (outcome, kind) {
        (Outcome::Item(index), "get") => put_item(&scratch.items[*index as usize], scratch, now_ms, out),
        (Outcome::Item(index), _) => {
            out.put(br#"{"status":204"#);
            put_etag(&scratch.items[*index as usize], out);
            out.put(b"}");
        }
        (Outcome::Int(number), "incr") => {
            out.put(format!(r#"{{"status":200,"value":{number}}}"#).as_bytes());
        }
        (Outcome::Nil | Outcome::Int(0), _) if !conditional => return Err(problem::NO_SUCH_KEY),
        (Outcome::Nil | Outcome::Int(0) | Outcome::NotStored | Outcome::Exists, _) => {
            return Err(problem::CONDITION_FAILED);
        }
        (Outcome::Ok | Outcome::Int(_), _) => out.put(br#"{"status":204}"#),
        (Outcome::Refused(refusal), _) => return Err(problem::refused(*refusal)),
        (Outcome::NotANumber | Outcome::Error(_), "incr") => return Err(NOT_A_NUMBER),
        _ => {
            debug_assert!(false, "{kind} does not answer {outcome:?}");
            return Err(problem::INTERNAL);
        }
    }
    Ok(())
}

fn put_item(item: &Item, scratch: &Scratch, now_ms: u64, out: &mut ReplyBuf) {
    let value: &[u8] = match item.value {
        ItemValue::None => b"",
        ItemValue::Copied(span) => &scratch.bytes[span.start as usize..][..span.len as usize],
        ItemValue::Pinned(index) => &scratch.pins[index as usize],
    };
    out.put(br#"{"status":200,"#);
    match std::str::from_utf8(value) {
        Ok(_) => {
            out.put(br#""value":"#);
            json::put_string(value, out);
        }
        Err(_) => {
            out.put(br#""value_base64":""#);
            for part in value.chunks(BASE64_PART) {
                out.put(STANDARD.encode(part).as_bytes());
            }
            out.put(b"\"");
        }
    }
    put_etag(item, out);
    if let Some(at_ms) = item.expire_at_ms {
        out.put(format!(r#","ttl_ms":{}"#, at_ms.saturating_sub(now_ms)).as_bytes());
    }
    out.put(b"}");
}

/// The entity tag, if the item was asked for it.
fn put_etag(item: &Item, out: &mut ReplyBuf) {
    if item.cas != 0 {
        out.put(br#","etag":"#);
        json::put_string(etag(item.cas).as_bytes(), out);
    }
}

fn put_error(problem: &Problem, out: &mut ReplyBuf) {
    let Problem { status, code, .. } = problem;
    out.put(format!(r#"{{"status":{status},"error":{{"code":"{code}","message":"#).as_bytes());
    json::put_string(problem.message.as_bytes(), out);
    out.put(b"}}");
}
