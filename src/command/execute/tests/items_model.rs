//! The item operations, mixed with those of RESP, against a simple model.
//!
//! With room for everything the two agree in all things. With little memory the store may forget an item at any time, even in the middle of
//! an operation on it, but then the operation must have found nothing. In both, no CAS is ever used twice.

use super::*;
use crate::command::ops::{
    Condition, Count, ExpireWhen, Fetch, RemoveItem, SetIf, SetReply, StoreItem, StoreMode,
};
use crate::proto::{Form, ItemValue};
use crate::store::{Budget, State, Store, StoreConfig};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

const DBS: u8 = 2;
const KEYS: u8 = 12;
const BEGIN_MS: u64 = 1_700_000_000_000;

/// One step: what is done, to which item, with the choices that it needs.
#[derive(Clone, Debug)]
struct Step {
    what: u8,
    db: u8,
    key: u8,
    len: usize,
    expiry: u8,
    compare: u8,
    flags: u32,
    /// Independent switches.
    bits: u16,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![8 => 0..80usize, 4 => 80..3000usize, 1 => 9_000..20_000usize];
    let flags = prop_oneof![Just(0), Just(7u32), any::<u32>()];
    (0..22u8, 0..DBS, 0..KEYS, len, 0..6u8, 0..6u8, flags, any::<u16>()).prop_map(
        |(what, db, key, len, expiry, compare, flags, bits)| Step {
            what,
            db,
            key,
            len,
            expiry,
            compare,
            flags,
            bits,
        },
    )
}

/// An item as it should be. Whether it has a CAS is foretold; which, is asked of the store after each step.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    value: Vec<u8>,
    flags: u32,
    expire_at_ms: Option<u64>,
    cas: Option<u64>,
    stale: bool,
    won: bool,
    placeholder: bool,
}

impl Model {
    fn plain(value: &[u8], expire_at_ms: Option<u64>) -> Model {
        Model {
            value: value.to_vec(),
            flags: 0,
            expire_at_ms,
            cas: None,
            stale: false,
            won: false,
            placeholder: false,
        }
    }
}

/// A CAS that is foretold to be a new one.
const NEW: Option<u64> = Some(u64::MAX);

/// What a step answers, as far as the model foretells it.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Plain(Outcome),
    Value(Vec<u8>),
    /// Value, length, flags, expiry, stale, won, taken; and whether it must tell the item's CAS.
    Item(Option<Vec<u8>>, usize, u32, Option<u64>, [bool; 3], bool),
}

struct Run {
    store: Store,
    exact: bool,
    items: HashMap<(u8, u8), Model>,
    seen: BTreeSet<u64>,
    now_ms: u64,
    version: u8,
}

fn replay(steps: &[Step], eviction: Eviction, limit: usize, exact: bool) {
    let config = StoreConfig {
        partitions: 1,
        eviction,
        max_value_size: limit / 4,
        prefault: false,
        seeds: [9, 8, 7, 6],
    };
    let store = Store::new(config, Arc::new(Budget::new(limit))).unwrap();
    let mut run =
        Run { store, exact, items: HashMap::new(), seen: BTreeSet::new(), now_ms: BEGIN_MS, version: 0 };
    for step in steps {
        run.step(step);
    }
    run.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn items_agree_with_the_model(steps in prop::collection::vec(step(), 1..250)) {
        replay(&steps, Eviction::Lru, 8 << 20, true);
        replay(&steps, Eviction::None, 8 << 20, true);
    }

    #[test]
    fn under_pressure_nothing_is_made_up(steps in prop::collection::vec(step(), 100..800)) {
        replay(&steps, Eviction::Lru, 256 << 10, false);
        replay(&steps, Eviction::S3Fifo, 256 << 10, false);
        replay(&steps, Eviction::None, 256 << 10, false);
    }
}

fn key_bytes(key: u8) -> Vec<u8> {
    vec![b'a' + key; 1 + usize::from(key) * 5]
}

/// The operation of a step, and what it should lead to.
type Foretold = (Answer, Option<Model>);

impl Run {
    fn step(&mut self, step: &Step) {
        self.forget_expired();
        match step.what {
            0 => self.now_ms += [1, 700, 30_000, 4_000_000][usize::from(step.bits % 4)],
            1 => (0..step.bits % 8).for_each(|_| _ = self.store.lock(0).maintain(self.now_ms)),
            _ => self.operate(step),
        }
    }

    fn forget_expired(&mut self) {
        let now_ms = self.now_ms;
        self.items.retain(|_, item| item.expire_at_ms.is_none_or(|at| at > now_ms));
    }

    fn expiry(&self, choice: u8) -> Expiry {
        match choice {
            0 | 1 => Expiry::None,
            2 => Expiry::At(self.now_ms + 500),
            3 => Expiry::At(self.now_ms + 40_000),
            4 => Expiry::At(self.now_ms + 9_000_000),
            _ => Expiry::At(self.now_ms),
        }
    }

    fn operate(&mut self, step: &Step) {
        let name = (step.db, step.key);
        self.look_at(name);
        let old = self.items.get(&name).cloned();
        self.version = self.version.wrapping_add(1);
        let digits = (u64::from(step.flags) << (step.bits % 32)).to_string().into_bytes();
        let text: Vec<u8> = (0..step.len).map(|n| (n as u8).wrapping_add(self.version)).collect();
        let value = if step.bits & 256 == 0 { text } else { digits };
        let payload = if value.len() > self.store.large_threshold() {
            match self.store.large_value(&value) {
                Ok(large) => Payload::Large(Box::new(large)),
                Err(error) => return assert!(!self.exact, "{error}"),
            }
        } else {
            Payload::Inline(&value)
        };
        if step.what == 21 {
            return self.ask_version(name, old);
        }
        let bump = Bump::new();
        let op = self.operation(step, old.as_ref(), (&value, payload), &bump);
        let (answer, told, refused) = self.run(name, &op);
        if refused {
            // Too large, or nothing left to evict: the item is as it was, or evicted.
            assert!(!self.exact, "{op:?}");
            return self.look_at(name);
        }
        let mut foretold = vec![self.foretell(&op, old.clone())];
        if !self.exact {
            foretold.push(self.foretell(&op, None));
            if matches!(op, Op::Fetch(_)) {
                // Served without an account, for want of memory to keep it in.
                foretold.push((foretold[0].0.clone(), old.clone()));
            }
        }
        foretold.iter_mut().for_each(|(_, after)| {
            *after = after.take().filter(|item| item.expire_at_ms.is_none_or(|at| at > self.now_ms));
        });
        let came_true = foretold.iter().find(|(f, after)| *f == answer && self.is_so(name, after.as_ref()));
        let Some((_, after)) = came_true else { panic!("{op:?} of {old:?}: {answer:?}, not {foretold:?}") };
        self.items.remove(&name);
        self.items.extend(after.clone().map(|item| (name, item)));
        self.look_at(name);
        // What it told of its CAS is the item's, if the item is not over already.
        if let Some((told, cas)) = told.zip(self.items.get(&name).and_then(|item| item.cas)) {
            assert_eq!(cas, told, "{op:?}");
        }
    }

    /// The operation of a step; `compare` chooses among the item's CAS, an old one and one far off.
    fn operation<'b>(
        &self,
        step: &Step,
        old: Option<&Model>,
        (value, payload): (&'b [u8], Payload<'b>),
        bump: &'b Bump,
    ) -> Op<'b> {
        let cas = old.and_then(|old| old.cas);
        let compare = match step.compare {
            0 | 1 => None,
            2 | 3 => Some(cas.unwrap_or(1)),
            4 => Some(self.seen.first().copied().unwrap_or(1)),
            _ => Some(u64::MAX - 1),
        };
        let flag = |n: u16| step.bits >> n & 1 == 1;
        match step.what {
            2..6 => Op::Fetch(bump.alloc(Fetch {
                waits: false,
                value: flag(0),
                cas: flag(1),
                access: flag(2),
                no_bump: flag(3),
                bystander: flag(4),
                filled: false,
                touch: (flag(5) && flag(6)).then(|| self.expiry(step.expiry)),
                vivify: flag(7).then(|| self.expiry(step.expiry)),
                recache_below_ms: flag(8).then_some(10_000),
                new_cas: None,
            })),
            6..11 => {
                let modes = [
                    StoreMode::Set,
                    StoreMode::Add,
                    StoreMode::Replace,
                    StoreMode::Append,
                    StoreMode::Prepend,
                ];
                let how = bump.alloc(StoreItem {
                    flags: step.flags,
                    expiry: if flag(3) { Expiry::Keep } else { self.expiry(step.expiry) },
                    mode: modes[usize::from(step.what) - 6],
                    compare,
                    invalidate: flag(0),
                    new_cas: None,
                    cas: flag(1),
                    vivify: flag(2).then(|| self.expiry(step.expiry)),
                });
                Op::Store { value: payload, how }
            }
            11 | 12 => Op::Remove(bump.alloc(RemoveItem {
                compare,
                invalidate: flag(0),
                touch: flag(1).then(|| self.expiry(step.expiry)),
                drop_value: flag(2),
                new_cas: None,
            })),
            13 | 14 => Op::Count(bump.alloc(Count {
                delta: u64::from(step.flags) << (step.bits % 40),
                down: flag(0),
                create: flag(1).then(|| (u64::from(step.flags), self.expiry(step.expiry))),
                touch: flag(2).then(|| self.expiry(step.expiry)),
                compare,
                new_cas: None,
                cas: flag(3),
            })),
            15 => Op::Set { value: payload, expiry: self.expiry(step.expiry) },
            16 => Op::SetIf {
                value: payload,
                how: bump.alloc(SetIf {
                    expiry: Expiry::Keep,
                    condition: Condition::Missing,
                    reply: SetReply::Status,
                }),
            },
            17 => Op::Append(value),
            18 => Op::Get,
            19 => Op::Del,
            _ => Op::ExpireAt { at_ms: self.now_ms as i64 + 40_000, when: ExpireWhen::default() },
        }
    }

    /// Runs one operation as a worker does: its answer, the CAS that it tells, and whether it was refused.
    fn run(&mut self, (db, key): (u8, u8), op: &Op<'_>) -> (Answer, Option<u64>, bool) {
        let bytes = key_bytes(key);
        let key = self.store.key(db, &bytes);
        let form = Form::Resp { resp3: false, no_touch: false, origin: 0 };
        let mut requests = [Request { key, op: op.clone(), form, outcome: Outcome::Pending }];
        let (mut scratch, mut stats) = (Scratch::default(), CommandStats::default());
        execute_now(&self.store, &mut requests, &mut scratch, &mut stats, self.now_ms);
        let [request] = requests;
        let copied = |span: Span| scratch.bytes[span.start as usize..][..span.len as usize].to_vec();
        let refused = matches!(request.outcome, Outcome::Refused(_));
        let answer = match request.outcome {
            Outcome::Value(span) => (Answer::Value(copied(span)), None),
            Outcome::Pinned(index) => (Answer::Value(scratch.pins[index as usize].to_vec()), None),
            Outcome::Item(index) => {
                let item = scratch.items[index as usize];
                let value = match item.value {
                    ItemValue::None => None,
                    ItemValue::Copied(span) => Some(copied(span)),
                    ItemValue::Pinned(index) => Some(scratch.pins[index as usize].to_vec()),
                };
                let marks = [item.stale, item.won, item.taken];
                let told = (item.cas != 0).then_some(item.cas);
                let answer =
                    Answer::Item(value, item.value_len, item.flags, item.expire_at_ms, marks, told.is_some());
                (answer, told)
            }
            outcome => (Answer::Plain(outcome), None),
        };
        if matches!(op, Op::Fetch(_)) && !refused {
            assert_eq!(stats.hits + stats.misses, 1);
        }
        (answer.0, answer.1, refused)
    }

    fn ask_version(&mut self, name: (u8, u8), old: Option<Model>) {
        let bytes = key_bytes(name.1);
        let key = self.store.key(name.0, &bytes);
        let version = loop {
            let version = self.store.lock(0).version(&key, self.now_ms);
            match version {
                Err(WriteError::NeedsRoom) if self.store.make_room(100).is_ok() => {}
                Err(error) => return assert!(!self.exact, "{error}"),
                Ok(version) => break version,
            }
        };
        let real = old.filter(|old| !old.placeholder);
        assert!(version.is_some() == real.is_some() || (!self.exact && version.is_none()));
        if let (Some(item), Some(_)) = (self.items.get_mut(&name).filter(|item| !item.placeholder), version) {
            item.cas = item.cas.or(NEW);
        }
        self.look_at(name);
        if let (Some(item), Some(_)) = (self.items.get(&name).filter(|item| !item.placeholder), version) {
            assert_eq!(item.cas, version);
        }
    }

    /// The store's item in the model's terms.
    fn there(&self, name: (u8, u8)) -> Option<Model> {
        let bytes = key_bytes(name.1);
        let mut partition = self.store.lock(0);
        let entry = partition.item(&self.store.key(name.0, &bytes), self.now_ms, false)?;
        let extra = entry.extra();
        let state = extra.meta.map_or(State::default(), |meta| meta.state);
        Some(Model {
            value: entry.value.to_vec(),
            flags: extra.flags,
            expire_at_ms: entry.expire_at_ms(),
            cas: extra.meta.map(|meta| meta.cas),
            stale: state.stale,
            won: state.won,
            placeholder: state.placeholder,
        })
    }

    /// Whether the store has this item, or has forgotten it where it may.
    fn is_so(&self, name: (u8, u8), item: Option<&Model>) -> bool {
        match (self.there(name), item) {
            (None, None) => true,
            (None, Some(_)) => !self.exact,
            (Some(_), None) => false,
            (Some(there), Some(item)) => {
                let new = item.cas == NEW && there.cas.is_some_and(|cas| !self.seen.contains(&cas));
                let cas = if new { there.cas } else { item.cas };
                there == Model { cas, ..item.clone() }
            }
        }
    }

    /// The store's item is the model's; a CAS that was foretold to be new is learnt.
    fn look_at(&mut self, name: (u8, u8)) {
        let item = self.items.get(&name);
        assert!(self.is_so(name, item), "{:?} instead of {item:?}", self.there(name));
        match self.there(name) {
            None => _ = self.items.remove(&name),
            Some(there) => {
                self.seen.extend(there.cas);
                self.items.insert(name, there);
            }
        }
    }

    /// Counters against what is there.
    fn finish(mut self) {
        self.forget_expired();
        let mut live_bytes = 0;
        for name in (0..DBS).flat_map(|db| (0..KEYS).map(move |key| (db, key))) {
            self.look_at(name);
            let Some(item) = self.items.get(&name) else { continue };
            let large = item.value.len() > self.store.large_threshold();
            let inline = if large { 4 } else { item.value.len() };
            let fields = usize::from(item.expire_at_ms.is_some()) * 6
                + usize::from(item.flags != 0) * 4
                + usize::from(item.cas.is_some()) * 13
                + usize::from(name.0 != 0);
            live_bytes += (6 + fields + key_bytes(name.1).len() + inline).next_multiple_of(4);
            live_bytes += if large { item.value.len() } else { 0 };
        }
        let stats = self.store.lock(0).stats();
        assert_eq!(stats.live_bytes, live_bytes as u64);
        let budget = self.store.budget().clone();
        drop(self.store);
        // What was freed may be kept for the next large value, until nobody has wanted it for a while.
        let mut before = usize::MAX;
        while budget.used() < before {
            before = budget.used();
            (0..100).for_each(|_| budget.age_spares());
        }
        assert_eq!(budget.used(), 0, "large values outlive the store");
    }
}

impl Run {
    /// What an operation should lead to.
    fn foretell(&self, op: &Op<'_>, old: Option<Model>) -> Foretold {
        let real = old.clone().filter(|old| !old.placeholder);
        let plain = |outcome, after| (Answer::Plain(outcome), after);
        match op {
            Op::Get => match &real {
                Some(item) => (Answer::Value(item.value.clone()), old),
                None => plain(Outcome::Nil, old),
            },
            Op::Set { value, expiry } => {
                plain(Outcome::Ok, Some(Model::plain(value.bytes(), at(*expiry, None))))
            }
            Op::SetIf { .. } if real.is_some() => plain(Outcome::Nil, old),
            Op::SetIf { value, .. } => plain(Outcome::Ok, Some(Model::plain(value.bytes(), None))),
            Op::Append(more) => {
                let before = real.unwrap_or_else(|| Model::plain(b"", None));
                let value = [&before.value[..], more].concat();
                let len = value.len() as i64;
                plain(Outcome::Int(len), Some(Model { value, cas: before.cas.and(NEW), ..before }))
            }
            Op::Del => plain(Outcome::Int(real.is_some().into()), None),
            Op::ExpireAt { at_ms, .. } => match real {
                Some(item) => {
                    let after = Model { expire_at_ms: Some(*at_ms as u64), cas: item.cas.and(NEW), ..item };
                    plain(Outcome::Int(1), Some(after))
                }
                None => plain(Outcome::Int(0), old),
            },
            Op::Fetch(how) => self.foretell_fetch(how, old),
            Op::Store { value, how } => foretell_store(value.bytes(), how, old),
            Op::Remove(how) => foretell_remove(how, old),
            Op::Count(how) => foretell_count(how, old),
            op => unreachable!("{op:?}"),
        }
    }

    fn foretell_fetch(&self, how: &Fetch, old: Option<Model>) -> Foretold {
        let Some(old) = old else {
            let Some(expiry) = how.vivify else { return (Answer::Plain(Outcome::Nil), None) };
            let made =
                Model { cas: NEW, won: true, placeholder: true, ..Model::plain(b"", at(expiry, None)) };
            return (read(&made, how.value, [false, true, false], how.cas), Some(made));
        };
        let early =
            how.recache_below_ms.is_some() && old.expire_at_ms.is_some_and(|at| at < self.now_ms + 10_000);
        let won = !how.bystander && !old.won && (early || old.stale);
        let marks = [old.stale, won, old.won];
        let cas = old.cas.or(if how.cas || how.access || won { NEW } else { None });
        let expire_at_ms = at(how.touch.unwrap_or(Expiry::Keep), old.expire_at_ms);
        let after = Model { cas, expire_at_ms, won: old.won || won, ..old };
        (read(&after, how.value, marks, how.cas), Some(after))
    }
}

fn at(expiry: Expiry, kept: Option<u64>) -> Option<u64> {
    match expiry {
        Expiry::None => None,
        Expiry::Keep => kept,
        Expiry::At(at_ms) => Some(at_ms),
    }
}

fn read(item: &Model, value: bool, marks: [bool; 3], cas: bool) -> Answer {
    let value = value.then(|| item.value.clone());
    Answer::Item(value, item.value.len(), item.flags, item.expire_at_ms, marks, cas)
}

/// The answer of a write, which gives an item a CAS that had one or is asked for it.
fn wrote(mut after: Model, had: bool, wanted: bool) -> Foretold {
    after.cas = if had || wanted || after.stale { NEW } else { None };
    let answer = if wanted { read(&after, false, [false; 3], true) } else { Answer::Plain(Outcome::Ok) };
    (answer, Some(after))
}

fn foretell_store(value: &[u8], item: &StoreItem, old: Option<Model>) -> Foretold {
    let had = old.as_ref().is_some_and(|old| old.cas.is_some());
    let wrong = item.compare.is_some() && item.compare != old.as_ref().and_then(|old| old.cas);
    let fresh = Model { flags: item.flags, ..Model::plain(value, at(item.expiry, None)) };
    let answer = match (item.mode, &old) {
        (StoreMode::Add, None) => return wrote(fresh, false, item.cas),
        (StoreMode::Add, Some(_)) => Outcome::NotStored,
        (StoreMode::Append | StoreMode::Prepend, None) => match item.vivify {
            Some(expiry) => return wrote(Model { expire_at_ms: at(expiry, None), ..fresh }, false, item.cas),
            None => Outcome::NotStored,
        },
        (StoreMode::Append | StoreMode::Prepend, Some(_)) if wrong => Outcome::Exists,
        (StoreMode::Append | StoreMode::Prepend, Some(old)) => {
            let parts = [&old.value[..], value];
            let value =
                if item.mode == StoreMode::Append { parts.concat() } else { [parts[1], parts[0]].concat() };
            let after = Model { value, flags: old.flags, ..Model::plain(b"", old.expire_at_ms) };
            return wrote(after, had, item.cas);
        }
        (StoreMode::Set | StoreMode::Replace, None) if item.compare.is_some() => Outcome::Nil,
        (StoreMode::Set, None) => return wrote(fresh, false, item.cas),
        (StoreMode::Replace, None) => Outcome::NotStored,
        (StoreMode::Set | StoreMode::Replace, Some(old)) if wrong => {
            // Only the CAS that is far off is greater than an item's.
            let older = old.cas.map_or(item.compare != Some(u64::MAX - 1), |cas| item.compare < Some(cas));
            if item.invalidate && older {
                let after = Model { stale: true, won: old.won, expire_at_ms: old.expire_at_ms, ..fresh };
                return wrote(after, had, item.cas);
            }
            Outcome::Exists
        }
        (StoreMode::Set | StoreMode::Replace, Some(old)) => {
            let expire_at_ms = at(item.expiry, old.expire_at_ms);
            return wrote(Model { expire_at_ms, ..fresh }, had, item.cas);
        }
    };
    (Answer::Plain(answer), old)
}

fn foretell_remove(how: &RemoveItem, old: Option<Model>) -> Foretold {
    let Some(old) = old else { return (Answer::Plain(Outcome::Nil), None) };
    if how.compare.is_some() && how.compare != old.cas {
        return (Answer::Plain(Outcome::Exists), Some(old));
    }
    let mut after = Model { expire_at_ms: at(how.touch.unwrap_or(Expiry::Keep), old.expire_at_ms), ..old };
    if how.drop_value {
        after = Model { cas: after.cas, ..Model::plain(b"", after.expire_at_ms) };
    }
    if how.invalidate {
        after = Model { stale: true, won: false, ..after };
    }
    after.cas = if how.invalidate { NEW } else { after.cas.and(NEW) };
    (Answer::Plain(Outcome::Ok), (how.invalidate || how.drop_value).then_some(after))
}

fn foretell_count(how: &Count, old: Option<Model>) -> Foretold {
    let counted = |number: u64, item: Model, had: bool| {
        let cas = if had || how.cas { NEW } else { None };
        let after = Model { value: number.to_string().into_bytes(), cas, ..item };
        (read(&after, true, [false; 3], how.cas), Some(after))
    };
    let Some(old) = old else {
        return match how.create {
            Some((number, expiry)) => counted(number, Model::plain(b"", at(expiry, None)), false),
            None => (Answer::Plain(Outcome::Nil), None),
        };
    };
    if !old.value.is_empty() && how.compare.is_some() && how.compare != old.cas {
        return (Answer::Plain(Outcome::Exists), Some(old));
    }
    let text = String::from_utf8(old.value.clone()).unwrap_or_default();
    let digits = Some(text.trim_end_matches(' ')).filter(|digits| {
        // Longer ones could only be numbers with zeros in front.
        old.value.len() <= 20 && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some(number) = digits.and_then(|digits| digits.parse::<u64>().ok()) else {
        return (Answer::Plain(Outcome::NotANumber), Some(old));
    };
    let new = if how.down { number.saturating_sub(how.delta) } else { number.wrapping_add(how.delta) };
    let had = old.cas.is_some();
    counted(new, Model { expire_at_ms: at(how.touch.unwrap_or(Expiry::Keep), old.expire_at_ms), ..old }, had)
}
