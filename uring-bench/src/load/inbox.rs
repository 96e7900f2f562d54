//! What of a connection's replies has arrived and is not yet whole. Replies are looked at where the kernel put them; only
//! one that is cut is copied, and of a large value that nobody will check not even that: its bytes are counted off.

use crate::proto::{Reply, Scan, Wire};

/// Bytes copied at a time to complete a cut line.
const STEP: usize = 64;

/// One connection's incomplete reply, if there is one.
#[derive(Debug)]
pub struct Inbox<R> {
    /// The beginning of a cut reply.
    carry: Vec<u8>,
    /// Bytes of a counted value that are still to come.
    skip: usize,
    resume: R,
}

/// The server does not speak the protocol; these are its words.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbage(pub Vec<u8>);

impl<R: Default> Default for Inbox<R> {
    fn default() -> Self {
        Self { carry: Vec::new(), skip: 0, resume: R::default() }
    }
}

impl<R: Default> Inbox<R> {
    /// Hands every reply that `bytes` complete to `each`, in order. With `whole_values` a value that was cut is put
    /// together first; without, `each` gets an empty one in its place when its last byte has come.
    #[inline]
    pub fn feed<W: Wire<Resume = R>>(
        &mut self,
        wire: &W,
        mut bytes: &[u8],
        whole_values: bool,
        mut each: impl FnMut(Reply<'_>),
    ) -> Result<(), Garbage> {
        if self.skip > 0 || !self.carry.is_empty() {
            bytes = self.finish(wire, bytes, whole_values, &mut each)?;
        }
        while !bytes.is_empty() {
            match wire.scan(bytes, &mut self.resume) {
                Scan::Reply(reply, len) => {
                    each(reply);
                    bytes = &bytes[len..];
                }
                Scan::Incomplete { value_ends: Some(end) } if !whole_values => {
                    self.skip = end - bytes.len();
                    return Ok(());
                }
                Scan::Incomplete { .. } => {
                    self.carry.extend_from_slice(bytes);
                    return Ok(());
                }
                Scan::Garbage => return Err(garbage(bytes)),
            }
        }
        Ok(())
    }

    /// Completes the cut reply as far as `bytes` go; returns those behind it.
    fn finish<'b, W: Wire<Resume = R>>(
        &mut self,
        wire: &W,
        mut bytes: &'b [u8],
        whole_values: bool,
        each: &mut impl FnMut(Reply<'_>),
    ) -> Result<&'b [u8], Garbage> {
        if self.skip > 0 {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            if self.skip == 0 {
                each(Reply::Value(b""));
            }
            return Ok(&bytes[skipped..]);
        }
        let mut step = STEP;
        loop {
            let before = self.carry.len();
            self.carry.extend_from_slice(&bytes[..step.min(bytes.len())]);
            match wire.scan(&self.carry, &mut self.resume) {
                Scan::Reply(reply, len) => {
                    each(reply);
                    self.carry.clear();
                    // What was carried before is no whole reply, so this one ends within `bytes`.
                    return Ok(&bytes[len - before..]);
                }
                Scan::Incomplete { value_ends } => {
                    bytes = &bytes[self.carry.len() - before..];
                    match value_ends {
                        Some(end) if !whole_values => {
                            self.skip = end - self.carry.len();
                            self.carry.clear();
                            return if bytes.is_empty() {
                                Ok(bytes)
                            } else {
                                self.finish(wire, bytes, false, each)
                            };
                        }
                        Some(end) => step = end - self.carry.len(),
                        // Unknown: more each time, or a long reply is scanned again and again.
                        None => step = step.max(self.carry.len()),
                    }
                }
                Scan::Garbage => return Err(garbage(&self.carry)),
            }
            if bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }

    /// Bytes of memory held, for tests of what stays small.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.carry.len()
    }
}

#[cold]
fn garbage(bytes: &[u8]) -> Garbage {
    Garbage(bytes[..bytes.len().min(80)].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Http, Json, Memcached, Protobuf, Resp};
    use crate::workload::Names;
    use proptest::prelude::*;

    fn names() -> Names {
        Names::new(1000, 16).unwrap()
    }

    /// What `each` saw, as text.
    fn fed<W: Wire>(wire: &W, pieces: &[&[u8]], whole_values: bool) -> Vec<String> {
        let (mut inbox, mut seen) = (Inbox::default(), Vec::new());
        for piece in pieces {
            let each = |reply: Reply<'_>| {
                seen.push(match reply {
                    Reply::Value(value) => format!("value {}", value.escape_ascii()),
                    Reply::Error(text) => format!("error {}", text.escape_ascii()),
                    other => format!("{other:?}"),
                });
            };
            inbox.feed(wire, piece, whole_values, each).unwrap();
            assert!(whole_values || inbox.held() < 200, "a value that nobody checks is not kept");
        }
        assert!(inbox.held() == 0 && inbox.skip == 0);
        seen
    }

    fn resp_stream() -> (Vec<u8>, Vec<String>) {
        let value = "v\r\n$-1\r\n".repeat(50);
        let bytes = format!("+OK\r\n${}\r\n{value}\r\n$-1\r\n-ERR no\r\n$0\r\n\r\n+OK\r\n", value.len());
        let long = format!("value {}", value.as_bytes().escape_ascii());
        let seen = ["Stored", &long, "Miss", "error ERR no", "value ", "Stored"];
        (bytes.into_bytes(), seen.map(str::to_owned).to_vec())
    }

    #[test]
    fn replies_cut_at_every_byte_are_seen_once() {
        let wire = Resp::new(names(), None);
        let (bytes, seen) = resp_stream();
        for cut in 0..bytes.len() {
            assert_eq!(fed(&wire, &[&bytes[..cut], &bytes[cut..]], true), seen, "cut at {cut}");
            assert_eq!(fed(&wire, &[&bytes[..cut], &bytes[cut..]], false).len(), seen.len(), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fed(&wire, &single, true), seen);
        let kinds = |seen: Vec<String>| seen.iter().map(|one| one[..4].to_owned()).collect::<Vec<_>>();
        assert_eq!(kinds(fed(&wire, &single, false)), kinds(seen.clone()));
    }

    /// A value, a miss, a write, a refusal, an empty value, in each of the protocols.
    fn check_cuts<W: Wire>(wire: &W, bytes: &[u8], refusal: &str) {
        let long = format!("value {}", "v".repeat(300));
        let seen = [&long[..], "Miss", "Stored", refusal, "value ", "Stored"].map(str::to_owned);
        let kinds = |seen: &[String]| seen.iter().map(|one| one[..4].to_owned()).collect::<Vec<_>>();
        for cut in 0..bytes.len() {
            assert_eq!(fed(wire, &[&bytes[..cut], &bytes[cut..]], true), seen, "cut at {cut}");
            let counted = fed(wire, &[&bytes[..cut], &bytes[cut..]], false);
            assert_eq!(kinds(&counted), kinds(&seen), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fed(wire, &single, true), seen);
        assert_eq!(kinds(&fed(wire, &single, false)), kinds(&seen));
    }

    #[test]
    fn replies_of_other_protocols_cut_at_every_byte_are_seen_once() {
        let value = "v".repeat(300);
        let text = format!(
            "VALUE k 0 300\r\n{value}\r\nEND\r\nEND\r\nSTORED\r\nERROR\r\nVALUE k 0 0\r\n\r\nEND\r\nSTORED\r\n"
        );
        check_cuts(&Memcached::new(names(), None).unwrap(), text.as_bytes(), "error ERROR");
        let http = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let done = "HTTP/1.1 204 No Content\r\n\r\n";
        let parts = [
            &http("200 OK", &value)[..],
            &http("404 Not", "no"),
            done,
            &http("500 No", "{}"),
            &http("200 OK", ""),
            done,
        ];
        check_cuts(&Http::new(names(), None, None).unwrap(), parts.concat().as_bytes(), "error 500 No");
        let mut frames = vec![0xb1, 0x02, 0x08, 1, 0x42, 0xac, 0x02];
        frames.extend_from_slice(value.as_bytes());
        for frame in [
            &[0x08, 1, 0x10, 1][..],
            &[0x08, 2],
            &[0x08, 2, 0x10, 6, 0x3a, 2, b'n', b'o'],
            &[0x08, 1],
            &[0x08, 2],
        ] {
            frames.push(frame.len() as u8);
            frames.extend_from_slice(frame);
        }
        check_cuts(&Protobuf::new(names(), None), &frames, "error no");
    }

    proptest! {
        #[test]
        fn replies_cut_anywhere_are_seen_once(cuts in prop::collection::vec(0..600usize, 0..12), whole: bool) {
            let (resp, seen) = resp_stream();
            prop_assert_eq!(fed(&Resp::new(names(), None), &pieces(&resp, &cuts), true), seen);
            let json = br#"{"status":"OK","message":"","key":"k","value":"a}\"b"}
                {"status":"OK","message":"Key not found.","key":null,"value":null}{"status":"ERROR","message":"no","key":null,"value":null}"#;
            let seen = fed(&Json::new(names()), &pieces(json, &cuts), whole);
            prop_assert_eq!(seen, [r#"value a}\\\"b"#, "Miss", "error no"]);
        }
    }

    fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
    }

    #[test]
    fn garbage_is_quoted() {
        let mut inbox = Inbox::default();
        let wire = Resp::new(names(), None);
        assert_eq!(inbox.feed(&wire, b"+O", true, |_| {}), Ok(()));
        assert_eq!(
            inbox.feed(&wire, b"PS, a surprise\r\n", true, |_| {}),
            Err(Garbage(b"+OPS, a surprise\r\n".to_vec()))
        );
    }
}
