//! What a Locktopus plugin in Rust is built on (ABI 1). It needs no crate, and nothing of `std`.
//!
//! ```ignore
//! mod locktopus;
//! use locktopus::{Answer, Mode, Request, Verdict};
//!
//! locktopus::hooks!(authorize);
//!
//! fn authorize(r: Request, answer: Answer) -> Verdict {
//!     if !r.operation.is_known() {
//!         return answer.deny(0, "unknown operation");
//!     }
//!     for resource in r.resources() {
//!         if resource.mode != Mode::READ && !resource.path.under_segment(r.principal) {
//!             return answer.deny(1, "only your own subtree is yours to write");
//!         }
//!     }
//!     answer.allow()
//! }
//! ```
//!
//! ```text
//! rustc --edition=2021 --target=wasm32-unknown-unknown --crate-type=cdylib -Copt-level=3 -Clto \
//!     -Cpanic=abort -Cstrip=symbols -o plugin.wasm plugin.rs
//! ```
//!
//! With cargo, `mod locktopus;` stands in lib.rs, and Cargo.toml has `crate-type = ["cdylib"]` below
//! `[lib]`, `edition = "2021"` below `[package]`, and `lto = true` below `[profile.release]`.
//!
//! [`hooks!`] says which hooks the plugin serves. docs/PLUGINS.md tells what each may answer. Each
//! is a function that gets a question and an [`Answer`], which makes one verdict and no second.
//!
//! All bytes of a question lie in one buffer, and nothing is copied: what is read holds until the
//! hook returns. Calls never run at the same time. Nothing here asks for memory. What a hook of
//! yours asks for is freed in Rust's usual ways; what it keeps or leaks is kept as long as the
//! server runs.
//!
//! A panic ends the call with a denial, and in the log it is a trap without a reason. To tell the
//! reason, begin `init` with
//!
//! ```ignore
//! std::panic::set_hook(Box::new(|why| locktopus::log(Level::ERROR, why.to_string())));
//! ```
//!
//! Without `std`, a plugin begins with `#![no_std]` and brings its own `#[panic_handler]`, whose
//! body may be `locktopus::trap()`.

#![allow(dead_code, unused_imports, unused_macros)] // no plugin needs everything

use core::borrow::Borrow;
use core::cell::UnsafeCell;

/// Exports functions of these names as hooks: `init`, `authenticate`, `authorize`, `normalize`.
///
/// ```ignore
/// fn init(config: &[u8], answer: Answer) -> Verdict
/// fn authenticate(c: Connect, answer: Answer) -> Verdict
/// fn authorize(r: Request, answer: Answer) -> Verdict
/// fn normalize(r: Request, answer: Answer) -> Verdict
/// ```
///
/// `init` gets the configuration, once: a JSON object, or nothing.
///
/// The macro wants this module to be `locktopus` at the root of the crate.
macro_rules! hooks {
    ($($hook:ident),+ $(,)?) => { $($crate::locktopus::export!($hook);)+ };
}

macro_rules! export {
    (init) => {
        #[no_mangle]
        extern "C" fn locktopus_init(n: u32) -> $crate::locktopus::Verdict {
            $crate::locktopus::ask_init(n, init)
        }
    };
    (authenticate) => {
        #[no_mangle]
        extern "C" fn locktopus_authenticate(n: u32) -> $crate::locktopus::Verdict {
            $crate::locktopus::ask_authenticate(n, authenticate)
        }
    };
    (authorize) => {
        #[no_mangle]
        extern "C" fn locktopus_authorize(n: u32) -> $crate::locktopus::Verdict {
            $crate::locktopus::ask(n, authorize)
        }
    };
    (normalize) => {
        #[no_mangle]
        extern "C" fn locktopus_normalize(n: u32) -> $crate::locktopus::Verdict {
            $crate::locktopus::ask(n, normalize)
        }
    };
}

pub(crate) use {export, hooks};

const BUFFER_BYTES: usize = 65536;

/// Memory that is the server's and the plugin's by turns.
struct Area(UnsafeCell<[u8; BUFFER_BYTES]>);

// A plugin has one thread.
unsafe impl Sync for Area {}

/// Where the server writes its questions, before a call. During a call nobody writes.
static QUESTION: Area = Area(UnsafeCell::new([0; BUFFER_BYTES]));

/// Where a verdict's bytes stay until the server has read them, after the call. Nobody but
/// [`put`] looks at it.
static ANSWER: Area = Area(UnsafeCell::new([0; BUFFER_BYTES]));

/// The version of the ABI stands in the name; the result is the lowest minor version needed.
#[no_mangle]
extern "C" fn locktopus_abi_1() -> u32 {
    0
}

#[no_mangle]
extern "C" fn locktopus_buffer(size: u32) -> *mut u8 {
    if size as usize <= BUFFER_BYTES {
        QUESTION.0.get().cast()
    } else {
        core::ptr::null_mut()
    }
}

/// Ends the call at once. The server denies, and takes a new instance of the plugin.
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("locktopus: trap");
}

// ---- questions ----

/// A question's bytes, and numbers in them. Nothing in them is aligned.
#[derive(Clone, Copy)]
struct Question<'a>(&'a [u8; BUFFER_BYTES]);

impl<'a> Question<'a> {
    /// What lies in this place; a trap if that is outside of the buffer.
    fn slice(self, at: u32, length: u32) -> &'a [u8] {
        let rest = self.0.get(at as usize..).unwrap_or_else(|| trap());
        rest.get(..length as usize).unwrap_or_else(|| trap())
    }

    fn array<const N: usize>(self, at: u32) -> [u8; N] {
        self.slice(at, N as u32)
            .try_into()
            .unwrap_or_else(|_| trap())
    }

    fn u8(self, at: u32) -> u8 {
        u8::from_le_bytes(self.array(at))
    }

    fn u16(self, at: u32) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(self, at: u32) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn i64(self, at: u32) -> i64 {
        i64::from_le_bytes(self.array(at))
    }

    fn bytes(self, at: u32) -> &'a [u8] {
        self.slice(self.u32(at), self.u32(at + 4))
    }

    /// The places of the table's entries. A later version's entries may be longer.
    fn table(self) -> impl ExactSizeIterator<Item = u32> + DoubleEndedIterator + 'a {
        let (count, table, stride) = (self.u32(52), self.u32(56), self.u32(60));
        (0..count).map(move |i| table.wrapping_add(i.wrapping_mul(stride)))
    }
}

/// Lends the buffer out for one call: that a hook takes any `'a` keeps it from storing what it
/// reads.
fn with_question<R>(answer: impl for<'a> FnOnce(Question<'a>) -> R) -> R {
    // Sound: during a call the server doesn't write, and QUESTION is only read here.
    answer(Question(unsafe { &*QUESTION.0.get() }))
}

#[doc(hidden)]
pub fn ask_init(n: u32, hook: impl FnOnce(&[u8], Answer) -> Verdict) -> Verdict {
    with_question(|q| hook(q.slice(0, n), Answer(())))
}

#[doc(hidden)]
pub fn ask_authenticate(n: u32, hook: impl FnOnce(Connect, Answer) -> Verdict) -> Verdict {
    with_question(|q| hook(Connect::read(q, n), Answer(())))
}

#[doc(hidden)]
pub fn ask(n: u32, hook: impl FnOnce(Request, Answer) -> Verdict) -> Verdict {
    with_question(|q| hook(Request::read(q, n), Answer(())))
}

/// Which hook is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hook(pub u16);

impl Hook {
    pub const INIT: Hook = Hook(1);
    pub const AUTHENTICATE: Hook = Hook(2);
    pub const AUTHORIZE: Hook = Hook(3);
    pub const NORMALIZE: Hook = Hook(4);
}

// ---- authorize and normalize ----

/// A question of authorize or normalize.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub hook: Hook,
    /// The server's time in milliseconds since 1970; normalize: 0.
    pub now: i64,
    /// The one that the client connects to.
    pub namespace: &'a [u8],
    /// Who the client is; empty if no plugin named it; normalize: empty, as the next two.
    pub principal: &'a [u8],
    /// What the plugin that named the principal gave along.
    pub context: &'a [u8],
    /// `ip:port`; empty on a unix socket.
    pub remote: &'a [u8],
    /// Normalize: 0.
    pub operation: Operation,
    /// The whole question, for fields that this module doesn't know.
    pub bytes: &'a [u8],
    question: Question<'a>,
}

impl<'a> Request<'a> {
    fn read(q: Question<'a>, n: u32) -> Self {
        Request {
            hook: Hook(q.u16(2)),
            now: q.i64(8),
            namespace: q.bytes(16),
            principal: q.bytes(24),
            context: q.bytes(32),
            remote: q.bytes(40),
            operation: Operation(q.u32(48)),
            bytes: q.slice(0, n),
            question: q,
        }
    }

    /// All resources in order.
    pub fn resources(
        &self,
    ) -> impl ExactSizeIterator<Item = Resource<'a>> + DoubleEndedIterator + 'a {
        let q = self.question;
        q.table().map(move |at| Resource {
            mode: Mode(q.u8(at)),
            depth: q.u16(at + 2),
            path: Path(q.bytes(at + 4)),
        })
    }
}

/// What a client wants to do. Deny what isn't [known](Operation::is_known).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation(pub u32);

impl Operation {
    pub const LOCK: Operation = Operation(1);
    pub const INSPECT: Operation = Operation(2);
    pub const WATCH: Operation = Operation(3);
    pub const FORCE_RELEASE: Operation = Operation(4);

    pub fn is_known(self) -> bool {
        Self::LOCK.0 <= self.0 && self.0 <= Self::FORCE_RELEASE.0
    }
}

/// How a resource is wanted. Take one that you don't know for `WRITE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(pub u8);

impl Mode {
    pub const READ: Mode = Mode(0);
    pub const WRITE: Mode = Mode(1);
    pub const PERMIT: Mode = Mode(2);
}

/// A path and how it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource<'a> {
    pub mode: Mode,
    /// The number of the path's segments.
    pub depth: u16,
    pub path: Path<'a>,
}

/// A path's segments, each ended by NUL. The empty path is the whole namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path<'a>(pub &'a [u8]);

impl<'a> Path<'a> {
    /// Is the path the prefix, or below it? All are under the empty prefix; none is under one
    /// that doesn't end in NUL, for `a` would hold `ab`.
    pub fn under(self, prefix: impl AsRef<[u8]>) -> bool {
        let prefix = prefix.as_ref();
        prefix.is_empty() || prefix.ends_with(&[0]) && self.0.starts_with(prefix)
    }

    /// Is this, which comes without NUL, the path's first segment? None is under an empty one,
    /// for that is the principal of a client that no plugin named.
    pub fn under_segment(self, segment: impl AsRef<[u8]>) -> bool {
        let segment = segment.as_ref();
        let rest = self.0.strip_prefix(segment);
        !segment.is_empty() && matches!(rest, Some([0, ..])) && !segment.contains(&0)
    }

    /// The segments in order, without their NULs.
    pub fn segments(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'a {
        let ended = self.0.split_inclusive(|&byte| byte == 0);
        ended.map(|segment| segment.strip_suffix(&[0]).unwrap_or(segment))
    }
}

impl AsRef<[u8]> for Path<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

// ---- authenticate ----

/// A question of authenticate.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    pub hook: Hook,
    /// The server's time in milliseconds since 1970.
    pub now: i64,
    /// The one that the client connects to.
    pub namespace: &'a [u8],
    /// `ip:port`; empty on a unix socket.
    pub remote: &'a [u8],
    /// The path of the URL that was asked for.
    pub url_path: &'a [u8],
    /// The query of that URL, as it came. Its parameters are entries, too.
    pub raw_query: &'a [u8],
    /// The connection is encrypted.
    pub tls: bool,
    /// The client showed a certificate, and the server verified it.
    pub verified: bool,
    /// The whole question, for fields that this module doesn't know.
    pub bytes: &'a [u8],
    question: Question<'a>,
}

impl<'a> Connect<'a> {
    fn read(q: Question<'a>, n: u32) -> Self {
        Connect {
            hook: Hook(q.u16(2)),
            now: q.i64(8),
            namespace: q.bytes(16),
            remote: q.bytes(24),
            url_path: q.bytes(32),
            raw_query: q.bytes(40),
            tls: q.u32(48) & 1 != 0,
            verified: q.u32(48) & 2 != 0,
            bytes: q.slice(0, n),
            question: q,
        }
    }

    /// All entries in order: by kind, then by name. A repeated header is several entries.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'a>> + DoubleEndedIterator + 'a {
        let q = self.question;
        q.table().map(move |at| Entry {
            kind: Kind(q.u8(at)),
            name: q.bytes(at + 4),
            value: q.bytes(at + 12),
        })
    }

    /// The value of the first entry of this kind and name.
    pub fn find(&self, kind: Kind, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        let name = name.as_ref();
        self.entries()
            .find(|e| e.kind == kind && e.name == name)
            .map(|e| e.value)
    }
}

/// Where an entry is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(pub u8);

impl Kind {
    /// An HTTP header; its name is in lower case.
    pub const HEADER: Kind = Kind(0);
    /// Of the URL's query, decoded.
    pub const PARAMETER: Kind = Kind(1);
    /// About the TLS connection.
    pub const FACT: Kind = Kind(2);
    /// Given in the hello of protocol version 2.
    pub const CREDENTIAL: Kind = Kind(3);
}

/// One thing known of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    pub kind: Kind,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

// ---- answers ----

/// A hook's answer. It comes from an [`Answer`] only.
#[repr(transparent)]
#[must_use = "it is the hook's result"]
pub struct Verdict(u64);

// The statuses of verdicts.
const ALLOW: u8 = 1;
const DENY: u8 = 2;
const REWRITTEN: u8 = 3;
const FAULT: u8 = 4;

/// As the code of a denial by authenticate, it asks for HTTP 403 instead of 401.
pub const FORBIDDEN: u8 = 3;

/// What the 16 bits of a length can tell.
const TEXT_BYTES_MAX: usize = 65535;

const PRINCIPAL_BYTES_MAX: usize = 256;
const CONTEXT_BYTES_MAX: usize = 4096;

/// The right to answer. There is one for each call, so that no answer overwrites another.
pub struct Answer(());

impl Answer {
    /// Allows. From authenticate, it names nobody.
    pub fn allow(self) -> Verdict {
        verdict(ALLOW, 0, 0)
    }

    /// From normalize: the paths are fine as they are.
    pub fn unchanged(self) -> Verdict {
        verdict(ALLOW, 0, 0)
    }

    /// Denies with a code that clients get to see, and a text for people, in UTF-8. The server
    /// cuts it to 256 bytes.
    pub fn deny(self, code: u8, text: impl AsRef<[u8]>) -> Verdict {
        verdict(DENY, code, put_text(text.as_ref()))
    }

    /// Denies because the plugin cannot judge. The text goes to the server's log.
    pub fn fault(self, text: impl AsRef<[u8]>) -> Verdict {
        verdict(FAULT, 0, put_text(text.as_ref()))
    }

    /// Allows, from authenticate, and says who the client is, for how many seconds (0: as long as
    /// the connection), and what authorize is to know about it. The principal has 1 to 256 bytes
    /// of UTF-8 without control characters, the context up to 4096 bytes.
    pub fn identity(
        self,
        seconds: u32,
        principal: impl AsRef<[u8]>,
        context: impl AsRef<[u8]>,
    ) -> Verdict {
        let (principal, context) = (principal.as_ref(), context.as_ref());
        let fits = principal.len() <= PRINCIPAL_BYTES_MAX && context.len() <= CONTEXT_BYTES_MAX;
        if principal.is_empty() || !fits {
            return self.fault(
                "an identity needs a principal of 1 to 256 bytes and a context of at most 4096",
            );
        }
        let mut end = put(0, &seconds.to_le_bytes());
        end = put(end, &(principal.len() as u16).to_le_bytes());
        end = put(end, &(context.len() as u16).to_le_bytes());
        end = put(end, principal);
        end = put(end, context);
        verdict(ALLOW, 0, end)
    }

    /// Begins normalize's answer if paths have to change.
    pub fn rewrite(self) -> Rewriter {
        Rewriter {
            answer: self,
            length: 0,
            fault: None,
        }
    }
}

/// A verdict with so many bytes of ANSWER.
fn verdict(status: u8, code: u8, length: usize) -> Verdict {
    let address = ANSWER.0.get() as usize as u64;
    Verdict(address << 32 | (length as u64) << 16 | u64::from(code) << 8 | u64::from(status))
}

/// Copies into ANSWER, and is the place behind the copy; a trap if there is no room.
fn put(at: usize, bytes: &[u8]) -> usize {
    // Sound: the reference doesn't outlive this function, which calls nobody who has another.
    let answer = unsafe { &mut *ANSWER.0.get() };
    let end = at + bytes.len();
    answer
        .get_mut(at..end)
        .unwrap_or_else(|| trap())
        .copy_from_slice(bytes);
    end
}

/// Copies a text into ANSWER, and is its length. What is too long is cut between two characters.
fn put_text(text: &[u8]) -> usize {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while end > 0 && matches!(text.get(end), Some(byte) if byte & 0xc0 == 0x80) {
        end -= 1;
    }
    put(0, text.get(..end).unwrap_or(text))
}

/// Writes normalize's answer: for each resource in order its segments, then [`end`](Self::end).
#[must_use = "its verdict is the hook's result"]
pub struct Rewriter {
    answer: Answer,
    length: usize,
    fault: Option<&'static str>, // the first
}

impl Rewriter {
    /// Adds a segment to the path, from a slice or whatever else gives bytes. It may neither be
    /// empty nor contain NUL: the answer is a fault then.
    pub fn segment(&mut self, segment: impl IntoIterator<Item = impl Borrow<u8>>) {
        let start = self.length;
        for byte in segment {
            match *byte.borrow() {
                0 => return self.fail("a segment cannot contain NUL"),
                byte => self.push(byte),
            }
        }
        if self.length == start {
            self.fail("an empty segment cannot be rewritten");
        }
        self.end();
    }

    /// Ends the path.
    pub fn end(&mut self) {
        self.push(0);
    }

    /// The answer: as many paths as were ended.
    pub fn verdict(self) -> Verdict {
        match self.fault {
            Some(text) => self.answer.fault(text),
            None => verdict(REWRITTEN, 0, self.length),
        }
    }

    fn push(&mut self, byte: u8) {
        if self.length == TEXT_BYTES_MAX {
            return self.fail("the rewritten paths take more than 65535 bytes");
        }
        self.length = put(self.length, &[byte]);
    }

    fn fail(&mut self, text: &'static str) {
        self.fault.get_or_insert(text);
    }
}

// ---- log ----

/// How urgent a line of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level(pub i32);

impl Level {
    pub const DEBUG: Level = Level(0);
    pub const INFO: Level = Level(1);
    pub const WARN: Level = Level(2);
    pub const ERROR: Level = Level(3);
}

/// Writes a line to the server's log: up to 1 KiB, and not too many a second.
pub fn log(level: Level, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    // Sound: the server reads these bytes before it returns, and keeps nothing of them.
    unsafe { host::log(level.0, text.as_ptr(), text.len()) }
}

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "locktopus")]
    extern "C" {
        pub fn log(level: i32, at: *const u8, length: usize);
    }
}

/// Where there is no server, as in tests of a plugin's own.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub unsafe fn log(_: i32, _: *const u8, _: usize) {}
}
