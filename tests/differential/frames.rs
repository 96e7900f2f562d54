//! Broken and odd frames: what each server answers, and whether it reads on after them.

use crate::support::{Server, resp};

/// Each is sent on a connection of its own.
const FRAMES: &[&[u8]] = &[
    b"*1\r\n+4\r\nPING\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n$-5\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*abc\r\n",
    b"*2147483648\r\n",
    b"*99999999999999999999\r\n",
    b"*1 \r\n",
    b"* 1\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$ 1\r\na\r\n",
    b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    b"SET \"unbalanced\r\n",
    b"SET 'unbalanced\r\n",
    b"\r\n",
    b"\r\n\r\n\r\n",
    b"\n",
    b"   \r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*-7\r\n",
    b"PING\n",
    b"  PING  \r\n",
    b"ping \"hello world\"\r\n",
    b"ECHO 'single \\' quote'\r\n",
    b"ECHO \"\\x41\\n\\t\\\\\\\"\"\r\n",
    b"ECHO \"\"\r\n",
    b"ECHO a b\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$002\r\nab\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"NOSUCH a b c\r\n",
];

/// Plays all frames to both servers, each between two good commands: the second tells whether the connection lives on.
pub fn compare_all(ours: &Server, theirs: &Server) {
    for frame in FRAMES {
        let answer = |server: &Server| {
            let mut conn = server.connect();
            conn.send(&[&resp("ECHO before")[..], frame, &resp("QUIT")].concat());
            // A frame that swallowed the QUIT ends here.
            conn.stream.shutdown(std::net::Shutdown::Write).expect("half a close");
            conn.read_to_close().map(|bytes| bytes.escape_ascii().to_string())
        };
        assert_eq!(answer(ours), answer(theirs), "after \"{}\" (ours, theirs)", frame.escape_ascii());
    }
}
