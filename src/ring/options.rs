//! What a driver can be told: sizes and the busy poll. All drivers take the same options and ignore none.

/// Sizes of one driver, which is one worker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverOptions {
    /// Submission queue entries (io_uring), or events taken per `epoll_wait`. Rounded up to a power of two.
    pub sq_entries: u32,
    /// Completion queue entries (io_uring). The bound that matters: completions of one turn. At least `sq_entries`.
    pub cq_entries: u32,
    /// Receive buffers. Few and hot beats many: 64 of 16 KiB stay in the L2 cache. Rounded up to a power of two.
    pub recv_buffers: u16,
    /// Bytes of each receive buffer.
    pub recv_buffer_size: u32,
    /// How long a nearly idle worker spins before it blocks, in microseconds; 0 never spins.
    pub busy_poll_us: u32,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            sq_entries: 512,
            cq_entries: 4096,
            recv_buffers: 64,
            recv_buffer_size: 16 * 1024,
            busy_poll_us: 50,
        }
    }
}

impl DriverOptions {
    /// Buffer rings hold a power of two of at most 32,768 buffers (`io_uring_register_buf_ring(3)`).
    pub(super) fn buffer_count(&self) -> u16 {
        self.recv_buffers.clamp(1, 1 << 15).next_power_of_two()
    }

    /// All buffers together stay within 1 GiB, so that an offset into them fits 32 bits everywhere.
    pub(super) fn buffer_size(&self) -> u32 {
        self.recv_buffer_size.clamp(1, (1 << 30) / u32::from(self.buffer_count()))
    }
}
