//! What has been counted at some moment, by names and labels.

use std::collections::BTreeMap;

use super::Histogram;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values fell below certain bounds.
    Histogram,
}

/// All numbers of one name.
#[derive(Debug)]
pub struct Family {
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) samples: BTreeMap<String, Sample>,
}

/// What stands under one set of labels.
#[derive(Debug)]
pub(super) enum Sample {
    Number(f64),
    Histogram {
        /// Upper bounds, each with how many values there are up to it.
        buckets: Vec<(f64, u64)>,
        count: u64,
        sum: f64,
    },
}

/// What has been counted.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) families: BTreeMap<&'static str, Family>,
}

impl Snapshot {
    /// The numbers called `name`, to which more can be added. A counter's name ends in `_total`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Family {
        self.families.entry(name).or_insert_with(|| Family { kind, help, samples: BTreeMap::new() })
    }
}

impl Family {
    /// Adds a number under these labels, which stand in the order of their names. What is there
    /// already under the same ones is added to.
    pub fn number(&mut self, labels: &[(&str, &str)], number: f64) {
        match self.samples.entry(written(labels)).or_insert(Sample::Number(0.0)) {
            Sample::Number(sum) => *sum += number,
            Sample::Histogram { .. } => {}
        }
    }

    /// The same, but a number that is there already is replaced.
    pub fn set(&mut self, labels: &[(&str, &str)], number: f64) {
        self.samples.insert(written(labels), Sample::Number(number));
    }

    /// Adds a histogram under these labels.
    pub fn histogram<const N: usize>(&mut self, labels: &[(&str, &str)], histogram: &Histogram<N>) {
        let (buckets, count, sum) = histogram.read();
        self.samples.insert(written(labels), Sample::Histogram { buckets, count, sum });
    }
}

/// Labels as they stand between braces.
fn written(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for ch in value.chars() {
            match ch {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                ch => text.push(ch),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_anything() {
        assert_eq!(written(&[]), "");
        assert_eq!(written(&[("a", "x\"\\\n}"), ("b", "")]), r#"a="x\"\\\n}",b="""#);
    }
}
