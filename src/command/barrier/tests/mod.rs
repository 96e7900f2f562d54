//! Scripts of commands and the replies that Valkey 9.1.2 gave to them. Line ends are shown as spaces.

mod connection;
mod keyspace;
mod several_keys;
mod walking;
