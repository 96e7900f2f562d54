//! `null-server`: answers GET and SET without a store. What remains is the network, the ring and finding where requests
//! end: the limit that this machine sets to any server with one thread.

use crate::cli::Outcome;
use crate::lean::{Choices, Options, Server};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

/// Speaks RESP. Every GET finds the same value, every SET is forgotten, PING is answered, anything else is an error.
#[derive(clap::Args)]
pub struct Args {
    /// The port to listen on; 0: any that is free
    #[arg(long, default_value_t = 7070)]
    port: u16,
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Bytes of the value that GET gets
    #[arg(long, default_value_t = 64)]
    value_size: usize,
    /// The ring's choices, each changing one of the defaults: `epoll`, or key=value pairs with commas between, as in
    /// setup=none|coop|defer, receive=single|multishot|bundle, direct=yes|no, arena=yes|no, skip=yes|no,
    /// send=plain|linked|vectored|zerocopy|writefixed, flush=256k, buffers=64x16k, incremental=yes|no, spin=MICROSECONDS
    #[arg(long, default_value = "")]
    choices: Choices,
    /// Tie the server's thread to this CPU
    #[arg(long)]
    cpu: Option<usize>,
}

pub fn main(args: Args) -> Outcome {
    let address = SocketAddr::new(args.bind, args.port);
    let Args { value_size, choices, cpu, .. } = args;
    let server = Server::start(&Options { address, value_size, choices: choices.clone(), cpu })?;
    println!("null-server: RESP on {}, GET gives {value_size} bytes; {choices}", server.address());
    server.wait()?;
    Ok(ExitCode::SUCCESS)
}
