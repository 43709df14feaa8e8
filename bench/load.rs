//! Sends prepared HTTP requests over some connections and prints what it took as JSON: `load ADDRESS CONNECTIONS FILE`.
//!
//! The file holds whole requests, each with its length before it (32 bits, little-endian), so that sending costs next to
//! nothing but the system calls. Request n goes over connection n modulo their number, one after the other.
//!
//! `load bare` is the other end of it: a server that reads whole requests and answers each the same, a thread for each
//! connection, and does nothing else. It prints its address and serves until its input ends. Its figures are what a plain
//! server reaches with these requests on this machine. One file without dependencies: `scripts/bench` compiles it by itself.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

const STACK_BYTES: usize = 256 * 1024;
const ANSWER_SECONDS_MAX: u64 = 600;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What one connection saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    accepted: u64,
    duplicates: u64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, file] = match arguments.as_slice() {
        [word] if word == "bare" => return serve_bare(),
        [address, connections, file] => [address, connections, file],
        _ => return Err("usage: load ADDRESS CONNECTIONS FILE, or load bare".into()),
    };
    let connections: usize = connections.parse()?;
    let requests = Arc::new(Requests::read(file)?);
    let barrier = Arc::new(Barrier::new(connections + 1));
    let mut threads = Vec::new();
    for first in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
        let (requests, barrier) = (Arc::clone(&requests), Arc::clone(&barrier));
        let work = move || {
            barrier.wait();
            requests.send(stream, first, connections)
        };
        threads.push(thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?);
    }
    let cpu_before = cpu_seconds()?;
    barrier.wait();
    let begun = Instant::now();
    let mut total = Seen::default();
    for thread in threads {
        let seen = thread.join().map_err(|_| "a connection's thread panicked")??;
        total.latencies.extend(seen.latencies);
        total.accepted += seen.accepted;
        total.duplicates += seen.duplicates;
    }
    let seconds = begun.elapsed().as_secs_f64();
    total.print(seconds, cpu_seconds()? - cpu_before);
    Ok(())
}

impl Seen {
    fn print(mut self, seconds: f64, cpu: f64) {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let position = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(position).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        println!(
            r#"{{"seconds":{seconds},"client_cpu":{cpu},"requests":{},"accepted":{},"duplicates":{},"p50_ms":{},"p99_ms":{}}}"#,
            self.latencies.len(),
            self.accepted,
            self.duplicates,
            at(0.50),
            at(0.99),
        );
    }
}

/// All requests, and where each begins and ends.
struct Requests {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl Requests {
    fn read(file: &str) -> Result<Self> {
        let bytes = std::fs::read(file)?;
        let (mut ranges, mut at) = (Vec::new(), 0);
        while let Some(length) = bytes.get(at..at + 4) {
            let begin = at + 4;
            at = begin + u32::from_le_bytes(length.try_into()?) as usize;
            ranges.push((begin, at));
        }
        if at == bytes.len() { Ok(Self { bytes, ranges }) } else { Err("the file is cut off".into()) }
    }

    fn send(&self, mut stream: TcpStream, first: usize, step: usize) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut answer = Vec::with_capacity(4096);
        for (begin, end) in self.ranges.iter().skip(first).step_by(step) {
            let sent = Instant::now();
            stream.write_all(&self.bytes[*begin..*end])?;
            let body = read_answer(&mut stream, &mut answer)?;
            seen.latencies.push(sent.elapsed());
            seen.accepted += number_after(body, b"\"accepted\":")?;
            seen.duplicates += number_after(body, b"\"duplicates\":")?;
        }
        Ok(seen)
    }
}

fn serve_bare() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A thread that finds no room or no more requests just ends; the client says what is missing.
            drop(thread::Builder::new().stack_size(STACK_BYTES).spawn(move || answer_bare(stream)));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer_bare(mut stream: TcpStream) -> Result<()> {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\r\n{\"accepted\":1,\"duplicates\":0}";
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(4096);
    while read_message(&mut stream, &mut request)?.is_some() {
        stream.write_all(ANSWER)?;
    }
    Ok(())
}

/// Returns the body of the next answer, which must be a 200.
fn read_answer<'a>(stream: &mut TcpStream, answer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    let body = read_message(stream, answer)?.ok_or("the server closed the connection")?;
    if answer.starts_with(b"HTTP/1.1 200") {
        Ok(&answer[body..])
    } else {
        Err(String::from_utf8_lossy(answer).into_owned().into())
    }
}

/// Reads a request or an answer, which must have a Content-Length, and returns where its body begins; `None` at the end.
fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> Result<Option<usize>> {
    message.clear();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(None);
        }
        message.extend_from_slice(&piece[..read]);
        let Some(head) = find(message, b"\r\n\r\n") else { continue };
        let length = number_after(&message[..head].to_ascii_lowercase(), b"content-length: ")?;
        if head + 4 + usize::try_from(length)? <= message.len() {
            return Ok(Some(head + 4));
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn number_after(bytes: &[u8], name: &[u8]) -> Result<u64> {
    let missing = || format!("no {} in {}", String::from_utf8_lossy(name), String::from_utf8_lossy(bytes));
    let begin = find(bytes, name).ok_or_else(missing)? + name.len();
    let digits = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Returns the user and system time of this process, ended threads included.
fn cpu_seconds() -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, the same on every Linux we build for
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| {
        fields.get(at).ok_or("/proc/self/stat is short")?.parse::<f64>().map_err(Box::<dyn Error + Send + Sync>::from)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}
