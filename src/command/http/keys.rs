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
use super::super::{Context, Deferred, Flow, Op, Payload, PlanContext, Request, execute_now, refusal};
use super::{flow, joined};
use crate::proto::http::{Body, Form, Head, Kind, Manner, Method, Problem, Tags, problem};
use crate::proto::{self, Outcome, ReplyBuf, Scratch};
use crate::store::{Buffer, Expiry, Key};

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

    /// A write of `value` under this condition that answers with the new CAS.
    pub fn store<'v>(self, value: Payload<'v>, expiry: Expiry) -> StoreItem<'v> {
        let (mode, compare) = match self {
            Condition::None => (StoreMode::Set, None),
            Condition::Missing => (StoreMode::Add, None),
            Condition::Exists => (StoreMode::Replace, None),
            Condition::Cas(cas) => (StoreMode::Set, Some(cas)),
        };
        StoreItem {
            value,
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

/// A write that is ready to be planned.
pub enum Write<'a> {
    Request(Request<'a>),
    Deferred(&'a dyn Deferred),
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
    match proto::http::max_age_s(cache_control) {
        Ok(Some(seconds)) => Ok(expires_in(seconds.saturating_mul(1000), now_ms)),
        Ok(None) => Ok(Expiry::None),
        Err(()) => Err(problem::BAD_TTL),
    }
}

static GET: Fetch = Fetch { value: true, cas: true, ..FETCH };
static HEAD: Fetch = Fetch { cas: true, ..FETCH };
const FETCH: Fetch = Fetch {
    value: false,
    cas: false,
    access: false,
    no_bump: false,
    bystander: true,
    touch: None,
    vivify: None,
    recache_below_ms: None,
    new_cas: None,
};

impl<'a> KeyRequest<'a> {
    #[inline]
    pub fn writes(&self) -> bool {
        !matches!(self.what, What::Read { .. })
    }

    #[inline]
    pub fn takes_body(&self) -> bool {
        matches!(self.what, What::Write { .. })
    }

    /// The request, if it takes no body; `body` is for those that do.
    #[inline]
    pub fn request(self, body: &'a [u8], manner: Manner<'a>, ctx: &PlanContext<'a, '_>) -> Request<'a> {
        let (op, kind) = match self.what {
            What::Read { value, if_match, if_none_match } => {
                let op = Op::Fetch(if value { &GET } else { &HEAD });
                (op, Kind::Read { if_match, if_none_match })
            }
            What::Write { expiry, condition: Condition::None } => {
                (Op::Set { value: Payload::Inline(body), expiry }, Kind::Written)
            }
            What::Write { expiry, condition } => {
                (Op::Store(ctx.bump.alloc(condition.store(Payload::Inline(body), expiry))), Kind::Written)
            }
            What::Remove(Condition::Cas(cas)) => {
                let how = RemoveItem { compare: Some(cas), ..RemoveItem::default() };
                (Op::Remove(ctx.bump.alloc(how)), Kind::Removed { conditional: true })
            }
            What::Remove(condition) => (Op::Del, Kind::Removed { conditional: condition != Condition::None }),
        };
        let form = ctx.bump.alloc(Form { kind, manner, now_ms: ctx.now_ms });
        Request { key: self.key, op, form: proto::Form::Http(form), outcome: Outcome::Pending }
    }

    /// A write, with its body.
    ///
    /// # Errors
    /// There is no memory for a large value.
    #[inline]
    pub fn write(
        self,
        body: Body<'a>,
        manner: Manner<'a>,
        ctx: &PlanContext<'a, '_>,
    ) -> Result<Write<'a>, Problem> {
        let len = match body {
            Body::Whole(bytes) => bytes.len(),
            Body::Pieces { len, .. } => len,
        };
        if len <= ctx.store.large_threshold() {
            return Ok(Write::Request(self.request(joined(body, ctx), manner, ctx)));
        }
        match self.what {
            What::Write { expiry, condition: Condition::None } => {
                let mut request = self.request(&[], manner, ctx);
                request.op = Op::Set { value: large(body, ctx)?, expiry };
                Ok(Write::Request(request))
            }
            What::Write { expiry, condition } => {
                let key = self.key;
                Ok(Write::Deferred(ctx.bump.alloc(LargeWrite { key, body, expiry, condition, manner })))
            }
            What::Read { .. } | What::Remove(_) => Ok(Write::Request(self.request(&[], manner, ctx))),
        }
    }
}

/// A large value in memory of its own, where it is if it came in one piece.
fn large<'a>(body: Body<'a>, ctx: &PlanContext<'a, '_>) -> Result<Payload<'a>, Problem> {
    let bytes = match body {
        Body::Whole(bytes) => ctx.store.large_value_in(bytes, ctx.buffer),
        Body::Pieces { .. } => return gathered(body, ctx.store),
    };
    Ok(Payload::Large(Box::new(bytes.map_err(|error| problem::refused(refusal(error)))?)))
}

/// A large value put together, or copied, in memory of its own.
fn gathered<'a>(body: Body<'a>, store: &crate::store::Store) -> Result<Payload<'a>, Problem> {
    let gather = || match body {
        Body::Whole(bytes) => store.large_value(bytes),
        Body::Pieces { pieces, len } => {
            let mut buffer = Buffer::default();
            for piece in pieces {
                buffer.extend(piece, len, store)?;
            }
            store.large_value_in(buffer.bytes(), Some(&buffer))
        }
    };
    Ok(Payload::Large(Box::new(gather().map_err(|error| problem::refused(refusal(error)))?)))
}

/// A large value under a condition. A barrier, because what owns memory cannot lie where a round keeps the conditions of its writes.
#[derive(Debug)]
struct LargeWrite<'a> {
    key: Key<'a>,
    body: Body<'a>,
    expiry: Expiry,
    condition: Condition,
    manner: Manner<'a>,
}

impl Deferred for LargeWrite<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        let form = Form { kind: Kind::Written, manner: self.manner, now_ms: ctx.now_ms };
        match gathered(self.body, ctx.store) {
            Ok(value) => {
                let item = self.condition.store(value, self.expiry);
                let (mut scratch, form) = (Scratch::default(), proto::Form::Http(&form));
                let (key, op) = (self.key, Op::Store(&item));
                let mut requests = [Request { key, op, form, outcome: Outcome::Pending }];
                execute_now(ctx.store, &mut requests, &mut scratch, ctx.stats, ctx.now_ms);
                proto::encode(&form, key.bytes, &requests[0].outcome, &scratch, out);
            }
            Err(problem) => {
                ctx.stats.errors += 1;
                proto::http::put_problem(&problem, &self.manner, out);
            }
        }
        flow(&self.manner)
    }
}
