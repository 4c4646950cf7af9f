//! An authority for tests, and a responder that speaks for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, SigningKey as _,
};
use rustls::pki_types::CertificateDer;

use super::der::{
    BIT_STRING, ENUMERATED, GENERALIZED_TIME, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, context,
    write,
};
use super::{Status, now};

const HOUR: i64 = 60 * 60;
/// `ecdsa-with-SHA256`
const ALGORITHM: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// An authority, or a responder that it trusts.
pub(crate) struct Authority {
    pub(crate) der: CertificateDer<'static>,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = named("An authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, params, key }
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> CertificateDer<'static> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().der().clone()
    }

    /// Somebody whom it lets sign answers, if `may`.
    pub(crate) fn delegate(&self, may: bool, expired: bool) -> Self {
        let mut params = named("A responder");
        if may {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        }
        if expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        Self { der: self.sign(&params, &key), params, key }
    }

    /// A certificate for a name that names a responder, and where its issuer is to be had.
    pub(crate) fn leaf(&self, name: &str, responder: &str, issuer: Option<&str>) -> CertificateDer<'static> {
        self.leaf_for(&KeyPair::generate().unwrap(), name, responder, issuer)
    }

    pub(crate) fn leaf_for(
        &self,
        key: &KeyPair,
        name: &str,
        responder: &str,
        issuer: Option<&str>,
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        // Otherwise two for one key would have the same.
        static SERIAL: AtomicUsize = AtomicUsize::new(1);
        params.serial_number = Some((SERIAL.fetch_add(1, Ordering::SeqCst) as u64).into());
        let access = |method: u8, url: &str| {
            let oid = [0x2b, 6, 1, 5, 5, 7, 0x30, method];
            write(SEQUENCE, &[&write(OBJECT_IDENTIFIER, &[&oid]), &write(0x86, &[url.as_bytes()])])
        };
        let mut accesses = access(1, responder);
        accesses.extend(issuer.iter().flat_map(|url| access(2, url)));
        let content = write(SEQUENCE, &[&accesses]);
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content));
        self.sign(&params, key)
    }

    /// The chain of a certificate for a name, and its key, in PEM.
    pub(crate) fn pem(&self, name: &str, responder: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let leaf = self.leaf_for(&key, name, responder, None);
        (super::certificate_pem(&[&leaf, &self.der]), key.serialize_pem())
    }

    /// What it answers to a request, with its own certificate if it is but a delegate.
    pub(crate) fn answer(&self, request: &[u8], says: &Says) -> Vec<u8> {
        let certificate = (!matches!(self.params.is_ca, IsCa::Ca(_))).then_some(&self.der);
        says.signed(id_of(request), |data| self.key.sign(data).unwrap(), certificate.map(AsRef::as_ref))
    }

    /// What it answers about some certificate for a name.
    pub(crate) fn answer_about(&self, name: &str, says: &Says) -> Vec<u8> {
        let leaf = self.leaf(name, "http://r", None);
        self.answer(&super::Question::new(&leaf, &self.der).unwrap().request(), says)
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What an answer says. Times are in seconds from now.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    pub(super) status: Status,
    pub(super) since: i64,
    pub(super) until: Option<i64>,
    pub(super) critical: bool,
}

impl Says {
    pub(in super::super) const fn of(status: Status) -> Self {
        Self { status, since: -HOUR, until: Some(HOUR * 24), critical: false }
    }

    /// Good from one time up to another, in seconds from now.
    pub(crate) const fn good_between(since: i64, until: i64) -> Self {
        Self { since, until: Some(until), ..Self::good() }
    }

    pub(crate) const fn good() -> Self {
        Self::of(Status::Good)
    }

    fn signed(&self, id: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>, certificate: Option<&[u8]>) -> Vec<u8> {
        let status = match self.status {
            Status::Good => write(0x80, &[]),
            Status::Unknown => write(0x82, &[]),
            Status::Revoked { reason } => {
                let reason = reason
                    .map(|reason| write(context(0), &[&write(ENUMERATED, &[&[reason]])]))
                    .unwrap_or_default();
                write(0xa1, &[&time(-HOUR), &reason])
            }
        };
        let until = self.until.map(|until| write(context(0), &[&time(until)])).unwrap_or_default();
        let extension =
            [&write(OBJECT_IDENTIFIER, &[&[0x2a, 3]])[..], &[1, 1, 0xff], &write(OCTET_STRING, &[])];
        let extensions = write(context(1), &[&write(SEQUENCE, &[&write(SEQUENCE, &extension)])]);
        let extensions = if self.critical { extensions } else { Vec::new() };
        let single = write(SEQUENCE, &[id, &status, &time(self.since), &until, &extensions]);
        let responder = write(context(2), &[&write(OCTET_STRING, &[&[7; 20]])]);
        let data = write(SEQUENCE, &[&responder, &time(0), &write(SEQUENCE, &[&single])]);
        let algorithm = write(SEQUENCE, &[&write(OBJECT_IDENTIFIER, &[ALGORITHM])]);
        let signature = write(BIT_STRING, &[&[0], &sign(&data)]);
        let certificates =
            certificate.map(|der| write(context(0), &[&write(SEQUENCE, &[der])])).unwrap_or_default();
        let basic = write(SEQUENCE, &[&data, &algorithm, &signature, &certificates]);
        let kind = write(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
        let typed = write(SEQUENCE, &[&kind, &write(OCTET_STRING, &[&basic])]);
        write(SEQUENCE, &[&write(ENUMERATED, &[&[0]]), &write(context(0), &[&typed])])
    }
}

/// The certificate that a request asks about.
pub(super) fn id_of(request: &[u8]) -> &[u8] {
    let mut reader = Reader::new(request);
    for _ in 0..4 {
        reader = reader.parts(SEQUENCE).unwrap();
    }
    reader.item(SEQUENCE).unwrap().whole
}

fn time(from_now: i64) -> Vec<u8> {
    let time = jiff::Timestamp::from_second(now() + from_now).unwrap();
    write(GENERALIZED_TIME, &[time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
}

type Answering = dyn FnMut(&[u8]) -> Vec<u8> + Send;

/// A responder on loopback, which ends with the test.
pub(crate) struct Responder {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answering: Arc<Mutex<Box<Answering>>>,
    stop: Arc<AtomicBool>,
}

impl Responder {
    /// Answers bodies of requests like this.
    pub(crate) fn start(answering: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let responder = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            answering: Arc::new(Mutex::new(Box::new(answering))),
            stop: Arc::default(),
        };
        let (asked, answering) = (responder.asked.clone(), responder.answering.clone());
        let stop = responder.stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = (answering.lock().unwrap())(&request);
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/ocsp-response";
                _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n", answer.len());
                _ = stream.write_all(&answer);
            }
        });
        responder
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, answering: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) {
        *self.answering.lock().unwrap() = Box::new(answering);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it has been asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(self.address);
    }
}

/// The body of a request.
fn read_request(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}
