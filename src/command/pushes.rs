//! What commands ask of those parts of the server that reach connections which did not just ask: publish/subscribe, tracking, MONITOR.

use crate::conn::{ChannelKind, Tracking};
use bytes::Bytes;

/// Which channels PUBSUB is asked about.
pub type Channels = Vec<Bytes>;

/// The registries of who listens. Implemented by the server; connections are named by their number (`Session::id`).
pub trait Pushes {
    /// From now on the connection gets what is published there. The caller has noted it in the session.
    fn subscribe(&self, id: u64, kind: ChannelKind, name: &Bytes);

    /// The opposite.
    fn unsubscribe(&self, id: u64, kind: ChannelKind, name: &Bytes);

    /// Sends a message to all subscribers of a channel, plain or sharded, and of the patterns that match a plain one; returns to how many.
    fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize;

    /// PUBSUB CHANNELS, SHARDCHANNELS: channels that have subscribers, and whose name matches.
    fn channels(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Channels;

    /// PUBSUB NUMSUB, SHARDNUMSUB.
    fn subscribers(&self, kind: ChannelKind, channel: &[u8]) -> usize;

    /// PUBSUB NUMPAT: different patterns.
    fn patterns(&self) -> usize;

    /// CLIENT TRACKING: changes are told to the connection from now on, in this way; `None`: no more.
    fn track(&self, id: u64, how: Option<&Tracking>);

    /// A tracking connection is about to read a key, and wants to be told when that changes. `redirects`: another connection is told.
    fn reads(&self, id: u64, key: &[u8], redirects: bool);

    /// Whether the connection that is told instead of this one is gone.
    fn redirect_is_broken(&self, id: u64) -> bool;

    /// Whether there is a connection of this number.
    fn is_connected(&self, id: u64) -> bool;

    /// MONITOR.
    fn monitor(&self, id: u64, on: bool);
}
