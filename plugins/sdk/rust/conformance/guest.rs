//! The conformance guest of the SDK for Rust: it answers with all that it reads.
//! plugins/sdk/conformance/README.md says how.

#[path = "../locktopus.rs"]
mod locktopus;
use locktopus::{Answer, Connect, Hook, Kind, Level, Request, Rewriter, Verdict, FORBIDDEN};
use std::fmt::Display;
use std::sync::Mutex;

locktopus::hooks!(init, authenticate, authorize, normalize);

/// The configuration as it came.
static CONFIG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn init(config: &[u8], answer: Answer) -> Verdict {
    *CONFIG.lock().unwrap() = config.to_vec();
    if config.starts_with(br#"{"refuse""#) {
        return answer.deny(0, "refused");
    }
    if config.starts_with(br#"{"fault""#) {
        return answer.fault("faulty");
    }
    answer.allow()
}

fn authorize(r: Request, answer: Answer) -> Verdict {
    check(r.hook, Hook::AUTHORIZE, r.bytes);
    match r.principal {
        b"!allow" => answer.allow(),
        b"!deny" => answer.deny(r.now as u8, r.context),
        b"!fault" => answer.fault(r.context),
        b"!known" if r.operation.is_known() => answer.allow(),
        b"!known" => answer.deny(0, "unknown operation"),
        b"!config" => {
            let mut report = Report::new();
            report.bytes("config", &CONFIG.lock().unwrap());
            answer.deny(0, report.text())
        }
        b"!log" => {
            for resource in r.resources() {
                locktopus::log(Level(resource.mode.0.into()), resource.path);
            }
            answer.allow()
        }
        b"!long" => answer.deny(0, "é".repeat(35000)),
        b"!trap" => panic!("as asked"),
        _ => answer.deny(0, report_request(&r)),
    }
}

/// Panics unless the fields that no report tells of are as they should be.
fn check(got: Hook, want: Hook, bytes: &[u8]) {
    assert_eq!(got, want);
    assert_eq!(bytes[4..8], (bytes.len() as u32).to_le_bytes());
}

fn report_request(r: &Request) -> Vec<u8> {
    let mut report = Report::new();
    report.number("now", r.now);
    report.bytes("namespace", r.namespace);
    report.bytes("principal", r.principal);
    report.bytes("context", r.context);
    report.bytes("remote", r.remote);
    report.number("operation", r.operation.0);
    report.number("resources", r.resources().len());
    for (i, resource) in r.resources().enumerate() {
        report.number("resource", i);
        report.number("mode", resource.mode.0);
        report.number("segments", resource.depth);
        report.bytes("path", resource.path.0);
        for segment in resource.path.segments() {
            report.bytes("segment", segment);
        }
        report.yes("under-context", resource.path.under(r.context));
        report.yes("under-principal", resource.path.under_segment(r.principal));
    }
    report.text()
}

fn authenticate(c: Connect, answer: Answer) -> Verdict {
    check(c.hook, Hook::AUTHENTICATE, c.bytes);
    match c.url_path {
        b"/!allow" => answer.allow(),
        b"/!deny" => answer.deny(c.now as u8, c.raw_query),
        b"/!fault" => answer.fault(c.raw_query),
        b"/!find" => answer.deny(0, report_found(&c)),
        b"/!identity" => {
            let credential = |name| c.find(Kind::CREDENTIAL, name).unwrap_or_default();
            answer.identity(c.now as u32, credential("principal"), credential("context"))
        }
        _ => answer.deny(FORBIDDEN, report_connect(&c)),
    }
}

fn report_found(c: &Connect) -> Vec<u8> {
    let mut report = Report::new();
    let value = c.find(Kind(c.now as u8), c.raw_query);
    report.yes("found", value.is_some());
    if let Some(value) = value {
        report.bytes("value", value);
    }
    report.text()
}

fn report_connect(c: &Connect) -> Vec<u8> {
    let mut report = Report::new();
    report.number("now", c.now);
    report.bytes("namespace", c.namespace);
    report.bytes("remote", c.remote);
    report.bytes("path", c.url_path);
    report.bytes("query", c.raw_query);
    report.yes("tls", c.tls);
    report.yes("verified", c.verified);
    report.number("entries", c.entries().len());
    for (i, e) in c.entries().enumerate() {
        report.number("entry", i);
        report.number("kind", e.kind.0);
        report.bytes("name", e.name);
        report.bytes("value", e.value);
    }
    report.text()
}

fn normalize(r: Request, answer: Answer) -> Verdict {
    check(r.hook, Hook::NORMALIZE, r.bytes);
    match r.namespace {
        b"!unchanged" => return answer.unchanged(),
        b"!deny" => return answer.deny(9, "not here"),
        b"!fault" => return answer.fault("cannot"),
        b"!report" => return answer.deny(0, report_request(&r)),
        _ => {}
    }
    let mut paths = answer.rewrite();
    for resource in r.resources() {
        for segment in resource.path.segments() {
            rewrite(&mut paths, segment);
        }
        paths.end();
    }
    paths.verdict()
}

fn rewrite(paths: &mut Rewriter, segment: &[u8]) {
    match segment {
        b"." => {}
        b"nothing" => paths.segment(b""),
        b"nul" => paths.segment(b"a\0b"),
        b"twice" => {
            paths.segment(segment);
            paths.segment(segment);
        }
        _ => paths.segment(segment.iter().map(u8::to_ascii_lowercase)),
    }
}

/// Lines of name=value. Only what fits into an answer is kept.
struct Report {
    kept: Vec<u8>,
    length: usize,
    hash: u64, // FNV-1a
}

const KEPT_BYTES_MAX: usize = 65535;

impl Report {
    fn new() -> Self {
        Report {
            kept: Vec::new(),
            length: 0,
            hash: 0xcbf29ce484222325,
        }
    }

    fn text(self) -> Vec<u8> {
        if self.length <= KEPT_BYTES_MAX {
            return self.kept;
        }
        format!("long={} hash={:016x}\n", self.length, self.hash).into()
    }

    fn push(&mut self, byte: u8) {
        self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100000001b3);
        if self.length < KEPT_BYTES_MAX {
            self.kept.push(byte);
        }
        self.length += 1;
    }

    fn string(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.push(byte));
    }

    fn number(&mut self, name: &str, value: impl Display) {
        self.string(&format!("{name}={value}\n"));
    }

    fn yes(&mut self, name: &str, value: bool) {
        self.number(name, u8::from(value));
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        self.string(name);
        self.push(b'=');
        for &byte in value {
            match byte {
                b' '..=b'~' if byte != b'\\' => self.push(byte),
                _ => self.string(&format!("\\x{byte:02x}")),
            }
        }
        self.push(b'\n');
    }
}
