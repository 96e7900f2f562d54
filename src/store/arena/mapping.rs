//! Memory from the kernel: reserved addresses, and large values' own mappings.

#![allow(unsafe_code, reason = "maps memory and hands out pointers into it")]

use std::io;
use std::ptr::NonNull;

/// A huge page on every architecture that we run on.
pub(in crate::store) const HUGE_PAGE: usize = 2 << 20;
pub(in crate::store) const PAGE: usize = 4096;

/// Heap allocations of at least this many bytes get mappings of their own.
const OWN_MAPPING_FROM: libc::c_int = 256 << 10;

/// Makes the C library return large blocks to the kernel when they are freed. By itself it raises its threshold with each block
/// that is freed, up to 32 MiB, and keeps what lies below: buffers of connections long gone would count as resident for ever.
/// Call before other threads start. See mallopt(3), M_MMAP_THRESHOLD.
pub fn return_large_frees() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number in the allocator, under its own lock; no memory of ours is involved.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING_FROM);
    }
}

/// Reserved or anonymous address space, unmapped on drop.
pub(in crate::store) struct Mapping {
    raw: NonNull<u8>,
    pub raw_len: usize,
    pub base: NonNull<u8>,
    pub len: usize,
}

// SAFETY: a Mapping is plain memory of the process, owned until drop; access rules are those of its owners.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` alone gives no access to the bytes outside this file.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Addresses without memory, aligned to huge pages.
    pub fn reserve(len: usize) -> io::Result<Mapping> {
        let raw_len = len + HUGE_PAGE;
        let raw = map(raw_len, libc::PROT_NONE, libc::MAP_NORESERVE)?;
        let skip = raw.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: skip < HUGE_PAGE, and the mapping just made is HUGE_PAGE longer than len.
        let base = unsafe { raw.add(skip) };
        Ok(Mapping { raw, raw_len, base, len })
    }

    /// Readable and writable zeroes, faulted in at once.
    pub fn populated(len: usize) -> io::Result<Mapping> {
        let raw_len = len.next_multiple_of(PAGE);
        let raw = map(raw_len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_POPULATE)?;
        Ok(Mapping { raw, raw_len, base: raw, len })
    }

    pub fn pointer(&self, at: usize, len: usize) -> NonNull<u8> {
        assert!(len <= self.len && at <= self.len - len, "range outside of the mapping");
        // SAFETY: the assertion keeps the range inside this mapping, which lives as long as self.
        unsafe { self.base.add(at) }
    }

    pub fn make_writable(&self, at: usize, len: usize) -> io::Result<()> {
        let start = self.pointer(at, len);
        // SAFETY: the range is inside our own mapping; giving it more rights invalidates nobody's view of it.
        check(unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_WRITE) })
    }

    /// Advice that keeps the contents (huge pages on, off or now, populate). Refusal is harmless: memory then comes at first touch, or
    /// stays in small pages.
    pub fn advise(&self, at: usize, len: usize, advice: libc::c_int) {
        let start = self.pointer(at, len);
        // SAFETY: inside our own mapping, and none of the advices passed here changes contents.
        unsafe { libc::madvise(start.as_ptr().cast(), len, advice) };
    }

    /// Gives the memory of a range back; it reads as zero afterwards. The caller sees to it that nobody reads it.
    pub fn discard(&self, at: usize, len: usize) {
        let start = self.pointer(at, len);
        // SAFETY: inside our own mapping; callers hold the range exclusively (returned segment, unused table tail).
        unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: owned by self alone, and nothing borrowed from it outlives self.
        let result = unsafe { libc::munmap(self.raw.as_ptr().cast(), self.raw_len) };
        if result != 0 {
            // Unmapping from the middle of a merged area can fail at vm.max_map_count: then only addresses leak.
            // SAFETY: still ours, since the unmapping failed.
            unsafe { libc::madvise(self.raw.as_ptr().cast(), self.raw_len, libc::MADV_DONTNEED) };
        }
    }
}

fn map(len: usize, protection: libc::c_int, flags: libc::c_int) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap returned address zero"))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reserves `len` bytes, or as much of it as a limit on addresses (`ulimit -v`) allows, but at least `least`.
pub(in crate::store) fn reserve_up_to(mut len: usize, least: usize) -> io::Result<Mapping> {
    loop {
        match Mapping::reserve(len) {
            Err(_) if len / 2 >= least => len = (len / 2).next_multiple_of(HUGE_PAGE),
            result => return result,
        }
    }
}

/// Zeroed memory of its own, for one large value.
pub(in crate::store) struct OwnMemory(Mapping);

impl OwnMemory {
    pub fn new(len: usize) -> io::Result<OwnMemory> {
        Mapping::populated(len.max(1)).map(OwnMemory)
    }

    /// At least `len` bytes, the first as they were; they may move. What it grows by is resident.
    pub fn grow(&mut self, len: usize) -> io::Result<()> {
        let raw_len = len.next_multiple_of(PAGE);
        let old = self.0.raw_len;
        if raw_len <= old {
            return Ok(());
        }
        // SAFETY: the mapping is owned by self, and `&mut self` excludes every view of it while the kernel moves it.
        let address = unsafe { libc::mremap(self.0.raw.as_ptr().cast(), old, raw_len, libc::MREMAP_MAYMOVE) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let raw =
            NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mremap returned address zero"))?;
        (self.0.raw, self.0.base) = (raw, raw);
        (self.0.raw_len, self.0.len) = (raw_len, raw_len);
        self.0.advise(old, raw_len - old, libc::MADV_POPULATE_WRITE);
        Ok(())
    }

    /// Bytes that stay resident.
    pub fn resident(&self) -> usize {
        self.0.raw_len
    }

    /// All of it, whole pages.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: readable, owned by self; `&self` excludes `bytes_mut`.
        unsafe { std::slice::from_raw_parts(self.0.raw.as_ptr(), self.0.raw_len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: writable, owned by self; `&mut self` excludes every other view.
        unsafe { std::slice::from_raw_parts_mut(self.0.raw.as_ptr(), self.0.raw_len) }
    }
}

/// Asks for the cache line at an address. Never faults, so any address may be passed.
#[inline]
pub(in crate::store) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint; it reads nothing and cannot fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Fetches all cache lines of a range into the second-level cache, from where the kernel will copy it.
pub(in crate::store) fn prefetch_range(range: &[u8]) {
    for line in range.chunks(64) {
        let address = line.as_ptr();
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch is a hint; it reads nothing and cannot fault.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = address;
    }
}
