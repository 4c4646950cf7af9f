//! Where in its Caddyfile a configuration that can't run went wrong.
//!
//! What is provisioned is JSON and knows no lines. When it fails, the Caddyfile is read once more, and each of its
//! matchers and directives is tried alone.

use tollgate_grammar::{DiskFiles, Mistakes, ProcessEnv, decode};

use super::adapter::CADDYFILE;
use super::provision::LoadError;
use super::source::{self, Origin};
use crate::adapt::{self, Error, Traced, TracedOut};
use crate::http::{Provision, ProvisionError};
use crate::module::Registry;

/// The place of what can't run in the Caddyfile that the configuration came from, with all else that can't; nothing
/// if it came from elsewhere or the place is not found.
pub fn blame(registry: &Registry, origin: &Origin, error: &LoadError) -> Option<Error> {
    let (traced, message) = (traced(registry, origin)?, error.to_string());
    let inner = if let LoadError::NearModule { error, .. } = error { error } else { error };
    match inner {
        LoadError::Http(cause) => {
            let cause = cause.root().to_string();
            blame_routes(registry, &traced, &message, |found| found == cause)
                .or_else(|| blame_value(traced.iter(), &message))
        }
        _ => {
            let of_sites = traced.iter().filter(|one| matches!(one.out, TracedOut::Other));
            blame_value(of_sites, &message)
        }
    }
}

/// The same of what another process says of the configuration. Nothing is built as a whole for that, since it would
/// make files, as somebody else.
pub fn blame_refusal(registry: &Registry, origin: &Origin, refusal: &str) -> Option<Error> {
    let traced = traced(registry, origin)?;
    let is_cause = |message: &str| refusal.contains(message);
    blame_routes(registry, &traced, refusal, is_cause).or_else(|| blame_value(traced.iter(), refusal))
}

/// What stands in a Caddyfile, with what becomes of it.
fn traced(registry: &Registry, origin: &Origin) -> Option<Vec<Traced>> {
    if origin.adapter != CADDYFILE || origin.file.as_os_str() == "-" {
        return None;
    }
    let text = decode(&source::read(&origin.file).ok()?);
    let name = origin.file.to_string_lossy();
    Some(adapt::trace(&name, &text, &registry.vocabulary, &ProcessEnv, &DiskFiles))
}

/// Tries each matcher and directive alone. The one that fails in the same way comes first.
fn blame_routes(
    registry: &Registry,
    traced: &[Traced],
    error: &str,
    is_cause: impl Fn(&str) -> bool,
) -> Option<Error> {
    let mut first = None;
    let mut others: Vec<(String, Error)> = Vec::new();
    for one in traced {
        let Some(found) = failure(registry, one) else { continue };
        let message = found.root().to_string();
        let Some(token) = one.token_of(&message) else { continue };
        if is_cause(&message) {
            // What is around fails in the same way, and comes later.
            first.get_or_insert_with(|| Error::at_unnamed(token, error.to_owned()));
        } else if is_its_own(&found) && others.iter().all(|(known, _)| *known != message) {
            let error = Error::at_unnamed(token, format!("{}: {message}", one.tokens[0].shown()));
            others.push((message, error));
        }
    }
    let mut mistakes = Mistakes::default();
    mistakes.add(first?);
    others.into_iter().for_each(|(_, error)| mistakes.add(error));
    mistakes.none().err()
}

/// Why a matcher or directive can't be built alone.
fn failure(registry: &Registry, traced: &Traced) -> Option<ProvisionError> {
    let mut ctx = Provision::new(&registry.handlers, &registry.matchers);
    match &traced.out {
        TracedOut::Matchers(set) => ctx.matcher_set(set).err(),
        TracedOut::Routes(routes) => ctx.routes(routes).err(),
        TracedOut::Other => None,
    }
}

/// Whether it fails by itself, and not for want of what is around it in its configuration.
fn is_its_own(error: &ProvisionError) -> bool {
    let message = error.root().to_string();
    !message.contains("there is no tls app here") && !message.contains("cannot invoke named route")
}

/// The value of a directive or option that the message names.
fn blame_value<'t>(traced: impl Iterator<Item = &'t Traced>, message: &str) -> Option<Error> {
    let tokens = traced.flat_map(|one| one.quoted_tokens(message));
    // A word of the message that happens to be a value too is shorter than what it is about.
    let token = tokens.filter(|token| is_telling(&token.text)).max_by_key(|token| token.text.len())?;
    Some(Error::at_unnamed(token, message.to_owned()))
}

/// Whether a text is a path, an address or the like, and no word of a sentence.
fn is_telling(text: &str) -> bool {
    text.contains(['/', '.', ':', '_', '-']) || text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    /// The error of a Caddyfile that adapts and can't run, as it is shown.
    fn blamed(caddyfile: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Caddyfile");
        std::fs::write(&file, caddyfile).unwrap();
        let registry = modules::registry();
        let loaded = source::load(&registry, Some(&file), None).unwrap();
        let Err(error) = super::super::provision::provision(loaded.json, &registry) else {
            panic!("it can run");
        };
        let shown =
            blame(&registry, &loaded.origin.unwrap(), &error).map(|error| error.render_all("", false));
        shown.unwrap_or_default()
    }

    #[test]
    fn matchers_and_directives_are_found_also_inside_others() {
        let shown = blamed(
            "http://a {\n\thandle {\n\t\turi path_regexp ( x\n\t}\n}\nhttp://b {\n\t@b path_regexp [b\n\trespond @b x\n}\n",
        );
        assert!(shown.contains("Caddyfile:3:19") && shown.contains("Caddyfile:7:17"), "{shown}");
        assert_eq!(shown.matches("-->").count(), 2, "{shown}");
    }

    #[test]
    fn a_file_that_is_missing_is_found_by_its_name() {
        let shown = blamed("http://a {\n\tlog {\n\t\toutput file /proc/no/x.log\n\t}\n}\n");
        assert!(shown.contains("Caddyfile:3:15"), "{shown}");
    }
}
