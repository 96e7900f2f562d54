//! Who has subscribed to what: one register per worker, of its own connections.
//!
//! ```text
//!   PUBLISH ──► for each worker with subscribers: how many of this channel? ──► one delivery to its box
//!                                                                                 │ its next turn
//!   its register, again: who are they now? ──► outboxes                  ◄────────┘
//! ```
//!
//! So a message crosses threads once for each worker, however many subscribe there; who has left in between gets nothing after the
//! confirmation of that; and while nobody subscribes to anything a PUBLISH costs one load. The locks are held for look-ups only.

use super::clients::ClientEntry;
use super::mailbox::{Delivery, Publication, Wakes, shared_bytes};
use super::shared::Shared;
use crate::command::glob::Glob;
use crate::conn::ChannelKind;
use crate::proto::ReplyBuf;
use crate::proto::resp::Writer;
use crate::store::Budget;
use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// By their number, so that one leaves as quickly as it came.
type Subscribers = BTreeMap<u64, Arc<ClientEntry>>;

#[derive(Debug)]
struct Pattern {
    glob: Glob,
    subscribers: Subscribers,
}

/// One worker's connections.
#[derive(Debug, Default)]
struct Register {
    channels: HashMap<Bytes, Subscribers>,
    shard_channels: HashMap<Bytes, Subscribers>,
    patterns: HashMap<Bytes, Pattern>,
}

impl Register {
    fn of(&self, kind: ChannelKind) -> &HashMap<Bytes, Subscribers> {
        if kind == ChannelKind::Shard { &self.shard_channels } else { &self.channels }
    }

    fn of_mut(&mut self, kind: ChannelKind) -> &mut HashMap<Bytes, Subscribers> {
        if kind == ChannelKind::Shard { &mut self.shard_channels } else { &mut self.channels }
    }

    /// The patterns that match a channel; sharded channels are matched by none.
    fn matching<'r>(
        &'r self,
        kind: ChannelKind,
        channel: &'r [u8],
    ) -> impl Iterator<Item = (&'r Bytes, &'r Pattern)> {
        let patterns = (kind == ChannelKind::Plain).then_some(&self.patterns).into_iter().flatten();
        patterns.filter(move |(_, pattern)| pattern.glob.matches(channel))
    }
}

/// All subscriptions.
#[derive(Debug)]
pub struct PubSub {
    /// By worker.
    registers: Box<[(AtomicUsize, Mutex<Register>)]>,
    total: AtomicUsize,
}

/// A publication's way to the connections of one worker.
#[derive(Debug, Default)]
pub struct FanOut {
    /// The push as its channel's subscribers get it, then one for each matching pattern.
    pub encoded: SmallVec<[Bytes; 2]>,
    /// The place of a connection, and which of those it gets.
    pub to: Vec<(u64, usize)>,
}

impl PubSub {
    pub fn new(workers: usize) -> PubSub {
        PubSub { registers: (0..workers).map(|_| Default::default()).collect(), total: AtomicUsize::new(0) }
    }

    /// Whether anybody subscribes to anything.
    #[inline]
    pub fn any(&self) -> bool {
        self.total.load(Relaxed) > 0
    }

    pub fn subscribe(&self, client: &Arc<ClientEntry>, kind: ChannelKind, name: &Bytes) {
        let (count, register) = &self.registers[client.worker];
        let mut register = register.lock();
        let subscribers = if kind == ChannelKind::Pattern {
            let new = || Pattern { glob: Glob::new(name), subscribers: Subscribers::new() };
            &mut register.patterns.entry(name.clone()).or_insert_with(new).subscribers
        } else {
            register.of_mut(kind).entry(name.clone()).or_default()
        };
        if subscribers.insert(client.id, Arc::clone(client)).is_none() {
            count.fetch_add(1, Relaxed);
            self.total.fetch_add(1, Relaxed);
        }
    }

    pub fn unsubscribe(&self, client: &ClientEntry, kind: ChannelKind, name: &Bytes) {
        let (count, register) = &self.registers[client.worker];
        let mut register = register.lock();
        let (was, empty) = if kind == ChannelKind::Pattern {
            let Some(pattern) = register.patterns.get_mut(name) else { return };
            (pattern.subscribers.remove(&client.id).is_some(), pattern.subscribers.is_empty())
        } else {
            let Some(subscribers) = register.of_mut(kind).get_mut(name) else { return };
            (subscribers.remove(&client.id).is_some(), subscribers.is_empty())
        };
        if empty && kind == ChannelKind::Pattern {
            register.patterns.remove(name);
        } else if empty {
            register.of_mut(kind).remove(name);
        }
        if was {
            count.fetch_sub(1, Relaxed);
            self.total.fetch_sub(1, Relaxed);
        }
    }

    /// How many connections of a worker a message would reach.
    fn receivers(&self, worker: usize, kind: ChannelKind, channel: &[u8]) -> usize {
        let (count, register) = &self.registers[worker];
        if count.load(Relaxed) == 0 {
            return 0;
        }
        let register = register.lock();
        let direct = register.of(kind).get(channel).map_or(0, BTreeMap::len);
        direct + register.matching(kind, channel).map(|(_, p)| p.subscribers.len()).sum::<usize>()
    }

    /// Who of a worker's connections gets a publication, and in what form.
    pub fn fan_out(&self, worker: usize, publication: &Publication, budget: &Arc<Budget>) -> FanOut {
        let mut fan_out = FanOut::default();
        fan_out.encoded.push(publication.encoded.clone());
        let register = self.registers[worker].1.lock();
        if let Some(subscribers) = register.of(publication.kind).get(&publication.channel) {
            fan_out.to.extend(subscribers.values().map(|client| (client.place(), 0)));
        }
        for (name, pattern) in register.matching(publication.kind, &publication.channel) {
            let parts = [&b"pmessage"[..], name, &publication.channel, &publication.message];
            let index = fan_out.encoded.len();
            fan_out.encoded.push(shared_bytes(encode(&parts), budget));
            fan_out.to.extend(pattern.subscribers.values().map(|client| (client.place(), index)));
        }
        fan_out
    }

    /// Marks those of a worker's connections that miss a message.
    fn mark_overrun(&self, worker: usize, publication: &Publication) {
        let register = self.registers[worker].1.lock();
        if let Some(subscribers) = register.of(publication.kind).get(&publication.channel) {
            subscribers.values().for_each(|client| client.mark_overrun());
        }
        for (_, pattern) in register.matching(publication.kind, &publication.channel) {
            pattern.subscribers.values().for_each(|client| client.mark_overrun());
        }
    }

    /// Channels with subscribers whose name matches, each once, in order.
    pub fn channels(&self, kind: ChannelKind, pattern: Option<&Glob>) -> Vec<Bytes> {
        let mut found = BTreeSet::new();
        for (_, register) in &self.registers {
            let register = register.lock();
            let names = register.of(kind).keys();
            found.extend(names.filter(|name| pattern.is_none_or(|glob| glob.matches(name))).cloned());
        }
        found.into_iter().collect()
    }

    pub fn subscribers(&self, kind: ChannelKind, channel: &[u8]) -> usize {
        let of = |(_, register): &(_, Mutex<Register>)| {
            register.lock().of(kind).get(channel).map_or(0, BTreeMap::len)
        };
        self.registers.iter().map(of).sum()
    }

    /// Different patterns.
    pub fn patterns(&self) -> usize {
        let mut found = BTreeSet::new();
        for (_, register) in &self.registers {
            found.extend(register.lock().patterns.keys().cloned());
        }
        found.len()
    }
}

/// A push of strings, as RESP3 has it.
pub fn encode(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = ReplyBuf::default();
    out.bytes.reserve_exact(parts.iter().map(|part| part.len() + 26).sum::<usize>() + 8);
    let mut writer = Writer::new(&mut out, true);
    writer.push(parts.len());
    parts.iter().for_each(|part| writer.bulk(part));
    out.bytes
}

impl Publication {
    fn new(kind: ChannelKind, channel: &[u8], message: &[u8], budget: &Arc<Budget>) -> Publication {
        let word: &[u8] = if kind == ChannelKind::Shard { b"smessage" } else { b"message" };
        let encoded = shared_bytes(encode(&[word, channel, message]), budget);
        // Both lie in the encoded push: the message before its line end, the channel before the message's frame.
        let end = encoded.len() - 2;
        let message_at = end - message.len();
        let digits = itoa::Buffer::new().format(message.len()).len();
        let channel_end = message_at - 2 - digits - 1 - 2;
        Publication {
            kind,
            channel: encoded.slice(channel_end - channel.len()..channel_end),
            message: encoded.slice(message_at..end),
            encoded,
        }
    }
}

impl Shared {
    /// Leaves a message for all subscribers; returns how many there are.
    pub(super) fn publish_to_all(
        &self,
        kind: ChannelKind,
        channel: &[u8],
        message: &[u8],
        wakes: &mut Wakes<'_>,
    ) -> usize {
        if !self.pubsub.any() {
            return 0;
        }
        let (mut all, mut publication) = (0, None);
        for worker in 0..self.workers.len() {
            let receivers = self.pubsub.receivers(worker, kind, channel);
            if receivers == 0 {
                continue;
            }
            all += receivers;
            let new = || Publication::new(kind, channel, message, self.store.budget());
            let publication: &Publication = publication.get_or_insert_with(new);
            if !self.post(worker, Delivery::Publish(publication.clone()), wakes) {
                self.pubsub.mark_overrun(worker, publication);
                self.overrun(worker, wakes);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;

    fn name(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_message_goes_once_to_each_worker_that_has_subscribers() {
        let shared = testing::shared("--threads 3");
        let local = "127.0.0.1:7171".parse().unwrap();
        let admit = |worker| shared.admit(worker, "127.0.0.1:9".parse().unwrap(), local, 0).unwrap();
        let (a, b, c) = (admit(0), admit(0), admit(2));
        let publish =
            |kind, message: &[u8]| shared.publish_to_all(kind, b"news", message, &mut shared.wakes());
        assert_eq!(publish(ChannelKind::Plain, b"x"), 0);
        shared.pubsub.subscribe(&a, ChannelKind::Plain, &name("news"));
        shared.pubsub.subscribe(&a, ChannelKind::Plain, &name("news"));
        shared.pubsub.subscribe(&b, ChannelKind::Pattern, &name("n*"));
        shared.pubsub.subscribe(&c, ChannelKind::Plain, &name("news"));
        shared.pubsub.subscribe(&c, ChannelKind::Shard, &name("other"));
        assert_eq!(publish(ChannelKind::Plain, b"hello"), 3);
        assert_eq!(publish(ChannelKind::Shard, b"hello"), 0);
        assert_eq!(shared.pubsub.channels(ChannelKind::Plain, None), ["news"]);
        assert_eq!(
            (shared.pubsub.subscribers(ChannelKind::Plain, b"news"), shared.pubsub.patterns()),
            (2, 1)
        );
        assert!(shared.take_deliveries(1).is_empty());
        let taken = shared.take_deliveries(0);
        let [Delivery::Publish(publication)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((&publication.channel[..], &publication.message[..]), (&b"news"[..], &b"hello"[..]));
        let fan_out = shared.pubsub.fan_out(0, publication, shared.store.budget());
        assert_eq!(fan_out.to.len(), 2);
        assert_eq!(fan_out.encoded[0], ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
        assert_eq!(fan_out.encoded[1], ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
        for (client, kind, channel) in [
            (&a, ChannelKind::Plain, "news"),
            (&b, ChannelKind::Pattern, "n*"),
            (&c, ChannelKind::Plain, "news"),
            (&c, ChannelKind::Shard, "other"),
            (&c, ChannelKind::Shard, "other"),
        ] {
            shared.pubsub.unsubscribe(client, kind, &name(channel));
        }
        assert!(!shared.pubsub.any());
        assert_eq!(publish(ChannelKind::Plain, b"x"), 0);
        assert!(shared.pubsub.channels(ChannelKind::Shard, None).is_empty());
        assert!(shared.pubsub.fan_out(0, publication, shared.store.budget()).to.is_empty());
    }

    #[test]
    fn subscribers_of_a_full_box_are_marked() {
        let shared = testing::shared("--threads 1 --max-memory 64MB");
        let local = "127.0.0.1:7171".parse().unwrap();
        let admit = || shared.admit(0, "127.0.0.1:9".parse().unwrap(), local, 0).unwrap();
        let (a, b) = (admit(), admit());
        shared.pubsub.subscribe(&a, ChannelKind::Plain, &name("big"));
        shared.pubsub.subscribe(&b, ChannelKind::Plain, &name("small"));
        for _ in 0..3 {
            shared.publish_to_all(ChannelKind::Plain, b"big", &vec![0; 1 << 20], &mut shared.wakes());
        }
        assert!(a.is_overrun() && !b.is_overrun());
    }
}
