//! A server that stands in for a provider: it speaks the documented contract, and fails as it is told. It knows just
//! enough HTTP for one request per connection.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub method: String,
    /// Without the query, percent-encoded as it came.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Request line and headers.
    pub head: String,
    pub body: String,
}

impl Asked {
    /// A parameter of the query.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body as JSON; null if there is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// An answer of the contract.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn json(body: &Value) -> Self {
        Self::status(200, body.to_string()).header("content-type", "application/json")
    }

    /// One JSON object per line.
    pub fn json_lines(rows: &[Value]) -> Self {
        let body: String = rows.iter().map(|row| format!("{row}\n")).collect();
        Self::status(200, body).header("content-type", "application/jsonl")
    }

    /// What a contract answers to a request that it does not know.
    pub fn unknown(asked: &Asked) -> Self {
        Self::status(404, format!("nobody expected {} {}", asked.method, asked.path))
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn gzip(self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.body).expect("memory");
        Self { body: encoder.finish().expect("memory"), ..self }.header("content-encoding", "gzip")
    }

    fn head(&self, length: usize) -> String {
        let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {length}\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// The answer.
    Whole(Reply),
    /// The answer, but its body ends half way, although its length was announced.
    Half(Reply),
    /// Nothing, until the client gives up.
    Silence,
    /// The answer byte by byte, for longer than anybody waits.
    Slow(Reply),
}

type Handler = dyn Fn(&Asked) -> Wire + Send + Sync;

pub(crate) struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    handler: Arc<Mutex<Arc<Handler>>>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Asked) -> Wire + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/base", listener.local_addr().expect("an address"));
        let handler: Arc<Handler> = Arc::new(handler);
        let server = Self { url, asked: Arc::default(), handler: Arc::new(Mutex::new(handler)) };
        let (asked, handler) = (Arc::clone(&server.asked), Arc::clone(&server.handler));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, handler) = (Arc::clone(&asked), Arc::clone(&handler));
                tokio::spawn(async move {
                    let Some(request) = read(&mut stream).await else { return };
                    let handle = Arc::clone(&handler.lock().expect("no thread died"));
                    let wire = handle(&request);
                    asked.lock().expect("no thread died").push(request);
                    answer(stream, wire).await;
                });
            }
        });
        server
    }

    /// Does something else with the requests to come.
    pub fn then(&self, handler: impl Fn(&Asked) -> Wire + Send + Sync + 'static) {
        *self.handler.lock().expect("no thread died") = Arc::new(handler);
    }

    /// The requests since this was asked last.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("no thread died"))
    }
}

/// The next request; nothing if the client went away.
async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let mut asked = Asked { method: String::new(), path: String::new(), query: Vec::new(), head, body: String::new() };
    let length: usize = asked.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    while bytes.len() < end + length {
        more(stream, &mut bytes).await?;
    }
    asked.body = String::from_utf8(bytes[end..].to_vec()).expect("text");
    let line = asked.head.lines().next().unwrap_or_default().to_owned();
    let mut words = line.split(' ');
    asked.method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    asked.path = path.strip_prefix("/base").expect("below the address").to_owned();
    asked.query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Some(asked)
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
    bytes.extend_from_slice(&piece[..count]);
    Some(())
}

async fn answer(mut stream: TcpStream, wire: Wire) {
    // The client may have had enough at any time.
    match wire {
        Wire::Whole(reply) => {
            let _ = stream.write_all(reply.head(reply.body.len()).as_bytes()).await;
            let _ = stream.write_all(&reply.body).await;
            let _ = stream.shutdown().await;
        }
        Wire::Half(reply) => {
            let _ = stream.write_all(reply.head(reply.body.len()).as_bytes()).await;
            let _ = stream.write_all(&reply.body[..reply.body.len() / 2]).await;
            let _ = stream.shutdown().await;
        }
        Wire::Silence => {
            // Ends when the client closes.
            let _ = stream.read(&mut [0; 16]).await;
        }
        Wire::Slow(reply) => {
            let _ = stream.write_all(reply.head(reply.body.len() + 1_000_000).as_bytes()).await;
            for byte in reply.body.iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
