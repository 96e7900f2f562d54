//! The doctor of a server that runs: looks now and then on a thread that nobody waits for, and keeps what it found.
//!
//! DOCTOR is answered by a worker from what is kept, with its age, as looking reads dozens of files. Being asked has the next look come
//! sooner.

use super::facts::{Facts, Ring};
use super::report::Report;
use super::text::{self, Palette};
use super::{html, rules};
use crate::config::Config;
use crate::limits;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What was found last.
#[derive(Debug, Default)]
pub struct Examiner {
    latest: Mutex<Option<Arc<Examination>>>,
    /// Held while somebody looks.
    looking: Mutex<()>,
    /// Somebody has read it since.
    asked: AtomicBool,
    /// What the workers got at their start.
    ring: OnceLock<Ring>,
}

/// A report and when it was made.
#[derive(Debug)]
pub struct Examination {
    report: Report,
    at: Instant,
}

impl Examiner {
    /// The workers have their engines. Later calls change nothing.
    pub fn set_ring(&self, ring: Ring) {
        self.ring.get_or_init(|| ring);
    }

    /// Whether it is time to look: never before the workers run.
    pub fn is_due(&self) -> bool {
        let asked = self.asked.load(Relaxed);
        let patience = if asked { limits::DOCTOR_FRESH_S } else { limits::DOCTOR_EVERY_S };
        self.ring.get().is_some() && self.is_older_than(Duration::from_secs(patience))
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.latest.lock().as_ref().is_none_or(|latest| latest.at.elapsed() >= age)
    }

    /// Looks if it is time to, which takes milliseconds, and keeps what is found. However many ask at once, one looks; the others have what
    /// was found before. `config`: with what CONFIG SET has changed since.
    pub fn examine(&self, config: &Config) {
        let Some(_looking) = self.looking.try_lock().filter(|_| self.is_due()) else { return };
        let Some(ring) = self.ring.get() else { return };
        let facts = Facts::gather_while_running(ring.clone());
        let report = Report::new(rules::evaluate(&facts, config));
        self.asked.store(false, Relaxed);
        *self.latest.lock() = Some(Arc::new(Examination { report, at: Instant::now() }));
    }

    /// What was found last; `None` in the first moments. Asking has the next look come sooner.
    pub fn latest(&self) -> Option<Arc<Examination>> {
        self.asked.store(true, Relaxed);
        self.latest.lock().clone()
    }
}

impl Examination {
    fn age_s(&self) -> u64 {
        self.at.elapsed().as_secs()
    }

    pub fn text(&self) -> String {
        text::render(&self.report, Some(self.age_s()), &Palette::PLAIN)
    }

    pub fn json(&self) -> String {
        self.report.json(Some(self.age_s()))
    }

    pub fn html(&self) -> String {
        html::render(&self.report, self.age_s())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::config;

    #[test]
    fn it_looks_once_the_workers_run_and_is_then_content_for_a_while() {
        let examiner = Examiner::default();
        assert!(!examiner.is_due() && examiner.latest().is_none());
        examiner.examine(&config(""));
        assert!(examiner.latest().is_none(), "no worker has an engine yet");
        examiner.set_ring(Ring::InUse { workers: 2 });
        assert!(examiner.is_due());
        examiner.examine(&config("--threads 2"));
        assert!(!examiner.is_due());
        let found = examiner.latest().unwrap();
        assert!(found.text().contains("in use by 2 workers") && found.text().contains("0 s ago"));
        assert!(found.json().contains("\"age_s\": 0") && found.html().contains("in use by 2 workers"));
        assert!(!examiner.is_due(), "asked, but it is new");
        examiner.examine(&config("--threads 2"));
        assert!(Arc::ptr_eq(&found, &examiner.latest().unwrap()), "many who ask at once have it look once");
    }
}
