//! What the parser targets share: a connection that receives bytes in pieces and writes down what it heard.

use bumpalo::Bump;
use kv_server::command::script::ScriptCache;
use kv_server::command::{ClientFilter, Host, PauseMode, Pushes, StatsOf};
use kv_server::conn::Session;
use kv_server::observe::{Histogram, Observer};
use kv_server::proto::{ParseLimits, Parsed};
use kv_server::store::PartitionStats;

/// Small bounds, so that the fuzzer meets them.
pub const LIMITS: ParseLimits =
    ParseLimits { max_bulk: 200, max_request: 400, max_args: 20, max_inline: 100, authenticated: true };

/// What a stream of bytes turned out to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Requests, and errors in their places.
    pub requests: Vec<Result<Vec<Vec<u8>>, &'static str>>,
    /// The last words of a connection whose framing is lost.
    pub fatal: Option<Vec<u8>>,
    /// Bytes of a request that is not whole.
    pub left: usize,
}

/// Parses pieces as a connection does: what is not consumed is kept, in memory that moves, and stands before
/// the next piece. `parse` is given the bytes, the connection's resume state, and room for the arguments.
pub fn hear<'p, R: Default + PartialEq + std::fmt::Debug>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    parse: for<'a> fn(&'a [u8], &mut R, &'a Bump, &mut Vec<&'a [u8]>) -> Parsed,
) -> Heard {
    let (mut heard, mut resume, mut inbox) = (Heard::default(), R::default(), Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (bump, mut args) = (Bump::new(), Vec::new());
            let rest = &inbox[at..];
            let consumed = match parse(rest, &mut resume, &bump, &mut args) {
                Parsed::Request { consumed } => {
                    assert!(!args.is_empty());
                    heard.requests.push(Ok(args.iter().map(|arg| arg.to_vec()).collect()));
                    consumed
                }
                Parsed::Malformed { consumed, error } => {
                    heard.requests.push(Err(error));
                    consumed
                }
                Parsed::Skip { consumed } => consumed,
                Parsed::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Parsed::Fatal { reply } => {
                    heard.fatal = Some(reply);
                    return heard;
                }
            };
            assert!(consumed > 0 && consumed <= rest.len());
            assert_eq!(resume, R::default());
            at += consumed;
        }
        inbox = inbox[at..].to_vec();
    }
    heard.left = inbox.len();
    heard
}

/// Takes the fuzzer's input apart: how to cut the stream, and the stream.
pub fn cut(input: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (&cuts, rest) = input.split_first()?;
    let (sizes, stream) = rest.split_at_checked(usize::from(cuts % 16))?;
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for &size in sizes {
        let (piece, after) = rest.split_at(usize::from(size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    Some((pieces, stream))
}

/// Methods of the host that no target's bytes may reach.
macro_rules! unasked {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $answer:ty)?;)*) => {$(
        fn $name(&self, $($arg: $type),*) $(-> $answer)? {
            $(let _ = $arg;)*
            unreachable!("planning asks for {}", stringify!($name))
        }
    )*};
}

/// A server for targets that plan and run no barriers: planning asks it for nothing.
pub struct Nobody;

impl Host for Nobody {
    unasked! {
        info(sections: &[String], stats: &mut dyn FnMut(usize) -> PartitionStats) -> String;
        config_get(pattern: &[u8]) -> Vec<(String, String)>;
        config_set(pairs: &[(&[u8], &[u8])]) -> Result<(), String>;
        reset_stats(stats: &mut dyn FnMut(usize) -> PartitionStats);
        client_list(filter: &ClientFilter) -> String;
        client_info(id: u64) -> String;
        client_kill(filter: &ClientFilter) -> usize;
        client_changed(session: &Session);
        client_pause(pause: Option<(u64, PauseMode)>);
        password_required() -> bool;
        authenticate(user: &[u8], password: &[u8]) -> bool;
        time_us() -> u64;
        random() -> u64;
        clock() -> fn() -> u64;
        scripts() -> &ScriptCache;
        script_time_limit_ms() -> u64;
        pushes() -> &dyn Pushes;
        started_at_s() -> u64;
        observer() -> &Observer;
        command_times() -> Vec<Histogram>;
        hotkeys_begin();
        hotkeys_cpu_us() -> (u64, u64);
        may_wait() -> bool;
        wait_begins(hash: u64, client: u64);
        wait_ends(hash: u64, client: u64);
        debug_allowed(client: u64) -> bool;
        sleep_ms(ms: u64);
        memcached_stats(of: StatsOf) -> Vec<(String, String)>;
        flush_at(at_ms: Option<u64>);
        shut_down() -> bool;
    }
}
