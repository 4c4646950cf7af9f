//! Placeholders that need no request, for the few places in logs that may have them.

use super::LogError;

/// Replaces all placeholders in `text`. Values are not looked through again.
///
/// # Errors
/// A placeholder is unknown or has no value.
pub fn expand(text: &str) -> Result<String, LogError> {
    let mut all = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        all.push_str(before);
        let value =
            value(name).ok_or_else(|| LogError::invalid(format!("unrecognized placeholder {{{name}}}")))?;
        if value.is_empty() {
            return Err(LogError::invalid(format!("evaluated placeholder {{{name}}} is empty")));
        }
        all.push_str(&value);
        rest = after;
    }
    all.push_str(rest);
    Ok(all)
}

/// The value of a placeholder that needs no request; `None` if there is no such one.
pub fn value(name: &str) -> Option<String> {
    if let Some(variable) = name.strip_prefix("env.") {
        return Some(std::env::var_os(variable).unwrap_or_default().to_string_lossy().into_owned());
    }
    Some(match name {
        "system.hostname" => std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned(),
        "system.wd" => std::env::current_dir().ok()?.to_string_lossy().into_owned(),
        "system.slash" => std::path::MAIN_SEPARATOR.to_string(),
        "system.os" => std::env::consts::OS.to_owned(),
        "system.arch" => match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_placeholders() {
        let home = std::env::var("PATH").unwrap();
        assert_eq!(expand("a{env.PATH}b{system.slash}").unwrap(), format!("a{home}b/"));
        assert_eq!(expand("no {brace").unwrap(), "no {brace");
        assert_eq!(
            expand("{http.request.host}").unwrap_err().to_string(),
            "unrecognized placeholder {http.request.host}"
        );
        assert_eq!(
            expand("{env.SURELY_NOT_SET_ANYWHERE}").unwrap_err().to_string(),
            "evaluated placeholder {env.SURELY_NOT_SET_ANYWHERE} is empty"
        );
    }
}
