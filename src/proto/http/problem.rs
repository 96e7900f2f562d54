//! What a client is told when something is wrong: a status (RFC 9110 section 15), a word for programs, a sentence for people.

use crate::proto::Refusal;

/// An error reply: `{"error":{"code":"not_found","message":"There is no such key."}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub code: &'static str,
    pub message: &'static str,
    /// Header lines that belong to it, each with its line break.
    pub fields: &'static str,
}

const fn problem(status: u16, code: &'static str, message: &'static str) -> Problem {
    Problem { status, code, message, fields: "" }
}

/// 400.
pub const fn bad(message: &'static str) -> Problem {
    problem(400, "bad_request", message)
}

/// 405, with the methods that there are.
pub const fn method_not_allowed(allow: &'static str) -> Problem {
    Problem {
        fields: allow,
        ..problem(405, "method_not_allowed", "This method is not for this path; see Allow.")
    }
}

pub const BAD_HEAD: Problem = bad("The head is no HTTP/1.1.");
pub const BAD_CHUNK: Problem = bad("The body is not chunked as RFC 9112 says.");
pub const BOTH_FRAMINGS: Problem = bad("Content-Length and Transfer-Encoding together.");
pub const BAD_LENGTH: Problem = bad("Content-Length is no number.");
pub const BAD_HOST: Problem = bad("HTTP/1.1 wants one Host field.");
pub const REPEATED_FIELD: Problem = bad("A field is there twice that may be there once.");
pub const BAD_ESCAPE: Problem =
    bad("A % in the key without two hexadecimal digits; write a per cent sign as %25.");
pub const NO_QUERY: Problem =
    bad("A key in a path takes no parameters; write a question mark in it as %3F, a hash as %23.");
pub const EMPTY_KEY: Problem = bad("The key is empty.");
pub const BAD_TAGS: Problem = bad("If-Match and If-None-Match take * or entity tags in quotes.");
pub const ONE_TAG: Problem =
    bad("A write takes one entity tag, or *, in If-Match, and * in If-None-Match; not both.");
pub const BAD_TTL: Problem =
    bad("X-TTL-Ms is a number of milliseconds, max-age of Cache-Control one of seconds.");
pub const NO_RANGES: Problem = bad("Content-Range: a value is written whole.");
pub const UNAUTHORIZED: Problem = Problem {
    fields: "WWW-Authenticate: Bearer realm=\"kv-cache\"\r\nWWW-Authenticate: Basic realm=\"kv-cache\"\r\n",
    ..problem(401, "unauthorized", "Send the password: Authorization: Bearer, or Basic with user default.")
};
pub const CROSS_SITE: Problem =
    problem(403, "cross_site", "A browser's request from a site that --http-allow-origin does not name.");
pub const NO_SUCH_KEY: Problem = problem(404, "not_found", "There is no such key.");
pub const NO_SUCH_PATH: Problem =
    problem(404, "no_such_path", "There is nothing here; / lists what there is.");
pub const METRICS_ELSEWHERE: Problem =
    problem(404, "no_such_path", "Metrics are on the admin port: --admin-port, 7172 if not set.");
pub const LENGTH_REQUIRED: Problem =
    problem(411, "length_required", "Send Content-Length, or the body in chunks.");
pub const CONDITION_FAILED: Problem =
    problem(412, "condition_failed", "The key is not in the state that the request asks for.");
pub const TOO_LARGE: Problem =
    problem(413, "too_large", "The body is larger than --max-value-size or --max-request.");
pub const BATCH_TOO_LARGE: Problem =
    problem(413, "too_large", "The batch is larger than 8 MiB, or than a value may be.");
pub const REPLY_TOO_LARGE: Problem = problem(
    507,
    "reply_too_large",
    "The results are larger than --max-memory leaves room for; what was to be written is written. Ask for fewer keys at a time.",
);
pub const KEY_TOO_LONG: Problem =
    problem(414, "key_too_long", "The key is longer than 65535 bytes, or than a quarter of a segment.");
pub const TARGET_TOO_LONG: Problem = problem(
    414,
    "uri_too_long",
    "The request line is longer than a head may be: 16 KiB. /v1/batch takes longer keys.",
);
pub const EXPECTATION: Problem =
    problem(417, "expectation_failed", "The only expectation that can be met is 100-continue.");
pub const HEAD_TOO_LARGE: Problem =
    problem(431, "head_too_large", "The head is longer than 16 KiB, or has more than 64 fields.");
pub const NO_SUCH_METHOD: Problem = problem(501, "not_implemented", "This method is not known here.");
pub const NO_SUCH_CODING: Problem = problem(501, "not_implemented", "The only transfer coding is chunked.");
pub const VERSION: Problem = problem(505, "version_not_supported", "HTTP/1.1 and HTTP/1.0 are spoken here.");
pub const DRAINING: Problem = problem(
    503,
    "draining",
    "The server ends: it answers what is asked of it, and takes no new connections.",
);
pub const OUT_OF_MEMORY: Problem =
    problem(507, "out_of_memory", "Memory is full, and nothing may be evicted or not enough can be.");
pub const INTERNAL: Problem = problem(500, "internal", "An answer that should not be.");

/// Why the store refused a write.
pub fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::TooLarge => TOO_LARGE,
        Refusal::KeyTooLong => KEY_TOO_LONG,
        Refusal::OutOfMemory => OUT_OF_MEMORY,
    }
}

/// The status line.
pub fn status_line(status: u16) -> &'static str {
    match status {
        200 => "HTTP/1.1 200 OK\r\n",
        204 => "HTTP/1.1 204 No Content\r\n",
        304 => "HTTP/1.1 304 Not Modified\r\n",
        400 => "HTTP/1.1 400 Bad Request\r\n",
        401 => "HTTP/1.1 401 Unauthorized\r\n",
        403 => "HTTP/1.1 403 Forbidden\r\n",
        404 => "HTTP/1.1 404 Not Found\r\n",
        405 => "HTTP/1.1 405 Method Not Allowed\r\n",
        409 => "HTTP/1.1 409 Conflict\r\n",
        411 => "HTTP/1.1 411 Length Required\r\n",
        412 => "HTTP/1.1 412 Precondition Failed\r\n",
        413 => "HTTP/1.1 413 Content Too Large\r\n",
        414 => "HTTP/1.1 414 URI Too Long\r\n",
        417 => "HTTP/1.1 417 Expectation Failed\r\n",
        431 => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
        501 => "HTTP/1.1 501 Not Implemented\r\n",
        503 => "HTTP/1.1 503 Service Unavailable\r\n",
        505 => "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        507 => "HTTP/1.1 507 Insufficient Storage\r\n",
        _ => "HTTP/1.1 500 Internal Server Error\r\n",
    }
}
