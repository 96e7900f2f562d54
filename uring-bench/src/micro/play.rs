//! The measuring: for one load, all variants stand ready with their clients connected, and take turns in short slices, in
//! random order, round after round. Ratios are taken within a round, so what the machine does meanwhile cancels out.

use super::plan::{Load, Set, Variant};
use super::results::{Measured, Result as VariantResult, Rounds};
use crate::lean::{self, Options, Server};
use crate::load::{Session, Spec, Until};
use crate::paired::{alternate, make_realtime, rest};
use crate::workload::{Ratio, Sizes};
use indicatif::ProgressBar;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Method {
    pub rounds: usize,
    pub slice: Duration,
    pub server_cpu: usize,
    pub client_cpu: usize,
    pub realtime: bool,
}

/// Unrecorded load before the first round, per variant.
const WARM_UP: Duration = Duration::from_millis(20);

/// A variant that is ready.
struct Contender {
    server: Server,
    session: Session,
    rounds: Rounds,
}

/// Plays all rounds of one load. The result has one entry per variant, in the set's order.
pub fn play(set: &Set, load: Load, method: &Method, bar: &ProgressBar) -> Result<Measured, Box<dyn Error>> {
    let mut contenders = Vec::new();
    for variant in &set.variants {
        contenders.push(prepare(variant, load, method)?);
    }
    alternate(method.rounds, &mut contenders, |round, contender| {
        bar.set_message(format!("{} {load}: round {} of {}", set.name, round + 1, method.rounds));
        bar.inc(1);
        contender.as_mut().map_or(Ok(()), |contender| slice(contender, method))
    })?;
    let mut results = Vec::new();
    for (variant, contender) in set.variants.iter().zip(contenders) {
        let outcome = match contender {
            Ok(Contender { server, session, rounds }) => {
                drop(session);
                server.stop()?;
                Ok(rounds)
            }
            Err(skipped) => Err(skipped.to_string()),
        };
        results.push(VariantResult::new(variant, outcome));
    }
    Ok(Measured::new(load, results))
}

/// Starts a server and its client. The inner error is a variant that this kernel cannot do: it is skipped.
fn prepare(
    variant: &Variant,
    load: Load,
    method: &Method,
) -> Result<Result<Contender, lean::Error>, Box<dyn Error>> {
    if variant.choices.send == lean::SendBy::WriteFixed && load.connections > lean::REGISTERED_SLOTS as usize
    {
        let why = format!("send=writefixed has registered memory for {} connections", lean::REGISTERED_SLOTS);
        return Ok(Err(lean::Error::Choice(why)));
    }
    let options = Options {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        value_size: load.value,
        choices: variant.choices.clone(),
        cpu: Some(method.server_cpu),
    };
    let server = match Server::start(&options) {
        Ok(server) => server,
        Err(lacks @ lean::Error::Lacks { .. }) => return Ok(Err(lacks)),
        Err(error) => return Err(error.into()),
    };
    if method.realtime {
        make_realtime(server.tid())?;
    }
    let spec = Spec {
        target: server.address().to_string(),
        connections: load.connections,
        pipeline: load.pipeline,
        cpus: vec![method.client_cpu],
        realtime: method.realtime,
        ratio: Ratio { gets: 1, sets: 0 },
        keys: 10_000,
        value_size: Sizes::Fixed(load.value),
        ..Spec::default()
    };
    let mut session = Session::connect(&spec)?;
    session.slice(Until::For(WARM_UP), |_| {})?;
    Ok(Ok(Contender { server, session, rounds: Rounds::default() }))
}

fn slice(contender: &mut Contender, method: &Method) -> Result<(), Box<dyn Error>> {
    let (cpu, calls) = (contender.server.cpu()?, contender.server.calls());
    let slice = contender.session.slice(Until::For(method.slice), |_| {})?;
    let cpu = contender.server.cpu()? - cpu;
    if slice.lost_connections > 0 || slice.errors > 0 {
        let first = slice.error_texts.first().map_or("", |(text, _)| text);
        return Err(format!("the server failed: {} connections lost, {first}", slice.lost_connections).into());
    }
    let requests = slice.requests as f64;
    contender.rounds.per_cpu_second.push(requests / cpu.as_secs_f64().max(1e-9));
    contender.rounds.per_second.push(slice.rate());
    contender.rounds.calls_per_request.push((contender.server.calls() - calls) as f64 / requests.max(1.0));
    contender.rounds.busy.push(cpu.as_secs_f64() / slice.elapsed.as_secs_f64().max(1e-9));
    if method.realtime {
        rest(slice.elapsed);
    }
    Ok(())
}
