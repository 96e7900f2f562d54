//! Setting up a ring, and saying plainly why it cannot be.
//!
//! Found out by trying, not by the kernel's version: distributions backport and disable. First the flags, then the
//! opcodes (`register_probe`), then, because no probe reports it, one multishot receive on a socket pair.
//! The ring starts disabled, is restricted to what this driver submits, and enabled here, on its worker's thread:
//! a defect of ours cannot ask it to open files, and `SINGLE_ISSUER` binds it to the thread that enables it.

#![allow(unsafe_code, reason = "the probe submits a receive")]

use super::buffers::{Buffers, GROUP};
use super::kernel::Kernel;
use super::refused::{StartError, release};
use crate::ring::DriverOptions;
use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The charge of a ring that has just been closed is released late: a fast restart meets its own ghost.
const MEMLOCK_RETRIES: u32 = 20;
const MEMLOCK_PAUSE: Duration = Duration::from_millis(50);

/// The operations that this driver submits, and so all that its ring allows.
const OPERATIONS: [u8; 7] = [
    opcode::Accept::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::Close::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Read::CODE,
];
const SQE_FLAGS: Flags = Flags::IO_LINK.union(Flags::BUFFER_SELECT).union(Flags::SKIP_SUCCESS);
/// `IORING_UNREGISTER_PBUF_RING`, which the crate does not name: the only registration after the start.
const UNREGISTER_PBUF_RING: u8 = 23;

/// A ring that is enabled, restricted and proven to do what the driver needs, and its receive buffers.
pub fn start(options: &DriverOptions) -> Result<(Kernel, Buffers, Granted), StartError> {
    let mut attempt = 0;
    loop {
        match try_start(options) {
            Err(StartError::Memlock { .. }) if attempt < MEMLOCK_RETRIES => {
                attempt += 1;
                std::thread::sleep(MEMLOCK_PAUSE);
            }
            result => return result,
        }
    }
}

/// What the kernel has granted to a ring of the size that a worker's has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub sq_entries: u32,
    pub cq_entries: u32,
    /// The flag of 6.6, which saves an array.
    pub no_sqarray: bool,
}

fn try_start(options: &DriverOptions) -> Result<(Kernel, Buffers, Granted), StartError> {
    let (ring, no_sqarray) = build(options)?;
    check_features(&ring)?;
    let buffers = Buffers::register(&ring, options.buffer_count(), options.buffer_size()).map_err(
        |error| match error.raw_os_error() {
            Some(libc::ENOMEM) => StartError::memlock(),
            Some(libc::EINVAL) => StartError::too_old("provided buffer rings (5.19)"),
            _ => StartError::Other(error),
        },
    )?;
    restrict(&ring)?;
    ring.submitter().register_enable_rings()?;
    let mut kernel = Kernel::new(ring);
    let mut buffers = buffers;
    if let Err(refused) = probe_multishot_recv(&mut kernel, &mut buffers) {
        // Its receive may still be armed, and closing the ring does not wait for it.
        buffers.leak();
        return Err(refused);
    }
    let params = kernel.ring.params();
    let granted = Granted { sq_entries: params.sq_entries(), cq_entries: params.cq_entries(), no_sqarray };
    Ok((kernel, buffers, granted))
}

/// The ladder: all flags, then without the one that came with 6.6.
fn build(options: &DriverOptions) -> Result<(IoUring<squeue::Entry, cqueue::Entry>, bool), StartError> {
    let try_build = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_clamp();
        // With the flag, pending work shows in shared memory: a busy poll costs no system call.
        builder.setup_taskrun_flag().setup_r_disabled().dontfork();
        builder.setup_cqsize(options.cq_entries.max(options.sq_entries).max(8));
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(options.sq_entries.max(8)).map(|ring| (ring, no_sqarray))
    };
    let result = match try_build(true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => try_build(false),
        result => result,
    };
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => StartError::forbidden(),
        Some(libc::ENOSYS) => StartError::absent(&release()),
        Some(libc::ENOMEM) => StartError::memlock(),
        Some(libc::EINVAL) => StartError::too_old("DEFER_TASKRUN (6.1)"),
        _ => StartError::Other(error),
    })
}

fn check_features(ring: &IoUring<squeue::Entry, cqueue::Entry>) -> Result<(), StartError> {
    let params = ring.params();
    let features = [
        (params.is_feature_ext_arg(), "timed waits (5.11)"),
        (params.is_feature_nodrop(), "completions that are never dropped (5.5)"),
        (params.is_feature_submit_stable(), "stable submissions (5.5)"),
        (params.is_feature_skip_cqe_on_success(), "CQE_SKIP_SUCCESS (5.17)"),
    ];
    if let Some((_, missing)) = features.into_iter().find(|(present, _)| !present) {
        return Err(StartError::too_old(missing));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    match OPERATIONS.iter().all(|&operation| probe.is_supported(operation)) {
        true => Ok(()),
        false => Err(StartError::too_old("socket operations")),
    }
}

fn restrict(ring: &IoUring<squeue::Entry, cqueue::Entry>) -> Result<(), StartError> {
    let mut rules: Vec<Restriction> = OPERATIONS.into_iter().map(Restriction::sqe_op).collect();
    rules.push(Restriction::sqe_flags_allowed(SQE_FLAGS.bits()));
    rules.push(Restriction::register_op(UNREGISTER_PBUF_RING));
    Ok(ring.submitter().register_restrictions(&mut rules)?)
}

/// Receives one byte by multishot from a socket pair: kernels, and programs that imitate one, accept the flag or not.
fn probe_multishot_recv(kernel: &mut Kernel, buffers: &mut Buffers) -> Result<(), StartError> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .map_err(io::Error::from)?;
    nix::unistd::write(&theirs, b"?").map_err(io::Error::from)?;
    let recv = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), GROUP).build();
    // SAFETY: the entry names no memory of ours; the buffer it picks belongs to the buffer ring.
    unsafe { kernel.push(&recv)? };
    // The hang-up ends the receive, so that nothing is under way when this returns.
    let mut ended = false;
    let mut works = false;
    let mut theirs = Some(theirs);
    for _ in 0..10 {
        kernel.enter(1, Some(Duration::from_millis(200)))?;
        for entry in std::mem::take(&mut kernel.reaped) {
            works |= entry.result() == 1 && cqueue::more(entry.flags());
            ended |= !cqueue::more(entry.flags());
            if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
                buffers.take(buffer, 0);
            }
        }
        drop(theirs.take());
        if ended {
            break;
        }
    }
    buffers.release();
    match ended && works {
        true => Ok(()),
        false => Err(StartError::too_old("multishot receives (6.0)")),
    }
}
