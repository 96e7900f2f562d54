//! One suite for all drivers: what `Driver` promises, played over real sockets and over the simulated network.
//!
//! `beds` makes a driver and its clients, `server` is a worker that asserts the contract, `cases` and `sending` hold for every driver;
//! `real` and `seeds` are what only a kernel, or only the simulation, can show.

mod beds;
mod cases;
mod injected;
mod real;
mod seeds;
mod sending;
mod server;
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
