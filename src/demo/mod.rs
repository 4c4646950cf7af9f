//! A stand-in for a model server: the API of Ollama, and of OpenAI as Ollama speaks it, with words instead
//! of a model behind it.
//!
//! It is there so that someone can see the gate work with nothing else installed, and so that clients can
//! be tested against it. It streams at a human pace, one word after another. It never knows that there is a
//! gate in front of it, and holds nothing beyond the request it answers.

mod api;
mod dialect;
mod speech;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The one model that it lists. It answers to any other name, too.
pub const MODEL: &str = "stand-in:latest";
/// About as fast as a person reads.
pub const PACE: Duration = Duration::from_millis(80);

/// More clients at once wait for their turn.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Pause after a failed accept: out of descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the stand-in on `listener` for as long as this future is polled, saying a word every `pace`.
pub async fn serve(listener: TcpListener, pace: Duration) -> Infallible {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let turn = Arc::clone(&turns).acquire_owned().await.expect("invariant: nobody closes this semaphore");
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Words are smaller than a packet, and each is to leave when it is said.
        _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service =
                service_fn(
                    move |request| async move { Ok::<_, Infallible>(api::answer(request, pace).await) },
                );
            // A client that leaves is the only thing that goes wrong here, and nobody is left to be told.
            _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(turn);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// An answer: its head, its body with the chunks put together, and when each read of it ended.
    struct Answer {
        head: String,
        body: String,
        reads: Vec<Instant>,
    }

    /// Serves, asks once, and gives the answer.
    async fn ask(method: &str, path: &str, body: Option<Value>, pace: Duration) -> Answer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::select! {
            never = super::serve(listener, pace) => match never {},
            answer = request(address, method, path, body) => answer,
        }
    }

    async fn request(address: SocketAddr, method: &str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map_or_else(String::new, |body| body.to_string());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let (mut bytes, mut reads) = (Vec::new(), Vec::new());
        while stream.read_buf(&mut bytes).await.unwrap() > 0 {
            reads.push(Instant::now());
        }
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = if head.contains("chunked") { unchunked(body) } else { body.to_owned() };
        Answer { head: head.to_ascii_lowercase(), body, reads }
    }

    fn unchunked(mut rest: &str) -> String {
        let mut whole = String::new();
        loop {
            let (size, after) = rest.split_once("\r\n").unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return whole;
            }
            whole.push_str(&after[..size]);
            rest = &after[size + 2..];
        }
    }

    fn chat(stream: Option<bool>) -> Value {
        let mut question = json!({ "model": "m", "messages": [{ "role": "user", "content": "one two" }] });
        if let Some(stream) = stream {
            question["stream"] = stream.into();
        }
        question
    }

    #[tokio::test]
    async fn ollamas_chat_streams_lines_unless_told_otherwise() {
        let pace = Duration::from_millis(2);
        let answer = ask("POST", "/api/chat", Some(chat(None)), pace).await;
        assert!(answer.head.starts_with("http/1.1 200 "), "{}", answer.head);
        assert!(answer.head.contains("content-type: application/x-ndjson"), "{}", answer.head);
        let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (last, words) = lines.split_last().unwrap();
        let text: String = words.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
        assert!(text.contains("You said: \"one two\"."), "{text}");
        assert!(words.iter().all(|line| line["done"] == false));
        assert_eq!(last["done"], true);
        assert_eq!(last["eval_count"], words.len());
        assert_eq!(last["prompt_eval_count"], 2);

        let answer = ask("POST", "/api/chat", Some(chat(Some(false))), Duration::ZERO).await;
        let whole: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(whole["message"]["content"], text);
    }

    #[tokio::test]
    async fn each_word_leaves_when_it_is_said() {
        let question = json!({ "model": "m", "prompt": "x", "options": { "num_predict": 4 } });
        let pace = Duration::from_millis(40);
        let answer = ask("POST", "/api/generate", Some(question), pace).await;
        let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[4]["done_reason"], "length");
        // Head and five lines, not all in one read at the end.
        assert!(answer.reads.len() >= 4, "{} reads", answer.reads.len());
        let spread = answer.reads[answer.reads.len() - 1] - answer.reads[0];
        assert!(spread >= 3 * pace, "it came within {spread:?}");
    }

    #[tokio::test]
    async fn openais_chat_streams_events_if_asked_to() {
        let mut question = chat(Some(true));
        question["stream_options"] = json!({ "include_usage": true });
        question["max_completion_tokens"] = 2.into();
        let answer = ask("POST", "/v1/chat/completions", Some(question), Duration::ZERO).await;
        assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
        let mut events: Vec<&str> = answer.body.split_terminator("\n\n").collect();
        assert_eq!(events.pop(), Some("data: [DONE]"));
        let chunks: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(&event["data: ".len()..]).unwrap()).collect();
        let text: String =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, "Hello! I");
        assert_eq!(chunks[2]["choices"][0]["finish_reason"], "length");
        assert_eq!(chunks[3]["usage"]["total_tokens"], 4);

        let answer = ask("POST", "/v1/chat/completions", Some(chat(None)), Duration::ZERO).await;
        let whole: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(whole["object"], "chat.completion");
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_in_the_apis_own_form() {
        let broken = [
            ("GET", "/api/chat", None, "405"),
            ("POST", "/api/tags", None, "405"),
            ("GET", "/api/none", None, "404"),
            ("POST", "/api/chat", None, "400"),
            ("POST", "/api/chat", Some(json!([1])), "400"),
            ("POST", "/v1/chat/completions", Some(json!({ "messages": [] })), "400"),
            ("POST", "/api/embed", Some(json!({ "model": "m" })), "400"),
        ];
        for (method, path, body, status) in broken {
            let answer = ask(method, path, body, Duration::ZERO).await;
            assert!(
                answer.head.starts_with(&format!("http/1.1 {status} ")),
                "{method} {path}: {}",
                answer.head
            );
        }
        let answer = ask("POST", "/v1/chat/completions", Some(json!({})), Duration::ZERO).await;
        let refusal: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(refusal["error"]["type"], "invalid_request_error");
    }

    #[tokio::test]
    async fn what_clients_ask_first_is_answered() {
        let head = ask("HEAD", "/", None, Duration::ZERO).await;
        assert!(head.head.contains("content-length: 17"), "{}", head.head);
        assert_eq!(head.body, "");
        assert_eq!(ask("GET", "/", None, Duration::ZERO).await.body, "Ollama is running");
        for (path, place) in [("/api/tags", "/models/0/name"), ("/v1/models", "/data/0/id")] {
            let answer = ask("GET", path, None, Duration::ZERO).await;
            let listed: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(listed.pointer(place), Some(&super::MODEL.into()), "{path}");
        }
        let question = json!({ "model": "m", "input": ["a", "b"] });
        let answer = ask("POST", "/api/embed", Some(question), Duration::ZERO).await;
        let vectors: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(vectors["embeddings"].as_array().map(Vec::len), Some(2));
    }
}
