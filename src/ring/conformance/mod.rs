//! One suite for all drivers: what `Driver` promises, played over real sockets and over the simulated network.
//!
//! `beds` makes a driver and its clients, `server` is a worker that asserts the contract, `cases` and `sending` hold for
//! every driver; `real`, `injected` and `seeds` are what only a kernel, only a broken one, or only the simulation can show.
//!
//! The known ways to get io_uring wrong, and what holds us off each:
//!
//! | pitfall | excluded by |
//! |---|---|
//! | a buffer is freed or reused before its terminal completion | `slow_reader…` (the arena is overwritten after each turn), `drop_with_sends…`, poisoned buffers |
//! | dropping a ring is taken for waiting | `drop_with_sends_in_flight`, `rings_can_be_made_again_and_again` |
//! | a late completion meets a reused slot | `stale_ids_touch_nobody`, `thousands_of_connections`, `slots` |
//! | two sends in flight on one socket | an assertion in `send_owned`; one `Send` per connection and turn is the contract |
//! | a short send is trusted; links without `MSG_WAITALL` | `slow_reader…`, `close_after_sends…`, `owned` |
//! | ENOBUFS is fatal, or armed again at once | `few_buffers_serve_everyone` |
//! | a multishot that ended is forgotten | one `match` in `recv` and one in `accept`; `completion_queue_overflow…` |
//! | an accept at the descriptor limit spins | `…_survives_running_out_of_descriptors` |
//! | of several rings on one socket one gets all; one that stopped is still woken | `…_share_a_socket` |
//! | `close` with a receive armed sends no FIN | `half_closed…`, `close_now_cancels_a_send`, `close_after_sends…` |
//! | `DEFER_TASKRUN` without asking for events | `Kernel::enter` always asks; nothing would work otherwise |
//! | a `SINGLE_ISSUER` ring made on another thread | `Uring` is not `Send`, and is enabled where it is made |
//! | EINTR, EBUSY, EAGAIN or a full queue ends the worker | `interrupted_enters…`, `…_stop_and_continue`, `a_turn_larger…` |
//! | a chain is split by a full queue | `a_turn_larger_than_the_submission_queue` |
//! | overflow ends multishots, and the counter shows nothing | `completion_queue_overflow_loses_nothing` |
//! | the buffer ring's tail without Release; freed while registered | `buffers::release`; `Uring`'s drop order |
//! | locked memory; seccomp, sysctl, old kernels | `refusals_are_explained` |
//! | an operation that starts kernel threads | `nothing_runs_on_kernel_worker_threads` |
//! | zero-copy sends, bundles, incremental buffers, SQPOLL, direct or registered descriptors | not used |
//! | tests that skip in silence | `KV_REQUIRE_IO_URING=1` makes a skip a failure |

mod beds;
mod cases;
mod injected;
mod real;
mod seeds;
mod sending;
mod server;
mod sharing;
mod talk;

macro_rules! conformance {
    ($driver:ident, $bed:ty, $refused:expr, [$($file:ident::$case:ident),* $(,)?]) => {
        mod $driver {
            use super::beds::*;
            use super::{cases, sending};

            $(#[test]
            fn $case() {
                $file::$case::<$bed>();
            })*

            #[test]
            fn stop_listening_keeps_the_connected() {
                cases::stop_listening_keeps_the_connected::<$bed>($refused);
            }
        }
    };
}

macro_rules! for_every_driver {
    ($($file:ident::$case:ident),* $(,)?) => {
        conformance!(uring, UringBed, |bed| std::net::TcpStream::connect(bed.1).is_err(), [$($file::$case),*]);
        conformance!(epoll, EpollBed, |bed| std::net::TcpStream::connect(bed.1).is_err(), [$($file::$case),*]);
        conformance!(sim, SimBed, |bed| bed.1.connect(LISTENER).is_err(), [$($file::$case),*]);
    };
}

for_every_driver!(
    cases::echoes_split_frames,
    cases::pipelines_of_many_connections_stay_apart,
    sending::slow_reader_gets_every_byte,
    cases::adopted_sockets_are_served_like_accepted_ones,
    cases::half_closed_peer_still_gets_its_reply,
    cases::reset_is_reported,
    sending::close_after_sends_delivers_the_last_bytes,
    sending::close_after_sends_of_many_pieces_or_none,
    sending::close_now_cancels_a_send,
    cases::thousands_of_connections,
    cases::stale_ids_touch_nobody,
    cases::pause_holds_bytes_back,
    cases::few_buffers_serve_everyone,
    cases::timeouts_are_kept,
    cases::waker_ends_a_wait,
    sending::drop_with_sends_in_flight,
    sending::owned_sends_answer_once,
    cases::stats_count_bytes,
);
