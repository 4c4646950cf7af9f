//! Which request gets which answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::MODEL;
use super::dialect::{Dialect, Form, Summary, unix_seconds};
use super::speech::{embedding, tokens, words};
use super::stream::{Reply, Words};

/// Questions are short; whatever is larger is no question.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take to send a question.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// The version of Ollama whose API this is like.
const VERSION: &str = "0.13.0";

/// A question, in any of the forms; what a form does not have stays empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Question {
    model: String,
    prompt: String,
    messages: Vec<Message>,
    input: Value,
    stream: Option<bool>,
    stream_options: StreamOptions,
    options: Options,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    num_predict: Option<i64>,
}

/// Why there is no answer to a request.
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn bad(message: impl std::fmt::Display) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.to_string() }
    }
}

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, pace: Duration) -> Response<Reply> {
    let path = request.uri().path().to_owned();
    let allowed: &[Method] = match path.as_str() {
        "/" | "/api/version" | "/api/tags" | "/api/ps" | "/v1/models" => &[Method::GET, Method::HEAD],
        "/api/show"
        | "/api/generate"
        | "/api/chat"
        | "/api/embed"
        | "/v1/chat/completions"
        | "/v1/embeddings" => &[Method::POST],
        _ if path.starts_with("/v1/models/") => &[Method::GET, Method::HEAD],
        _ => &[],
    };
    if allowed.is_empty() {
        return text(StatusCode::NOT_FOUND, "404 page not found");
    }
    if !allowed.contains(request.method()) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed");
        let methods = if allowed.contains(&Method::POST) { "POST" } else { "GET, HEAD" };
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        return response;
    }
    let outcome = if allowed.contains(&Method::POST) {
        match question(request).await {
            Ok(question) => speak(&path, question, pace).await,
            Err(refusal) => Err(refusal),
        }
    } else {
        Ok(told(&path))
    };
    outcome.unwrap_or_else(|refusal| refuse(&path, &refusal))
}

/// What is known without a question.
fn told(path: &str) -> Response<Reply> {
    let listed = json!({ "id": MODEL, "object": "model", "created": unix_seconds(), "owned_by": "library" });
    match path {
        "/" => text(StatusCode::OK, "Ollama is running"),
        "/api/version" => object(StatusCode::OK, &json!({ "version": VERSION })),
        "/api/tags" => object(
            StatusCode::OK,
            &json!({ "models": [{
                "name": MODEL, "model": MODEL, "modified_at": jiff::Timestamp::now().to_string(),
                "size": 0, "digest": "0".repeat(64), "details": details(),
            }] }),
        ),
        "/api/ps" => object(StatusCode::OK, &json!({ "models": [] })),
        "/v1/models" => object(StatusCode::OK, &json!({ "object": "list", "data": [listed] })),
        _ => object(StatusCode::OK, &listed),
    }
}

/// Answers a question.
async fn speak(path: &str, question: Question, pace: Duration) -> Result<Response<Reply>, Refusal> {
    match path {
        "/api/show" => {
            let shown = json!({
                "modelfile": "", "parameters": "", "template": "{{ .Prompt }}", "details": details(),
                "model_info": {}, "capabilities": ["completion", "embedding"],
            });
            Ok(object(StatusCode::OK, &shown))
        }
        "/api/embed" | "/v1/embeddings" => embed(path, &question),
        "/api/generate" => Ok(say(Form::Generate, question, true, pace).await),
        "/api/chat" => Ok(say(Form::Chat, question, true, pace).await),
        _ => {
            let usage = question.stream_options.include_usage;
            Ok(say(Form::Completions { usage }, question, false, pace).await)
        }
    }
}

/// Says the words, one by one or all together, as the client wants; `streams` is what it wants if it does
/// not say.
async fn say(form: Form, question: Question, streams: bool, pace: Duration) -> Response<Reply> {
    let prompt = match question.messages.last() {
        Some(message) => plain(&message.content),
        None => question.prompt,
    };
    // A negative number means no limit to Ollama.
    let predict = question.options.num_predict.and_then(|number| usize::try_from(number).ok());
    let limit = predict.or(question.max_completion_tokens).or(question.max_tokens);
    let said = words(&prompt, limit);
    let cut = limit.is_some_and(|limit| limit <= said.len());
    let dialect = Dialect { form, model: question.model, prompt_tokens: tokens(&prompt) };
    if question.stream.unwrap_or(streams) {
        let content_type = HeaderValue::from_static(dialect.stream_type());
        let mut response = Response::new(Reply::Words(Words::new(dialect, said, cut, pace)));
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        return response;
    }
    // It takes as long as a stream would: so does a model.
    let took = pace * u32::try_from(said.len()).unwrap_or(u32::MAX);
    tokio::time::sleep(took).await;
    object(StatusCode::OK, &dialect.whole(&said.concat(), Summary { words: said.len(), cut, took }))
}

fn embed(path: &str, question: &Question) -> Result<Response<Reply>, Refusal> {
    let texts: Vec<&str> = match &question.input {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => return Err(Refusal::bad("input must be a string or a list of strings")),
    };
    let vectors = texts.iter().map(|text| embedding(text));
    let counted: usize = texts.iter().map(|text| tokens(text)).sum();
    let answer = if path == "/api/embed" {
        json!({
            "model": question.model, "embeddings": vectors.collect::<Vec<_>>(),
            "total_duration": 0, "load_duration": 0, "prompt_eval_count": counted,
        })
    } else {
        let data = vectors
            .enumerate()
            .map(|(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector }));
        json!({
            "object": "list", "model": question.model, "data": data.collect::<Vec<_>>(),
            "usage": { "prompt_tokens": counted, "total_tokens": counted },
        })
    };
    Ok(object(StatusCode::OK, &answer))
}

/// Reads the question.
async fn question(request: Request<Incoming>) -> Result<Question, Refusal> {
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect();
    let bytes = tokio::time::timeout(REQUEST_PATIENCE, body)
        .await
        .map_err(|_| Refusal::bad("the request took too long"))?
        .map_err(|error| Refusal::bad(format!("reading the request: {error}")))?
        .to_bytes();
    if bytes.is_empty() {
        return Err(Refusal::bad("missing request body"));
    }
    let question: Question =
        serde_json::from_slice(&bytes).map_err(|error| Refusal::bad(format!("invalid JSON: {error}")))?;
    if question.model.is_empty() {
        return Err(Refusal::bad("model is required"));
    }
    Ok(question)
}

/// The text of a message: a string, or OpenAI's list of parts.
fn plain(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn details() -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": "stand-in", "families": ["stand-in"],
        "parameter_size": "0B", "quantization_level": "Q4_0",
    })
}

fn refuse(path: &str, refusal: &Refusal) -> Response<Reply> {
    let message = &refusal.message;
    let answer = if path.starts_with("/v1/") {
        json!({ "error": {
            "message": message, "type": "invalid_request_error", "param": null, "code": null,
        } })
    } else {
        json!({ "error": message })
    };
    object(refusal.status, &answer)
}

fn object(status: StatusCode, value: &Value) -> Response<Reply> {
    whole(status, "application/json; charset=utf-8", value.to_string().into())
}

fn text(status: StatusCode, text: &'static str) -> Response<Reply> {
    whole(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
