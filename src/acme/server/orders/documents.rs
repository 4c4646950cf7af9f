//! What clients are shown of orders.

use serde_json::{Value, json};

use super::super::links::Links;
use super::{Authorization, Challenge, Order};

impl Order {
    /// The document for the client (RFC 8555 section 7.1.3).
    pub(in super::super) fn document(&self, links: &Links) -> Value {
        let mut document = json!({
            "id": self.id,
            "status": self.status.name(),
            "expires": time(self.expires),
            "identifiers": self.identifiers,
            "notBefore": time(self.not_before),
            "notAfter": time(self.not_after),
        });
        if let Some(problem) = &self.problem {
            document["error"] = problem.document();
        }
        document["authorizations"] = self.authorizations.iter().map(|id| links.authorization(id)).collect();
        document["finalize"] = links.finalize(&self.id).into();
        if let Some(serial) = &self.certificate {
            document["certificate"] = links.certificate(serial).into();
        }
        document
    }
}

impl Authorization {
    /// The document for the client (RFC 8555 section 7.1.4).
    pub(super) fn document(&self, links: &Links) -> Value {
        json!({
            "identifier": self.identifier,
            "status": self.status.name(),
            "challenges": self
                .challenges
                .iter()
                .map(|challenge| challenge.document(self, links))
                .collect::<Vec<_>>(),
            "wildcard": self.is_wildcard,
            "expires": time(self.expires),
        })
    }
}

impl Challenge {
    /// The document for the client (RFC 8555 section 7.1.5).
    pub(super) fn document(&self, of: &Authorization, links: &Links) -> Value {
        let mut document = json!({"type": self.way.name(), "status": self.status.name(), "token": of.token});
        if let Some(validated) = self.validated {
            document["validated"] = time(validated).into();
        }
        document["url"] = links.challenge(&of.id, &self.id).into();
        if let Some(problem) = &self.problem {
            document["error"] = problem.document();
        }
        document
    }
}

/// A time in the protocol's form (RFC 3339).
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
