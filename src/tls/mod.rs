//! Certificates, the local certificate authority and their resolvers.
