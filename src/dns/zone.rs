//! What zones say of themselves, and texts. Names are whole ones here, never meant in a search domain.

use std::io;

use super::message::{Kind, Record};
use super::{Resolver, no_such};

impl Resolver {
    /// The zone that a name belongs to, with a dot at its end: the name itself or the nearest one above
    /// it that begins a zone.
    ///
    /// # Errors
    /// None does, or nobody says.
    pub async fn zone(&self, name: &str) -> io::Result<String> {
        let whole = name.strip_suffix('.').unwrap_or(name);
        let mut rest = whole;
        loop {
            let start = self.ask_if_there(rest, Kind::Soa).await?;
            if start.contains(&Record::ZoneStart) {
                return Ok(format!("{rest}."));
            }
            let Some((_, above)) = rest.split_once('.') else { return Err(no_such(whole)) };
            rest = above;
        }
    }

    /// The names of a zone's servers.
    ///
    /// # Errors
    /// Nobody says.
    pub async fn name_servers(&self, zone: &str) -> io::Result<Vec<String>> {
        self.names(zone, Kind::Ns).await
    }

    /// What a name is another name for, if it is one.
    ///
    /// # Errors
    /// Nobody says.
    pub async fn alias(&self, name: &str) -> io::Result<Option<String>> {
        Ok(self.names(name, Kind::Cname).await?.into_iter().next())
    }

    /// The texts of a name, or of what it is another name for; none if there is no such name.
    ///
    /// # Errors
    /// Nobody says.
    pub async fn texts(&self, name: &str) -> io::Result<Vec<Vec<u8>>> {
        let records = self.ask_if_there(name, Kind::Txt).await?;
        let text = |record| if let Record::Text(text) = record { Some(text) } else { None };
        Ok(records.into_iter().filter_map(text).collect())
    }

    async fn names(&self, name: &str, kind: Kind) -> io::Result<Vec<String>> {
        let records = self.ask_if_there(name, kind).await?;
        let name = |record| if let Record::Name(name) = record { Some(name) } else { None };
        Ok(records.into_iter().filter_map(name).collect())
    }

    /// The records of a name; none if there is no such name.
    async fn ask_if_there(&self, name: &str, kind: Kind) -> io::Result<Vec<Record>> {
        match self.ask(name, kind).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            asked => asked,
        }
    }
}
