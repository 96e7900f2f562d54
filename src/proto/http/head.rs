//! The head of a request: its first line and its fields (RFC 9112 sections 2 to 6).
//!
//! It is looked for before it is parsed, so that what a head means does not depend on how reads cut it, and one that comes byte by
//! byte is not read again from its start with each of them.

use super::problem::{self, Problem};
use super::{State, body};
use crate::limits::{HTTP_FIELDS, HTTP_HEAD};
use std::mem::MaybeUninit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Put,
    Delete,
    Post,
    Options,
    /// Registered, and of no use here: PATCH, TRACE, CONNECT.
    Other,
    Unknown,
}

/// What becomes of the connection after the reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// It stays, as HTTP/1.1 has it.
    #[default]
    Keep,
    /// It stays, and an HTTP/1.0 client must be told.
    KeepSaid,
    Close,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No length was given: there is none.
    #[default]
    None,
    Length(usize),
    Chunked,
}

/// The fields that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    pub host: Option<&'a [u8]>,
    pub authorization: Option<&'a [u8]>,
    pub if_match: Option<&'a [u8]>,
    pub if_none_match: Option<&'a [u8]>,
    pub cache_control: Option<&'a [u8]>,
    pub ttl_ms: Option<&'a [u8]>,
    pub content_range: Option<&'a [u8]>,
    pub origin: Option<&'a [u8]>,
    pub fetch_site: Option<&'a [u8]>,
    /// A field that browsers send, some of them always, and programs hardly.
    pub from_browser: bool,
    expect: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    close: bool,
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Bytes.
    pub len: usize,
    pub method: Method,
    /// Path and query, or `*`.
    pub target: &'a [u8],
    pub connection: Connection,
    pub framing: Framing,
    /// The client waits for leave to send its body.
    pub expects_continue: bool,
    pub fields: Fields<'a>,
}

/// What stands at the start of a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing in so many bytes: go on behind them.
    Skip {
        consumed: usize,
    },
    /// Not whole yet: see [`crate::proto::Parsed::Incomplete`].
    Incomplete {
        need: usize,
    },
    Head(Head<'a>),
    /// Framing is lost, or not worth keeping: this reply, then close.
    Lost(Problem),
}

/// Looks for a head at the start of `rest`: all that the connection has sent and that has not been consumed. `most`: bytes that a
/// request in chunks may take.
#[inline]
pub fn find<'a>(rest: &'a [u8], state: &mut State, most: usize) -> Found<'a> {
    if state.skip > 0 {
        let consumed = state.skip.min(rest.len());
        state.skip -= consumed;
        return Found::Skip { consumed };
    }
    // Some clients send a line break behind a body that does not belong to it (RFC 9112 section 2.2).
    let blank = blank(rest);
    if blank > 0 {
        state.scanned = 0;
        return Found::Skip { consumed: blank };
    }
    if state.chunks.is_some() {
        match body::advance(rest, state, most) {
            Ok(None) => {}
            Ok(Some(need)) => return Found::Incomplete { need },
            Err(problem) => return Found::Lost(problem),
        }
    }
    let window = &rest[..rest.len().min(HTTP_HEAD)];
    if !has_end(window, &mut state.scanned) {
        return match window.len() < HTTP_HEAD {
            true => Found::Incomplete { need: 0 },
            false if memchr::memchr(b'\n', window).is_none() => Found::Lost(problem::TARGET_TOO_LONG),
            false => Found::Lost(problem::HEAD_TOO_LARGE),
        };
    }
    match parse(window) {
        Ok(head) => Found::Head(head),
        Err(problem) => Found::Lost(problem),
    }
}

/// Line breaks at the start.
#[inline]
fn blank(rest: &[u8]) -> usize {
    if !matches!(rest.first(), Some(b'\r' | b'\n')) {
        return 0;
    }
    let mut at = 0;
    loop {
        match &rest[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Whether a head ends in here: with an empty line. `scanned` bytes are known to hold no end, and are more when there is none still.
#[inline]
fn has_end(window: &[u8], scanned: &mut usize) -> bool {
    // An end may have begun in what was scanned: CR LF CR.
    let from = scanned.saturating_sub(3).min(window.len());
    for found in memchr::memchr_iter(b'\n', &window[from..]) {
        let after = &window[from + found + 1..];
        if after.starts_with(b"\r\n") || after.starts_with(b"\n") {
            *scanned = 0;
            return true;
        }
    }
    *scanned = window.len();
    false
}

#[inline]
fn parse(window: &[u8]) -> Result<Head<'_>, Problem> {
    let mut room = [const { MaybeUninit::uninit() }; HTTP_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(window, &mut room) {
        Ok(httparse::Status::Complete(len)) => len,
        Err(httparse::Error::TooManyHeaders) => return Err(problem::HEAD_TOO_LARGE),
        Err(httparse::Error::Version) => return Err(problem::VERSION),
        Ok(httparse::Status::Partial) | Err(_) => return Err(problem::BAD_HEAD),
    };
    let mut fields = Fields::default();
    for header in request.headers.iter() {
        fields.take(header.name, header.value)?;
    }
    let is_1_0 = request.version == Some(0);
    if !is_1_0 && fields.host.is_none() {
        return Err(problem::BAD_HOST);
    }
    let method = method(request.method.unwrap_or_default());
    let expects_continue = match fields.expect {
        // An HTTP/1.0 client knows no interim replies.
        None => false,
        Some(expect) if expect.eq_ignore_ascii_case(b"100-continue") => !is_1_0,
        Some(_) => return Err(problem::EXPECTATION),
    };
    let connection = match (is_1_0, fields.close, fields.keep) {
        (_, true, _) | (true, _, false) => Connection::Close,
        (true, _, true) => Connection::KeepSaid,
        (false, ..) => Connection::Keep,
    };
    Ok(Head {
        len,
        method,
        target: path_of(request.path.unwrap_or_default().as_bytes(), method)?,
        connection,
        framing: framing(&fields, is_1_0)?,
        expects_continue,
        fields,
    })
}

#[inline]
fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        "PATCH" | "TRACE" | "CONNECT" => Method::Other,
        _ => Method::Unknown,
    }
}

/// The target without the scheme and authority that a client puts in front for a proxy (RFC 9112 section 3.2.2).
#[inline]
fn path_of(target: &[u8], method: Method) -> Result<&[u8], Problem> {
    if target.first() == Some(&b'/')
        || (target == b"*" && method == Method::Options)
        || method == Method::Other
    {
        return Ok(target);
    }
    let (scheme, rest) = target.split_at_checked(7).ok_or(problem::BAD_HEAD)?;
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return Err(problem::BAD_HEAD);
    }
    Ok(memchr::memchr(b'/', rest).map_or(b"/", |slash| &rest[slash..]))
}

/// RFC 9112 section 6.3, and nothing that two readers could take for two things.
#[inline]
fn framing(fields: &Fields<'_>, is_1_0: bool) -> Result<Framing, Problem> {
    match (fields.coding, fields.length) {
        (None, None) => Ok(Framing::None),
        (None, Some(length)) => {
            let length = super::number(length).and_then(|length| usize::try_from(length).ok());
            length.map(Framing::Length).ok_or(problem::BAD_LENGTH)
        }
        (Some(_), Some(_)) => Err(problem::BOTH_FRAMINGS),
        (Some(_), None) if is_1_0 => Err(problem::NO_SUCH_CODING),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(_), None) => Err(problem::NO_SUCH_CODING),
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), Problem> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let field = match name.len() {
            4 if is("host") => &mut self.host,
            6 if is("expect") => &mut self.expect,
            6 if is("origin") => &mut self.origin,
            8 if is("if-match") => &mut self.if_match,
            8 if is("x-ttl-ms") => &mut self.ttl_ms,
            13 if is("authorization") => &mut self.authorization,
            13 if is("if-none-match") => &mut self.if_none_match,
            13 if is("cache-control") => &mut self.cache_control,
            13 if is("content-range") => &mut self.content_range,
            14 if is("content-length") => &mut self.length,
            14 if is("sec-fetch-site") => &mut self.fetch_site,
            17 if is("transfer-encoding") => &mut self.coding,
            10 if is("connection") => {
                self.take_connection(value);
                return Ok(());
            }
            10 if is("user-agent") => {
                self.from_browser |= value.starts_with(b"Mozilla/");
                return Ok(());
            }
            6 if is("cookie") => return self.sent_by_browser(),
            7 if is("referer") => return self.sent_by_browser(),
            15 if is("accept-language") => return self.sent_by_browser(),
            _ => return Ok(()),
        };
        match field.replace(value) {
            None => Ok(()),
            Some(_) if is("host") => Err(problem::BAD_HOST),
            Some(_) => Err(problem::REPEATED_FIELD),
        }
    }

    fn sent_by_browser(&mut self) -> Result<(), Problem> {
        self.from_browser = true;
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}
