//! One key: `GET`, `HEAD`, `PUT` and `DELETE` of `/v1/keys/{key}`.
//!
//! | | reply |
//! |---|---|
//! | GET, HEAD | 200 with ETag, and with Cache-Control and X-TTL-Ms if it expires; 304; 404; 412 |
//! | PUT | 204, whether it was there or not; with ETag if a condition was asked for; 412 |
//! | DELETE | 204; 404; 412 |
//!
//! The entity tag is the item's CAS. An item gets one when it is first asked for it: a plain PUT does not ask, since eight bytes of
//! every item would be the price.

use super::super::ops::{Fetch, RemoveItem, StoreItem, StoreMode};
use super::super::{Op, Payload, PlanContext, Request, refusal};
use super::joined;
use crate::proto::http::{Body, Form, Head, Kind, Manner, Method, Pieces, Problem, Tags, problem};
use crate::proto::{self, Outcome};
use crate::store::{Buffer, Expiry, Key, Store, WriteError};
use bytes::Bytes;

/// The latest expiry that an item can carry: 48 bits of milliseconds. Later ones are brought forward to it.
const LATEST_MS: u64 = (1 << 48) - 1;

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    None,
    /// `If-None-Match: *`
    Missing,
    /// `If-Match: *`
    Exists,
    /// `If-Match: "7"`
    Cas(u64),
}

impl Condition {
    /// From the two fields, or their likes in a batch.
    ///
    /// # Errors
    /// Not well formed, more than one tag, or a tag that no item can have: the condition has failed already.
    pub fn of(if_match: Option<&[u8]>, if_none_match: Option<&[u8]>) -> Result<Condition, Problem> {
        let parse =
            |field: Option<_>| field.map(|value| Tags::parse(value).ok_or(problem::BAD_TAGS)).transpose();
        match (parse(if_match)?, parse(if_none_match)?) {
            (None, None) => Ok(Condition::None),
            (None, Some(Tags::Any)) => Ok(Condition::Missing),
            (Some(Tags::Any), None) => Ok(Condition::Exists),
            (Some(tags), None) => match tags.only() {
                Some(Some(cas)) => Ok(Condition::Cas(cas)),
                Some(None) => Err(problem::CONDITION_FAILED),
                None => Err(problem::ONE_TAG),
            },
            _ => Err(problem::ONE_TAG),
        }
    }

    /// A write under this condition that answers with the new CAS.
    pub fn store(self, expiry: Expiry) -> StoreItem {
        let (mode, compare) = match self {
            Condition::None => (StoreMode::Set, None),
            Condition::Missing => (StoreMode::Add, None),
            Condition::Exists => (StoreMode::Replace, None),
            Condition::Cas(cas) => (StoreMode::Set, Some(cas)),
        };
        StoreItem {
            flags: 0,
            expiry,
            mode,
            compare,
            invalidate: false,
            new_cas: None,
            cas: true,
            vivify: None,
        }
    }
}

/// A time to live, from now.
pub fn expires_in(ttl_ms: u64, now_ms: u64) -> Expiry {
    Expiry::At(now_ms.saturating_add(ttl_ms).min(LATEST_MS))
}

#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Read { value: bool, if_match: Option<Tags<'a>>, if_none_match: Option<Tags<'a>> },
    Write { expiry: Expiry, condition: Condition },
    Remove(Condition),
}

/// A request for one key, as its head says it.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    key: Key<'a>,
    what: What<'a>,
}

/// Checks what a head asks of the key that stands in its path as `text`.
#[inline]
pub fn asked<'a>(
    text: &'a [u8],
    head: &Head<'a>,
    ctx: &PlanContext<'a, '_>,
) -> Result<KeyRequest<'a>, Problem> {
    let fields = &head.fields;
    let key = super::target::key(text, ctx.bump)?;
    if key.len() > ctx.store.max_key_len() {
        return Err(problem::KEY_TOO_LONG);
    }
    let what = match head.method {
        Method::Put => {
            if fields.content_range.is_some() {
                return Err(problem::NO_RANGES);
            }
            let condition = Condition::of(fields.if_match, fields.if_none_match)?;
            What::Write { expiry: expiry(fields.ttl_ms, fields.cache_control, ctx.now_ms)?, condition }
        }
        Method::Delete => match Condition::of(fields.if_match, fields.if_none_match)? {
            Condition::Missing => return Err(problem::ONE_TAG),
            condition => What::Remove(condition),
        },
        _ => {
            let tags = |field: Option<&'a [u8]>| {
                field.map(|value| Tags::parse(value).ok_or(problem::BAD_TAGS)).transpose()
            };
            What::Read {
                value: head.method == Method::Get,
                if_match: tags(fields.if_match)?,
                if_none_match: tags(fields.if_none_match)?,
            }
        }
    };
    let key = ctx.store.key(0, key);
    ctx.store.prefetch(key.hash);
    Ok(KeyRequest { key, what })
}

/// When a value written now expires: by X-TTL-Ms, else by max-age.
#[inline]
fn expiry(ttl_ms: Option<&[u8]>, cache_control: Option<&[u8]>, now_ms: u64) -> Result<Expiry, Problem> {
    if let Some(ttl_ms) = ttl_ms {
        return Ok(expires_in(proto::http::number(ttl_ms).ok_or(problem::BAD_TTL)?, now_ms));
    }
    let Some(cache_control) = cache_control else { return Ok(Expiry::None) };
    let age_s = proto::http::max_age_s(cache_control)?;
    Ok(age_s.map_or(Expiry::None, |age_s| expires_in(age_s.saturating_mul(1000), now_ms)))
}

/// The CAS is asked for always: an item that has none gets one with its first read over HTTP, and keeps it.
const READ: Fetch = Fetch {
    waits: false,
    value: true,
    cas: true,
    access: false,
    no_bump: false,
    bystander: true,
    filled: true,
    touch: None,
    vivify: None,
    recache_below_ms: None,
    new_cas: None,
};
static GET: Fetch = READ;
static HEAD: Fetch = Fetch { value: false, ..READ };

impl<'a> KeyRequest<'a> {
    #[inline]
    pub fn writes(&self) -> bool {
        !matches!(self.what, What::Read { .. })
    }

    #[inline]
    pub fn takes_body(&self) -> bool {
        matches!(self.what, What::Write { .. })
    }

    /// The request; `body` is for those that take one.
    ///
    /// # Errors
    /// There is no memory for a large value.
    #[inline]
    pub fn request(
        self,
        body: Body<'a>,
        manner: Manner<'a>,
        ctx: &PlanContext<'a, '_>,
    ) -> Result<Request<'a>, Problem> {
        let (op, kind) = match self.what {
            What::Read { value, if_match, if_none_match } => {
                let op = Op::Fetch(if value { &GET } else { &HEAD });
                (op, Kind::Read { if_match, if_none_match })
            }
            What::Write { expiry, condition: Condition::None } => {
                (Op::Set { value: payload(body, ctx)?, expiry }, Kind::Written)
            }
            What::Write { expiry, condition } => {
                let how = ctx.bump.alloc(condition.store(expiry));
                (Op::Store { value: payload(body, ctx)?, how }, Kind::Written)
            }
            What::Remove(Condition::Cas(cas)) => {
                let how = RemoveItem { compare: Some(cas), ..RemoveItem::default() };
                (Op::Remove(ctx.bump.alloc(how)), Kind::Removed { conditional: true })
            }
            What::Remove(condition) => (Op::Del, Kind::Removed { conditional: condition != Condition::None }),
        };
        let form = ctx.bump.alloc(Form { kind, manner, now_ms: ctx.now_ms });
        Ok(Request { key: self.key, op, form: proto::Form::Http(form), outcome: Outcome::Pending })
    }
}

/// A body as the store takes it: a large one where it arrived, or put together in memory of its own.
#[inline]
fn payload<'a>(body: Body<'a>, ctx: &PlanContext<'a, '_>) -> Result<Payload<'a>, Problem> {
    let large = match body {
        Body::Whole(bytes) if bytes.len() <= ctx.store.large_threshold() => {
            return Ok(Payload::Inline(bytes));
        }
        Body::Pieces { len, .. } if len <= ctx.store.large_threshold() => {
            return Ok(Payload::Inline(joined(body, ctx)));
        }
        Body::Whole(bytes) => ctx.store.large_value_in(bytes, ctx.buffer),
        Body::Pieces { pieces, len } => gathered(pieces, len, ctx.store),
    };
    large.map(|bytes| Payload::Large(Box::new(bytes))).map_err(|error| problem::refused(refusal(error)))
}

fn gathered(pieces: Pieces<'_>, len: usize, store: &Store) -> Result<Bytes, WriteError> {
    let mut buffer = Buffer::default();
    for piece in pieces {
        buffer.extend(piece, len, store)?;
    }
    store.large_value_in(buffer.bytes(), Some(&buffer))
}
