//! What the stand-in says, and how it counts it.

/// At most so much of the question is said back.
const QUOTED_CHARS_MAX: usize = 200;

/// What is said in answer to `prompt`, word by word. Each word but the first brings the blank before it, as
/// a model's tokens do, so that the words put together are the text.
pub(super) fn words(prompt: &str, limit: Option<usize>) -> Vec<String> {
    let mut text = String::from("Hello! I am a stand-in for a model, so I know no more than these words.");
    let asked: String = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    if !asked.is_empty() {
        let quoted: String = asked.chars().take(QUOTED_CHARS_MAX).collect();
        let rest = if quoted.len() < asked.len() { "…" } else { "" };
        text.push_str(&format!(" You said: \"{quoted}{rest}\"."));
    }
    text.push_str(
        " They come one by one, each as soon as it is said, and have passed the gate with your key. \
         Put a real model server in my place, and nothing else changes.",
    );
    text.split_inclusive(' ')
        .map(str::trim_end)
        .enumerate()
        .map(|(index, word)| if index == 0 { word.to_owned() } else { format!(" {word}") })
        .take(limit.unwrap_or(usize::MAX))
        .collect()
}

/// How many tokens a text is. Every word is one here.
pub(super) fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Length of an embedding.
const DIMENSIONS: usize = 16;

/// A vector of length 1 that depends on the text alone: equal texts have equal vectors, others do not.
pub(super) fn embedding(text: &str) -> Vec<f64> {
    // FNV-1a, carried on from one dimension to the next.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut step = |byte: u8| {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        hash
    };
    text.bytes().for_each(|byte| _ = step(byte));
    let raw: Vec<f64> = (0..DIMENSIONS)
        .map(|_| {
            let high = u32::try_from(step(1) >> 32).unwrap_or(u32::MAX);
            f64::from(high) / f64::from(u32::MAX) - 0.5
        })
        .collect();
    let length = raw.iter().map(|value| value * value).sum::<f64>().sqrt();
    raw.iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::{embedding, words};

    #[test]
    fn words_put_together_are_a_text_with_the_question_in_it() {
        let text = words("  why is\nthe sky blue? ", None).concat();
        assert!(text.contains("You said: \"why is the sky blue?\"."), "{text}");
        assert!(!text.contains("  "), "{text}");
        assert_eq!(words("why", Some(3)).concat(), "Hello! I am");
    }

    #[test]
    fn a_long_question_is_cut_at_a_character() {
        let text = words(&"ä".repeat(1000), None).concat();
        assert!(text.contains(&format!("\"{}…\"", "ä".repeat(200))), "{text}");
    }

    #[test]
    fn embeddings_have_length_one_and_tell_texts_apart() {
        let one = embedding("one");
        assert!((one.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!(one, embedding("one"));
        assert_ne!(one, embedding("two"));
    }
}
