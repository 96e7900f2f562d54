//! Paired measuring. On a shared machine absolute figures swing by a third from minute to minute, while the ratio of two
//! that are taken within the same fraction of a second holds: so all contenders stand ready, take turns in short slices, in
//! a new random order every round, and ratios are taken within a round.
//!
//! ```text
//!   round 1:  b a c     ratio a/c of round 1: what the machine did in that half second is in both
//!   round 2:  c b a     ratio a/c of round 2
//! ```

use nix::fcntl::{Flock, FlockArg};
use rand::seq::SliceRandom;
use std::fs::File;
use std::time::Duration;

/// The part of its turn that a pair of real-time processes rests afterwards.
const REST: f64 = 0.12;
/// The longest turn under real-time priority.
pub const LONGEST_REALTIME_TURN: Duration = Duration::from_millis(700);

/// Every contender's turn in every round. `turn` is told the round, from 0.
pub fn alternate<T, E>(
    rounds: usize,
    contenders: &mut [T],
    mut turn: impl FnMut(usize, &mut T) -> Result<(), E>,
) -> Result<(), E> {
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for round in 0..rounds {
        order.shuffle(&mut rand::rng());
        for &at in &order {
            turn(round, &mut contenders[at])?;
        }
    }
    Ok(())
}

/// Leaves the processors to others after a turn under real-time priority. The kernel keeps 50 ms of each second for them, and
/// takes these in the middle of a turn, as a stall of 50 ms, if it does not get them freely.
pub fn rest(worked: Duration) {
    std::thread::sleep(worked.mul_f64(REST));
}

/// Waits until no other run measures under real-time priority on this machine: each would stop the other. `on_wait` says so.
/// None where such runs cannot be known.
pub fn alone(on_wait: impl FnOnce()) -> Option<Flock<File>> {
    let path = std::env::temp_dir().join("uring-bench.lock");
    let file = File::options().read(true).append(true).create(true).open(path).ok()?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Some(lock),
        Err((file, _)) => {
            on_wait();
            Flock::lock(file, FlockArg::LockExclusive).ok()
        }
    }
}

/// Why a turn of this length cannot be measured.
pub fn check_turn(turn: Duration, realtime: bool) -> Result<(), String> {
    if !realtime || turn <= LONGEST_REALTIME_TURN {
        return Ok(());
    }
    Err(format!(
        "slices of {turn:?}: the kernel interrupts real-time processes that work for most of a second; use at most {LONGEST_REALTIME_TURN:?}, or --no-realtime"
    ))
}

/// What one did as a multiple of what the other did in the same round. A round in which the other did nothing has no ratio.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs);
    pairs.map(|(ours, theirs)| ours / theirs).filter(|ratio| ratio.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_turn_in_each_round_and_orders_differ() {
        let mut contenders: Vec<(usize, Vec<usize>)> = (0..4).map(|name| (name, Vec::new())).collect();
        let mut orders = vec![Vec::new(); 40];
        let played = alternate(40, &mut contenders, |round, (name, rounds)| {
            orders[round].push(*name);
            rounds.push(round);
            Ok::<(), ()>(())
        });
        assert_eq!(played, Ok(()));
        assert!(contenders.iter().all(|(_, rounds)| rounds.iter().copied().eq(0..40)));
        // 24 orders are possible: 40 equal ones come once in 24^39 runs.
        assert!(orders.iter().any(|order| *order != orders[0]), "{orders:?}");
    }

    #[test]
    fn a_failure_ends_the_rounds() {
        let mut turns = 0;
        let played = alternate(9, &mut [(), ()], |round, ()| {
            turns += 1;
            if round == 1 { Err("lost") } else { Ok(()) }
        });
        assert_eq!((played, turns), (Err("lost"), 3));
    }

    #[test]
    fn ratios_pair_rounds_and_leave_out_the_impossible() {
        assert_eq!(ratios(&[10.0, 30.0, 8.0, 1.0], &[20.0, 10.0, 8.0, 0.0]), [0.5, 3.0, 1.0]);
    }
}
