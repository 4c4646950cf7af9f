//! Settings of a server that exist in Caddy and that nothing here obeys yet. They are refused by
//! name: a configuration never runs with a part of it ignored.

use super::ProvisionError;
use crate::config::http::Server;

/// Refuses what a server asks for in vain.
pub(super) fn refuse(config: &Server) -> Result<(), ProvisionError> {
    let asked = [
        ("packet_conn_wrappers", !config.packet_conn_wrappers.is_empty()),
        ("read_min_rate", config.read_min_rate != 0),
        ("write_min_rate", config.write_min_rate != 0),
        ("max_write_chunk", config.max_write_chunk != 0),
    ];
    if let Some((name, _)) = asked.iter().find(|(_, asked)| *asked) {
        return Err(ProvisionError::invalid(format!("{name} is not supported")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<String> {
        refuse(&serde_json::from_str(json).unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_not_obeyed_is_named() {
        for (json, name) in
            [(r#"{"read_min_rate":5}"#, "read_min_rate"), (r#"{"max_write_chunk":5}"#, "max_write_chunk")]
        {
            assert!(refused(json).unwrap().contains(name), "{json}");
        }
    }

    #[test]
    fn what_is_obeyed_passes() {
        for json in ["{}", r#"{"protocols":["h1","h2","h3"],"read_timeout":"5s","write_timeout":"5s"}"#] {
            assert_eq!(refused(json), None);
        }
    }
}
