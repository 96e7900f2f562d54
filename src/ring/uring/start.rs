//! Setting up a ring, and saying plainly why it cannot be.
//!
//! Found out by trying, not by the kernel's version: distributions backport and disable. First the flags, then the
//! opcodes (`register_probe`), then, because no probe reports it, one multishot receive on a socket pair.
//! The ring starts disabled, is restricted to what this driver submits, and enabled here, on its worker's thread:
//! a defect of ours cannot ask it to open files, and `SINGLE_ISSUER` binds it to the thread that enables it.

#![allow(unsafe_code, reason = "the probe submits a receive")]

use super::buffers::{Buffers, GROUP};
use super::kernel::Kernel;
use crate::ring::DriverOptions;
use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Why io_uring cannot be used here. The text names the cause and the mend, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "io_uring is turned off by kernel.io_uring_disabled={value}; \
         allow it with: sysctl kernel.io_uring_disabled=0 (or 1 and kernel.io_uring_group)"
    )]
    Disabled { value: String },
    #[error(
        "io_uring is forbidden here (EPERM), most likely by a container's seccomp profile; \
         run with a profile that also allows io_uring_setup, io_uring_enter and io_uring_register: \
         docker run --security-opt seccomp=seccomp.json"
    )]
    Forbidden,
    #[error(
        "io_uring_setup does not exist here (ENOSYS, kernel {release}): a seccomp profile hides it, \
         or the kernel is older than 6.1; allow the three io_uring calls or install a newer kernel"
    )]
    Absent { release: String },
    #[error("this kernel ({release}) lacks {missing}; io_uring needs Linux 6.1 or later here")]
    TooOld { release: String, missing: &'static str },
    #[error(
        "no locked memory left for io_uring (ENOMEM, RLIMIT_MEMLOCK {limit_kib} KiB for all processes of this user); \
         raise it: LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), ulimit -l unlimited"
    )]
    Memlock { limit_kib: u64 },
    #[error("io_uring could not be set up: {0}; see dmesg, or run with --engine epoll")]
    Other(#[from] io::Error),
}

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
pub fn start(options: &DriverOptions) -> Result<(Kernel, Buffers), StartError> {
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

fn try_start(options: &DriverOptions) -> Result<(Kernel, Buffers), StartError> {
    let ring = build(options)?;
    check_features(&ring)?;
    let buffers = Buffers::register(&ring, options.buffer_count(), options.buffer_size()).map_err(
        |error| match error.raw_os_error() {
            Some(libc::ENOMEM) => memlock(),
            Some(libc::EINVAL) => too_old("provided buffer rings (5.19)"),
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
    Ok((kernel, buffers))
}

/// The ladder: all flags, then without the one that came with 6.6.
fn build(options: &DriverOptions) -> Result<IoUring<squeue::Entry, cqueue::Entry>, StartError> {
    let try_build = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_clamp();
        // With the flag, pending work shows in shared memory: a busy poll costs no system call.
        builder.setup_taskrun_flag().setup_r_disabled().dontfork();
        builder.setup_cqsize(options.cq_entries.max(options.sq_entries).max(8));
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(options.sq_entries.max(8))
    };
    let result = match try_build(true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => try_build(false),
        result => result,
    };
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => forbidden(),
        Some(libc::ENOSYS) => StartError::Absent { release: release() },
        Some(libc::ENOMEM) => memlock(),
        Some(libc::EINVAL) => too_old("DEFER_TASKRUN (6.1)"),
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
        return Err(too_old(missing));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    match OPERATIONS.iter().all(|&operation| probe.is_supported(operation)) {
        true => Ok(()),
        false => Err(too_old("socket operations")),
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
        false => Err(too_old("multishot receives (6.0)")),
    }
}

/// EPERM: the sysctl if it says so, else seccomp.
fn forbidden() -> StartError {
    match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
        Ok(value) if value.trim() != "0" => StartError::Disabled { value: value.trim().to_owned() },
        _ => StartError::Forbidden,
    }
}

fn memlock() -> StartError {
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    StartError::Memlock { limit_kib: limit / 1024 }
}

fn too_old(missing: &'static str) -> StartError {
    StartError::TooOld { release: release(), missing }
}

/// The kernel's release, for messages and the list of versions with known defects.
pub fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

/// A defect of this kernel's version that the operator should know of, with its mend.
pub fn known_defect() -> Option<String> {
    let release = release();
    hangs_tasks(&release).then(|| {
        format!("kernel {release} can hang io_uring tasks; update it (6.1.119 or later in the 6.1 series, 6.6.64 or later)")
    })
}

/// 6.1.112 to 6.1.118 and 6.6.57 to 6.6.63 (amazon-linux-2023#840, bottlerocket#4308, nixpkgs#353709).
fn hangs_tasks(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(6), Some(1), Some(patch)) => (112..119).contains(&patch),
        (Some(6), Some(6), Some(patch)) => (57..64).contains(&patch),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::hangs_tasks;

    #[test]
    fn only_the_known_bad_kernels_are_warned_of() {
        for bad in ["6.1.112", "6.1.115-126.197.amzn2023.x86_64", "6.6.57"] {
            assert!(hangs_tasks(bad), "{bad}");
        }
        for good in ["6.1.111", "6.1.119-generic", "6.6.70", "6.18.44", "6.1", "unknown", ""] {
            assert!(!hangs_tasks(good), "{good}");
        }
    }
}
