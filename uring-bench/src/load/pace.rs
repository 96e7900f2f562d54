//! Open loop: when each request is due. The schedule knows nothing of the server.

/// Requests at a fixed rate from the beginning of a slice. Times are nanoseconds since then.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Nanoseconds from one request to the next.
    interval: f64,
    /// The first request's time: threads take turns instead of all sending at once.
    first: f64,
    issued: u64,
}

impl Pace {
    /// A share of `rate` requests per second: thread `thread` of `threads`.
    pub fn new(rate: f64, thread: usize, threads: usize) -> Self {
        let interval = 1e9 * threads as f64 / rate;
        Self { interval, first: interval * thread as f64 / threads as f64, issued: 0 }
    }

    /// Requests that are due at `now` and have not been issued.
    pub fn due(&self, now: u64) -> u64 {
        let since = now as f64 - self.first;
        if since < 0.0 {
            return 0;
        }
        // Saturates; a slice has far fewer than 2^53 requests.
        ((since / self.interval) as u64 + 1).saturating_sub(self.issued)
    }

    /// Issues the next request; returns when it was due.
    pub fn issue(&mut self) -> u64 {
        let due = self.next_due();
        self.issued += 1;
        due
    }

    /// When the next request is due.
    pub fn next_due(&self) -> u64 {
        (self.first + self.issued as f64 * self.interval) as u64 // Not negative.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_rate_and_keep_their_times() {
        let mut pace = Pace::new(1000.0, 0, 1);
        assert_eq!((pace.due(0), pace.next_due()), (1, 0));
        assert_eq!(pace.due(10_000_000), 11);
        let due: Vec<u64> = (0..11).map(|_| pace.issue()).collect();
        assert_eq!(due, (0..11).map(|k| k * 1_000_000).collect::<Vec<_>>(), "late ones are not rescheduled");
        assert_eq!((pace.due(10_000_000), pace.next_due()), (0, 11_000_000));
    }

    #[test]
    fn threads_share_a_rate_without_coinciding() {
        let mut all: Vec<u64> = (0..4)
            .flat_map(|thread| {
                let mut pace = Pace::new(4000.0, thread, 4);
                (0..pace.due(9_999_999)).map(|_| pace.issue()).collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all.len(), 40);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == 250_000));
    }
}
