//! What a connection wants to be sent without asking: messages of channels, invalidations of keys, commands of others.
//!
//! This is what the connection itself knows and answers from; who is to be told of something is known by the server's registries.

use bytes::Bytes;
use std::collections::HashSet;

/// Memory of one subscription beside its name, bytes: its places in the connection's set and in the registry.
const SUBSCRIPTION_OVERHEAD: usize = 128;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// SUBSCRIBE.
    Plain,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl ChannelKind {
    pub const ALL: [ChannelKind; 3] = [ChannelKind::Plain, ChannelKind::Pattern, ChannelKind::Shard];

    pub fn index(self) -> usize {
        self as usize
    }
}

/// The channels and patterns of one connection.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    sets: [HashSet<Bytes>; 3],
    /// Bytes of all names.
    name_bytes: usize,
}

impl Subscriptions {
    pub fn count(&self, kind: ChannelKind) -> usize {
        self.sets[kind.index()].len()
    }

    pub fn total(&self) -> usize {
        self.sets.iter().map(HashSet::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    pub fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    pub fn contains(&self, kind: ChannelKind, name: &[u8]) -> bool {
        self.sets[kind.index()].contains(name)
    }

    /// False: it was there.
    pub fn insert(&mut self, kind: ChannelKind, name: Bytes) -> bool {
        let len = name.len();
        let new = self.sets[kind.index()].insert(name);
        self.name_bytes += if new { len } else { 0 };
        new
    }

    /// False: it was not there.
    pub fn remove(&mut self, kind: ChannelKind, name: &[u8]) -> bool {
        let was = self.sets[kind.index()].remove(name);
        self.name_bytes -= if was { name.len() } else { 0 };
        was
    }

    /// All names of one kind.
    pub fn names(&self, kind: ChannelKind) -> Vec<Bytes> {
        self.sets[kind.index()].iter().cloned().collect()
    }

    /// All names of one kind, which are forgotten.
    pub fn take(&mut self, kind: ChannelKind) -> Vec<Bytes> {
        let taken: Vec<Bytes> = std::mem::take(&mut self.sets[kind.index()]).into_iter().collect();
        self.name_bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        taken
    }

    /// Memory that they take, bytes.
    pub fn memory(&self) -> usize {
        self.total() * SUBSCRIPTION_OVERHEAD + self.name_bytes
    }
}

/// CLIENT TRACKING, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Every change of a key with one of `prefixes` is told, whatever was read.
    pub bcast: bool,
    /// Nothing is remembered but what follows CLIENT CACHING YES.
    pub optin: bool,
    /// All is remembered but what follows CLIENT CACHING NO.
    pub optout: bool,
    pub noloop: bool,
    /// The connection that is told instead of this one.
    pub redirect: Option<u64>,
    /// With `bcast`; an empty prefix is every key's.
    pub prefixes: Vec<Box<[u8]>>,
    /// CLIENT CACHING has been said for the next command.
    pub caching: bool,
}

impl Tracking {
    /// Whether keys that the next command reads are remembered.
    pub fn remembers_reads(&self) -> bool {
        match (self.bcast, self.optin, self.optout) {
            (true, ..) => false,
            (_, true, _) => self.caching,
            (.., true) => !self.caching,
            _ => true,
        }
    }
}

/// CLIENT MAINT_NOTIFICATIONS: whether it wants to hear where to go when this server ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintenance {
    #[default]
    Off,
    /// With the address of the other server.
    Address,
    /// Only that it has to go: it knows the address itself.
    NoAddress,
}

/// All of the above for one connection.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    pub subscriptions: Subscriptions,
    pub tracking: Option<Tracking>,
    /// MONITOR.
    pub monitor: bool,
    pub maintenance: Maintenance,
}

impl Listening {
    /// Memory that it takes, bytes.
    pub fn memory(&self) -> usize {
        let prefixes = self.tracking.iter().flat_map(|tracking| &tracking.prefixes);
        size_of::<Listening>()
            + self.subscriptions.memory()
            + prefixes.map(|prefix| prefix.len() + SUBSCRIPTION_OVERHEAD).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_count_names_once() {
        let mut subscriptions = Subscriptions::default();
        let name = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert!(subscriptions.insert(ChannelKind::Plain, name("abc")));
        assert!(!subscriptions.insert(ChannelKind::Plain, name("abc")));
        assert!(subscriptions.insert(ChannelKind::Shard, name("abc")));
        assert_eq!((subscriptions.total(), subscriptions.name_bytes()), (2, 6));
        assert!(!subscriptions.remove(ChannelKind::Pattern, b"abc"));
        assert!(subscriptions.remove(ChannelKind::Shard, b"abc"));
        assert_eq!(subscriptions.take(ChannelKind::Plain), ["abc"]);
        assert!(subscriptions.is_empty() && subscriptions.name_bytes() == 0);
    }

    #[test]
    fn what_is_remembered_depends_on_mode_and_caching() {
        for (bcast, optin, optout, plain, after_caching) in [
            (false, false, false, true, true),
            (true, false, false, false, false),
            (false, true, false, false, true),
            (false, false, true, true, false),
        ] {
            let mut tracking = Tracking { bcast, optin, optout, ..Tracking::default() };
            assert_eq!(tracking.remembers_reads(), plain);
            tracking.caching = true;
            assert_eq!(tracking.remembers_reads(), after_caching);
        }
    }
}
