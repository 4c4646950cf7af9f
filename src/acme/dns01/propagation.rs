//! Whether a record can be seen. What counts is what the authority will see, and that asks the zone's
//! own servers, any of them; so all that answer must have it. Resolvers that a configuration names are
//! asked instead of them, and one that has seen it is enough, since others may remember for long that
//! it was not there.

use std::io;
use std::net::IpAddr;

use futures_util::future::join_all;

use super::{Dns01, Presented};
use crate::dns::{Families, RecordData, Resolver};

/// So many servers of a zone are asked.
const SERVERS_MAX: usize = 16;
/// So many names may lead to each other.
const ALIASES_MAX: usize = 8;

/// What one server says.
enum Seen {
    Record,
    /// It has no such record, and perhaps another name to look under.
    Other(Option<String>),
    /// It does not answer.
    Nothing(String),
}

impl Dns01 {
    /// Whether the record can be seen now; if not, what was seen instead.
    pub(super) async fn look(&self, resolver: &Resolver, presented: &Presented) -> Result<(), String> {
        let (name, data) = (&*presented.record.name, &presented.record.data);
        if !self.asks_resolvers_alone {
            return self.look_at_servers(resolver, name, &presented.zone, data).await;
        }
        let resolvers = resolver.each();
        let said = join_all(resolvers.iter().map(|resolver| has(resolver, name, data))).await;
        if said.iter().flatten().any(|has| *has) {
            return Ok(());
        }
        let failure = said.into_iter().find_map(Result::err);
        Err(failure.map_or_else(|| "the resolvers do not have it".into(), |error| error.to_string()))
    }

    /// The same at the servers of the zone, and of those that its aliases lead to.
    async fn look_at_servers(
        &self,
        resolver: &Resolver,
        name: &str,
        zone: &str,
        data: &RecordData,
    ) -> Result<(), String> {
        let (mut name, mut zone) = (name.to_owned(), zone.to_owned());
        for _ in 0..ALIASES_MAX {
            let servers = resolver.name_servers(&zone).await.map_err(|error| error.to_string())?;
            if servers.is_empty() {
                return Err(format!("the zone {zone} has no servers"));
            }
            let asked = servers.iter().take(SERVERS_MAX);
            let said = join_all(asked.map(|server| self.ask_server(resolver, server, &name, data))).await;
            match judge(&servers, said)? {
                None => return Ok(()),
                Some(alias) => name = alias,
            }
            zone = resolver.zone(&name).await.map_err(|error| error.to_string())?;
        }
        Err("too many names lead to each other".into())
    }

    async fn ask_server(&self, resolver: &Resolver, server: &str, name: &str, data: &RecordData) -> Seen {
        let asking = async {
            let addresses: Vec<IpAddr> = resolver.addresses(server, Families::BOTH).await?;
            let server = Resolver::at(&addresses, self.server_port);
            if has(&server, name, data).await? {
                return Ok(Seen::Record);
            }
            match data {
                RecordData::Text(_) => server.alias(name).await.map(Seen::Other),
                // It is the name itself that is to lead elsewhere.
                RecordData::Alias(_) => Ok(Seen::Other(None)),
            }
        };
        asking.await.unwrap_or_else(|error: io::Error| Seen::Nothing(error.to_string()))
    }
}

/// Whether all servers that answer have the record: nothing if so, another name to look under if that
/// is what they have, or what is missing.
fn judge(servers: &[String], said: Vec<Seen>) -> Result<Option<String>, String> {
    let mut having = 0;
    let mut alias = None;
    let mut lacking = None;
    let mut silent = None;
    for (server, seen) in servers.iter().zip(said) {
        match seen {
            Seen::Record => having += 1,
            Seen::Other(other) => {
                lacking = lacking.or_else(|| Some(format!("{server} does not have it")));
                alias = alias.or(other);
            }
            // Who does not answer us does not answer the authority, which then asks another one.
            Seen::Nothing(problem) => silent = silent.or_else(|| Some(format!("{server}: {problem}"))),
        }
    }
    match (having, alias, lacking, silent) {
        (0, Some(alias), ..) => Ok(Some(alias)),
        (_, _, Some(problem), _) | (0, _, None, Some(problem)) => Err(problem),
        _ => Ok(None),
    }
}

/// Whether whoever is asked knows the record.
async fn has(asked: &Resolver, name: &str, data: &RecordData) -> io::Result<bool> {
    Ok(match data {
        RecordData::Text(wanted) => asked.texts(name).await?.iter().any(|text| text == wanted.as_bytes()),
        RecordData::Alias(wanted) => {
            let found = asked.alias(name).await?;
            let whole = wanted.trim_end_matches('.');
            found.is_some_and(|found| found.trim_end_matches('.').eq_ignore_ascii_case(whole))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_servers_that_answer_must_have_it_and_one_must_answer() {
        let servers = ["one.", "two."].map(str::to_owned);
        let lacks = || Seen::Other(None);
        let alias = || Seen::Other(Some("x.test.".into()));
        let silent = || Seen::Nothing("no answer".into());
        for (said, expected) in [
            ([Seen::Record, Seen::Record], Ok(None)),
            ([silent(), Seen::Record], Ok(None)),
            ([Seen::Record, lacks()], Err("two. does not have it")),
            ([lacks(), silent()], Err("one. does not have it")),
            ([silent(), silent()], Err("one.: no answer")),
            ([silent(), alias()], Ok(Some("x.test."))),
            // A wildcard's other name counts no more where the record has come.
            ([Seen::Record, alias()], Err("two. does not have it")),
        ] {
            let judged = judge(&servers, said.into());
            assert_eq!(judged.as_ref().map(Option::as_deref).map_err(String::as_str), expected);
        }
    }
}
