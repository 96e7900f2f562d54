//! Scripts of commands and the replies that Valkey 9.1.2 gave to them, written as `command::testing` shows them.

mod connection;
pub(crate) mod fake_host;
mod keyspace;
mod lease;
mod observe;
mod scripts;
mod several_keys;
mod together;
mod transactions;
mod walking;

use crate::command::testing::Client;
use crate::conn::Session;
use crate::store::Eviction;
use fake_host::FakeHost;

/// Connection 7 of a server that remembers.
fn client() -> Client<FakeHost> {
    client_with(Eviction::Lru)
}

fn client_with(eviction: Eviction) -> Client<FakeHost> {
    let mut client = Client::with(FakeHost::default(), eviction, 8 << 20);
    client.session = Session::new(7, true);
    client.host.sessions.borrow_mut().push(client.session.clone());
    client
}
