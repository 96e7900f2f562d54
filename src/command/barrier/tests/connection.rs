//! HELLO to CONFIG: the connection and the server.

use super::client;
use super::fake_host::FakeHost;
use crate::command::Flow;
use crate::command::testing::{Client, play};
use crate::conn::Session;

const HELLO_2: &str = "*14 $6 server $5 redis $7 version $5 7.4.0 $5 proto :2 $2 id :7 $4 mode $10 standalone $4 role $6 master $7 modules *0";
const HELLO_3: &str = "%7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :7 $4 mode $10 standalone $4 role $6 master $7 modules *0";
const BAD_NAME: &str = "-ERR Client names cannot contain spaces, newlines or special characters.";
const WRONG_PASSWORD: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn hello() {
    play(
        &mut client(),
        &[
            ("HELLO", HELLO_2),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
            ("HELLO 4", "-NOPROTO unsupported protocol version"),
            ("HELLO 1", "-NOPROTO unsupported protocol version"),
            ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
            ("HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"),
            ("HELLO 3 AUTH foo x", WRONG_PASSWORD),
            ("HELLO 3 SETNAME a\nb", BAD_NAME),
            // None of these changed anything.
            ("CLIENT GETNAME", "$-1"),
            ("HELLO 3 AUTH default x SETNAME foo", HELLO_3),
            ("CLIENT GETNAME", "$3 foo"),
            ("HELLO", HELLO_3),
            ("HELLO 2", HELLO_2),
            ("CLIENT GETNAME", "$3 foo"),
        ],
    );
}

#[test]
fn passwords() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            (
                "AUTH x",
                "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
            ),
            ("AUTH default x", "+OK"),
            ("AUTH foo x", WRONG_PASSWORD),
            ("AUTH a b c", "-ERR syntax error"),
        ],
    );
    client.host.password = Some("secret");
    client.session = Session::new(7, false);
    play(
        &mut client,
        &[
            ("MGET a b", "-NOAUTH Authentication required."),
            (
                "HELLO 3",
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            ),
            ("HELLO 3 AUTH default wrong", WRONG_PASSWORD),
            ("AUTH wrong", WRONG_PASSWORD),
            ("AUTH foo secret", WRONG_PASSWORD),
            ("MGET a b", "-NOAUTH Authentication required."),
            ("HELLO 3 AUTH default secret", HELLO_3),
            ("MGET a b", "*2 _ _"),
            ("RESET", "+RESET"),
            ("MGET a b", "-NOAUTH Authentication required."),
            ("AUTH secret", "+OK"),
            ("MGET a b", "*2 $-1 $-1"),
        ],
    );
}

#[test]
fn beginning_and_end() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("SELECT 3", "+OK"),
            ("CLIENT SETNAME x", "+OK"),
            ("CLIENT NO-TOUCH on", "+OK"),
            ("PING hi", "$2 hi"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
            ("ECHO hi", "$2 hi"),
            ("RESET", "+RESET"),
            ("CLIENT GETNAME", "$-1"),
        ],
    );
    assert_eq!((client.session.db, client.session.no_touch, client.flow), (0, false, Flow::Continue));
    assert_eq!(client.run("QUIT"), "+OK");
    assert_eq!(client.flow, Flow::Close);
}

#[test]
fn what_clients_say_of_themselves() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("CLIENT ID", ":7"),
            ("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command"),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
            ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
            ("CLIENT MAINT_NOTIFICATIONS ON x y", "-ERR syntax error"),
            ("CLIENT SETNAME a\nb", BAD_NAME),
            ("CLIENT SETNAME \"\"", "+OK"),
            ("CLIENT SETINFO lib-name abc", "+OK"),
            ("CLIENT SETINFO LIB-VER 1.2", "+OK"),
            (
                "CLIENT SETINFO LIB-NAME a\tb",
                "-ERR LIB-NAME cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT SETINFO FOO a", "-ERR Unrecognized option 'FOO'"),
            ("CLIENT NO-EVICT x", "-ERR syntax error"),
            ("CLIENT NO-EVICT on", "+OK"),
            ("CLIENT NO-TOUCH x", "-ERR syntax error"),
            ("CLIENT INFO", "$5 id=7 "),
        ],
    );
    let known = client.host.sessions.borrow().last().cloned().unwrap();
    assert_eq!((&*known.lib_name, &*known.lib_version, known.no_evict), ("abc", "1.2", true));
    client.session.resp3 = true;
    assert_eq!(client.run("CLIENT INFO"), "=9 txt:id=7 ");
}

#[test]
fn replies_can_be_turned_off() {
    let mut client = super::client();
    // The commands, and what reaches the client of their replies.
    for (line, expected) in [
        ("CLIENT REPLY x", "-ERR syntax error"),
        ("CLIENT REPLY OFF", ""),
        ("PING", ""),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY ON", "+OK"),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY ON", "+OK"),
    ] {
        client.session.command_begins();
        let reply = client.run(line);
        let dropped = client.session.command_ends();
        assert_eq!(if dropped { "" } else { &reply }, expected, "{line}");
    }
}

#[test]
fn pausing() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative"),
            ("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range"),
            ("CLIENT PAUSE 1 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
            ("CLIENT PAUSE 5 write", "+OK"),
            ("CLIENT PAUSE 6", "+OK"),
            ("CLIENT UNPAUSE", "+OK"),
        ],
    );
    let log = client.host.log.borrow();
    assert_eq!(*log, ["pause Some((5, Write))", "pause Some((6, All))", "pause None"]);
}

/// Clients 1 to 9, 7 being ours; 3 is named `three`, 4 uses database 2.
fn crowd() -> Client<FakeHost> {
    let client = super::client();
    for id in (1..10).filter(|id| *id != 7) {
        let mut session = Session::new(id, true);
        if id == 3 {
            session.name = "three".into();
        }
        session.db = if id == 4 { 2 } else { 0 };
        crate::command::Host::client_changed(&client.host, &session);
    }
    client
}

#[test]
fn listing_clients() {
    let mut client = crowd();
    for (filter, expected) in [
        ("ID 3 1 99", "13"),
        ("ID 3 ID 4", "4"),
        ("NOT-ID 3 4 5 6 7 8 9", "12"),
        ("ID 1 2 3 NOT-ID 3", "12"),
        ("NAME three", "3"),
        ("DB 2", "4"),
        ("NOT-DB 0", "4"),
        ("ADDR 127.0.0.1:5006", "6"),
        ("LADDR 127.0.0.1:7171 MAXAGE 80", "89"),
        ("IP 127.0.0.1 IDLE 9", "9"),
        ("IP 127.0.0.2", ""),
        ("ID 6 7 8 SKIPME yes", "68"),
        ("TYPE normal ID 1", "1"),
        ("TYPE NORMAL TYPE pubsub", ""),
        ("TYPE replica", ""),
        ("NOT-TYPE master ID 2", "2"),
        ("USER default ID 2", "2"),
        ("FLAGS N ID 2", "2"),
        ("CAPA redirect", ""),
        ("LIB-NAME x", ""),
        ("NOT-LIB-VER x ID 2", "2"),
    ] {
        let reply = client.run(&format!("CLIENT LIST {filter}"));
        let (_, lines) = reply.split_once(' ').unwrap_or((&reply, ""));
        let ids: String = lines.split_whitespace().filter_map(|line| line.strip_prefix("id=")).collect();
        assert_eq!(ids, expected, "{filter}");
    }
    play(
        &mut client,
        &[
            ("CLIENT LIST FOO", "-ERR syntax error"),
            ("CLIENT LIST FOO bar", "-ERR syntax error"),
            ("CLIENT LIST NOT-IDLE 1", "-ERR syntax error"),
            ("CLIENT LIST ID", "-ERR syntax error"),
            ("CLIENT LIST ID x", "-ERR syntax error"),
            ("CLIENT LIST ID 0", "-ERR client-id should be greater than 0"),
            ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
            ("CLIENT LIST USER foo", "-ERR No such user 'foo'"),
            ("CLIENT LIST DB 99", "-ERR DB number should be between 0 and 15"),
            ("CLIENT LIST DB x", "-ERR DB is not an integer or out of range"),
            ("CLIENT LIST MAXAGE x", "-ERR maxage is not an integer or out of range"),
            ("CLIENT LIST FLAGS z", "-ERR Unknown flags found in the provided filter: z"),
        ],
    );
}

#[test]
fn killing_clients() {
    let mut client = crowd();
    play(
        &mut client,
        &[
            ("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command"),
            ("CLIENT KILL 1.2.3.4:5", "-ERR No such client"),
            ("CLIENT KILL 127.0.0.1:5003", "+OK"),
            ("CLIENT KILL ID 999", ":0"),
            ("CLIENT KILL ID 1 2", ":2"),
            // The caller is spared unless it says otherwise.
            ("CLIENT KILL ID 7", ":0"),
            ("CLIENT KILL MAXAGE 0", "-ERR maxage should be greater than 0"),
            ("CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range"),
            ("CLIENT KILL ID 999 SKIPME", "-ERR syntax error"),
            ("CLIENT KILL SKIPME x", "-ERR syntax error"),
        ],
    );
    assert_eq!(client.flow, Flow::Continue);
    assert_eq!(client.run("CLIENT KILL ID 6 7 8 SKIPME no"), ":3");
    assert_eq!(client.flow, Flow::Close);
    assert_eq!(client.host.log.borrow().last().unwrap(), "kill [6, 8]");
    assert_eq!(client.run("CLIENT KILL 127.0.0.1:5007"), "+OK");
    assert_eq!(client.flow, Flow::Close);
}

#[test]
fn the_command_table() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
            ("COMMAND COUNT", &format!(":{}", crate::command::COMMANDS.len())),
            (
                "COMMAND INFO get nosuch",
                "*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access \
             $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 \
             $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 $-1",
            ),
            ("COMMAND LIST FILTERBY PATTERN MGE*", "*1 $4 mget"),
            ("COMMAND LIST FILTERBY PATTERN client|s*", "*2 $14 client|setinfo $14 client|setname"),
            (
                "COMMAND LIST FILTERBY ACLCAT bitmap",
                "*7 $8 bitcount $8 bitfield $11 bitfield_ro $5 bitop $6 bitpos $6 getbit $6 setbit",
            ),
            ("COMMAND LIST FILTERBY ACLCAT foo", "*0"),
            ("COMMAND LIST FILTERBY MODULE foo", "*0"),
            ("COMMAND LIST FILTERBY FOO bar", "-ERR syntax error"),
            ("COMMAND LIST FOO", "-ERR syntax error"),
            ("COMMAND DOCS foo", "*0"),
            ("COMMAND GETKEYS FOO", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS PING", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS GET a", "*1 $1 a"),
            ("COMMAND GETKEYS MSET a 1 b 2", "*2 $1 a $1 b"),
            ("COMMAND GETKEYS MSETEX 2 a 1 b 2 EX 5", "*2 $1 a $1 b"),
            ("COMMAND GETKEYS MSETEX 5 a 1 b 2", "-ERR Invalid arguments specified for command"),
            ("COMMAND GETKEYS BITOP AND d a b", "*3 $1 d $1 a $1 b"),
            ("COMMAND GETKEYS LCS a b IDX", "*2 $1 a $1 b"),
            ("COMMAND GETKEYS OBJECT ENCODING a", "*1 $1 a"),
            ("COMMAND GETKEYS MEMORY USAGE a", "*1 $1 a"),
            ("COMMAND GETKEYSANDFLAGS SET a b", "*1 *2 $1 a *2 +OW +update"),
            ("COMMAND GETKEYSANDFLAGS SET a b GET", "*1 *2 $1 a *3 +RW +access +update"),
            ("COMMAND GETKEYSANDFLAGS BITFIELD a GET u8 0", "*1 *2 $1 a *2 +RO +access"),
            ("COMMAND GETKEYSANDFLAGS COPY a b", "*2 *2 $1 a *2 +RO +access *2 $1 b *2 +OW +update"),
            (
                "COMMAND GETKEYSANDFLAGS RENAME a b",
                "*2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +OW +update",
            ),
            ("COMMAND GETKEYSANDFLAGS DEL a b", "*2 *2 $1 a *2 +RM +delete *2 $1 b *2 +RM +delete"),
        ],
    );
    client.session.resp3 = true;
    assert!(
        client.run("COMMAND INFO get").starts_with("*1 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read")
    );
    assert!(client.run("COMMAND DOCS client|id").starts_with("%1 $9 client|id %4 $7 summary "));
    for whole in ["COMMAND", "COMMAND INFO", "COMMAND DOCS", "COMMAND LIST", "COMMAND HELP", "OBJECT HELP"] {
        assert!(client.run(whole).len() > 200, "{whole}");
    }
}

#[test]
fn the_server() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("INFO", "$11 sections: "),
            ("INFO Server CLIENTS", "$25 sections:server,clients "),
            ("CONFIG GET save appendonly save", "*4 $4 save $0  $10 appendonly $2 no"),
            ("CONFIG GET nosuch", "*0"),
            ("CONFIG SET a b c", "-ERR syntax error"),
            ("CONFIG SET a b", "-ERR Unknown option or number of arguments for CONFIG SET - 'a'"),
            (
                "CONFIG SET maxmemory 1 save x maxmemory 2",
                "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter",
            ),
            ("CONFIG SET maxmemory 1 save x", "+OK"),
            ("CONFIG RESETSTAT", "+OK"),
            ("CONFIG REWRITE", "-ERR The server is running without a config file"),
            ("CLUSTER SLOTS", "-ERR This instance has cluster support disabled"),
            ("SENTINEL MASTERS", "-ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS' "),
            ("TIME", "*2 $10 1700000000 $2 42"),
            ("ROLE", "*3 $6 master :0 *0"),
            ("LASTSAVE", ":1700000000"),
            ("ROLE x", "-ERR wrong number of arguments for 'role' command"),
        ],
    );
    assert_eq!(*client.host.log.borrow(), ["maxmemory = 1", "save = x", "reset stats"]);
    client.session.resp3 = true;
    play(&mut client, &[("INFO", "=15 txt:sections: "), ("CONFIG GET save", "%1 $4 save $0 ")]);
}
