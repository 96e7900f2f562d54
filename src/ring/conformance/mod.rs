//! One suite for all drivers: what `Driver` promises, played over real sockets (and over the simulated network).

use crate::ring::{DriverOptions, uring::Uring, *};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

#[test]
fn thin_echo() {
    let mut d = Uring::new(&DriverOptions::default()).unwrap();
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = l.local_addr().unwrap();
    d.listen(l.into(), 3).unwrap();
    let t = std::thread::spawn(move || {
        let mut c = TcpStream::connect(addr).unwrap();
        for i in 0..1000u32 {
            c.write_all(&i.to_le_bytes()).unwrap();
            let mut b = [0; 4];
            c.read_exact(&mut b).unwrap();
            assert_eq!(b, i.to_le_bytes());
        }
    });
    let mut out = Outgoing::default();
    let mut events = Vec::new();
    let mut closed = false;
    while !closed {
        d.turn(&mut out, Some(Duration::from_secs(1))).unwrap();
        assert!(out.unfinished.is_empty());
        out.clear();
        d.take_events(&mut events);
        for e in events.drain(..) {
            match e {
                Event::Accepted { conn, listener } => {
                    assert_eq!(listener, 3);
                    d.start_recv(conn)
                }
                Event::Received { conn, data } => {
                    let start = out.bytes.len() as u32;
                    out.bytes.extend_from_slice(d.received(data));
                    let p = out.pieces.len() as u32;
                    out.pieces.push(Piece::Bytes(start..out.bytes.len() as u32));
                    out.sends.push(Send { conn, pieces: p..p + 1 });
                }
                Event::Ended { conn, .. } => d.close(conn, true),
                Event::Closed { .. } => closed = true,
                e => panic!("{e:?}"),
            }
        }
    }
    t.join().unwrap();
    eprintln!("{:?}", d.stats());
}
