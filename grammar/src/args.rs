//! `{args[0]}`, `{args[1:]}`, `{block}` and `{blocks.name}` in what an import brings in.

use std::ops::Range;

use crate::import::Block;
use crate::token::{TextBuilder, Token};

/// What stands behind `import name`.
pub(crate) struct Arguments<'i> {
    pub(crate) args: &'i [Token],
    pub(crate) block: &'i Block,
}

/// Adds `token` to `out` with its placeholders replaced, and to `odd` what is wrong with them.
///
/// Returns how many bytes of text came into being. What an environment variable brought in is not searched.
pub(crate) fn put(
    token: &Token,
    arguments: &Arguments<'_>,
    out: &mut Vec<Token>,
    odd: &mut Vec<String>,
) -> usize {
    let text = &*token.text;
    if !text.contains(['{', '}']) {
        out.push(token.clone());
        return 0;
    }
    if token.is_written(0..text.len()) {
        if text == "{block}" {
            out.extend_from_slice(&arguments.block.all);
            return 0;
        }
        if let Some(name) = text.strip_prefix("{blocks.").and_then(|rest| rest.strip_suffix('}')) {
            out.extend_from_slice(arguments.block.parts.get(name).map_or(&[], Vec::as_slice));
            return 0;
        }
        if let Some(range) = variadic(text, arguments.args.len(), odd) {
            let args = arguments.args[range].iter();
            out.extend(args.map(|arg| Token {
                text: arg.text.clone(),
                env: arg.env.clone(),
                ..token.clone()
            }));
            return 0;
        }
    }
    let (replaced, bytes) = replace(token, arguments.args, odd);
    out.push(replaced);
    bytes
}

/// The range of `{args[from:to]}`; both ends may be left out.
fn variadic(text: &str, count: usize, odd: &mut Vec<String>) -> Option<Range<usize>> {
    let inside = text.strip_prefix("{args[")?.strip_suffix("]}")?;
    if inside.is_empty() {
        odd.push(format!("Placeholder {text} cannot have an empty index"));
        return None;
    }
    let (from, to) = inside.split_once(':')?;
    // Several placeholders with a colon between them.
    if from.contains('}') || to.contains('{') {
        return None;
    }
    let mut index = |written: &str, default: usize, which: &str| match written {
        "" => Some(default as i64),
        written => written
            .parse::<i64>()
            .inspect_err(|_| odd.push(format!("Variadic placeholder {text} has an invalid {which} index")))
            .ok(),
    };
    let (from, to) = (index(from, 0, "start")?, index(to, count, "end")?);
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from <= to && to <= count => Some(from..to),
        _ => {
            odd.push(format!(
                "Variadic placeholder {text} indices are out of bounds, only {count} argument(s) exist"
            ));
            None
        }
    }
}

/// Replaces `{args[N]}` wherever it stands in the token, and takes the backslash away from `\{` and `\}`.
fn replace(token: &Token, args: &[Token], odd: &mut Vec<String>) -> (Token, usize) {
    let text = &*token.text;
    let bytes = text.as_bytes();
    let mut built = TextBuilder::default();
    let mut done = 0;
    let mut at = 0;
    // The first brace that can close a placeholder opened at `at`; it only ever moves on.
    let mut close = 0;
    while let Some(found) = text[at..].find(['{', '}']) {
        let brace = at + found;
        at = brace + 1;
        if !token.is_written(brace..at) {
            continue;
        }
        if brace > 0 && bytes[brace - 1] == b'\\' && token.is_written(brace - 1..brace) {
            built.push_part(token, done..brace - 1);
            done = brace;
            continue;
        }
        if bytes[brace] == b'}' {
            continue;
        }
        close = next_close(text, close.max(brace));
        if close == text.len() {
            continue;
        }
        let arg = argument(&text[brace + 1..close], args, odd).filter(|_| token.is_written(brace..close + 1));
        if let Some(arg) = arg {
            built.push_part(token, done..brace);
            built.push_part(arg, 0..arg.text.len());
            at = close + 1;
            done = at;
        }
    }
    if done == 0 {
        return (token.clone(), 0);
    }
    built.push_part(token, done..text.len());
    let size = built.len();
    let (text, env) = built.finish();
    (Token { text, env, ..token.clone() }, size)
}

/// The first `}` from `from` on that has no backslash before it, or that ends the text; the text's length if none.
fn next_close(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let closes =
        |at: &usize| bytes[*at] == b'}' && (*at + 1 == bytes.len() || *at == 0 || bytes[*at - 1] != b'\\');
    (from..bytes.len()).find(closes).unwrap_or(bytes.len())
}

/// The argument that `args[N]` names. Anything else stays as it is.
fn argument<'i>(key: &str, args: &'i [Token], odd: &mut Vec<String>) -> Option<&'i Token> {
    let (index, dotted) = match key.strip_prefix("args[").and_then(|rest| rest.strip_suffix(']')) {
        Some(index) => (index, false),
        None => (key.strip_prefix("args.")?, true),
    };
    if index.is_empty() || index.contains('\n') {
        return None;
    }
    if !dotted && index.contains(':') {
        odd.push(format!("Variadic placeholder {{{key}}} must be a token on its own"));
        return None;
    }
    let Ok(number) = index.parse::<i64>() else {
        odd.push(format!("Placeholder {{{key}}} has an invalid index"));
        return None;
    };
    let arg = usize::try_from(number).ok().and_then(|number| args.get(number));
    if arg.is_none() {
        odd.push(format!(
            "Placeholder {{{key}}} index is out of bounds, only {} argument(s) exist",
            args.len()
        ));
    } else if dotted {
        odd.push(format!("Placeholder {{{key}}} deprecated, use {{args[{index}]}} instead"));
    }
    arg
}
