//! Host names in ASCII.

/// The host with each label that is not ASCII in its `xn--` form (Go's `idna.ToASCII`). A name too
/// odd to be put in that form stays as it is.
pub fn ascii_host(host: &str) -> String {
    if host.is_ascii() {
        return host.to_owned();
    }
    let label = |label: &str| match label.is_ascii() {
        true => label.to_owned(),
        false => punycode(label).map_or_else(|| label.to_owned(), |ascii| format!("xn--{ascii}")),
    };
    host.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// A label's form in letters, digits and hyphens (RFC 3492); `None` if the numbers get too big.
fn punycode(label: &str) -> Option<String> {
    const BASE: u32 = 36;
    const T_MIN: u32 = 1;
    const T_MAX: u32 = 26;
    const INITIAL_BIAS: u32 = 72;

    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut code, mut delta, mut bias, mut handled) = (128_u32, 0_u32, INITIAL_BIAS, basic);
    let total = u32::try_from(label.chars().count()).ok()?;
    while handled < total {
        let next = label.chars().map(u32::from).filter(|char| *char >= code).min()?;
        delta = delta.checked_add((next - code).checked_mul(handled + 1)?)?;
        code = next;
        for char in label.chars().map(u32::from) {
            if char < code {
                delta = delta.checked_add(1)?;
            }
            if char != code {
                continue;
            }
            let (mut rest, mut k) = (delta, BASE);
            loop {
                let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                if rest < threshold {
                    break;
                }
                out.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
                rest = (rest - threshold) / (BASE - threshold);
                k += BASE;
            }
            out.push(digit(rest));
            bias = adapt(delta, handled + 1, handled == basic);
            delta = 0;
            handled += 1;
        }
        delta = delta.checked_add(1)?;
        code += 1;
    }
    Some(out)
}

fn digit(value: u32) -> char {
    char::from_digit(if value < 26 { value + 10 } else { value - 26 }, 36).unwrap_or('-')
}

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = delta / if first { 700 } else { 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (36 - 1) * 26 / 2 {
        delta /= 36 - 1;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_put_in_ascii() {
        for (host, ascii) in [
            ("plain.Example", "plain.Example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("münchen-ost.de", "xn--mnchen-ost-9db.de"),
            ("他们为什么不说中文", "xn--ihqwcrb4cv8a8dqg056pqjye"),
            ("*.ñandú.cl", "*.xn--and-6ma2c.cl"),
        ] {
            assert_eq!(ascii_host(host), ascii);
        }
    }
}
