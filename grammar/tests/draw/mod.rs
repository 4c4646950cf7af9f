//! Draws a rule of the grammar as a railroad diagram: what can be ridden from left to right is what the rule allows.
//!
//! The picture carries its own ground and its own colours for light and dark, so that it can be read on any page.

use std::fmt::Write as _;

use super::ebnf::Expr;

/// Radius of the bends.
const BEND: i32 = 10;
/// Between two tracks, one above the other.
const BETWEEN_TRACKS: i32 = 10;
/// Between two stations on one track.
const BETWEEN_STATIONS: i32 = 14;
/// Half the height of a station.
const STATION: i32 = 13;
/// Around the whole.
const MARGIN: i32 = 14;
/// What a character is wide.
const CHARACTER: i32 = 8;

const STYLE: &str = "\
.ground{fill:#fff;stroke:#d0d7de}path{fill:none;stroke:#57606a;stroke-width:1.5}.arrow{fill:#57606a;stroke:none}\
.rule{fill:#ddf4ff;stroke:#0969da}.text{fill:#dafbe1;stroke:#1a7f37}.class{fill:#fff8c5;stroke:#9a6700}\
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}\
@media(prefers-color-scheme:dark){.ground{fill:#0d1117;stroke:#30363d}path{stroke:#8b949e}.arrow{fill:#8b949e}\
.rule{fill:#0c2d6b;stroke:#58a6ff}.text{fill:#0f5323;stroke:#3fb950}.class{fill:#5a3e02;stroke:#d29922}\
text{fill:#e6edf3}}";

/// The diagram of a rule, as a file of SVG.
pub fn railroad(name: &str, rule: &Expr) -> String {
    let track = Track::of(rule);
    let size = track.size();
    let (x, y) = (MARGIN + 18, MARGIN + size.above);
    let (width, height) = (2 * x + size.width, y + size.below + MARGIN);
    let end = x + size.width;
    let mut drawing = String::new();
    track.draw(&mut drawing, x, y);
    let rails = format!("M{MARGIN} {0}v12M{MARGIN} {y}H{x}M{end} {y}H{1}M{1} {0}v12", y - 6, width - MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" role=\"img\" aria-label=\"{name}\">\n<style>{STYLE}</style>\n<rect class=\"ground\" x=\".5\" \
         y=\".5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n<path d=\"{rails}\"/>\n{drawing}</svg>\n",
        width - 1,
        height - 1,
    )
}

/// Where a piece of track ends, measured from where it begins.
#[derive(Clone, Copy)]
struct Size {
    width: i32,
    above: i32,
    below: i32,
}

enum Track {
    Station { class: &'static str, text: String },
    Line(Vec<Track>),
    Branches(Vec<Track>),
    Bypassed(Box<Track>),
    Again(Box<Track>),
}

impl Track {
    fn of(expr: &Expr) -> Track {
        match expr {
            Expr::Text(text) => Track::Station { class: "text", text: visible(text) },
            Expr::Rule(name) => Track::Station { class: "rule", text: name.clone() },
            Expr::Class { negated, ranges } => {
                Track::Station { class: "class", text: class_text(*negated, ranges) }
            }
            Expr::Sequence(parts) => match parts.as_slice() {
                [part] => Track::of(part),
                parts => Track::Line(parts.iter().map(Track::of).collect()),
            },
            Expr::Either(parts) => Track::Branches(parts.iter().map(Track::of).collect()),
            Expr::Repeat { what, least, most } => {
                let track = Track::of(what);
                let track = if *most > 1 { Track::Again(Box::new(track)) } else { track };
                if *least == 0 { Track::Bypassed(Box::new(track)) } else { track }
            }
        }
    }

    fn size(&self) -> Size {
        match self {
            Track::Station { text, .. } => {
                let characters = i32::try_from(text.chars().count()).expect("a short text");
                Size { width: characters * CHARACTER + 20, above: STATION, below: STATION }
            }
            Track::Line(parts) => parts.iter().map(Track::size).fold(
                Size { width: -BETWEEN_STATIONS, above: STATION, below: STATION },
                |all, part| Size {
                    width: all.width + BETWEEN_STATIONS + part.width,
                    above: all.above.max(part.above),
                    below: all.below.max(part.below),
                },
            ),
            Track::Branches(parts) => {
                let last = parts.last().expect("a choice has branches").size();
                let width = parts.iter().map(|part| part.size().width).max().unwrap_or(0);
                let down = branch_depths(parts).last().copied().unwrap_or(0);
                Size { width: width + 4 * BEND, above: parts[0].size().above, below: down + last.below }
            }
            Track::Bypassed(inner) => {
                let size = inner.size();
                Size { width: size.width + 4 * BEND, above: beside(size.above), below: size.below }
            }
            Track::Again(inner) => {
                let size = inner.size();
                Size { width: size.width + 2 * BEND, above: size.above, below: beside(size.below) + 4 }
            }
        }
    }

    fn draw(&self, out: &mut String, x: i32, y: i32) {
        let Size { width, .. } = self.size();
        match self {
            Track::Station { class, text } => station(out, class, text, x, y, width),
            Track::Line(parts) => {
                let mut at = x;
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        path(out, &format!("M{at} {y}h{BETWEEN_STATIONS}"));
                        at += BETWEEN_STATIONS;
                    }
                    part.draw(out, at, y);
                    at += part.size().width;
                }
            }
            Track::Branches(parts) => {
                for (part, down) in parts.iter().zip(branch_depths(parts)) {
                    branch(out, (x, y), down, width, part.size().width);
                    part.draw(out, x + 2 * BEND, y + down);
                }
            }
            Track::Bypassed(inner) => {
                branch(out, (x, y), 0, width, inner.size().width);
                inner.draw(out, x + 2 * BEND, y);
                branch(out, (x, y), -beside(inner.size().above), width, 0);
            }
            Track::Again(inner) => {
                let (end, down) = (x + width - BEND, beside(inner.size().below));
                path(out, &format!("M{x} {y}h{BEND}M{end} {y}h{BEND}"));
                inner.draw(out, x + BEND, y);
                let (straight, back) = (down - 2 * BEND, width - 2 * BEND);
                path(
                    out,
                    &format!(
                        "M{end} {y}a{BEND} {BEND} 0 0 1 {BEND} {BEND}v{straight}a{BEND} {BEND} 0 0 1 -{BEND} {BEND}\
                         h-{back}a{BEND} {BEND} 0 0 1 -{BEND} -{BEND}v-{straight}a{BEND} {BEND} 0 0 1 {BEND} -{BEND}"
                    ),
                );
                let _ = writeln!(
                    out,
                    "<path class=\"arrow\" d=\"M{} {}l8 -4v8z\"/>",
                    x + width / 2 - 4,
                    y + down
                );
            }
        }
    }
}

/// How far a track beside one of this extent runs from its middle.
fn beside(extent: i32) -> i32 {
    (extent + BETWEEN_TRACKS).max(2 * BEND)
}

/// How far below the first branch each one runs.
fn branch_depths(parts: &[Track]) -> Vec<i32> {
    let mut depths = vec![0];
    for pair in parts.windows(2) {
        let last = depths.last().copied().unwrap_or(0);
        depths.push(last + (pair[0].size().below + BETWEEN_TRACKS + pair[1].size().above).max(2 * BEND));
    }
    depths
}

/// The rails to a branch `down` below, and from its end back; between them is room for `taken`.
fn branch(out: &mut String, (x, y): (i32, i32), down: i32, width: i32, taken: i32) {
    let (left, right) = (x + 2 * BEND, x + width - 2 * BEND);
    if down == 0 {
        return path(out, &format!("M{x} {y}H{left}M{} {y}H{}", left + taken, x + width));
    }
    let (side, level) = (down.signum(), y + down);
    let (to, fro) = if side > 0 { (1, 0) } else { (0, 1) };
    let (bend, straight) = (side * BEND, down - side * 2 * BEND);
    path(
        out,
        &format!(
            "M{x} {y}a{BEND} {BEND} 0 0 {to} {BEND} {bend}v{straight}a{BEND} {BEND} 0 0 {fro} {BEND} {bend}\
             M{} {level}H{right}a{BEND} {BEND} 0 0 {fro} {BEND} {}v{}a{BEND} {BEND} 0 0 {to} {BEND} {}",
            left + taken,
            -bend,
            -straight,
            -bend
        ),
    );
}

fn station(out: &mut String, class: &str, text: &str, x: i32, y: i32, width: i32) {
    let rounding = if class == "rule" { 3 } else { STATION };
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{}\" rx=\"{rounding}\"/>\n\
         <text x=\"{}\" y=\"{}\" textLength=\"{}\" xml:space=\"preserve\">{}</text>",
        y - STATION,
        2 * STATION,
        x + 10,
        y + 4,
        width - 20,
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    );
}

fn path(out: &mut String, way: &str) {
    let _ = writeln!(out, "<path d=\"{way}\"/>");
}

fn visible(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t").replace(' ', "space")
}

fn class_text(negated: bool, ranges: &[(char, char)]) -> String {
    let mut text = String::from(if negated { "[^" } else { "[" });
    for (index, (from, to)) in ranges.iter().enumerate() {
        for (nth, ch) in [from, to].into_iter().take(if from == to { 1 } else { 2 }).enumerate() {
            if nth == 1 {
                text.push('-');
            }
            match ch {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                ' ' => text.push('␣'),
                ']' | '\\' => text.extend(['\\', *ch]),
                '-' if index > 0 && index + 1 < ranges.len() => text.push_str("\\-"),
                ch => text.push(*ch),
            }
        }
    }
    text.push(']');
    text
}
