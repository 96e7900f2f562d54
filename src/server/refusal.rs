//! Connections that are not let in: why, and what they are told in the protocol that their listener speaks.
//!
//! They are refused before their first byte is read. On the common port nobody knows then what they speak: they are told in RESP, which
//! a person can read whatever the client.

use crate::proto::http::{Connection, Manner, Problem, put_problem};
use crate::proto::protobuf::{Status, put_plain};
use crate::proto::{Protocol, ReplyBuf, Spoken, json};
use bytes::Bytes;

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    MaxClients,
    Protected,
}

const MAX_CLIENTS: &str = "max number of clients reached";
const PROTECTED: &str = "KV-Cache runs in protected mode: no password is set, so only clients on the loopback interface of its own \
     machine are served. To let others in, choose one: 1) set a password, by KV_REQUIREPASS or --requirepass \
     at its start, or by 'CONFIG SET requirepass <password>' over loopback; 2) turn protected mode off, by \
     --protected-mode no or 'CONFIG SET protected-mode no', if nobody but you can reach this port.";

impl Refusal {
    /// The whole reply that it gets before it is closed.
    pub fn reply(self, spoken: Spoken) -> Bytes {
        let message = match self {
            Refusal::MaxClients => MAX_CLIENTS,
            Refusal::Protected => PROTECTED,
        };
        let mut out = ReplyBuf::default();
        match spoken {
            Spoken::All | Spoken::Only(Protocol::Resp) => {
                out.put(if self == Refusal::MaxClients { b"-ERR " } else { b"-DENIED " });
                out.put(message.as_bytes());
                out.put(b"\r\n");
            }
            // No request was read that a binary reply could be for; memcached answers in text there too.
            Spoken::Memcached | Spoken::Only(Protocol::Text | Protocol::Binary) => {
                out.put(b"SERVER_ERROR ");
                out.put(message.as_bytes());
                out.put(b"\r\n");
            }
            Spoken::Only(Protocol::Http) => {
                let manner = Manner { connection: Connection::Close, ..Manner::default() };
                put_problem(&self.problem(message), &manner, &mut out);
            }
            Spoken::Only(Protocol::JsonLines) => {
                json::put_error(message, &mut out);
                out.put(b"\n");
            }
            Spoken::Only(Protocol::Protobuf) => {
                let status = match self {
                    Refusal::MaxClients => Status::OutOfMemory,
                    Refusal::Protected => Status::Unauthenticated,
                };
                put_plain(0, status, message, &mut out);
            }
        }
        Bytes::from(out.bytes)
    }

    fn problem(self, message: &'static str) -> Problem {
        match self {
            Refusal::MaxClients => {
                Problem { status: 503, code: "max_clients", message, fields: "Retry-After: 1\r\n" }
            }
            Refusal::Protected => Problem { status: 403, code: "protected_mode", message, fields: "" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(refusal: Refusal, spoken: Spoken) -> String {
        String::from_utf8_lossy(&refusal.reply(spoken)).into_owned()
    }

    #[test]
    fn each_protocol_has_its_words_for_it() {
        let all = [Protocol::Resp, Protocol::JsonLines, Protocol::Text, Protocol::Binary, Protocol::Protobuf]
            .map(Spoken::Only);
        for spoken in all.into_iter().chain([Spoken::All, Spoken::Memcached]) {
            let (full, protected) = (text(Refusal::MaxClients, spoken), text(Refusal::Protected, spoken));
            assert!(full.contains("max number of clients reached"), "{full}");
            assert!(protected.contains("password") && protected.contains("loopback"), "{protected}");
            let start = match spoken {
                Spoken::All | Spoken::Only(Protocol::Resp) => "-ERR ",
                Spoken::Only(Protocol::JsonLines) => "{\"status\":\"ERROR\"",
                Spoken::Only(Protocol::Protobuf) => continue,
                _ => "SERVER_ERROR ",
            };
            assert!(
                full.starts_with(start) && full.ends_with('\n') && full.matches('\n').count() == 1,
                "{full}"
            );
            assert!(protected.ends_with('\n') && protected.matches('\n').count() == 1, "{protected}");
        }
        assert!(text(Refusal::Protected, Spoken::All).starts_with("-DENIED "));
    }

    #[test]
    fn over_http_it_is_a_reply_that_ends_the_connection() {
        for (refusal, start) in [
            (Refusal::MaxClients, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"),
            (Refusal::Protected, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"),
        ] {
            let reply = text(refusal, Spoken::Only(Protocol::Http));
            assert!(reply.starts_with(start), "{reply}");
            let (head, body) = reply.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(body["error"]["message"].is_string());
        }
    }
}
