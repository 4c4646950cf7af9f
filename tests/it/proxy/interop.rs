//! Real servers as upstreams, where they are on this machine: nginx and HAProxy, over HTTP/1, h2c, TLS and Unix sockets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Gateway, Upstream, field};
use crate::support::{PATIENCE, eventually, free_port, program};

/// A server that ends with the test.
struct Server {
    child: Child,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has children of its own, which end when it is asked to and not when it is killed.
        _ = Command::new("kill").arg(self.child.id().to_string()).status();
        _ = self.child.wait();
    }
}

/// A folder with a certificate for `up.test`, and one file with its key.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["up.test".to_owned()]).unwrap();
    let (cert, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    std::fs::write(folder.path().join("cert.pem"), &cert).unwrap();
    std::fs::write(folder.path().join("key.pem"), &key).unwrap();
    std::fs::write(folder.path().join("both.pem"), format!("{cert}{key}")).unwrap();
    folder
}

fn start(program: &Path, args: &[&str], folder: TempDir) -> Server {
    let child = Command::new(program)
        .args(args)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Server { child: child.unwrap(), folder }
}

fn listens(port: u16) {
    eventually("the server listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
}

/// The body of an answer, by a connection that ends with it.
fn body(gateway: &Gateway, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let body = bytes.split_off(end);
    (String::from_utf8(bytes).unwrap(), body)
}

fn request(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.0\r\nHost: up.test\r\n{more}\r\n")
}

/// What every server has to serve through the gateway: a large file whole, in part, not at all, and a body that it takes.
fn serves(gateway: &Gateway, large: &[u8]) {
    for _ in 0..2 {
        let (head, bytes) = body(gateway, &request("GET", "/large", ""));
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert!(bytes == large, "{} bytes of {}", bytes.len(), large.len());
    }
    let (head, bytes) = body(gateway, &request("HEAD", "/large", ""));
    assert_eq!(field(&head, "content-length"), Some(large.len().to_string().as_str()), "{head}");
    assert!(bytes.is_empty());
    let (head, bytes) = body(gateway, &request("GET", "/large", "Range: bytes=5-9\r\n"));
    assert!(head.starts_with("HTTP/1.0 206 "), "{head}");
    assert_eq!(bytes, &large[5..10]);
    let tag = field(&head, "etag").unwrap().to_owned();
    let (head, bytes) = body(gateway, &request("GET", "/large", &format!("If-None-Match: {tag}\r\n")));
    assert!(head.starts_with("HTTP/1.0 304 ") && bytes.is_empty(), "{head}");
    let (head, _) = body(gateway, &request("GET", "/none", ""));
    assert!(head.starts_with("HTTP/1.0 404 "), "{head}");
}

fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect()
}

#[test]
fn nginx_serves_over_each_of_its_protocols() {
    let Some(nginx) = program("nginx") else { return };
    let folder = folder();
    let (plain, h2c, tls) = (free_port(), free_port(), free_port());
    let large = large();
    std::fs::create_dir(folder.path().join("root")).unwrap();
    std::fs::write(folder.path().join("root/large"), &large).unwrap();
    let socket = folder.path().join("nginx.sock");
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
         events {{}}\n\
         http {{\n\
           access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
           uwsgi_temp_path uwsgi; scgi_temp_path scgi; client_max_body_size 10m;\n\
           server {{\n\
             listen 127.0.0.1:{plain}; listen unix:{}; listen 127.0.0.1:{h2c} http2;\n\
             listen 127.0.0.1:{tls} ssl http2; ssl_certificate cert.pem; ssl_certificate_key key.pem;\n\
             root root;\n\
             location /version {{ add_header X-Version $server_protocol always; return 204; }}\n\
           }}\n\
         }}\n",
        socket.display()
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let server = start(&nginx, &["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"], folder);
    [plain, h2c, tls].into_iter().for_each(listens);
    let cert = server.folder.path().join("cert.pem").display().to_string();
    let over_tls = format!("transport http {{\ntls_trust_pool file {cert}\ntls_server_name up.test\n");
    for (upstream, transport, version) in [
        (format!("127.0.0.1:{plain}"), String::new(), "HTTP/1.1"),
        (format!("unix/{}", socket.display()), String::new(), "HTTP/1.1"),
        (format!("h2c://127.0.0.1:{h2c}"), String::new(), "HTTP/2.0"),
        (format!("https://127.0.0.1:{tls}"), format!("{over_tls}}}"), "HTTP/2.0"),
        (format!("https://127.0.0.1:{tls}"), format!("{over_tls}versions 1.1\n}}"), "HTTP/1.1"),
    ] {
        let gateway = Gateway::with(&format!("reverse_proxy {upstream} {{\n{transport}\n}}"));
        serves(&gateway, &large);
        let (head, _) = body(&gateway, &request("GET", "/version", ""));
        assert_eq!(field(&head, "x-version"), Some(version), "{upstream}: {head}");
    }
    // A certificate that nobody vouches for is no upstream's.
    let gateway = Gateway::with(&format!("reverse_proxy https://127.0.0.1:{tls}"));
    assert!(body(&gateway, &request("GET", "/large", "")).0.starts_with("HTTP/1.0 502 "));
}

#[test]
fn haproxy_passes_on_over_each_of_its_protocols() {
    let Some(haproxy) = program("haproxy") else { return };
    let behind = Upstream::echo();
    let folder = folder();
    let (plain, h2c, tls, proxied) = (free_port(), free_port(), free_port(), free_port());
    let config = format!(
        "global\n  maxconn 100\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend all\n  bind 127.0.0.1:{plain}\n  bind 127.0.0.1:{h2c} proto h2\n\
         \x20 bind 127.0.0.1:{tls} ssl crt both.pem alpn h2,http/1.1\n  bind 127.0.0.1:{proxied} accept-proxy\n\
         \x20 http-request set-header X-Src %[src]\n  default_backend echo\n\
         backend echo\n  server s 127.0.0.1:{}\n",
        behind.port
    );
    std::fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
    let server = start(&haproxy, &["-db", "-f", "haproxy.cfg"], folder);
    [plain, h2c, tls, proxied].into_iter().for_each(listens);
    let cert = server.folder.path().join("cert.pem").display().to_string();
    for (upstream, transport) in [
        (format!("127.0.0.1:{plain}"), String::new()),
        (format!("h2c://127.0.0.1:{h2c}"), String::new()),
        (
            format!("https://127.0.0.1:{tls}"),
            format!("transport http {{\ntls_trust_pool file {cert}\ntls_server_name up.test\n}}"),
        ),
        (format!("127.0.0.1:{proxied}"), "transport http {\nproxy_protocol v1\n}".to_owned()),
        (format!("127.0.0.1:{proxied}"), "transport http {\nproxy_protocol v2\n}".to_owned()),
    ] {
        let gateway = Gateway::with(&format!("reverse_proxy {upstream} {{\n{transport}\n}}"));
        let upload = "x".repeat(200_000);
        let length = format!("Content-Length: {}\r\n", upload.len());
        for request in [request("GET", "/p?q", ""), request("POST", "/p?q", &length) + &upload] {
            let (head, bytes) = body(&gateway, &request);
            assert!(head.starts_with("HTTP/1.0 200 "), "{upstream}: {head}");
            let seen = String::from_utf8(bytes).unwrap();
            assert_eq!(field(&seen, "x-src"), Some("127.0.0.1"), "{upstream}: {seen}");
            assert!(seen.contains(" /p?q HTTP/1.1\r\n"), "{upstream}: {seen}");
        }
    }
}

#[test]
fn a_server_on_a_unix_socket_is_an_upstream() {
    use std::os::unix::net::UnixListener;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("up.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                request.push(byte[0]);
            }
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsocket");
        }
    });
    let gateway = Gateway::with(&format!("reverse_proxy unix/{}", path.display()));
    for _ in 0..2 {
        assert_eq!(body(&gateway, &request("GET", "/", "")).1, b"socket");
    }
}
