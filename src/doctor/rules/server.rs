//! The server itself: whether it can listen, what it had to take back of its configuration, where it runs.

use crate::config::Config;
use crate::doctor::checks;
use crate::doctor::facts::{Facts, Listening};
use crate::doctor::finding::{Finding, Severity};

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut found = vec![place(facts), listening(facts, config)];
    // What the limit on open files takes away has a check of its own.
    let notes = config.notes.iter().filter(|note| !note.starts_with("max-clients"));
    found.extend(notes.map(|note| {
        let mend = "do as it says, or change the option that it names";
        Finding::bad(&checks::ADJUSTED, Severity::Warning, note.clone(), mend)
    }));
    found
}

fn place(facts: &Facts) -> Finding {
    let place = &facts.place;
    let machine = match &place.virtual_machine {
        Some(kind) => format!("a virtual machine ({kind})"),
        None => "a machine that shows no hypervisor".to_string(),
    };
    let text = match &place.container {
        Some(kind) => format!("in a container ({kind}) on {machine}"),
        None => format!("on {machine}, in no container"),
    };
    Finding::ok(&checks::PLACE, text)
}

fn listening(facts: &Facts, config: &Config) -> Finding {
    match &facts.network.listening {
        Listening::Possible => Finding::ok(&checks::LISTEN, format!("its ports are free: {}", ports(config))),
        Listening::Already => Finding::ok(&checks::LISTEN, format!("it listens: {}", ports(config))),
        Listening::Impossible { address, reason, mend, is_taken: true, servers } if !servers.is_empty() => {
            let ids = servers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let text = format!(
                "{address}: {reason}. A kv-server runs here already (process {ids}): if the port is its own, all is well"
            );
            Finding::bad(&checks::LISTEN, Severity::Hint, text, mend.clone())
        }
        Listening::Impossible { address, reason, mend, is_taken: true, .. } if facts.place.under_systemd => {
            let text = format!(
                "{address}: {reason}. systemd holds the server's sockets over a restart, and those of a socket unit: then all is well"
            );
            Finding::bad(&checks::LISTEN, Severity::Hint, text, mend.clone())
        }
        // A port below 1024, say, which only a socket unit can open. If there is none, the server says so itself, and ends.
        Listening::Impossible { address, reason, mend, .. } if facts.place.under_systemd => {
            let text = format!(
                "cannot listen on {address}: {reason}. If a socket unit of systemd listens there for the server, all is well"
            );
            Finding::bad(&checks::LISTEN, Severity::Warning, text, mend.clone())
        }
        Listening::Impossible { address, reason, mend, .. } => Finding::bad(
            &checks::LISTEN,
            Severity::Critical,
            format!("cannot listen on {address}: {reason}"),
            mend.clone(),
        ),
    }
}

fn ports(config: &Config) -> String {
    let own = config.own_ports.iter().map(|own| own.port);
    let all = [config.port].into_iter().chain(own).chain([config.admin_port]);
    all.map(|port| if port == 0 { "any".to_string() } else { port.to_string() })
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, one, severity};
    use super::*;

    fn taken(servers: &[u32]) -> Listening {
        Listening::Impossible {
            address: "[::]:7171".into(),
            reason: "Address already in use".into(),
            mend: "ss -ltnp".into(),
            is_taken: true,
            servers: servers.to_vec(),
        }
    }

    #[test]
    fn a_port_of_somebody_else_is_critical() {
        let finding = one("server.listen", "", |facts| facts.network.listening = taken(&[]));
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.found.contains("[::]:7171") && finding.mend.as_deref() == Some("ss -ltnp"));
        let denied = Listening::Impossible {
            address: "0.0.0.0:80".into(),
            reason: "Permission denied".into(),
            mend: "choose a higher one".into(),
            is_taken: false,
            servers: vec![7],
        };
        let with = |under_systemd| {
            severity("server.listen", "--port 80", |facts| {
                facts.network.listening = denied.clone();
                facts.place.under_systemd = under_systemd;
            })
        };
        assert_eq!(with(false), Severity::Critical);
        assert_eq!(with(true), Severity::Warning, "a socket unit may open it");
    }

    #[test]
    fn a_port_that_may_be_its_own_is_not() {
        let finding = one("server.listen", "", |facts| facts.network.listening = taken(&[41]));
        assert_eq!(finding.severity, Severity::Hint);
        assert!(finding.found.contains("process 41"), "{}", finding.found);
        let held = |facts: &mut Facts| {
            facts.network.listening = taken(&[]);
            facts.place.under_systemd = true;
        };
        assert_eq!(severity("server.listen", "", held), Severity::Hint);
    }

    #[test]
    fn what_was_taken_back_is_said() {
        assert!(all("server.adjusted", "--threads 4", |_| ()).is_empty());
        let finding = one("server.adjusted", "--threads 64", |_| ());
        assert!(finding.severity == Severity::Warning && finding.found.contains("64 threads on 4 CPUs"));
    }
}
