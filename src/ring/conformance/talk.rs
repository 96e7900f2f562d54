//! One client's side of a conversation, step by step, checked byte by byte.

use super::beds::Client;

/// Bytes that tell where they belong: a cut, a repetition or a foreign byte shows.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at ^ (at >> 8) ^ (at >> 16)).wrapping_mul(31) ^ seed.wrapping_mul(17)) as u8)
        .collect()
}

/// A client that writes all of `to_write`, reads until `expect` bytes are there, and checks them at the end.
pub struct Talk<C> {
    pub client: C,
    pub to_write: Vec<u8>,
    pub written: usize,
    pub expect: Vec<u8>,
    pub read: Vec<u8>,
    /// Bytes per write and read: frames cut anywhere.
    step: usize,
}

impl<C: Client> Talk<C> {
    pub fn echo(client: C, bytes: Vec<u8>, step: usize) -> Self {
        Self { client, expect: bytes.clone(), to_write: bytes, written: 0, read: Vec::new(), step }
    }

    /// Writes and reads a step; true when all has come back.
    pub fn step(&mut self) -> bool {
        let end = (self.written + self.step).min(self.to_write.len());
        if self.written < end {
            self.written += self.client.write(&self.to_write[self.written..end]);
        }
        self.read.extend(self.client.read(self.step.max(1)));
        self.read.len() >= self.expect.len()
    }

    pub fn check(self) -> C {
        assert_eq!(self.read.len(), self.expect.len(), "count");
        let wrong = self.read.iter().zip(&self.expect).position(|(got, want)| got != want);
        assert_eq!(wrong, None, "first wrong byte");
        self.client
    }
}

/// A step of each; true when all have come to their end.
pub fn step_all<C: Client>(talks: &mut [Talk<C>]) -> bool {
    let mut all = true;
    for talk in talks {
        all &= talk.step();
    }
    all
}
