//! Certificates, the local certificate authority and their resolvers.

/// Placeholder until connection policies land.
pub struct ConnectionPolicies;

impl ConnectionPolicies {
    /// The configuration for a client's hello.
    pub fn select(
        &self,
        _: &rustls::server::ClientHello<'_>,
    ) -> Option<std::sync::Arc<rustls::ServerConfig>> {
        None
    }
}
