//! The table by itself: who is told what, and what it forgets.

use super::*;
use crate::server::mailbox::Delivery;
use crate::server::testing;
use crate::store::Happening;

struct Server {
    shared: Shared,
    clients: Vec<Arc<ClientEntry>>,
}

/// Three connections of one worker, and a server.
fn server(flags: &str) -> Server {
    let shared = testing::shared(flags);
    let local = "127.0.0.1:7171".parse().unwrap();
    let clients =
        (0..3).map(|_| shared.admit(0, "127.0.0.1:9".parse().unwrap(), local, 0).unwrap()).collect();
    Server { shared, clients }
}

impl Server {
    fn track(&self, client: usize, how: Tracking) {
        self.shared.set_tracking(self.clients[client].id, Some(&how));
    }

    fn read(&self, client: usize, key: &[u8]) {
        self.shared.remember_read(self.clients[client].id, key, false);
    }

    fn change(&self, keys: &[&[u8]], origin: u64) {
        for key in keys {
            self.shared.store.journal().note(Happening::Set, 0, origin as u32, key);
        }
        self.shared.tell_changes();
    }

    /// What has been left for connections: which one, and what.
    fn taken(&self) -> Vec<(u64, String)> {
        let deliveries = self.shared.take_deliveries(0);
        let shown = |delivery| match delivery {
            Delivery::Push { to, what: Push::Invalidate { keys, redirected } } => {
                let keys = keys.map(|keys| String::from_utf8_lossy(&keys).replace("\r\n", " "));
                let keys = keys.unwrap_or_else(|| "all ".to_owned());
                (to.id, format!("{keys}{}", if redirected { "for another" } else { "" }))
            }
            Delivery::Push { to, what: Push::Redirect(keys) } => {
                let keys = keys.map(|keys| String::from_utf8_lossy(&keys).replace("\r\n", " "));
                (to.id, format!("again {}", keys.unwrap_or_else(|| "all ".to_owned())))
            }
            Delivery::Push { to, what: Push::RedirectBroken(id) } => (to.id, format!("{id} is gone")),
            other => panic!("{other:?}"),
        };
        deliveries.into_iter().map(shown).collect()
    }
}

fn to(id: u64, text: &str) -> (u64, String) {
    (id, text.to_owned())
}

#[test]
fn a_change_is_told_once_to_each_who_has_read_the_key() {
    let server = server("");
    (0..2).for_each(|client| server.track(client, Tracking::default()));
    (0..2).for_each(|client| server.read(client, b"k"));
    server.read(0, b"k");
    server.change(&[b"k", b"other"], 0);
    assert_eq!(server.taken(), [to(1, "*1 $1 k "), to(2, "*1 $1 k ")]);
    server.change(&[b"k"], 0);
    assert!(server.taken().is_empty());
    server.read(0, b"k");
    server.shared.set_tracking(1, None);
    server.change(&[b"k"], 0);
    assert!(server.taken().is_empty(), "it tracks no more");
    let figures = server.shared.tracking.figures();
    assert_eq!((figures.keys, figures.items, figures.bytes, figures.clients), (0, 0, 0, 1));
}

#[test]
fn own_changes_are_not_told_where_that_is_not_wanted() {
    let server = server("");
    server.track(0, Tracking { noloop: true, ..Tracking::default() });
    server.track(1, Tracking::default());
    (0..2).for_each(|client| server.read(client, b"k"));
    server.change(&[b"k"], 1);
    assert_eq!(server.taken(), [to(2, "*1 $1 k ")]);
    // It may have read the key after it wrote it and before that was told: of the next change it hears.
    server.change(&[b"k"], 1);
    assert!(server.taken().is_empty());
    server.change(&[b"k", b"k"], 2);
    assert_eq!(server.taken(), [to(1, "*1 $1 k ")]);
    let figures = server.shared.tracking.figures();
    assert_eq!((figures.keys, figures.items, figures.bytes), (0, 0, 0));
}

#[test]
fn what_changed_while_it_was_read_is_told_again_where_another_is_told() {
    let server = server("");
    server.track(0, Tracking { redirect: Some(3), ..Tracking::default() });
    let read = |keys: &[&[u8]]| keys.iter().for_each(|key| server.shared.remember_read(1, key, true));
    read(&[b"k", b"j"]);
    server.change(&[b"k"], 0);
    assert_eq!(server.taken(), [to(3, "*1 $1 k for another")]);
    server.shared.recheck_reads(0);
    let again = server.taken();
    assert_eq!(again, [to(1, "again *1 $1 k ")], "by way of the reader's worker, so behind its reply");
    server.shared.redirect(&server.clients[0], 3, None);
    assert_eq!(server.taken(), [to(3, "all for another")]);
    // Once.
    server.shared.recheck_reads(0);
    read(&[b"k"]);
    server.shared.recheck_reads(0);
    assert!(server.taken().is_empty());
    // More than is looked at.
    let long = vec![b'x'; 60_000];
    for n in 0..100 {
        read(&[&[&[n], &long[..]].concat()]);
    }
    server.shared.recheck_reads(0);
    assert_eq!(server.taken(), [to(1, "again all ")]);
}

#[test]
fn prefixes_get_all_changes_of_a_round_in_one() {
    let server = server("");
    let prefixes = |list: &[&[u8]]| list.iter().map(|prefix| Box::from(*prefix)).collect();
    server.track(0, Tracking { bcast: true, prefixes: prefixes(&[b"a", b"b"]), ..Tracking::default() });
    server
        .track(1, Tracking { bcast: true, noloop: true, prefixes: prefixes(&[b"a"]), ..Tracking::default() });
    server.change(&[b"a1", b"b1", b"c1", b"a2", b"a1"], 0);
    assert_eq!(server.taken(), [to(1, "*2 $2 a1 $2 a2 "), to(2, "*2 $2 a1 $2 a2 "), to(1, "*1 $2 b1 ")]);
    server.change(&[b"a1"], 2);
    assert_eq!(server.taken(), [to(1, "*1 $2 a1 ")]);
    server.shared.set_tracking(1, None);
    server.shared.set_tracking(2, None);
    assert_eq!(server.shared.tracking.figures().prefixes, 0);
    assert!(!server.shared.store.journal().is_on());
}

#[test]
fn another_connection_may_be_told_instead() {
    let server = server("");
    server.track(0, Tracking { redirect: Some(3), ..Tracking::default() });
    server.read(0, b"k");
    server.change(&[b"k"], 0);
    assert_eq!(server.taken(), [to(3, "*1 $1 k for another")]);
    server.shared.dismiss(&server.clients[2]);
    server.read(0, b"k");
    server.change(&[b"k"], 0);
    assert_eq!(server.taken(), [to(1, "3 is gone")]);
    assert!(server.clients[0].is_redirect_broken());
}

#[test]
fn what_the_table_forgets_its_clients_forget() {
    let server = server("--tracking-table-max-keys 2");
    server.track(0, Tracking::default());
    [&b"a"[..], b"b", b"a", b"c"].iter().for_each(|key| server.read(0, key));
    assert_eq!(server.taken(), [to(1, "*1 $1 b ")], "not a: that was read again");
    server.shared.tell_flushed(&mut server.shared.wakes());
    assert_eq!(server.taken(), [to(1, "all ")]);
    assert_eq!(server.shared.tracking.figures().keys, 0);
}

#[test]
fn the_table_is_bounded_in_bytes_and_in_the_memory_account() {
    let server = server("--tracking-table-max-keys 0 --max-memory 64MB");
    server.track(0, Tracking::default());
    let connections = &server.shared.store.budget().connections;
    for n in 0..200_000u32 {
        server.read(0, &n.to_le_bytes());
        if n % 256 == 0 {
            server.taken();
        }
    }
    server.taken();
    let bytes = server.shared.tracking.figures().bytes;
    assert!(bytes <= 4_000_000 && bytes > 3_900_000, "{bytes}");
    assert!(connections.load(Relaxed) >= bytes);
    server.shared.tell_flushed(&mut server.shared.wakes());
    server.taken();
    assert_eq!(connections.load(Relaxed), 0);
}

#[test]
fn more_changes_than_the_journal_holds_void_everything() {
    let server = server("");
    server.track(0, Tracking::default());
    server.read(0, b"k");
    let key = vec![b'x'; 60_000];
    (0..400).for_each(|_| server.shared.store.journal().note(Happening::Set, 0, 0, &key));
    server.shared.tell_changes();
    assert_eq!(server.taken(), [to(1, "all ")]);
}
