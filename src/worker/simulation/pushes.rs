//! Messages between replies, on a network that misbehaves: each stream stays whole, messages in the order in which they were published.

use super::*;

/// A subscriber that asks for something now and then, and what it has got.
struct Subscriber {
    client: SimClient,
    received: Vec<u8>,
    /// Messages got so far, and replies to ECHO.
    messages: usize,
    echoes: usize,
    asked: usize,
    to_write: Vec<u8>,
    broken: bool,
}

const MESSAGES: usize = 40;
const ECHOES: usize = 20;

/// Long and short ones: those that are copied and those that are shared.
fn message(n: usize) -> Vec<u8> {
    vec![b'a' + (n % 26) as u8; [5, 900, 1_500, 30_000][n % 4]]
}

fn push(n: usize) -> Vec<u8> {
    let message = message(n);
    let mut out = format!(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n", message.len()).into_bytes();
    out.extend(message);
    out.extend(b"\r\n");
    out
}

impl Subscriber {
    fn step(&mut self, random: &mut Random, seed: u64) {
        if self.asked < ECHOES && random.below(3) == 0 {
            self.to_write.extend(request(&[b"ECHO", &vec![b'0'; 1 + random.below(3_000)]]));
            self.asked += 1;
        }
        match self.client.write(&self.to_write[..random.below(2_000).min(self.to_write.len())]) {
            Ok(taken) => drop(self.to_write.drain(..taken)),
            Err(_) => self.broken = true,
        }
        self.received.extend(self.client.read(random.below(50_000)));
        self.broken |= self.client.end().is_some();
        loop {
            let taken = match self.received.first() {
                Some(b'>') => {
                    let expected = push(self.messages);
                    if self.received.len() < expected.len() {
                        break;
                    }
                    assert!(self.received.starts_with(&expected), "seed {seed}: message {}", self.messages);
                    self.messages += 1;
                    expected.len()
                }
                Some(b'$') => {
                    let Some(end) = self.received.iter().position(|byte| *byte == b'\n') else { break };
                    let len: usize = String::from_utf8_lossy(&self.received[1..end - 1]).parse().unwrap();
                    let all = end + 1 + len + 2;
                    if self.received.len() < all {
                        break;
                    }
                    let value = &self.received[end + 1..end + 1 + len];
                    assert!(value.iter().all(|byte| *byte == b'0'), "seed {seed}: something inside a reply");
                    self.echoes += 1;
                    all
                }
                Some(other) => panic!("seed {seed}: {other} between replies"),
                None => break,
            };
            self.received.drain(..taken);
        }
    }

    fn is_done(&self) -> bool {
        self.broken || (self.messages == MESSAGES && self.echoes == ECHOES)
    }
}

/// Connects one that has subscribed: the greeting and the confirmation are read.
fn subscriber(worker: &mut Worker<Sim, SimClock>, net: &SimNet, seed: u64) -> Option<Subscriber> {
    let mut client = net.connect(0).unwrap();
    let mut to_write = [request(&[b"HELLO", b"3"]), request(&[b"SUBSCRIBE", b"c"])].concat();
    let mut received = Vec::new();
    let end = b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    for _ in 0..100_000 {
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        let Ok(taken) = client.write(&to_write) else { return None };
        to_write.drain(..taken);
        received.extend(client.read(usize::MAX));
        if received.ends_with(end) {
            let (asked, messages, echoes) = (0, 0, 0);
            received.clear();
            return Some(Subscriber { client, received, messages, echoes, asked, to_write, broken: false });
        }
        if client.end().is_some() {
            return None;
        }
    }
    panic!("seed {seed}: no confirmation");
}

fn play_messages(seed: u64, faults: Faults) -> Vec<Subscriber> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut worker, net, shared) = worker(faults, seed, FLAGS);
    let mut subscribers: Vec<Subscriber> =
        (0..1 + random.below(4)).filter_map(|_| subscriber(&mut worker, &net, seed)).collect();
    for subscriber in &mut subscribers {
        if random.below(2) == 0 {
            subscriber.client.set_window(1 + random.below(5_000));
        }
    }
    let mut published = 0;
    for turn in 0.. {
        assert!(turn < 200_000, "seed {seed}: they wait for ever");
        if published < MESSAGES && random.below(2) == 0 {
            shared.pushes().publish(crate::conn::ChannelKind::Plain, b"c", &message(published));
            published += 1;
        }
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        subscribers.iter_mut().for_each(|subscriber| subscriber.step(&mut random, seed));
        if published == MESSAGES && subscribers.iter().all(Subscriber::is_done) {
            break;
        }
    }
    shared.send(0, Message::Drain);
    for turn in 0.. {
        assert!(turn < 10_000, "seed {seed}: the drain does not end");
        if worker.drained() {
            break;
        }
        worker.turn(Some(Duration::from_millis(10))).unwrap();
    }
    assert_eq!(worker.memory, 0, "seed {seed}: closed connections still count");
    assert!(!shared.pubsub.any(), "seed {seed}: closed connections still subscribe");
    subscribers
}

#[test]
fn messages_and_replies_are_whole_and_in_order_on_a_rough_network() {
    for seed in seeds(60) {
        let subscribers = play_messages(seed, Faults::ROUGH);
        assert!(subscribers.iter().all(|subscriber| !subscriber.broken), "seed {seed}: one was cut");
    }
}

#[test]
fn a_cut_subscriber_harms_no_other() {
    for seed in seeds(60) {
        play_messages(seed, Faults::HOSTILE);
    }
}
