//! What came back: counts, the texts of refusals, and the first wrong answer.

use crate::proto::Reply;
use crate::workload::{Op, Values};

/// Different error texts kept; more are counted under the last.
const MAX_TEXTS: usize = 16;
/// Bytes of an error text kept.
const MAX_TEXT: usize = 160;

/// Counts of one slice, of one thread or of all.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// All replies.
    pub requests: u64,
    pub stored: u64,
    pub hits: u64,
    pub misses: u64,
    /// Refusals, and requests that were lost with their connection.
    pub errors: u64,
    /// Replies that do not fit their request, or hold another's value.
    pub wrong: u64,
    /// Open loop: requests that were due before the end and could not be sent.
    pub unsent: u64,
    pub lost_connections: u64,
    /// Error texts in the order of their first appearance, with their counts.
    pub texts: Vec<(String, u64)>,
    pub first_wrong: Option<String>,
}

/// Replies of one kind each, counted in registers while a buffer is gone through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    stored: u64,
    hits: u64,
    misses: u64,
}

impl Seen {
    /// Counts a reply that is no error.
    #[inline]
    pub fn count(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Stored => self.stored += 1,
            Reply::Value(_) => self.hits += 1,
            Reply::Miss => self.misses += 1,
            Reply::Error(_) => {}
        }
    }
}

impl Answers {
    /// Counts an unverified reply.
    pub fn count(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Error(text) => {
                self.requests += 1;
                self.refused(text, 1);
            }
            plain => {
                let mut seen = Seen::default();
                seen.count(plain);
                self.add_seen(&seen);
            }
        }
    }

    pub fn add_seen(&mut self, seen: &Seen) {
        self.requests += seen.stored + seen.hits + seen.misses;
        self.stored += seen.stored;
        self.hits += seen.hits;
        self.misses += seen.misses;
    }

    /// Counts a reply, and whether it is one to this request.
    pub fn judge(&mut self, op: Op, reply: Reply<'_>, values: Option<&Values>) {
        self.count(reply);
        let wrong = match (op, reply) {
            (Op::Get(key), Reply::Value(value)) => {
                values.and_then(|values| values.check(key, value).err()).map(|wrong| wrong.to_string())
            }
            (Op::Get(_), Reply::Stored) => Some("a GET was answered as a SET".to_owned()),
            (Op::Set(..), Reply::Value(_) | Reply::Miss) => Some("a SET was answered as a GET".to_owned()),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.wrong += 1;
            self.first_wrong.get_or_insert(wrong);
        }
    }

    /// Counts errors with this text.
    #[cold]
    pub fn refused(&mut self, text: &[u8], count: u64) {
        self.errors += count;
        let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
        self.add_text(&text, count);
    }

    fn add_text(&mut self, text: &str, count: u64) {
        if let Some(known) = self.texts.iter_mut().find(|(known, _)| known == text) {
            known.1 += count;
        } else if self.texts.len() < MAX_TEXTS {
            self.texts.push((text.to_owned(), count));
        } else if let Some(last) = self.texts.last_mut() {
            last.1 += count;
        }
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Answers) {
        self.requests += other.requests;
        self.stored += other.stored;
        self.hits += other.hits;
        self.misses += other.misses;
        self.errors += other.errors;
        self.wrong += other.wrong;
        self.unsent += other.unsent;
        self.lost_connections += other.lost_connections;
        other.texts.iter().for_each(|(text, count)| self.add_text(text, *count));
        if self.first_wrong.is_none() {
            self.first_wrong.clone_from(&other.first_wrong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Names;

    #[test]
    fn replies_are_judged_by_their_requests() {
        let values = Values::new(100, Names::new(10, 16).unwrap());
        let mut value = Vec::new();
        values.put_verified(3, 40, 0, &mut value);
        let mut answers = Answers::default();
        answers.judge(Op::Get(3), Reply::Value(&value), Some(&values));
        answers.judge(Op::Get(3), Reply::Miss, Some(&values));
        answers.judge(Op::Set(3, 40), Reply::Stored, Some(&values));
        answers.judge(Op::Set(3, 40), Reply::Error(b"OOM"), Some(&values));
        assert_eq!((answers.requests, answers.errors, answers.wrong), (4, 1, 0));
        answers.judge(Op::Get(4), Reply::Value(&value), Some(&values));
        answers.judge(Op::Get(4), Reply::Stored, Some(&values));
        answers.judge(Op::Set(4, 40), Reply::Miss, Some(&values));
        assert_eq!((answers.requests, answers.wrong), (7, 3));
        assert!(answers.first_wrong.is_some_and(|text| text.contains("key:000000000004")));
    }

    #[test]
    fn error_texts_are_counted_and_bounded() {
        let mut answers = Answers::default();
        for number in 0..100 {
            answers.refused(format!("ERR {}", number % 40).as_bytes(), 2);
        }
        let mut sum = answers.clone();
        sum.add(&answers);
        assert_eq!((sum.errors, sum.texts.len()), (400, MAX_TEXTS));
        assert_eq!(sum.texts.iter().map(|(_, count)| count).sum::<u64>(), 400);
        assert_eq!(sum.texts[0], ("ERR 0".to_owned(), 12));
    }
}
