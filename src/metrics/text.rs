//! The text that Prometheus reads, in its own format and in that of OpenMetrics
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::io::Write as _;

use super::snapshot::{Kind, Sample, Snapshot};

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 0.0.1.
    OpenMetrics,
}

impl Format {
    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::OpenMetrics => {
                "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores"
            }
        }
    }

    /// What a client wants that accepts this.
    pub fn accepted(accept: &str) -> Self {
        let wants = accept.split(',').any(|range| {
            let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
            let refuses = parameters.split(';').any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                match name.trim() {
                    "q" => value.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0),
                    "version" => !matches!(value.trim(), "0.0.1" | "1.0.0"),
                    _ => false,
                }
            });
            name.trim().eq_ignore_ascii_case("application/openmetrics-text") && !refuses
        });
        if wants { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// Writes a snapshot.
pub(super) fn render(snapshot: &Snapshot, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, family) in snapshot.families.iter().filter(|(_, family)| !family.samples.is_empty()) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let of_family = match format {
            Format::OpenMetrics if family.kind == Kind::Counter => {
                name.strip_suffix("_total").unwrap_or(name)
            }
            _ => name,
        };
        // Writing to a `Vec` can't fail.
        let _ = write!(out, "# HELP {of_family} {}\n# TYPE {of_family} {kind}\n", family.help);
        for (labels, sample) in &family.samples {
            write_sample(&mut out, name, labels, sample, format);
        }
    }
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    out
}

fn write_sample(out: &mut Vec<u8>, name: &str, labels: &str, sample: &Sample, format: Format) {
    let mut line = |suffix: &str, more: &str, value: &str| {
        let _ = write!(out, "{name}{suffix}");
        if !labels.is_empty() || !more.is_empty() {
            let comma = if labels.is_empty() || more.is_empty() { "" } else { "," };
            let _ = write!(out, "{{{labels}{comma}{more}}}");
        }
        let _ = writeln!(out, " {value}");
    };
    match sample {
        Sample::Number(number) => line("", "", &float(*number, format)),
        Sample::Histogram { buckets, count, sum } => {
            for (bound, below) in buckets {
                line("_bucket", &format!("le=\"{}\"", float(*bound, format)), &below.to_string());
            }
            line("_bucket", "le=\"+Inf\"", &count.to_string());
            line("_sum", "", &float(*sum, format));
            line("_count", "", &count.to_string());
        }
    }
}

/// A number as Go prints it; OpenMetrics wants a point or an exponent in it.
fn float(number: f64, format: Format) -> String {
    let size = number.abs();
    let mut text = if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    } else if number == 0.0 || number.is_nan() || (1e-4..1e6).contains(&size) {
        format!("{number}")
    } else {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    };
    if format == Format::OpenMetrics && !number.is_nan() && !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Histogram;
    use super::*;

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.family("b_total", Kind::Counter, "Bees.").number(&[], 3.0);
        let family = snapshot.family("a", Kind::Gauge, "An a.");
        family.number(&[("x", "2")], 0.5);
        family.number(&[("x", "1")], 1e7);
        family.number(&[("x", "1")], 1.0);
        let histogram = Histogram::new(&[1, 1_048_576], 1.0);
        histogram.observe(1);
        histogram.observe(2);
        snapshot.family("h", Kind::Histogram, "Sizes.").histogram(&[("x", "1")], &histogram);
        snapshot.family("empty", Kind::Gauge, "Nothing.");
        snapshot
    }

    #[test]
    fn prometheus_reads_sorted_families() {
        let text = String::from_utf8(render(&snapshot(), Format::Prometheus)).unwrap();
        assert_eq!(
            text,
            "# HELP a An a.\n# TYPE a gauge\na{x=\"1\"} 1.0000001e+07\na{x=\"2\"} 0.5\n\
             # HELP b_total Bees.\n# TYPE b_total counter\nb_total 3\n\
             # HELP h Sizes.\n# TYPE h histogram\nh_bucket{x=\"1\",le=\"1\"} 1\n\
             h_bucket{x=\"1\",le=\"1.048576e+06\"} 2\nh_bucket{x=\"1\",le=\"+Inf\"} 2\nh_sum{x=\"1\"} 3\n\
             h_count{x=\"1\"} 2\n"
        );
    }

    #[test]
    fn openmetrics_has_an_end_and_points() {
        let text = String::from_utf8(render(&snapshot(), Format::OpenMetrics)).unwrap();
        assert!(text.contains("# HELP b Bees.\n# TYPE b counter\nb_total 3.0\n"), "{text}");
        assert!(text.contains("h_bucket{x=\"1\",le=\"1.0\"} 1\n"), "{text}");
        assert!(text.contains("h_sum{x=\"1\"} 3.0\nh_count{x=\"1\"} 2\n# EOF\n"), "{text}");
    }

    #[test]
    fn only_who_asks_for_openmetrics_gets_it() {
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text; version=1.0.0; q=0.5", Format::OpenMetrics),
            ("application/openmetrics-text;version=9", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
