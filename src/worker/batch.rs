//! Executes one round's requests: grouped by partition, at most [`GROUP_REQUESTS`] under one hold of its lock.
//!
//! Grouping is what lets the cache misses of many requests overlap, and what makes one lock serve many of them
//! (DESIGN.md section 4). Requests for one key have one partition and keep their order, so each connection sees its own
//! writes; across keys the order is free.

use crate::command::{self, CommandStats, Request};
use crate::limits::GROUP_REQUESTS;
use crate::proto::{Outcome, Scratch};
use crate::store::Store;

/// Sorts requests by partition; keeps its memory between rounds.
#[derive(Debug)]
pub struct Batcher {
    /// The partition this worker starts with: its own come first.
    first_partition: usize,
    own_partitions: usize,
    /// Request indices, grouped by partition.
    order: Vec<u32>,
    /// The partition of each request in the round, in request order.
    partition: Vec<u16>,
    /// Per partition: how many requests, then where its group ends in `order`.
    ends: Vec<u32>,
    pub groups: u64,
    pub cross_worker: u64,
}

/// No partition has this number: there are at most four for each of 256 workers.
const NO_PARTITION: u16 = u16::MAX;

impl Batcher {
    pub fn new(first_partition: usize, own_partitions: usize) -> Batcher {
        Batcher {
            first_partition,
            own_partitions,
            order: Vec::new(),
            partition: Vec::new(),
            ends: Vec::new(),
            groups: 0,
            cross_worker: 0,
        }
    }

    /// Leaves an outcome in every request that has none.
    pub fn execute(
        &mut self,
        store: &Store,
        requests: &mut [Request<'_>],
        scratch: &mut Scratch,
        stats: &mut CommandStats,
        now_ms: u64,
    ) {
        if requests.is_empty() {
            // A run of barriers: nothing between them.
            return;
        }
        self.sort(store, requests);
        let partitions = store.partitions();
        for step in 0..partitions {
            let partition = (self.first_partition + step) % partitions;
            let start = if partition == 0 { 0 } else { self.ends[partition - 1] };
            let group = start as usize..self.ends[partition] as usize;
            if step >= self.own_partitions {
                self.cross_worker += group.len() as u64;
            }
            for chunk in self.order[group].chunks(GROUP_REQUESTS) {
                self.groups += 1;
                command::execute_group(store, partition, requests, chunk, scratch, stats, now_ms);
            }
        }
    }

    /// A stable counting sort of the pending requests by partition.
    fn sort(&mut self, store: &Store, requests: &[Request<'_>]) {
        self.ends.clear();
        self.ends.resize(store.partitions(), 0);
        self.partition.clear();
        self.partition.extend(requests.iter().map(|request| match request.outcome {
            Outcome::Pending => store.partition_of(request.key.hash) as u16,
            _ => NO_PARTITION,
        }));
        for &partition in &self.partition {
            if let Some(end) = self.ends.get_mut(partition as usize) {
                *end += 1;
            }
        }
        let mut sum = 0;
        for end in &mut self.ends {
            let count = *end;
            *end = sum;
            sum += count;
        }
        self.order.clear();
        self.order.resize(sum as usize, 0);
        for (index, &partition) in self.partition.iter().enumerate() {
            if let Some(at) = self.ends.get_mut(partition as usize) {
                self.order[*at as usize] = index as u32;
                *at += 1;
            }
        }
    }
}
