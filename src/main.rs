//! Entry point.
use kv_server::{config::Config, server::Shared, store::*, sys, worker};
use std::sync::Arc;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = sys::Machine::probe()?;
    let config = Config::parse(std::env::args_os(), &machine)?;
    let seeds = sys::machine::random_words::<4>()?;
    let store = Store::new(
        StoreConfig {
            partitions: 4 * config.threads,
            eviction: config.eviction,
            max_value_size: config.max_value_size,
            prefault: config.prefault,
            seeds,
        },
        Arc::new(Budget::new(config.max_memory)),
    )?;
    let config = Arc::new(config);
    let shared = Arc::new(Shared::new(config.clone(), Arc::new(store), vec![], [1, 2, 3]));
    let mut joins = vec![];
    for id in 0..config.threads {
        let shared = shared.clone();
        let port = config.port;
        joins.push(std::thread::spawn(move || {
            let s = nix::sys::socket::socket(
                nix::sys::socket::AddressFamily::Inet,
                nix::sys::socket::SockType::Stream,
                nix::sys::socket::SockFlag::SOCK_CLOEXEC,
                None,
            )
            .unwrap();
            nix::sys::socket::setsockopt(&s, nix::sys::socket::sockopt::ReusePort, &true).unwrap();
            nix::sys::socket::setsockopt(&s, nix::sys::socket::sockopt::TcpNoDelay, &true).unwrap();
            nix::sys::socket::bind(
                std::os::fd::AsRawFd::as_raw_fd(&s),
                &nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, port),
            )
            .unwrap();
            nix::sys::socket::listen(&s, nix::sys::socket::Backlog::new(1024).unwrap()).unwrap();
            let (report, _r) = std::sync::mpsc::channel();
            worker::run(worker::WorkerSetup { id, cpu: None, listeners: vec![s], shared, report })
        }));
    }
    for j in joins {
        j.join().unwrap()?;
    }
    Ok(())
}
