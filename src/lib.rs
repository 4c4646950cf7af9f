//! Tollgate: a Caddy-compatible gateway.
