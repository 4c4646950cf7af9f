//! Spans as OTLP writes them, in protocol buffers
//! (<https://opentelemetry.io/docs/specs/otlp/>, `opentelemetry/proto/trace/v1/trace.proto`).

use super::span::{Attribute, Span};
use crate::http::PRODUCT;

/// A span of a server.
const KIND_SERVER: u64 = 2;
/// The status of a span that has failed.
const STATUS_ERROR: u64 = 2;

/// Writes one message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn fixed(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn attribute(&mut self, field: u64, name: &str, value: &Attribute) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |any| match value {
                Attribute::Text(text) => any.bytes(1, text.as_bytes()),
                Attribute::Number(number) => any.number(3, number.cast_unsigned()),
            });
        });
    }
}

/// The body of a request that hands these spans over.
pub(super) fn request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| {
            for (name, value) in resource {
                message.attribute(1, name, &Attribute::Text(value.clone()));
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.bytes(1, PRODUCT.to_lowercase().as_bytes());
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for span in spans {
                scope_spans.message(2, |message| write(span, message));
            }
        });
    });
    request.0
}

fn write(span: &Span, message: &mut Message) {
    message.bytes(1, &span.context.trace);
    message.bytes(2, &span.context.span);
    if !span.state.is_empty() {
        message.bytes(3, span.state.as_bytes());
    }
    if let Some(parent) = &span.parent {
        message.bytes(4, &parent.span);
    }
    message.bytes(5, span.name.as_bytes());
    message.number(6, KIND_SERVER);
    message.fixed(7, span.begin);
    message.fixed(8, span.end);
    for (name, value) in &span.attributes {
        message.attribute(9, name, value);
    }
    if span.has_failed {
        message.message(15, |status| status.number(3, STATUS_ERROR));
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Context;
    use super::*;

    #[test]
    fn numbers_and_lengths_are_written_as_protocol_buffers_do() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.message(3, |inner| inner.fixed(1, 1));
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x09\x09\x01\0\0\0\0\0\0\0";
        assert_eq!(message.0, expected);
    }

    #[test]
    fn a_span_has_its_ids_and_attributes() {
        let parent = Context::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let span = Span {
            context: Context { span: [7; 8], ..parent },
            parent: Some(parent),
            state: String::new(),
            name: "n".into(),
            begin: 1,
            end: 2,
            attributes: vec![("a".into(), Attribute::Number(5))],
            has_failed: true,
        };
        let mut message = Message::default();
        write(&span, &mut message);
        let mut expected = Message::default();
        expected.bytes(1, &parent.trace);
        expected.bytes(2, &[7; 8]);
        expected.bytes(4, &parent.span);
        expected.0.extend_from_slice(b"\x2a\x01n\x30\x02\x39\x01\0\0\0\0\0\0\0\x41\x02\0\0\0\0\0\0\0");
        expected.0.extend_from_slice(b"\x4a\x07\x0a\x01a\x12\x02\x18\x05\x7a\x02\x18\x02");
        assert_eq!(message.0, expected.0);
        let whole = request(&[("service.name".into(), "s".into())], &[span]);
        assert!(whole.windows(message.0.len()).any(|part| part == message.0));
        assert!(whole.windows(12).any(|part| part == b"service.name"));
    }
}
