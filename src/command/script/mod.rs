//! Scripts: Lua 5.1, in a sandbox, inside all partitions.
//!
//! ```text
//!  EVAL ─ SHA-1 ─► Scripts (one per worker): compiled functions in a Lua state of its own     engine.rs  prelude.lua
//!                    │ not there: ScriptCache (one per server): sources by SHA-1               cache.rs
//!                    ▼
//!                  all partitions are locked ─► run ─► redis.call ─► as in a transaction       call.rs
//!                                                       reply ⇄ Lua values                     convert.rs
//! ```
//!
//! A few kinds of scripts that most clients send need none of this: they are recognised and run as one operation (shapes.rs).
//!
//! A script keeps everybody else waiting, so it is bounded: in time (`--lua-time-limit`; a hook looks at the clock every so many
//! instructions), in memory (the state's allocator refuses), and in what the library's functions may do in one go (pattern.rs counts its
//! steps, for the hook does not see into them). What passes a bound ends with an error that no `pcall` catches; what it has written
//! until then stays written.
//!
//! The sandbox has Lua's `string`, `table` and `math`, `os.clock`, `bit`, `cjson`, and `redis` (also called `server`). No file, no
//! process, no module, no bytecode, no coroutine, and no global that outlives a script. `cmsgpack` and `struct` are absent.

mod bits;
mod cache;
mod call;
mod convert;
mod engine;
mod json;
mod library;
mod pattern;
mod raise;
mod shapes;
mod strings;
mod tokens;

pub use cache::{Script, ScriptCache, hex, parse_digest};
pub use convert::whole;
pub use engine::{Compiled, Scripts};
pub use shapes::{Shape, decorated};
