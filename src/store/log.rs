//! The segments of a partition: which are open, in which order they were opened, how much in them is alive.
//!
//! ```text
//!            free ──► open ──► sealed ──► (victim) ──► free
//!                      │         │                      ▲
//!                      └── linked in log order          └── by way of `pinned`, while a pin still reads there
//! ```
//!
//! Each queue (small and main for S3-FIFO, main alone for LRU) has one open segment per TTL class, so that what expires at
//! about the same time lies together and its memory comes back whole. This file counts and links; it touches no item.

/// Coarse classes of remaining time to live.
pub(super) const CLASSES: usize = 5;
/// Upper bounds of the classes 1 to 3 in milliseconds: a minute, a quarter of an hour, six hours. Class 0 never expires.
const CLASS_BOUNDS_MS: [u64; CLASSES - 2] = [60_000, 900_000, 21_600_000];
/// How long a class's segments are left alone after a sweep, so that a few expired items a second do not mean walking through
/// all of them every second. (A look-up finds an expired item gone at once, whatever the sweep does.)
const SWEEP_PAUSES_MS: [u64; CLASSES] = [0, 1_000, 10_000, 60_000, 300_000];

/// The class of an item.
pub(super) fn class_of(expire_at_ms: Option<u64>, now_ms: u64) -> usize {
    let Some(at) = expire_at_ms else { return 0 };
    let left = at.saturating_sub(now_ms);
    1 + CLASS_BOUNDS_MS.iter().take_while(|bound| left > **bound).count()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Main = 0,
    Small = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Free, given up, or waiting for its pins.
    Idle,
    Open,
    Sealed,
    /// Being emptied by eviction or compaction; in no queue.
    Victim,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Grows with each opening in this partition.
    pub sequence: u64,
    /// No item here expires before this time.
    pub min_expiry_ms: u64,
    /// When it was last swept, and the flush whose traces had been removed from here then.
    pub swept_ms: u64,
    pub swept_flush: u64,
    /// Bytes written.
    pub used: u32,
    /// Bytes of items that are not dead.
    pub live: u32,
    before: u32,
    after: u32,
    pub state: State,
    pub queue: Queue,
    pub class: u8,
}

impl Segment {
    /// When the expiry sweep should come here next.
    pub fn sweep_due_ms(&self) -> u64 {
        self.min_expiry_ms.max(self.swept_ms + SWEEP_PAUSES_MS[self.class as usize])
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    len: usize,
}

/// When bytes of a segment were written: a few (bytes used, time) marks, thinned out as they fill up.
#[derive(Clone, Debug)]
struct Times {
    marks: Vec<(u32, u64)>,
    gap_ms: u64,
}

const MARKS: usize = 16;

impl Times {
    fn reset(&mut self) {
        self.marks.clear();
        // A mark a second is finer than anyone asks; sixteen per segment bound the memory.
        self.gap_ms = 1000;
    }

    #[inline]
    fn note(&mut self, at: u32, now_ms: u64) {
        if self.marks.last().is_none_or(|(_, time)| now_ms >= time + self.gap_ms) {
            self.push(at, now_ms);
        }
    }

    #[cold]
    fn push(&mut self, at: u32, now_ms: u64) {
        if self.marks.len() == MARKS {
            self.gap_ms *= 2;
            let mut n = 0;
            self.marks.retain(|_| {
                n += 1;
                n % 2 == 1
            });
        }
        self.marks.push((at, now_ms));
    }

    fn written_ms(&self, at: u32) -> u64 {
        self.marks.iter().take_while(|(from, _)| *from <= at).last().map_or(0, |(_, time)| *time)
    }
}

pub(super) struct Log {
    pub segments: Vec<Segment>,
    times: Vec<Times>,
    /// Held, empty, unpinned.
    pub free: Vec<u32>,
    /// Empty, but still read through pins.
    pub pinned: Vec<u32>,
    open: [[Option<u32>; CLASSES]; 2],
    lists: [List; 2],
    next_sequence: u64,
    segment_size: u32,
    /// Bytes written to, and alive in, segments that are not idle.
    pub used: usize,
    pub live: usize,
}

impl Log {
    pub fn new(segment_size: usize, capacity: usize) -> Log {
        let list = List { first: NONE, last: NONE, len: 0 };
        Log {
            segments: Vec::with_capacity(capacity),
            times: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity.min(1024)),
            pinned: Vec::new(),
            open: [[None; CLASSES]; 2],
            lists: [list; 2],
            next_sequence: 1,
            segment_size: u32::try_from(segment_size).expect("segments are at most 2 MiB"),
            used: 0,
            live: 0,
        }
    }

    /// Segments in this queue, open ones included.
    pub fn len(&self, queue: Queue) -> usize {
        self.lists[queue as usize].len
    }

    /// A number between the sequences of all segments so far and those of all to come; no two calls return the same.
    pub fn divide(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// Takes `size` bytes from the open segment, if there is one and they fit: the segment and the place in it.
    #[inline]
    pub fn append(&mut self, queue: Queue, class: usize, size: usize, now_ms: u64) -> Option<(u32, u32)> {
        let segment = self.open[queue as usize][class]?;
        let meta = &mut self.segments[segment as usize];
        let at = meta.used;
        // Items are shorter than segments, segments at most 2 MiB.
        let end = at + size as u32;
        if end > self.segment_size {
            return None;
        }
        meta.used = end;
        meta.live += size as u32;
        self.used += size;
        self.live += size;
        self.times[segment as usize].note(at, now_ms);
        Some((segment, at))
    }

    /// Opens an idle segment in place of the queue's and class's current one. Returns that one if nothing in it is alive:
    /// then it is for the caller to free.
    pub fn open(&mut self, segment: u32, queue: Queue, class: usize) -> Option<u32> {
        let empty = self.seal(queue, class);
        while self.segments.len() <= segment as usize {
            self.segments.push(Segment {
                sequence: 0,
                min_expiry_ms: u64::MAX,
                swept_ms: 0,
                swept_flush: 0,
                used: 0,
                live: 0,
                before: NONE,
                after: NONE,
                state: State::Idle,
                queue,
                class: 0,
            });
            self.times.push(Times { marks: Vec::new(), gap_ms: 0 });
        }
        let meta = &mut self.segments[segment as usize];
        debug_assert_eq!(meta.state, State::Idle);
        meta.sequence = self.next_sequence;
        meta.min_expiry_ms = u64::MAX;
        (meta.swept_ms, meta.swept_flush) = (0, 0);
        (meta.used, meta.live) = (0, 0);
        (meta.state, meta.queue) = (State::Open, queue);
        meta.class = class as u8;
        self.times[segment as usize].reset();
        self.next_sequence += 1;
        self.open[queue as usize][class] = Some(segment);
        self.link_last(segment);
        empty
    }

    /// The open segment of a queue and class.
    pub fn current(&self, queue: Queue, class: usize) -> Option<u32> {
        self.open[queue as usize][class]
    }

    /// Closes an open segment. Returns it if nothing in it is alive: then it is for the caller to free.
    pub fn seal(&mut self, queue: Queue, class: usize) -> Option<u32> {
        let segment = self.open[queue as usize][class].take()?;
        self.segments[segment as usize].state = State::Sealed;
        (self.segments[segment as usize].live == 0).then_some(segment)
    }

    /// The oldest segment of a queue; sealed, if it was still open.
    pub fn oldest(&mut self, queue: Queue) -> Option<u32> {
        let first = self.lists[queue as usize].first;
        if first == NONE {
            return None;
        }
        let meta = &self.segments[first as usize];
        if meta.state == State::Open {
            self.seal(queue, meta.class as usize);
        }
        Some(first)
    }

    /// Takes a sealed segment out of its queue, to be emptied.
    pub fn make_victim(&mut self, segment: u32) {
        debug_assert_eq!(self.segments[segment as usize].state, State::Sealed);
        self.unlink(segment);
        self.segments[segment as usize].state = State::Victim;
    }

    /// Puts a victim that could not be emptied back, as the oldest of its queue.
    pub fn restore_victim(&mut self, segment: u32) {
        self.segments[segment as usize].state = State::Sealed;
        self.link_first(segment);
    }

    /// Forgets an empty segment's contents.
    pub fn retire(&mut self, segment: u32) {
        if self.segments[segment as usize].state == State::Sealed {
            self.unlink(segment);
        }
        let meta = &mut self.segments[segment as usize];
        debug_assert!(meta.live == 0 && meta.state != State::Open);
        self.used -= meta.used as usize;
        meta.state = State::Idle;
        (meta.used, meta.min_expiry_ms) = (0, u64::MAX);
    }

    /// Counts an item as dead. True if its segment is sealed and now empty.
    pub fn bury(&mut self, segment: u32, size: usize) -> bool {
        self.live -= size;
        let meta = &mut self.segments[segment as usize];
        meta.live -= size as u32;
        meta.live == 0 && meta.state == State::Sealed
    }

    /// When the byte at this place was written, to about a sixteenth of the time its segment took to fill.
    pub fn written_ms(&self, segment: u32, at: u32) -> u64 {
        self.times[segment as usize].written_ms(at)
    }

    fn link_last(&mut self, segment: u32) {
        let list = &mut self.lists[self.segments[segment as usize].queue as usize];
        let last = std::mem::replace(&mut list.last, segment);
        list.len += 1;
        if last == NONE {
            list.first = segment;
        } else {
            self.segments[last as usize].after = segment;
        }
        let meta = &mut self.segments[segment as usize];
        (meta.before, meta.after) = (last, NONE);
    }

    fn link_first(&mut self, segment: u32) {
        let list = &mut self.lists[self.segments[segment as usize].queue as usize];
        let first = std::mem::replace(&mut list.first, segment);
        list.len += 1;
        if first == NONE {
            list.last = segment;
        } else {
            self.segments[first as usize].before = segment;
        }
        let meta = &mut self.segments[segment as usize];
        (meta.before, meta.after) = (NONE, first);
    }

    fn unlink(&mut self, segment: u32) {
        let Segment { before, after, queue, .. } = self.segments[segment as usize];
        let list = &mut self.lists[queue as usize];
        list.len -= 1;
        if before == NONE {
            list.first = after;
        } else {
            self.segments[before as usize].after = after;
        }
        if after == NONE {
            self.lists[queue as usize].last = before;
        } else {
            self.segments[after as usize].before = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_remaining_time() {
        assert_eq!(class_of(None, 5), 0);
        assert_eq!(class_of(Some(0), 5), 1);
        assert_eq!(class_of(Some(60_005), 5), 1);
        assert_eq!(class_of(Some(60_006), 5), 2);
        assert_eq!(class_of(Some(900_006), 5), 3);
        assert_eq!(class_of(Some(21_600_006), 5), 4);
    }

    #[test]
    fn queues_keep_log_order() {
        let mut log = Log::new(4096, 8);
        for segment in 0..4 {
            assert_eq!(log.open(segment, Queue::Main, 0), None);
            assert_eq!(log.append(Queue::Main, 0, 64, 0), Some((segment, 0)));
        }
        assert_eq!(log.oldest(Queue::Main), Some(0));
        log.make_victim(1);
        assert!(log.bury(0, 64));
        log.retire(0);
        assert_eq!((log.oldest(Queue::Main), log.len(Queue::Main)), (Some(2), 2));
        log.restore_victim(1);
        assert_eq!((log.oldest(Queue::Main), log.len(Queue::Main)), (Some(1), 3));
        assert_eq!((log.used, log.live), (192, 192));
        assert!(!log.bury(3, 64), "an open segment stays");
        assert_eq!(log.seal(Queue::Main, 0), Some(3));
    }

    #[test]
    fn times_stay_few_and_ordered() {
        let mut times = Times { marks: Vec::new(), gap_ms: 1000 };
        (0..10_000u32).for_each(|n| times.note(n * 8, u64::from(n) * 100));
        assert!(times.marks.len() <= MARKS);
        let error = (0..10_000u32).map(|n| u64::from(n) * 100 - times.written_ms(n * 8)).max().unwrap();
        assert!(error < 1_000_000 / 6, "{error}");
        assert!(times.written_ms(9_999 * 8) > 800_000);
    }
}
