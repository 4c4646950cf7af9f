//! What belongs to the process, whatever configuration is in force: its size and time, reloads, and
//! requests to the admin endpoint.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Kind, Snapshot};

static LOADED: AtomicBool = AtomicBool::new(false);
/// Milliseconds since 1970; 0 as long as there was none.
static LOADED_AT_MS: AtomicU64 = AtomicU64::new(0);

/// Notes that a configuration has come into force.
pub fn loaded() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LOADED_AT_MS.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    LOADED.store(true, Ordering::Relaxed);
}

/// Notes that a configuration was refused.
pub fn not_loaded() {
    LOADED.store(false, Ordering::Relaxed);
}

/// Requests to the admin endpoint.
pub static ADMIN: AdminRequests = AdminRequests(Mutex::new(BTreeMap::new()));

/// Counts requests to the admin endpoint by endpoint, method and status. They are few, so a lock does.
pub struct AdminRequests(Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>);

impl AdminRequests {
    /// Counts a request. Endpoint and method are some of a few.
    pub fn count(&self, endpoint: &'static str, method: &'static str, status: u16) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry((endpoint, method, status))
            .or_insert(0) += 1;
    }

    fn collect(&self, into: &mut Snapshot) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ((path, method, status), count) in counts {
            let code = status.to_string();
            into.family(
                "caddy_admin_http_requests_total",
                Kind::Counter,
                "Counter of requests made to the Admin API's HTTP endpoints.",
            )
            .number(
                &[("code", &code), ("handler", "admin"), ("method", method), ("path", path)],
                count as f64,
            );
            if status >= 400 {
                into.family(
                    "caddy_admin_http_request_errors_total",
                    Kind::Counter,
                    "Number of requests resulting in middleware errors.",
                )
                .number(&[("handler", "admin"), ("method", method), ("path", path)], count as f64);
            }
        }
    }
}

/// Adds all of it.
pub(super) fn collect(into: &mut Snapshot) {
    let is_loaded = f64::from(u8::from(LOADED.load(Ordering::Relaxed)));
    into.family(
        "caddy_config_last_reload_successful",
        Kind::Gauge,
        "Whether the last configuration reload attempt was successful.",
    )
    .set(&[], is_loaded);
    into.family(
        "caddy_config_last_reload_success_timestamp_seconds",
        Kind::Gauge,
        "Timestamp of the last successful configuration reload.",
    )
    .set(&[], LOADED_AT_MS.load(Ordering::Relaxed) as f64 / 1e3);
    ADMIN.collect(into);
    #[cfg(target_os = "linux")]
    linux::collect(into);
}

/// What Prometheus's own clients tell of a process.
#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use super::{Kind, Snapshot};

    /// What the kernel calls a second in `/proc/PID/stat`.
    const TICKS: f64 = 100.0;

    pub(super) fn collect(into: &mut Snapshot) {
        let mut gauge = |name, help, value| into.family(name, Kind::Gauge, help).set(&[], value);
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            // One of them is the one that is reading.
            let open = fds.count().saturating_sub(1);
            gauge("process_open_fds", "Number of open file descriptors.", open as f64);
        }
        if let Some(most) = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(fds_max) {
            gauge("process_max_fds", "Maximum number of open file descriptors.", most);
        }
        let Ok(status) = fs::read_to_string("/proc/self/status") else { return };
        let bytes = |name| kib(&status, name).map(|kib| kib * 1024.0);
        if let Some(bytes) = bytes("VmRSS:") {
            gauge("process_resident_memory_bytes", "Resident memory size in bytes.", bytes);
        }
        if let Some(bytes) = bytes("VmSize:") {
            gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", bytes);
        }
        let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(stat) else { return };
        let booted = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time);
        if let Some(booted) = booted {
            let started = booted + stat.started;
            gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                started,
            );
        }
        into.family(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Total user and system CPU time spent in seconds.",
        )
        .set(&[], stat.cpu);
    }

    fn fds_max(limits: &str) -> Option<f64> {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn kib(status: &str, name: &str) -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn boot_time(stat: &str) -> Option<f64> {
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    }

    /// Seconds.
    #[derive(Debug, PartialEq)]
    pub(super) struct Stat {
        cpu: f64,
        /// Since the system has started.
        started: f64,
    }

    fn stat(text: &str) -> Option<Stat> {
        // The program's name stands in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
        Some(Stat { cpu: (ticks(11)? + ticks(12)?) / TICKS, started: ticks(19)? / TICKS })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_kernels_files_are_read() {
            let text = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 1234 5 6";
            assert_eq!(stat(text), Some(Stat { cpu: 3.0, started: 12.34 }));
            assert_eq!(stat("7 (a"), None);
            assert_eq!(kib("VmSize:\t  20 kB\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12.0));
            assert_eq!(
                fds_max("Max open files            1024                 4096     files\n"),
                Some(1024.0)
            );
            assert_eq!(boot_time("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Registry};
    use super::*;

    #[test]
    fn the_process_is_told_of_without_any_configuration() {
        loaded();
        ADMIN.count("/config/", "GET", 200);
        ADMIN.count("/config/", "GET", 400);
        let text = String::from_utf8(Registry::default().render(Format::Prometheus)).unwrap();
        for line in [
            "caddy_config_last_reload_successful 1\n",
            "caddy_admin_http_requests_total{code=\"200\",handler=\"admin\",method=\"GET\",path=\"/config/\"} 1\n",
            "caddy_admin_http_request_errors_total{handler=\"admin\",method=\"GET\",path=\"/config/\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        not_loaded();
        let text = String::from_utf8(Registry::default().render(Format::Prometheus)).unwrap();
        assert!(text.contains("caddy_config_last_reload_successful 0\n"), "{text}");
        #[cfg(target_os = "linux")]
        for name in
            ["open_fds", "max_fds", "resident_memory_bytes", "cpu_seconds_total", "start_time_seconds"]
        {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name}: {text}");
        }
    }
}
