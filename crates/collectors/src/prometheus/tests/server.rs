//! A server that answers as it is told, also wrongly. It speaks just enough HTTP for one request per connection.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends nothing and waits until the client gives up.
    Silence,
    /// Answers with one series whose value at each step is its hour since 1970, modulo 1000.
    Hours,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub head: String,
    pub body: String,
}

impl Request {
    /// A field of the form.
    pub fn field(&self, name: &str) -> String {
        let found = url::form_urlencoded::parse(self.body.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_else(|| panic!("no {name} in {}", self.body))
    }
}

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Request>>>,
    replies: Arc<Mutex<Vec<Reply>>>,
}

/// An answer with headers and body.
pub fn http(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    Reply::Bytes(text.into_bytes())
}

/// The answer of a query that finds these series.
pub fn matrix(series: &str) -> Reply {
    let body = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#);
    http("200 OK", "content-type: application/json\r\n", &body)
}

impl Server {
    /// Starts a server that gives one reply after the other; the last one stays.
    pub async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        let server = Self { url, asked: Arc::default(), replies: Arc::new(Mutex::new(replies.to_vec())) };
        let (asked, replies) = (Arc::clone(&server.asked), Arc::clone(&server.replies));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                asked.lock().unwrap().push(request.clone());
                let reply = {
                    let mut replies = replies.lock().unwrap();
                    if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() }
                };
                tokio::spawn(answer(stream, request, reply));
            }
        });
        server
    }

    /// Replaces the replies to come.
    pub fn then(&self, replies: &[Reply]) {
        *self.replies.lock().unwrap() = replies.to_vec();
    }

    /// The requests since this was asked last.
    pub fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn read(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let head = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "the request broke off");
        bytes.extend_from_slice(&piece[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head + length {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..count]);
    }
    let body = String::from_utf8(bytes[head..].to_vec()).unwrap();
    Request { line: text.lines().next().unwrap().to_owned(), head: text, body }
}

async fn answer(mut stream: TcpStream, request: Request, reply: Reply) {
    let bytes = match reply {
        Reply::Bytes(bytes) => bytes,
        Reply::Silence => {
            // Ends when the client closes.
            let _ = stream.read(&mut [0; 16]).await;
            return;
        }
        Reply::Hours => {
            let second = |name: &str| request.field(name).parse::<i64>().unwrap();
            let steps = (second("start")..=second("end")).step_by(3600);
            let values: Vec<String> = steps.map(|time| format!("[{time},\"{}\"]", time / 3600 % 1000)).collect();
            let series = format!(r#"{{"metric":{{"tenant":"acme"}},"values":[{}]}}"#, values.join(","));
            let Reply::Bytes(bytes) = matrix(&series) else { unreachable!() };
            bytes
        }
    };
    // The client may have had enough already.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}
