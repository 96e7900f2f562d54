//! What a connection has queued between MULTI and EXEC, and the keys that it watches.

/// Commands of a transaction, their arguments in one run of bytes.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    bytes: Vec<u8>,
    /// Where each argument ends.
    ends: Vec<usize>,
    /// How many arguments there are up to the end of each command.
    commands: Vec<usize>,
    /// One of them writes.
    writes: bool,
    /// One was refused: EXEC will refuse the whole.
    failed: bool,
}

impl Transaction {
    pub fn push(&mut self, args: &[&[u8]], writes: bool) {
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
        self.commands.push(self.ends.len());
        self.writes |= writes;
    }

    /// Marks it as one that EXEC refuses. What was queued is dropped: it will not run.
    pub fn fail(&mut self) {
        *self = Transaction { failed: true, ..Transaction::default() };
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether one of the commands writes.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + (self.ends.capacity() + self.commands.capacity()) * size_of::<usize>()
    }

    /// Leaves a command's arguments in `args`.
    pub fn command<'t>(&'t self, index: usize, args: &mut Vec<&'t [u8]>) {
        let first = if index == 0 { 0 } else { self.commands[index - 1] };
        let mut start = if first == 0 { 0 } else { self.ends[first - 1] };
        args.clear();
        for end in &self.ends[first..self.commands[index]] {
            args.push(&self.bytes[start..*end]);
            start = *end;
        }
    }
}

/// A watched key, and what it was when WATCH looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub db: u8,
    pub key: Box<[u8]>,
    /// Its CAS; `None`: there was no such key.
    pub version: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_they_were() {
        let lines: [&[&[u8]]; 4] = [&[b"SET", b"k", b"v"], &[b"PING"], &[b"GET", b""], &[b"", b"", b"x"]];
        let mut transaction = Transaction::default();
        for (n, line) in lines.iter().enumerate() {
            transaction.push(line, n == 0);
        }
        assert!(transaction.writes() && transaction.len() == 4);
        let mut args = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            transaction.command(n, &mut args);
            assert_eq!(args, *line);
        }
        transaction.fail();
        assert!(transaction.has_failed() && transaction.is_empty() && transaction.memory() == 0);
    }
}
