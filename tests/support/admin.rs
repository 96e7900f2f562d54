//! The admin listener as a monitoring system sees it: plain HTTP, Prometheus text.

use super::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Fetches a page: status and body.
pub fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the admin listener accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
    (status, body.to_owned())
}

/// One reading of `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    pub fn read(address: SocketAddr) -> Metrics {
        let (status, text) = http_get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        Metrics { text }
    }

    /// The sum of a metric's samples over all of its labels, or `None` if there is no such metric.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let mut samples = self.samples(name).map(|(_, value)| value).peekable();
        samples.peek()?;
        Some(samples.sum())
    }

    /// (labels, value) of each sample of a metric.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> + 'a {
        self.text.lines().filter(|l| !l.starts_with('#')).filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, labels) = series.split_once('{').unwrap_or((series, ""));
            (metric == name)
                .then(|| (labels.trim_end_matches('}'), value.parse().expect("a sample is a number")))
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}
