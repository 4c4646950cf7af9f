//! The three forms in which words go out: Ollama's `generate` and `chat`, and OpenAI's chat completions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};

/// Which form, and what all its parts have in common.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    /// The form.
    pub form: Form,
    /// The model's name, as the client wrote it.
    pub model: String,
    /// Tokens of the question.
    pub prompt_tokens: usize,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/api/generate`.
    Generate,
    /// `/api/chat`.
    Chat,
    /// `/v1/chat/completions`.
    Completions {
        /// Whether a stream ends with a chunk that counts the tokens.
        usage: bool,
    },
}

/// What is known when all words are said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// Words said.
    pub words: usize,
    /// Whether the client's limit cut them short.
    pub cut: bool,
    /// Time from the question to the last word.
    pub took: Duration,
}

impl Summary {
    fn reason(self) -> &'static str {
        if self.cut { "length" } else { "stop" }
    }
}

impl Dialect {
    /// The media type of a stream.
    pub(super) fn stream_type(&self) -> &'static str {
        match self.form {
            Form::Generate | Form::Chat => "application/x-ndjson",
            Form::Completions { .. } => "text/event-stream",
        }
    }

    /// One word of a stream.
    pub(super) fn word(&self, word: &str) -> Bytes {
        match self.form {
            Form::Generate => line(&self.ollama(json!({ "response": word, "done": false }))),
            Form::Chat => line(&self.ollama(json!({ "message": spoken(word), "done": false }))),
            Form::Completions { .. } => event(&self.chunk(&json!([{
                "index": 0, "delta": spoken(word), "finish_reason": null
            }]))),
        }
    }

    /// The end of a stream.
    pub(super) fn last(&self, summary: Summary) -> Bytes {
        match self.form {
            Form::Generate | Form::Chat => line(&self.whole("", summary)),
            Form::Completions { usage } => {
                let mut end = event(&self.chunk(&json!([{
                    "index": 0, "delta": {}, "finish_reason": summary.reason()
                }])))
                .to_vec();
                if usage {
                    let mut counted = self.chunk(&json!([]));
                    counted["usage"] = self.usage(summary);
                    end.extend_from_slice(&event(&counted));
                }
                end.extend_from_slice(b"data: [DONE]\n\n");
                end.into()
            }
        }
    }

    /// The whole answer at once.
    pub(super) fn whole(&self, text: &str, summary: Summary) -> Value {
        let mut answer = match self.form {
            Form::Generate => self.ollama(json!({ "response": text, "done": true })),
            Form::Chat => self.ollama(json!({ "message": spoken(text), "done": true })),
            Form::Completions { .. } => {
                return json!({
                    "id": ID, "object": "chat.completion", "created": unix_seconds(), "model": self.model,
                    "choices": [{ "index": 0, "message": spoken(text), "finish_reason": summary.reason() }],
                    "usage": self.usage(summary),
                });
            }
        };
        let nanos = u64::try_from(summary.took.as_nanos()).unwrap_or(u64::MAX);
        answer["done_reason"] = summary.reason().into();
        answer["total_duration"] = nanos.into();
        answer["load_duration"] = 0.into();
        answer["prompt_eval_count"] = self.prompt_tokens.into();
        answer["prompt_eval_duration"] = 0.into();
        answer["eval_count"] = summary.words.into();
        answer["eval_duration"] = nanos.into();
        answer
    }

    /// An object of Ollama's with these fields after the common ones.
    fn ollama(&self, fields: Value) -> Value {
        let mut object = json!({ "model": self.model, "created_at": jiff::Timestamp::now().to_string() });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        object
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": ID, "object": "chat.completion.chunk", "created": unix_seconds(), "model": self.model,
            "choices": choices,
        })
    }

    fn usage(&self, summary: Summary) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens, "completion_tokens": summary.words,
            "total_tokens": self.prompt_tokens + summary.words,
        })
    }
}

/// Every answer's id: nothing refers to it.
const ID: &str = "chatcmpl-stand-in";

fn spoken(text: &str) -> Value {
    json!({ "role": "assistant", "content": text })
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
