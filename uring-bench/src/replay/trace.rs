//! Traces: what was asked of a cache, request by request, read from CSV or generated.
//!
//! A line of CSV is `time,key,size[,op]`: seconds since any beginning, any text, bytes of the value, and what was done
//! (`get` if left out; `set`, `delete` and their usual synonyms). A head line is skipped. Files ending in `.xz` are
//! decompressed on the way.

use liblzma::read::XzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A miss is followed by a set, as applications do (cache-aside).
    Get,
    Set,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Milliseconds since the trace began.
    pub time_ms: u64,
    /// Index into [`Trace::names`].
    pub key: u32,
    /// Bytes of the value.
    pub size: u32,
    /// Seconds that a value written now lives; 0: for ever.
    pub ttl_s: u32,
    pub op: Op,
}

/// Requests in the order of their time.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub label: String,
    pub names: Vec<Box<[u8]>>,
    pub requests: Vec<Request>,
}

/// What a trace asks for in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Extent {
    pub requests: u64,
    pub keys: u64,
    /// Keys and values of all distinct keys, each at its largest size, bytes.
    pub bytes: u64,
    pub largest_value: u32,
}

impl Trace {
    pub fn extent(&self) -> Extent {
        let mut largest = vec![0u32; self.names.len()];
        for request in self.requests.iter().filter(|request| request.op != Op::Delete) {
            let size = &mut largest[request.key as usize];
            *size = request.size.max(*size);
        }
        let bytes = largest.iter().zip(&self.names).map(|(size, name)| u64::from(*size) + name.len() as u64);
        Extent {
            requests: self.requests.len() as u64,
            keys: self.names.len() as u64,
            bytes: bytes.sum(),
            largest_value: largest.iter().copied().max().unwrap_or(0),
        }
    }

    /// Errors name the file, the line and what is wrong with it.
    pub fn read(path: &Path) -> Result<Trace, String> {
        let file = File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        let packed = path.extension().is_some_and(|extension| extension == "xz");
        let input: Box<dyn Read> = if packed { Box::new(XzDecoder::new(file)) } else { Box::new(file) };
        let label = path.file_name().unwrap_or_default().to_string_lossy();
        let label = label.trim_end_matches(".xz").trim_end_matches(".csv").to_owned();
        let trace =
            Trace::parse(BufReader::new(input)).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Trace { label, ..trace })
    }

    fn parse(mut input: impl BufRead) -> Result<Trace, String> {
        let mut trace = Trace::default();
        let mut numbers: HashMap<Box<[u8]>, u32> = HashMap::new();
        let (mut line, mut number, mut first_s) = (String::new(), 0, None);
        loop {
            line.clear();
            number += 1;
            let read = input.read_line(&mut line).map_err(|error| format!("line {number}: {error}"))?;
            if read == 0 {
                break;
            }
            let text = line.trim();
            if text.is_empty() || (number == 1 && text.starts_with(|c: char| c.is_alphabetic())) {
                continue;
            }
            let row = Row::parse(text)
                .map_err(|what| format!("line {number}: {what}; a line is time,key,size[,op]"))?;
            let time_s = row.time_s - *first_s.get_or_insert(row.time_s);
            let key = match numbers.get(row.key.as_bytes()) {
                Some(key) => *key,
                None => {
                    let key = u32::try_from(trace.names.len()).map_err(|_| "more than 2^32 keys")?;
                    trace.names.push(row.key.as_bytes().into());
                    numbers.insert(row.key.as_bytes().into(), key);
                    key
                }
            };
            // A float to an integer saturates: a time before the first one becomes zero.
            let time_ms = (time_s * 1000.0) as u64;
            trace.requests.push(Request { time_ms, key, size: row.size, ttl_s: 0, op: row.op });
        }
        if trace.requests.is_empty() {
            return Err("no requests; a line is time,key,size[,op]".into());
        }
        Ok(trace)
    }

    /// So many copies of the trace under different names, request by request in turn: all footprints and reuse distances
    /// grow by that factor, while items keep their sizes. Exact LRU misses as it does on one copy and that part of the memory.
    pub fn copies(self, copies: u32) -> Trace {
        if copies == 1 {
            return self;
        }
        let keys = self.names.len() as u32;
        let named =
            |copy: u32, name: &[u8]| [name, b":", copy.to_string().as_bytes()].concat().into_boxed_slice();
        let names =
            (0..copies).flat_map(|copy| self.names.iter().map(move |name| named(copy, name))).collect();
        let copied = |request: Request| {
            (0..copies).map(move |copy| Request { key: request.key + copy * keys, ..request })
        };
        let requests = self.requests.iter().copied().flat_map(copied).collect();
        Trace { label: format!("{copies} × {}", self.label), names, requests }
    }
}

struct Row<'a> {
    time_s: f64,
    key: &'a str,
    size: u32,
    op: Op,
}

impl Row<'_> {
    fn parse(text: &str) -> Result<Row<'_>, String> {
        let mut cells = text.split(',').map(str::trim);
        let (Some(time), Some(key), Some(size)) = (cells.next(), cells.next(), cells.next()) else {
            return Err("fewer than three columns".into());
        };
        let time_s = time.parse().map_err(|_| format!("'{time}' is no time in seconds"))?;
        let size = size.parse().map_err(|_| format!("'{size}' is no size in bytes"))?;
        if key.is_empty() || key.len() > kv_server::limits::MAX_KEY_LEN {
            return Err(format!("a key of {} bytes", key.len()));
        }
        let op = match cells.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "get" | "gets" | "read" | "r" => Op::Get,
            "set" | "add" | "replace" | "put" | "write" | "w" => Op::Set,
            "del" | "delete" | "d" => Op::Delete,
            other => return Err(format!("'{other}' is none of get, set and delete")),
        };
        Ok(Row { time_s, key, size, op })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use liblzma::write::XzEncoder;
    use std::io::Write;

    const TEXT: &str = "time,key,size,op\n10,a,100\n10.5,b,200,SET\n11,a,300,get\n\n12,b,0,delete\n";

    #[test]
    fn lines_become_requests() {
        let trace = Trace::parse(TEXT.as_bytes()).unwrap();
        let request = |time_ms, key, size, op| Request { time_ms, key, size, ttl_s: 0, op };
        let wanted = [
            request(0, 0, 100, Op::Get),
            request(500, 1, 200, Op::Set),
            request(1000, 0, 300, Op::Get),
            request(2000, 1, 0, Op::Delete),
        ];
        assert_eq!(trace.requests, wanted);
        let extent = Extent { requests: 4, keys: 2, bytes: 502, largest_value: 300 };
        assert_eq!(trace.extent(), extent);
    }

    #[test]
    fn packed_files_are_read_as_plain_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.csv.xz");
        let mut encoder = XzEncoder::new(File::create(&path).unwrap(), 1);
        encoder.write_all(TEXT.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let trace = Trace::read(&path).unwrap();
        assert_eq!((trace.label.as_str(), trace.requests.len()), ("small", 4));
    }

    #[test]
    fn errors_say_which_line_and_what_is_wrong() {
        for (text, wanted) in [
            ("1,a,2\n1,b\n", "line 2: fewer than three columns"),
            ("1,a,x\n", "line 1: 'x' is no size"),
            ("1,,5\n", "line 1: a key of 0 bytes"),
            ("1,a,5,touch\n", "'touch' is none of"),
            ("time,key,size\n", "no requests"),
        ] {
            let error = Trace::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(Trace::read(Path::new("/nonexistent.csv")).unwrap_err().contains("/nonexistent.csv"));
    }

    #[test]
    fn copies_have_names_of_their_own() {
        let trace = Trace::parse(TEXT.as_bytes()).unwrap().copies(3);
        let extent = trace.extent();
        assert_eq!((extent.requests, extent.keys), (12, 6));
        let distinct: std::collections::HashSet<_> = trace.names.iter().collect();
        assert_eq!(distinct.len(), 6);
        assert_eq!(trace.requests[1].key, 2);
    }
}
