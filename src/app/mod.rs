//! Loading, provisioning, swapping and draining configurations, and the admin API.
