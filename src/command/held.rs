//! Running commands of a transaction or a script, one after the other, inside the partitions that are held for it.
//!
//! What would wait outside of the locks must not wait here: where a write needs room, the held partitions themselves evict.

use super::ops::Op;
use super::{Context, Flow, Plan, PlanContext, Request, execute, execute_now, plan, run};
use crate::proto::{Outcome, ReplyBuf, Scratch, resp};
use bumpalo::Bump;

/// Times a command makes room before it fails.
const ROOM_ATTEMPTS: usize = 16;

/// What a large value takes in memory of its own beyond its bytes, at most.
const LARGE_OVERHEAD: usize = 4096;

/// Runs commands with the partitions in [`Context::held`]; keeps its memory from one to the next.
#[derive(Default)]
pub struct Runner {
    bump: Bump,
    scratch: Scratch,
}

impl Runner {
    /// Bytes that it keeps.
    pub fn memory(&self) -> usize {
        self.bump.allocated_bytes() + self.scratch.bytes.capacity()
    }

    /// Runs one command and appends its reply, in RESP.
    pub fn run(&mut self, args: &[&[u8]], ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        debug_assert!(ctx.held.is_some(), "what is run here needs no locks of its own");
        let threshold = ctx.store.large_threshold();
        let large = args.iter().map(|arg| arg.len()).filter(|len| *len > threshold);
        let large: usize = large.map(|len| len + LARGE_OVERHEAD).sum();
        if large > 0 {
            // If there is none, planning says so.
            let _ = ctx.make_room(large);
        }
        self.bump.reset();
        self.scratch.clear();
        let context = PlanContext {
            store: ctx.store,
            buffer: None,
            bump: &self.bump,
            session: ctx.session,
            host: ctx.host,
            paused: None,
            held: true,
            now_ms: ctx.now_ms,
        };
        let outcome = match plan(args, &context, ctx.stats) {
            Plan::Reply(outcome) => outcome,
            Plan::Keyed(request) => execute_held(request, &mut self.scratch, ctx),
            Plan::Barrier(barrier) => return run(&barrier, ctx, out),
        };
        resp::encode(&outcome, &self.scratch, ctx.session.resp3, out);
        Flow::Continue
    }
}

/// Executes one request, in the partitions that are held if it is part of a transaction or script.
pub fn execute_one(request: Request<'_>, scratch: &mut Scratch, ctx: &mut Context<'_>) -> Outcome {
    if ctx.held.is_some() {
        return execute_held(request, scratch, ctx);
    }
    let mut requests = [request];
    execute_now(ctx.store, &mut requests, scratch, ctx.stats, ctx.now_ms);
    let [request] = requests;
    request.outcome
}

fn execute_held(request: Request<'_>, scratch: &mut Scratch, ctx: &mut Context<'_>) -> Outcome {
    let mut requests = [request];
    let Some(held) = &mut ctx.held else { return Outcome::Pending };
    for attempt in 0..=ROOM_ATTEMPTS {
        let last_try = attempt == ROOM_ATTEMPTS;
        let partition = held.partition(&requests[0].key);
        if execute(partition, &mut requests, &[0], scratch, ctx.stats, ctx.now_ms, last_try) == 1 {
            break;
        }
        let wanted = partition.room_wanted();
        if held.make_room(wanted).is_err() {
            let partition = held.partition(&requests[0].key);
            execute(partition, &mut requests, &[0], scratch, ctx.stats, ctx.now_ms, true);
            break;
        }
    }
    let [request] = requests;
    debug_assert!(!matches!((&request.op, &request.outcome), (Op::Get, Outcome::Pending)));
    request.outcome
}
