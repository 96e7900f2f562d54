//! The registries of who listens as commands see them: [`Pushes`] over [`Shared`].

use super::shared::Shared;
use crate::command::glob::Glob;
use crate::command::{Channels, Pushes};
use crate::conn::{ChannelKind, Tracking};
use bytes::Bytes;

impl Pushes for Shared {
    fn subscribe(&self, id: u64, kind: ChannelKind, name: &Bytes) {
        if let Some(client) = self.clients.find(id) {
            self.pubsub.subscribe(&client, kind, name);
        }
    }

    fn unsubscribe(&self, id: u64, kind: ChannelKind, name: &Bytes) {
        if let Some(client) = self.clients.find(id) {
            self.pubsub.unsubscribe(&client, kind, name);
        }
    }

    fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize {
        self.publish_to_all(kind, channel, message, &mut self.wakes())
    }

    fn channels(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Channels {
        self.pubsub.channels(kind, pattern.map(Glob::new).as_ref())
    }

    fn subscribers(&self, kind: ChannelKind, channel: &[u8]) -> usize {
        self.pubsub.subscribers(kind, channel)
    }

    fn patterns(&self) -> usize {
        self.pubsub.patterns()
    }

    fn track(&self, id: u64, how: Option<&Tracking>) {
        self.set_tracking(id, how);
    }

    fn reads(&self, id: u64, key: &[u8], redirects: bool) {
        self.remember_read(id, key, redirects);
    }

    fn redirect_is_broken(&self, id: u64) -> bool {
        self.clients.find(id).is_some_and(|client| client.is_redirect_broken())
    }

    fn is_connected(&self, id: u64) -> bool {
        self.clients.find(id).is_some()
    }

    fn monitor(&self, id: u64, on: bool) {
        match self.clients.find(id) {
            Some(client) if on => self.monitors.add(client),
            _ => self.monitors.remove(id),
        }
    }
}
