//! One suite for all drivers: what `Driver` promises, played over real sockets and over the simulated network.
//!
//! `beds` makes a driver and its clients, `server` is a worker that asserts the contract, `cases` hold for every driver;
//! `real` and `seeds` are what only a kernel, or only the simulation, can show.

mod beds;
mod cases;
mod real;
mod seeds;
mod server;

macro_rules! conformance {
    ($driver:ident, $bed:ty, $refused:expr, [$($case:ident),* $(,)?]) => {
        mod $driver {
            use super::beds::*;
            use super::cases;

            $(#[test]
            fn $case() {
                cases::$case::<$bed>();
            })*

            #[test]
            fn stop_listening_keeps_the_connected() {
                cases::stop_listening_keeps_the_connected::<$bed>($refused);
            }
        }
    };
}

macro_rules! for_every_driver {
    ($($case:ident),* $(,)?) => {
        conformance!(uring, UringBed, |bed| std::net::TcpStream::connect(bed.1).is_err(), [$($case),*]);
        conformance!(epoll, EpollBed, |bed| std::net::TcpStream::connect(bed.1).is_err(), [$($case),*]);
        conformance!(sim, SimBed, |bed| bed.1.connect(LISTENER).is_err(), [$($case),*]);
    };
}

for_every_driver!(
    echoes_split_frames,
    pipelines_of_many_connections_stay_apart,
    slow_reader_gets_every_byte,
    half_closed_peer_still_gets_its_reply,
    reset_is_reported,
    close_after_sends_delivers_the_last_bytes,
    close_now_cancels_a_send,
    thousands_of_connections,
    stale_ids_touch_nobody,
    pause_holds_bytes_back,
    few_buffers_serve_everyone,
    timeouts_are_kept,
    waker_ends_a_wait,
    drop_with_sends_in_flight,
    owned_sends_answer_once,
    stats_count_bytes,
);
