//! Who may come in: the password, and protected mode where there is none.

mod support;

use nix::sched::{CloneFlags, unshare};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use support::{Conn, Server, Setup, Value, skip};

on_every_engine!(
    without_a_password_auth_is_an_error,
    nothing_goes_before_the_password,
    hello_carries_the_password,
    reset_asks_for_the_password_again,
    json_lines_need_the_password_too,
    protected_mode_refuses_strangers,
    a_password_lifts_protected_mode,
);

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn error(text: &str) -> Value {
    Value::Error(text.into())
}

fn without_a_password_auth_is_an_error(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let text = "ERR AUTH <password> called without any password configured for the default user. \
                Are you sure your configuration is correct?";
    assert_eq!(conn.run("AUTH secret"), error(text));
    assert_eq!(conn.run("AUTH nosuch secret"), error(WRONGPASS));
    assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
}

fn nothing_goes_before_the_password(setup: Setup) {
    let server = setup.start(&["--requirepass", "s3cret"]);
    let mut conn = server.connect();
    for line in [
        "PING",
        "GET k",
        "SET k v",
        "MSET a 1 b 2",
        "FLUSHALL",
        "INFO",
        "CONFIG GET *",
        "SCAN 0",
        "CLIENT LIST",
    ] {
        assert_eq!(conn.run(line), error(NOAUTH), "{line}");
    }
    assert_eq!(conn.run("AUTH wrong"), error(WRONGPASS));
    assert_eq!(conn.run("AUTH nosuch s3cret"), error(WRONGPASS));
    assert_eq!(conn.command(&["AUTH", ""]), error(WRONGPASS));
    assert_eq!(conn.run("GET k"), error(NOAUTH), "a wrong password opens nothing");
    assert_eq!(conn.run("AUTH s3cret"), ok());
    assert_eq!(conn.run("GET k"), Value::Nil, "none of the refused writes was done");
    assert_eq!(conn.run("DBSIZE"), Value::Int(0));
    assert_eq!(server.connect().run("AUTH default s3cret"), ok());
    assert_eq!(server.connect().run("QUIT"), ok(), "leaving needs no password");
}

fn hello_carries_the_password(setup: Setup) {
    let server = setup.start(&["--requirepass", "s3cret"]);
    let mut conn = server.connect();
    let Value::Error(text) = conn.run("HELLO 3") else { panic!("HELLO without AUTH is refused") };
    assert!(text.starts_with("NOAUTH HELLO must be called with the client already authenticated"), "{text}");
    assert_eq!(conn.run("HELLO 3 AUTH default wrong"), error(WRONGPASS));
    assert_eq!(conn.run("GET k"), error(NOAUTH));
    let greeting = conn.run("HELLO 3 AUTH default s3cret SETNAME app");
    assert!(matches!(greeting, Value::Map(_)), "{greeting:?}");
    assert_eq!(conn.run("CLIENT GETNAME").text(), "app");
}

fn reset_asks_for_the_password_again(setup: Setup) {
    let server = setup.start(&["--requirepass", "s3cret"]);
    let mut conn = server.connect();
    assert_eq!(conn.run("AUTH s3cret"), ok());
    assert_eq!(conn.run("RESET"), Value::Simple("RESET".into()));
    assert_eq!(conn.run("GET k"), error(NOAUTH));
}

/// Another protocol on the same port is no way around the password.
fn json_lines_need_the_password_too(setup: Setup) {
    let server = setup.start(&["--requirepass", "s3cret"]);
    let mut json = server.connect();
    json.send(b"{\"key\": \"k\", \"value\": \"smuggled\"}\n");
    let _ = json.stream.shutdown(std::net::Shutdown::Write);
    let reply = json.read_to_close().expect("an answer, then a close");
    assert!(!String::from_utf8_lossy(&reply).contains("\"OK\""), "{}", reply.escape_ascii());
    let mut conn = server.connect();
    assert_eq!(conn.run("AUTH s3cret"), ok());
    assert_eq!(conn.run("EXISTS k"), Value::Int(0));
}

/// An address that is not loopback, of a network that consists of this thread and what it starts.
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

/// Runs `test` in a network namespace of its own that has the address [`OUTSIDE`]; skips where that is not allowed.
fn in_a_network_of_its_own(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                return skip("KV_REQUIRE_NETNS", &format!("no network namespace may be made here: {error}"));
            }
            for arguments in [&["link", "set", "lo", "up"][..], &["addr", "add", "192.0.2.1/32", "dev", "lo"]]
            {
                match Command::new("ip").args(arguments).status() {
                    Ok(status) if status.success() => {}
                    other => return skip("KV_REQUIRE_NETNS", &format!("ip {arguments:?}: {other:?}")),
                }
            }
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn from_outside(server: &Server) -> Conn {
    let address = SocketAddr::from((OUTSIDE, server.address().port()));
    Conn::over(TcpStream::connect(address).expect("the server listens on all addresses"))
}

fn protected_mode_refuses_strangers(setup: Setup) {
    in_a_network_of_its_own(|| {
        let server = setup.start(&["--bind", "0.0.0.0"]);
        for _ in 0..4 {
            let mut stranger = from_outside(&server);
            let said = stranger.read_to_close().expect("a refusal and a close");
            let said = String::from_utf8(said).expect("text");
            assert!(said.starts_with("-DENIED ") && said.ends_with("\r\n"), "{said}");
            // What to do: a password, or the loopback address.
            assert!(said.contains("password") && said.contains("loopback"), "{said}");
            assert_eq!(said.matches("\r\n").count(), 1, "one error line that clients can show: {said}");
        }
        assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()), "loopback is trusted");
    });
}

fn a_password_lifts_protected_mode(setup: Setup) {
    in_a_network_of_its_own(|| {
        let server = setup.start(&["--bind", "0.0.0.0", "--requirepass", "s3cret"]);
        let mut conn = from_outside(&server);
        assert_eq!(conn.run("PING"), error(NOAUTH));
        assert_eq!(conn.run("AUTH s3cret"), ok());
        assert_eq!(conn.run("SET k v"), ok());
    });
}
